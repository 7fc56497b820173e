#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Starts Ray on this machine, with two worker nodes, runs a fit on it, of which tasks are killed and
# one node is lost, and compares it with the fit of one machine:
#
#   tools/cluster/check/ray.sh [MODEL TRAFFIC]
#
# Ray comes from PyPI into a folder that is removed; RAY names a virtual environment that has
# ray[default] already. Ray's own ports are 7100 and 7101.
set -euo pipefail
cd "$(dirname "$0")/../../.."
# shellcheck source=trial.sh
. tools/cluster/check/trial.sh
if [ -z "${RAY:-}" ]; then
  RAY=$work/venv
  python3 -m venv "$RAY"
  "$RAY/bin/pip" install --quiet 'ray[default]'
fi
export PATH=$RAY/bin:$PATH RAY_USAGE_STATS_ENABLED=0 RAY_raylet_start_wait_time_s=120

nodes=()
finish() {
  local status=$?
  [ "$status" = 0 ] || tail -n 20 "$work"/*.log "$work"/ray/session_latest/logs/raylet* >&2 || true
  # Each ends all that it started.
  for node in "${nodes[@]}"; do kill "$node" 2>/dev/null || true; done
  wait
  rm -rf "$work"
}
trap finish EXIT

# node NAME OPTIONS...: starts a node of the cluster.
node() {
  local name=$1
  shift
  ray start --block --disable-usage-stats --temp-dir "$work/ray" --object-store-memory 80000000 \
    --min-worker-port 0 --max-worker-port 0 --dashboard-agent-listen-port 0 "$@" \
    >"$work/$name.log" 2>&1 &
  nodes+=($!)
}

# until_true COMMAND...: waits for it, two minutes at most, and while the last node runs.
until_true() {
  local end=$((SECONDS + 120))
  while kill -0 "${nodes[-1]}" && [ "$SECONDS" -lt "$end" ]; do
    "$@" >/dev/null 2>&1 && return
    sleep 0.5
  done
  echo "ray.sh: $* did not come true" >&2
  return 1
}
# states: of all nodes, a line each.
states() { ray list nodes --address http://127.0.0.1:7101 --format json | grep -oE '"state": "[A-Z]+"'; }
alive() { [ "$(states | grep -c ALIVE)" = "$1" ]; }

prepare "export NODE=raylet"
node head --head --port 7100 --dashboard-host 127.0.0.1 --dashboard-port 7101 --num-cpus 0
until_true alive 1
node one --address 127.0.0.1:7100 --num-cpus 1
until_true alive 2
node two --address 127.0.0.1:7100 --num-cpus 1
until_true alive 3
ray job submit --address http://127.0.0.1:7101 --working-dir tools/cluster \
  -- python ray/regate_ray.py "$work/settings.sh"
states
compare
