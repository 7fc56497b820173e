#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Starts Slurm on this machine, with two nodes, runs a fit on it, of which tasks are killed and one
# node is lost, and compares it with the fit of one machine:
#
#   sudo tools/cluster/check/slurm.sh [MODEL TRAFFIC]
#
# For Debian and Ubuntu, as root: it installs slurm-wlm and munge where they are missing, and starts
# its own daemons on ports 17000 to 17002, in a folder that it removes.
set -euo pipefail
cd "$(dirname "$0")/../../.."
# shellcheck source=trial.sh
. tools/cluster/check/trial.sh
command -v slurmctld >/dev/null && command -v munged >/dev/null ||
  apt-get install -y --no-install-recommends slurm-wlm munge

daemons=()
finish() {
  local status=$?
  [ "$status" = 0 ] || tail -n 40 "$work"/run/logs/* "$work"/*.log >&2 || true
  for daemon in "${daemons[@]}"; do kill "$daemon" 2>/dev/null || true; done
  wait
  rm -rf "$work"
}
trap finish EXIT

# Munge wants a socket that all can reach, in folders that only root can change.
chmod 755 "$work"
mkdir -m 755 "$work/munge" "$work/slurm"
export SLURM_CONF=$work/slurm.conf
dd if=/dev/urandom of="$work/munge/key" bs=128 count=1 status=none
chmod 400 "$work/munge/key"
munged --foreground --socket "$work/munge/socket" --key-file "$work/munge/key" \
  --pid-file "$work/munge/pid" --log-file "$work/munge/log" --seed-file "$work/munge/seed" \
  >/dev/null 2>"$work/munge/stderr" &
daemons+=($!)

host=$(hostname -s)
cat >"$SLURM_CONF" <<END
ClusterName=trial
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=17000
SlurmUser=root
SlurmctldPidFile=$work/slurmctld.pid
SlurmctldLogFile=$work/slurmctld.log
StateSaveLocation=$work/slurm/state
SlurmdSpoolDir=$work/slurm/%n
SlurmdPidFile=$work/slurm/%n.pid
SlurmdLogFile=$work/slurmd-%n.log
# A job that was queued again may start once its credential has ended.
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket,cred_expire=5
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerType=sched/builtin
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MessageTimeout=5
SlurmdTimeout=10
InactiveLimit=0
NodeName=one NodeHostname=$host NodeAddr=127.0.0.1 Port=17001 CPUs=1
NodeName=two NodeHostname=$host NodeAddr=127.0.0.1 Port=17002 CPUs=1
PartitionName=all Nodes=one,two Default=YES MaxTime=INFINITE State=UP
END
until [ -S "$work/munge/socket" ]; do
  kill -0 "${daemons[0]}" || { cat "$work/munge/stderr" >&2; exit 1; }
  sleep 0.1
done
mkdir "$work/slurm/state"
slurmctld -D >/dev/null 2>&1 &
daemons+=($!)
for node in one two; do
  mkdir "$work/slurm/$node"
  slurmd -D -N "$node" >/dev/null 2>&1 &
  daemons+=($!)
  echo $! >"$work/slurm/node-$node"
done

prepare "export NODE=slurmstepd NODE_PID=$work/slurm/node-\$SLURMD_NODENAME"
until [ "$(sinfo --noheader --format %t)" = idle ]; do sleep 0.5; done
tools/cluster/slurm/submit.sh "$work/settings.sh"
while [ -n "$(squeue --noheader --states=all --format %T | grep -vE 'COMPLETED|FAILED|CANCELLED')" ]; do
  sleep 1
done
scontrol --oneliner show job | sed -E \
  's/^JobId=([0-9]+).*JobName=([^ ]*).*JobState=([^ ]*).*Restarts=([0-9]+).*BatchHost=([^ ]*).*/job \1 \2: \3, restarts \4, on \5/'
sinfo --noheader --Node --format 'node %N: %T'
compare
