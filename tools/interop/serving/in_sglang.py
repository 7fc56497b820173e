# SPDX-License-Identifier: Apache-2.0
"""What SGLang's pure-torch code makes of a model; see request.py.

Runs in an environment of SGLang's without its kernels; see faults.md for what that leaves out.
"""

import os
import sys
from pathlib import Path

from request import answer, prompts, run, served

STAND_IN = str(Path(__file__).parent / "stand_in")


def main():
    options = served().parse_args()
    os.environ["SGLANG_USE_CPU_ENGINE"] = "1"
    if options.tp > 1:
        os.environ["SGLANG_CPU_OMP_THREADS_BIND"] = "|".join(map(str, range(options.tp)))
    if options.plugin:
        os.environ["SGLANG_EXTERNAL_MODEL_PACKAGE"] = "regate_serving.sglang"
    sys.path.insert(0, STAND_IN)
    os.environ["PYTHONPATH"] = f"{STAND_IN}:{os.environ.get('PYTHONPATH', '')}"
    import sglang

    engine = sglang.Engine(
        model_path=str(options.model), dtype=options.dtype, tp_size=options.tp,
        ep_size=options.tp if options.ep else 1, model_impl=options.backend,
        trust_remote_code=options.trust_remote_code, device="cpu",
        attention_backend="torch_native", sampling_backend="pytorch", grammar_backend="none",
        skip_tokenizer_init=True, disable_radix_cache=True, disable_overlap_schedule=True,
        context_length=256, max_total_tokens=4096, mem_fraction_static=0.3, log_level="error")
    made = engine.generate(
        input_ids=options.ids.tolist(), return_logprob=True, logprob_start_len=0,
        sampling_params=dict(max_new_tokens=1, temperature=0))
    losses = [-entry[0] for one in made for entry in one["meta_info"]["input_token_logprobs"][1:]]
    result = {}
    if options.greedy:
        made = engine.generate(
            input_ids=prompts(options).tolist(), sampling_params=dict(
                max_new_tokens=options.greedy, temperature=0, ignore_eos=True))
        result["greedy"] = [one["output_ids"] for one in made]
    answer(options, losses, **result)
    engine.shutdown()


if __name__ == "__main__":
    run(main)
