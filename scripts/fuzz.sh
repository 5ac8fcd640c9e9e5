#!/usr/bin/env bash
# Runs each fuzz target for the given time (10s, 10m), one after the other.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-10s}
count=0
while IFS=: read -r file func; do
  pkg=./$(dirname "$file")
  echo "fuzz $pkg $func $time"
  out=$(go test "$pkg" -run '^$' -fuzz "^$func\$" -fuzztime "$time" 2>&1) || { echo "$out" | tail -40; exit 1; }
  echo "$out" | grep -E 'execs:|^ok' | tail -1
  count=$((count + 1))
done < <(git ls-files '*_test.go' | xargs grep -oE '^func Fuzz[A-Za-z0-9_]+' /dev/null | sed -E 's/:func /:/')
[ "$count" -gt 0 ] || { echo "no fuzz target found" >&2; exit 1; }
echo "$count fuzz targets, $time each, no crash"
