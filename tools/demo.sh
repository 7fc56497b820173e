#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds Regate, and balances a small trained MoE end to end: inspect,
# convert, validate on held-out tokens.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/setup.sh
swift build -c release --product regate
regate=.build/release/regate
model=fixtures/tiny-qwen3-moe
data=fixtures/tiny-qwen3-moe-data
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

show() {
  echo
  echo "\$ regate $*"
  "$regate" "$@"
}

echo
echo "A Qwen3-MoE that was trained without a balancing loss: a few experts get most tokens."
show inspect "$model" --calibration "$data/heldout.capture.safetensors"
echo
echo "Fit a balanced router to its calibration tokens and write a patched copy."
show convert "$model" --calibration "$data/calibration.capture.safetensors" --output "$work/balanced"
echo
echo "Before and after, on tokens that the fit did not see."
show validate "$model" "$work/balanced" --calibration "$data/heldout.capture.safetensors" --ep 2,4
echo
echo "The same for its GGUF, in the form that stock llama.cpp loads."
gguf=$data/qwen3-moe-Q8_0.gguf
show convert "$gguf" --calibration "$data/calibration.capture.safetensors" --output "$work/balanced.gguf"
show validate "$gguf" "$work/balanced.gguf" --calibration "$data/heldout.capture.safetensors" --ep 2,4
