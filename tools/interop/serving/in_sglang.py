# SPDX-License-Identifier: Apache-2.0
"""What SGLang's pure-torch code makes of a model: NLL of token ids, as one JSON object.

    python tools/interop/serving/in_sglang.py MODEL IDS.npy OUT.json [--dtype bfloat16] [--plugin]

Runs in an environment of SGLang's without its kernels; see faults.md for what that leaves out.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np

STAND_IN = str(Path(__file__).parent / "stand_in")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("ids")
    parser.add_argument("output")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--plugin", action="store_true")
    parser.add_argument("--trust-remote-code", action="store_true")
    options = parser.parse_args()
    os.environ["SGLANG_USE_CPU_ENGINE"] = "1"
    if options.plugin:
        os.environ["SGLANG_EXTERNAL_MODEL_PACKAGE"] = "regate_serving.sglang"
    sys.path.insert(0, STAND_IN)
    os.environ["PYTHONPATH"] = f"{STAND_IN}:{os.environ.get('PYTHONPATH', '')}"
    import sglang

    engine = sglang.Engine(
        model_path=options.model, dtype=options.dtype, trust_remote_code=options.trust_remote_code,
        device="cpu", attention_backend="torch_native", sampling_backend="pytorch",
        grammar_backend="none", skip_tokenizer_init=True, disable_radix_cache=True,
        disable_overlap_schedule=True, context_length=256, max_total_tokens=4096,
        mem_fraction_static=0.3, log_level="error")
    made = engine.generate(
        input_ids=np.load(options.ids).tolist(), return_logprob=True, logprob_start_len=0,
        sampling_params=dict(max_new_tokens=1, temperature=0))
    values = [-entry[0] for one in made for entry in one["meta_info"]["input_token_logprobs"][1:]]
    Path(options.output).write_text(json.dumps({"nll": float(np.mean(values))}))
    engine.shutdown()


if __name__ == "__main__":
    main()
