# SPDX-License-Identifier: Apache-2.0
"""What transformers makes of a model: NLL of token ids, greedy text, as one JSON object.

    python tools/interop/serving/in_transformers.py MODEL IDS.npy OUT.json [--dtype bfloat16]
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("ids")
    parser.add_argument("output")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--trust-remote-code", action="store_true")
    parser.add_argument("--greedy", type=int, default=0, help="tokens to add to 8 prompts")
    options = parser.parse_args()
    model = AutoModelForCausalLM.from_pretrained(
        options.model, dtype=getattr(torch, options.dtype),
        trust_remote_code=options.trust_remote_code).eval()
    ids = torch.tensor(np.load(options.ids).astype(np.int64))
    with torch.inference_mode():
        logits = torch.cat([model(row).logits[:, :-1].float() for row in ids.split(8)])
        losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        result = {"nll": losses.item()}
        if options.greedy:
            made = model.generate(ids[:8, :16], max_new_tokens=options.greedy, do_sample=False,
                                  eos_token_id=None, pad_token_id=0)
            result["greedy"] = made[:, 16:].tolist()
    Path(options.output).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
