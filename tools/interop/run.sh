#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs Python packages and llama.cpp under .build/interop, builds Regate, and runs every
# interoperability check. The one argument is a folder of further models, each a folder with
# model.safetensors, {general-calibration,general-heldout}.npy, text.txt and any GGUF of it. A model
# without a GGUF in F16 gets one by llama.cpp's converter, if its tokenizer splits words as GPT-2's.
#
#   tools/interop/run.sh [MODELS]
#
# PYTHON5 and PYTHON4 name interpreters with transformers 5 and 4, MLX one with mlx and mlx-lm,
# LLAMA_BIN the folder of llama.cpp's programs, where they exist already.
set -euo pipefail
cd "$(dirname "$0")/../.."
models=${1:-}
home=$PWD/.build/interop
mkdir -p "$home"

python() { # NAME TRANSFORMERS
  if [ ! -x "$home/$1/bin/python" ]; then
    python3 -m venv "$home/$1"
    "$home/$1/bin/pip" -q install torch==2.15.0 "transformers==$2" safetensors==0.8.0 gguf==0.19.0 \
      numpy==2.4.6 pytest==9.2.0 sentencepiece==0.2.3 cmake ninja
  fi
  echo "$home/$1/bin/python"
}
PYTHON5=${PYTHON5:-$(python python5 5.23.0)}
PYTHON4=${PYTHON4:-$(python python4 4.57.6)}

if [ -z "${MLX:-}" ]; then
  MLX=$home/mlx/bin/python
  if [ ! -x "$MLX" ]; then
    python3 -m venv "$home/mlx"
    "$home/mlx/bin/pip" -q install "mlx[cpu]==0.32.4" mlx-lm==0.32.2 numpy==2.4.6 pytest==9.2.0
  fi
fi

source=$home/llama_cpp_python-0.3.36/vendor/llama.cpp
if [ -z "${LLAMA_BIN:-}" ]; then
  LLAMA_BIN=$home/llama/bin
  if [ ! -x "$LLAMA_BIN/llama-imatrix" ]; then
    (cd "$home" &&
      "$PYTHON5" -m pip download -q --no-deps --no-binary llama-cpp-python llama-cpp-python==0.3.36 &&
      tar xf llama_cpp_python-0.3.36.tar.gz)
    bin=$(dirname "$PYTHON5")
    "$bin/cmake" -S "$source" -B "$home/llama" -G Ninja \
      -DCMAKE_MAKE_PROGRAM="$bin/ninja" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DGGML_NATIVE=OFF \
      -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_CURL=OFF
    "$bin/cmake" --build "$home/llama" \
      --target llama-quantize llama-imatrix llama-perplexity llama-gguf-split
  fi
fi
export LLAMA_BIN REGATE=$PWD/.build/release/regate
tools/setup.sh
swift build -c release --product regate

failed=0
check() {
  echo "== $*"
  "$@" || failed=1
}
deployed() { # MODEL CALIBRATION HELDOUT TEXT GGUF...
  check "$PYTHON5" tools/interop/deployed.py "$1" --fit "$2" --judge "$3" --text "$4" \
    --regate "$REGATE" --llama-bin "$LLAMA_BIN" --gguf "${@:5}"
}
check "$PYTHON5" -m pytest -q tools/interop
check "$PYTHON5" -m pytest -q tools/python/tests
check "$PYTHON4" -m pytest -q tools/interop/test_modelling.py tools/interop/test_official.py
LAB_MODELS=$models check "$MLX" -m pytest -q tools/interop/test_mlx.py
for model in fixtures/tiny-*/; do
  model=${model%/}
  [ -d "$model-data" ] || continue
  # Groups of DeepSeek's lose as many experts each; of Mixtral's four, two must stay.
  for pruned in "" "--forms stock --prune $([[ $model == *mixtral ]] && echo 2 || echo 4)"; do
    deployed "$model" "$model-data/calibration.npy" "$model-data/heldout.npy" \
      "$(ls fixtures/tiny-text/*.txt | head -1)" "$model-data"/*.gguf $pruned
  done
done
if [ -n "$models" ]; then
  for model in "${models%/}"/*/; do
    model=${model%/}
    # Neither importance matrices nor files that are broken on purpose.
    readarray -t files < <(find "$model/" -name '*.gguf' | grep -v -e imatrix -e no-gating-key | sort)
    f16=$home/$(basename "$model")-F16.gguf
    if [[ "${files[*]}" != *F16* && -d "$source" ]]; then
      [ -f "$f16" ] || check "$PYTHON5" tools/fixtures/convert_gguf.py "$source" --outtype f16 \
        --outfile "$f16" "$model"
      files+=("$f16")
    fi
    deployed "$model" "$model/general-calibration.npy" "$model/general-heldout.npy" \
      "$model/text.txt" "${files[@]}"
  done
fi
exit $failed
