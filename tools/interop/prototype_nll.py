#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Mean NLL of an original and of prototype outputs on token ids [S,L], in transformers on the CPU.

    prototype_nll.py ORIGINAL IDS.npy [PATCHED...] [--sequences N]

Weights as stored, arithmetic in Float32, every shifted position.
"""

import argparse

import numpy as np
import torch
from transformers import AutoModelForCausalLM


def mean_nll(folder, ids):
    model = AutoModelForCausalLM.from_pretrained(
        folder, trust_remote_code=True, dtype=torch.float32).eval()
    total = 0.0
    with torch.no_grad():
        for row in ids:  # equal lengths: the mean of means is the mean
            total += model(input_ids=row[None], labels=row[None]).loss.item()
    return total / len(ids)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("original")
    parser.add_argument("ids")
    parser.add_argument("prototype", nargs="*")
    parser.add_argument("--sequences", type=int)
    options = parser.parse_args()
    torch.set_num_threads(1)
    ids = torch.tensor(np.load(options.ids).astype(np.int64))[: options.sequences]
    original = mean_nll(options.original, ids)
    print(f"{ids.numel()} tokens\noriginal {original:.6f}")
    for folder in options.prototype:
        nll = mean_nll(folder, ids)
        print(f"{folder}: {nll:.6f} ({nll - original:+.4f})")


if __name__ == "__main__":
    main()
