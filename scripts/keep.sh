#!/usr/bin/env bash
# Runs a test binary for `go test -exec` and keeps it as $KEEP/<package's folder, with
# dots for slashes>.test. Usage: keep.sh BINARY ARG…
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
package=${PWD#"$root"/}
ln -f "$1" "$KEEP/${package//\//.}.test" 2>/dev/null || cp "$1" "$KEEP/${package//\//.}.test"
exec "$@"
