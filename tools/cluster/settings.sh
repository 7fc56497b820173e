# SPDX-License-Identifier: Apache-2.0
# What is to be fitted, for step.sh: copy this file to the shared folder and change it. Every path
# must mean the same on all machines; relative ones begin at the folder of this file.

# The program, or a path to it.
REGATE=regate
MODEL=Qwen3-30B-A3B
TRAFFIC=(traffic.jsonl)
# Captures, parts of the fit, the fit.
WORK=run
# The copy that is written at the end.
OUTPUT=balanced

# Machines that run the model, each on a share of the traffic.
PARTS=8
# Machines that fit, each a share of the layers.
RANGES=4

# Further options: regate capture --help, regate fit --help, regate convert --help.
CAPTURE_OPTIONS=(--max-tokens 65536)
FIT_OPTIONS=()
CONVERT_OPTIONS=()
