#!/usr/bin/env bash
# Runs every suite in its short form. SKIP=name,… leaves suites out; what was
# left out stands in the last lines. With CI=true nothing may be left out.
# Suites: lint unit postgres browser samba demo hybrid egress kill fuzz
set -uo pipefail
cd "$(dirname "$0")/.."

skip=",${SKIP:-},"
left=()
failed=()
wants() {
  case "$skip" in *",$1,"*) left+=("$1"); return 1 ;; esac
  return 0
}
if [ "${CI:-}" = true ] && [ -n "${SKIP:-}" ]; then
  echo "test: with CI=true nothing may be left out, but SKIP=$SKIP" >&2
  exit 2
fi
suite() { # name, command…
  local name=$1 from=$SECONDS; shift
  printf '\n== %s\n' "$name"
  if "$@"; then printf '== %s passed in %d s\n' "$name" $((SECONDS - from)); else failed+=("$name"); printf '== %s FAILED after %d s\n' "$name" $((SECONDS - from)); fi
}

parts=(cgo)
case "$skip" in *,postgres,*) left+=(postgres) ;; *) parts+=(postgres) ;; esac
case "$skip" in *,browser,*) left+=(browser) ;; *) parts+=(chromium) ;; esac
case "$skip" in *,samba,*) left+=(samba) ;; *) parts+=(samba) ;; esac
scripts/setup.sh "${parts[@]}" || exit 2
case "$skip" in *,postgres,*) export CORDON_TEST_POSTGRES=skip ;; esac
case "$skip" in *,browser,*) export CORDON_TEST_BROWSER=skip ;; esac
case "$skip" in *,samba,*) export CORDON_TEST_DOMAIN=skip ;; esac
if [ -n "${CORDON_SHARED:-}" ] && [ ! -d "$CORDON_SHARED" ]; then
  echo "test: CORDON_SHARED=$CORDON_SHARED is not a folder" >&2
  exit 2
fi

# The race detector watches everything but SQLite's engine and the C library below
# it: C turned into Go, under SQLite's own locks, and four times slower when watched.
race=(-race -gcflags=modernc.org/sqlite/lib=-race=false -gcflags=modernc.org/libc/...=-race=false)
# Where unit leaves its test binaries, so that fuzz need not build them anew.
bins=$(mktemp -d)
trap 'rm -rf "$bins"' EXIT

# One domain of two controllers for all tests that take one: it is made while lint
# computes, and ends with its input, so also when this script is killed. Where none can
# be made, each test says why it is skipped, or fails with CI=true.
domain=
domain_begins() {
  domain=$(mktemp -d)
  go build -o "$bins/standing" ./lab/addc/standing || { domain=; return; }
  coproc STANDING { exec "$bins/standing" "$domain" 2>"$bins/standing.log"; }
  standing=$STANDING_PID
}
domain_answers() {
  [ -n "$domain" ] || return 0
  local at
  if read -r at <&"${STANDING[0]}" && [ "$at" = "$domain" ]; then export CORDON_TEST_DOMAIN=$domain; return 0; fi
  cat "$bins/standing.log"
  wait "$standing"; local rc=$?
  rmdir "$domain" 2>/dev/null
  domain=
  [ $rc -eq 3 ]
}
domain_ends() { # and leaves nothing
  [ -n "$domain" ] || return 0
  exec {STANDING[1]}>&-
  wait "$standing" || return 1
  [ ! -e "$domain" ] && ! grep -q "$domain" /proc/mounts
}

# in_short_unit shows what passed, what failed with its words, and names what was skipped.
in_short_unit() {
  local log rc
  log=$(mktemp)
  KEEP=$bins CGO_ENABLED=1 go test "${race[@]}" -exec "$PWD/scripts/keep.sh" -p "$((2 * $(nproc)))" -parallel "$((2 * $(nproc)))" -count=1 -timeout 20m -v $(go list ./... | grep -v /test/) >"$log" 2>&1
  rc=$?
  grep -E '^(ok|FAIL|---? FAIL|panic:|WARNING: DATA RACE)|no test files' "$log" | grep -v 'no test files'
  while read -r line; do left+=("$line"); done < <(grep -A1 -E '^ *--- SKIP' "$log" | sed -nE 's/^ *--- SKIP: ([^ ]+).*/test \1/p' | sort -u)
  [ $rc -eq 0 ] || { echo "what failed:"; grep -E '^ +[A-Za-z0-9_]+(_test)?\.go:[0-9]+: |^ *FAIL: testdata' "$log" | cut -c1-400 | head -60; grep -A 15 -E '^ *--- FAIL|^panic:|WARNING: DATA RACE|\[build failed\]' "$log" | head -400; }
  rm -f "$log"
  return $rc
}
# together runs suites side by side, and shows each by itself: all but fuzz mostly wait.
together() { # name…
  local name logs pids=() from=$SECONDS n=0
  logs=$(mktemp -d)
  for name in "$@"; do "in_short_$name" >"$logs/$name" 2>&1 & pids+=($!); done
  for name in "$@"; do
    wait "${pids[$n]}"; local rc=$?
    n=$((n + 1))
    printf '\n== %s\n' "$name"; cat "$logs/$name"
    if [ $rc -eq 0 ]; then printf '== %s passed by second %d\n' "$name" $((SECONDS - from)); else failed+=("$name"); printf '== %s FAILED by second %d\n' "$name" $((SECONDS - from)); fi
  done
  rm -rf "$logs"
}
in_short_kill() { go test ./test/kill -run TestKill -count=1 -timeout 15m -kills 20; }
in_short_hybrid() { go test ./test/hybrid -count=1 -timeout 5m; }
in_short_egress() { go test ./test/egress -count=1 -timeout 5m; }
in_short_fuzz() { CGO_ENABLED=1 nice -n 15 scripts/fuzz.sh 5s "$bins" "${race[@]}"; } # computes while the others wait
in_short_demo() { go build -o bin/cordon ./cmd/cordon && ./bin/cordon demo --once --report "$(mktemp)"; }

[ -n "${CORDON_TEST_DOMAIN:-}" ] || domain_begins
wants lint && suite lint make -s lint
domain_answers || failed+=("domain")
wants unit && suite unit in_short_unit
rest=()
for name in demo hybrid egress kill fuzz; do wants "$name" && rest+=("$name"); done
[ ${#rest[@]} -gt 0 ] && together "${rest[@]}"
domain_ends || { echo "something of the domain in $domain is left:"; cat "$bins/standing.log"; failed+=("domain"); }

printf '\n'
[ -z "${CORDON_SHARED:-}" ] && left+=("contract and example payloads (CORDON_SHARED is not set)")
for l in "${left[@]:-}"; do [ -n "$l" ] && echo "left out: $l"; done
if [ ${#failed[@]} -gt 0 ]; then echo "failed: ${failed[*]}"; exit 1; fi
echo "all suites passed in $SECONDS s"
