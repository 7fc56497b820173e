# SPDX-License-Identifier: Apache-2.0
"""What vLLM makes of a model: NLL of token ids, chosen experts, greedy text; as one JSON object.

    python tools/interop/serving/in_vllm.py MODEL IDS.npy OUT.json [--dtype bfloat16] [--tp 2] ...

Runs in an environment of vLLM's. Every sequence is a batch of its own, so that the batches whose
experts are counted are told by their length.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
# One process less, and for one rank a single one.
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
# The worker's module has to be found in every process.
os.environ["PYTHONPATH"] = f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}"
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("ids")
    parser.add_argument("output")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--tp", type=int, default=1)
    parser.add_argument("--ep", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--backend", default="auto", choices=["auto", "vllm", "transformers"])
    parser.add_argument("--trust-remote-code", action="store_true")
    parser.add_argument("--no-plugin", action="store_true")
    parser.add_argument("--greedy", type=int, default=0, help="tokens to add to 8 prompts")
    return parser.parse_args()


def nll(outputs):
    values = [-position[token].logprob for output in outputs
              for token, position in zip(output.prompt_token_ids[1:], output.prompt_logprobs[1:])]
    return float(np.mean(values))


def main():
    options = arguments()
    ids = np.load(options.ids)
    config = json.loads((Path(options.model) / "config.json").read_text())
    extra = {}
    if latent := config.get("kv_lora_rank"):
        # Limits of vLLM's CPU code; see faults.md.
        extra["compilation_config"] = {"custom_ops": ["-rotary_embedding"]}
        if latent + config["qk_rope_head_dim"] != 576:
            os.environ["VLLM_MLA_DISABLE"] = "1"
    if options.no_plugin:
        os.environ["VLLM_PLUGINS"] = ""
    from vllm import LLM, SamplingParams

    llm = LLM(
        options.model, dtype=options.dtype, tensor_parallel_size=options.tp,
        enable_expert_parallel=options.ep, enforce_eager=not options.compile,
        model_impl=options.backend, trust_remote_code=options.trust_remote_code,
        max_model_len=256, max_num_seqs=8, enable_prefix_caching=False, skip_tokenizer_init=True,
        distributed_executor_backend="uni" if options.tp == 1 else "mp",
        worker_extension_cls="worker.Extension", disable_log_stats=True, **extra)
    llm.collective_rpc("count", args=([ids.shape[1]],))
    start, outputs = time.time(), []
    for row in ids.tolist():
        outputs += llm.generate(
            [{"prompt_token_ids": row}], use_tqdm=False, sampling_params=SamplingParams(
                max_tokens=1, temperature=0, prompt_logprobs=0, detokenize=False))
    result = {"nll": nll(outputs), "seconds": round(time.time() - start, 1),
              "counts": llm.collective_rpc("counted")[0]}
    llm.collective_rpc("count", args=([],))
    if options.greedy:
        prompts = [{"prompt_token_ids": row[:16]} for row in ids[:8].tolist()]
        greedy = SamplingParams(max_tokens=options.greedy, temperature=0, ignore_eos=True,
                                detokenize=False)
        made = llm.generate(prompts, use_tqdm=False, sampling_params=greedy)
        result["greedy"] = [list(output.outputs[0].token_ids) for output in made]
    Path(options.output).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
