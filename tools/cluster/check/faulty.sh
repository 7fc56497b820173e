#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The program REGATE, which meets a fault in the middle of a share that FAULTS holds a file for:
# `part-2-4` for `--part 2/4`, `layers-1-2` for `--layers 1/2`. The fault is met once, as soon as the
# run has kept a state, or after a second: `kill` in the file kills the run, `node` its whole node,
# which is what the program NODE, above this one, and the one in the file NODE_PID stand for.
set -euo pipefail

fault="" output="" previous=""
for word in "$@"; do
  case "$previous" in
  --part | --layers) fault=${previous#--}-${word/\//-} ;;
  --output) output=$word ;;
  esac
  previous=$word
done
# Whoever moves the file meets the fault.
if [ -z "$fault" ] || ! mv "$FAULTS/$fault" "$FAULTS/$fault.met" 2>/dev/null; then
  exec "$REGATE" "$@"
fi

"$REGATE" "$@" --resume-every 0 &
run=$!
SECONDS=0
until [ -e "$output.regate-resume/state.json" ] || [ "$SECONDS" -gt 1 ]; do :; done
kill -KILL "$run" || true
wait "$run" || true
if [ -e "$output" ]; then
  echo "faulty.sh: $fault was done before it could fail" >&2
  exit 1
fi
[ ! -e "$output.regate-resume/state.json" ] || echo kept >"$FAULTS/$fault.kept"

if [ "$(cat "$FAULTS/$fault.met")" = node ]; then
  [ -z "${NODE_PID:-}" ] || kill -KILL "$(cat "$NODE_PID")"
  above=$PPID
  until [ "$(cat "/proc/$above/comm")" = "$NODE" ]; do
    above=$(awk '/^PPid:/ { print $2 }' "/proc/$above/status")
  done
  kill -KILL "$above"
fi
kill -KILL $$
