#!/usr/bin/env bash
# Runs each fuzz target for the given time (10m, 5s), three side by side on each
# core (a target waits for its build and its start as long as it computes), and stops with the output of the first that fails.
# Usage: fuzz.sh TIME            each target built for the fuzzer, which then knows what an input reached
#        fuzz.sh TIME BINS FLAG…  with the test binaries in BINS, built with FLAGs where missing: inputs
#                                are varied blindly, but no library is compiled once more for it
set -euo pipefail
cd "$(dirname "$0")/.."
export FUZZTIME=${1:-10m} BINS=${2:-}
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
export LOGS=$logs

# timed_out tells the end of the time from a finding: go test sometimes reports the
# former as a failure when it comes in the middle of an input, with no input kept.
timed_out() { # LOG
  grep -q '^    context deadline exceeded$' "$1" && ! grep -qE 'Failing input|panic|hung or terminated' "$1"
}
export -f timed_out

# fuzz runs one target. A finding is worth ten runs of shrinking, not a minute of it.
fuzz() { # FOLDER Name
  if [ -z "$BINS" ]; then
    go test "./$1" -run '^$' -fuzz "^$2\$" -fuzztime "$FUZZTIME" -fuzzminimizetime 10x -parallel 1
  else
    (cd "$1" && "$BINS/${1//\//.}.test" -test.run '^$' -test.fuzz "^$2\$" -test.fuzztime "$FUZZTIME" -test.fuzzminimizetime 10x -test.parallel 1 \
      -test.fuzzcachedir "$LOGS/corpus" -test.paniconexit0)
  fi
}
export -f fuzz

one() { # FILE:func Name
  local folder func log
  folder=$(dirname "${1%%:*}")
  func=${1##*func }
  log=$LOGS/${folder//\//_}.$func
  if { fuzz "$folder" "$func" >"$log" 2>&1 || timed_out "$log"; } && grep -q '^fuzz: elapsed' "$log"; then # a name that is not in the binary passes, and runs nothing
    echo "./$folder $func: $(grep -oE 'execs: [0-9]+' "$log" | tail -1)"
  else
    echo "./$folder $func FAILED"
    tail -40 "$log"
    return 255 # xargs stops
  fi
}
export -f one

targets=$(git ls-files '*_test.go' | xargs grep -oE '^func Fuzz[A-Za-z0-9_]+' /dev/null)
[ -n "$targets" ] || { echo "no fuzz target found" >&2; exit 1; }
if [ -n "$BINS" ]; then
  for folder in $(echo "$targets" | sed -E 's|/[^/]+$||' | sort -u); do
    [ -e "$BINS/${folder//\//.}.test" ] || go test "${@:3}" -c -o "$BINS/${folder//\//.}.test" "./$folder"
  done
fi
echo "$targets" | tr '\n' '\0' | xargs -0 -P "$((3 * $(nproc)))" -I{} bash -c 'one "$1"' _ {}
echo "$(echo "$targets" | wc -l) fuzz targets, $FUZZTIME each, no crash"
