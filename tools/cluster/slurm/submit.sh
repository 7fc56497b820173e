#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Submits a fit on many machines to Slurm:
#
#   tools/cluster/slurm/submit.sh SETTINGS [SBATCH OPTIONS]
#
# Capturing and fitting are job arrays, and each step waits for the one before. Options of sbatch go
# to all jobs: --partition, --cpus-per-task, --mem, --time. Logs are in the folder WORK/logs. Submit
# again after a failure: what is done is not done again.
set -euo pipefail
settings=$(realpath "$1")
shift
folder=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../settings.sh
. "$settings"
cd "$(dirname "$settings")"
mkdir -p "$WORK/logs"
options=(--parsable --kill-on-invalid-dep=yes "$@")

# submit STEP LOG OPTIONS...: prints the number of the job.
submit() {
  local step=$1 log=$2
  shift 2
  sbatch "${options[@]}" --job-name="regate-$step" --output="$WORK/logs/$step-$log.log" "$@" \
    "$folder/step.sbatch" "$(dirname "$folder")/step.sh" "$settings" "$step"
}

capture=$(submit capture %A-%a --array="1-$PARTS")
fit=$(submit fit %A-%a --array="1-$RANGES" --dependency="afterok:$capture")
merge=$(submit merge %j --dependency="afterok:$fit")
convert=$(submit convert %j --dependency="afterok:$merge")
echo "capture $capture, fit $fit, merge $merge, convert $convert"
