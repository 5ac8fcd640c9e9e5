#!/usr/bin/env bash
# Runs each fuzz target for the given time (10s, 10m), three side by side on each
# core (a target waits for its build and its start as long as it computes), and stops with the output of the first that fails.
set -euo pipefail
cd "$(dirname "$0")/.."
export FUZZTIME=${1:-10s}
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
export LOGS=$logs

# timed_out tells the end of the time from a finding: go test sometimes reports the
# former as a failure when it comes in the middle of an input, with no input kept.
timed_out() { # LOG
  grep -q '^    context deadline exceeded$' "$1" && ! grep -qE 'Failing input|panic|hung or terminated' "$1"
}
export -f timed_out

one() { # FILE:func Name
  local pkg func log
  pkg=./$(dirname "${1%%:*}")
  func=${1##*func }
  log=$LOGS/$(echo "$pkg.$func" | tr / _)
  # A finding is worth ten runs of shrinking, not a minute of it.
  if go test "$pkg" -run '^$' -fuzz "^$func\$" -fuzztime "$FUZZTIME" -fuzzminimizetime 10x -parallel 1 >"$log" 2>&1 || timed_out "$log"; then
    echo "$pkg $func: $(grep -oE 'execs: [0-9]+' "$log" | tail -1)"
  else
    echo "$pkg $func FAILED"
    tail -40 "$log"
    return 255 # xargs stops
  fi
}
export -f one

targets=$(git ls-files '*_test.go' | xargs grep -oE '^func Fuzz[A-Za-z0-9_]+' /dev/null)
[ -n "$targets" ] || { echo "no fuzz target found" >&2; exit 1; }
echo "$targets" | tr '\n' '\0' | xargs -0 -P "$((3 * $(nproc)))" -I{} bash -c 'one "$1"' _ {}
echo "$(echo "$targets" | wc -l) fuzz targets, $FUZZTIME each, no crash"
