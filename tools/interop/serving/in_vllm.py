# SPDX-License-Identifier: Apache-2.0
"""What vLLM makes of a model, with the counts of the experts that it chose; see request.py.

Runs in an environment of vLLM's. Every sequence is a batch of its own, so that the batches whose
experts are counted are told by their length.
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
# One process less, and for one rank a single one.
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
# The worker's module has to be found in every process.
os.environ["PYTHONPATH"] = f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}"
sys.path.insert(0, str(Path(__file__).parent))

from request import answer, prompts, run, served  # noqa: E402


def losses(outputs):
    return [-position[token].logprob for output in outputs
            for token, position in zip(output.prompt_token_ids[1:], output.prompt_logprobs[1:])]


def limits(model):
    """What vLLM's CPU code needs to be told of latent attention; see faults.md."""
    config = json.loads((model / "config.json").read_text())
    latent = config.get("kv_lora_rank")
    if not latent:
        return {}
    if latent + config["qk_rope_head_dim"] != 576:
        os.environ["VLLM_MLA_DISABLE"] = "1"
    return {"compilation_config": {"custom_ops": ["-rotary_embedding"]}}


def generate(llm, rows, tokens, **keys):
    from vllm import SamplingParams

    return llm.generate(
        [{"prompt_token_ids": row} for row in rows], use_tqdm=False, sampling_params=SamplingParams(
            max_tokens=tokens, temperature=0, ignore_eos=True, detokenize=False, **keys))


def prepare():
    """Imports what every request needs, and has workers forked: vLLM starts a CPU's anew, each of
    which would import all of this again."""
    import multiprocessing

    import vllm.v1.engine.llm_engine
    import vllm.v1.executor.multiproc_executor as executor
    import vllm.v1.worker.cpu_worker  # noqa: F401

    import worker  # noqa: F401

    executor.get_mp_context = lambda: multiprocessing.get_context("fork")


def main():
    parser = served()
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    extra = limits(options.model)
    if not options.plugin:
        os.environ["VLLM_PLUGINS"] = ""
    from vllm import LLM

    llm = LLM(
        str(options.model), dtype=options.dtype, tensor_parallel_size=options.tp,
        enable_expert_parallel=options.ep, enforce_eager=not options.compile,
        model_impl=options.backend, trust_remote_code=options.trust_remote_code,
        max_model_len=256, max_num_seqs=8, enable_prefix_caching=False, skip_tokenizer_init=True,
        distributed_executor_backend="uni" if options.tp == 1 else "mp",
        worker_extension_cls="worker.Extension", disable_log_stats=True, **extra)
    llm.collective_rpc("count", args=([options.ids.shape[1]],))
    outputs = [made for row in options.ids.tolist()
               for made in generate(llm, [row], 1, prompt_logprobs=0)]
    result = {"losses": losses(outputs), "counts": llm.collective_rpc("counted")[0]}
    llm.collective_rpc("count", args=([],))
    if options.greedy:
        made = generate(llm, prompts(options).tolist(), options.greedy)
        result["greedy"] = [list(output.outputs[0].token_ids) for output in made]
    answer(options, **result)


if __name__ == "__main__":
    run(main, prepare)
