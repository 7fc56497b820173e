#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds Regate, and balances a small trained MoE end to end: inspect,
# convert, validate on held-out tokens, place; then its GGUF by a fit of the original.
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
show inspect "$model" --calibration "$data/heldout.npy"
echo
echo "Fit a balanced router to other tokens and write a patched copy."
show convert "$model" --calibration "$data/calibration.npy" --output "$work/balanced"
echo
echo "Before and after, on the tokens that the fit did not see."
show validate "$model" "$work/balanced" --calibration "$data/heldout.npy" --ep 2,4
echo
echo "Renumber the experts of the copy, so that expert-parallel ranks carry equal load: lossless."
show place "$work/balanced" --calibration "$data/calibration.npy" --ep 2,4 --output "$work/placed"
echo
echo "One fit serves every quantisation: here a GGUF, in the form that stock llama.cpp loads."
gguf=$data/qwen3-moe-Q8_0.gguf
show fit "$model" --calibration "$data/calibration.npy" --router stock --output "$work/my.fit"
show convert "$gguf" --fit "$work/my.fit" --output "$work/balanced.gguf"
show validate "$gguf" "$work/balanced.gguf" --calibration "$data/heldout.npy" --ep 2,4
