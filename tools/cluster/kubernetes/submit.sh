#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs a fit on many machines on Kubernetes, one indexed Job after the other:
#
#   tools/cluster/kubernetes/submit.sh SETTINGS IMAGE CLAIM [CPUS [MEMORY]]
#
# IMAGE has bash, flock and regate; CLAIM is a claim on a volume that many nodes write to, which pods
# see as /shared: every path in SETTINGS begins with that. Run it again after a failure: what is done
# is not done again. With DRY_RUN=1 the manifests are printed and nothing is run.
set -euo pipefail
settings=$1 image=$2 claim=$3 cpus=${4:-4} memory=${5:-16Gi}
folder=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../settings.sh
. "$settings"

manifest() {
  sed -e "s|STEP|$1|g; s|COUNT|$2|g; s|IMAGE|$image|g; s|CLAIM|$claim|g" \
    -e "s|CPUS|$cpus|g; s|MEMORY|$memory|g" "$folder/step.yaml"
}

# run STEP COUNT: ends when all pods of the step did.
run() {
  if [ "${DRY_RUN:-}" = 1 ]; then
    echo "---"
    manifest "$@"
    return
  fi
  kubectl delete job "regate-$1" --ignore-not-found
  manifest "$@" | kubectl apply -f -
  local state
  while :; do
    state=$(kubectl get job "regate-$1" -o 'jsonpath={.status.conditions[?(@.status=="True")].type}')
    case " $state " in
    *" Complete "*) return ;;
    *" Failed "*)
      kubectl logs "job/regate-$1" --all-containers --tail 20 >&2 || true
      echo "submit.sh: the job regate-$1 failed" >&2
      return 1
      ;;
    esac
    sleep 5
  done
}

if [ "${DRY_RUN:-}" != 1 ]; then
  kubectl create configmap regate --from-file=step.sh="$folder/../step.sh" \
    --from-file=settings.sh="$settings" --dry-run=client -o yaml | kubectl apply -f -
fi
run capture "$PARTS"
run fit "$RANGES"
run merge 1
run convert 1
