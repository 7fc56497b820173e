#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# One step of a fit on many machines: what Slurm, Ray and Kubernetes run.
#
#   step.sh SETTINGS capture I | fit I | merge | convert
#
# A step whose result is there does nothing, and one that was stopped goes on where it was. A lock
# in the shared folder lets a second copy of a step, on another machine, wait for the first one to
# end: a node may be given up and still work.
set -euo pipefail
settings=$(realpath "$1") step=$2 number=${3:-}
# shellcheck source=settings.sh
. "$settings"
cd "$(dirname "$settings")"

# Writing these is the last thing that a step does: each takes its name when all of it is there.
capture="$WORK/captures/$number-of-$PARTS.safetensors"
part="$WORK/fits/$number-of-$RANGES.fit"
fit="$WORK/model.fit"

case "$step" in
capture)
  result=$capture
  command=(capture "$MODEL" --part "$number/$PARTS" "${CAPTURE_OPTIONS[@]}" --resume)
  for file in "${TRAFFIC[@]}"; do command+=(--calibration "$file"); done
  ;;
fit)
  result=$part
  command=(fit "$MODEL" --calibration "$WORK/captures" --layers "$number/$RANGES"
    "${FIT_OPTIONS[@]}" --resume)
  ;;
merge)
  result=$fit
  parts=()
  for ((number = 1; number <= RANGES; number++)); do
    parts+=("$WORK/fits/$number-of-$RANGES.fit")
  done
  command=(fit --merge "${parts[@]}")
  ;;
convert)
  result=$OUTPUT
  command=(convert "$MODEL" --fit "$fit" "${CONVERT_OPTIONS[@]}")
  ;;
*)
  echo "step.sh: $step is none of capture, fit, merge, convert" >&2
  exit 2
  ;;
esac

mkdir -p "$WORK/captures" "$WORK/fits" "$WORK/locks"
exec 9>>"$WORK/locks/$(basename "$result")"
flock 9
if [ -e "$result" ]; then
  echo "step.sh: $result is there already"
  exit 0
fi
# The lock is held as long as the program runs, whatever becomes of this shell.
exec "$REGATE" "${command[@]}" --output "$result"
