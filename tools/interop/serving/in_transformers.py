# SPDX-License-Identifier: Apache-2.0
"""What transformers makes of a model; see request.py."""

import torch
from request import PROMPT, PROMPTS, answer, parser, run
from transformers import AutoModelForCausalLM


def main():
    arguments = parser()
    arguments.add_argument("--device", default="cpu")
    options = arguments.parse_args()
    model = AutoModelForCausalLM.from_pretrained(
        options.model, dtype=getattr(torch, options.dtype),
        trust_remote_code=options.trust_remote_code).eval().to(options.device)
    ids, result = torch.tensor(options.ids).long().to(options.device), {}
    with torch.inference_mode():
        logits = torch.cat([model(row).logits[:, :-1].float() for row in ids.split(8)])
        losses = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        if options.greedy:
            made = model.generate(
                ids[:PROMPTS, :PROMPT], max_new_tokens=options.greedy,
                do_sample=False, eos_token_id=None, pad_token_id=0)
            result["greedy"] = made[:, PROMPT:].tolist()
    answer(options, losses.tolist(), **result)


if __name__ == "__main__":
    run(main)
