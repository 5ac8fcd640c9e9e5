#!/usr/bin/env bash
# Takes docs/images from the running demo with a real browser: light colours,
# 1280 wide. Needs chromium; as root on Debian it is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh chromium
work=$(mktemp -d)
demo=
cleanup() {
  if [ -n "$demo" ]; then kill "$demo" 2>/dev/null || true; wait "$demo" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap cleanup EXIT

./bin/cordon demo --token-file "$work/token" >"$work/out" 2>"$work/err" &
demo=$!

# One plan waits and one change is undone when the story has come to its rest.
url() { grep -oE 'https?://[^ ]+/signin[^ ]*' "$work/out" | head -1; }
cases() { ./bin/cordon cases list --json --server "$(url | sed -E 's|(https?://[^/]+).*|\1|')" --token-file "$work/token"; }
for _ in $(seq 120); do
  kill -0 "$demo" 2>/dev/null || { cat "$work/err" >&2; exit 1; }
  if [ -n "$(url)" ] && [ "$(cases | grep -c '"status":"contained"')" -ge 2 ] && cases | grep -q 'approval'; then ready=yes; break; fi
  sleep 0.5
done
[ "${ready:-}" = yes ] || { echo "screenshots: the demo did not come to its rest within a minute" >&2; cat "$work/err" >&2; exit 1; }
sleep 15 # the last proofs and the undo

CORDON_SHOTS="$work" CORDON_SHOTS_LINK="$(url)" go test -tags shots ./internal/console -run '^TestScreenshots$' -count=1 >"$work/test" || { cat "$work/test" >&2; exit 1; }
mkdir -p docs/images
install -m 644 "$work/queue.png" docs/images/queue.png
echo "wrote docs/images/queue.png ($(stat -c %s docs/images/queue.png) bytes)"
