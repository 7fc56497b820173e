#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes a model of random weights with the layer shapes of a published one, for speed measurements.

A folder as transformers saves its class, in BF16, with a byte-level BPE tokenizer that is trained on the given
text, and `text.txt`: as much of that text as makes the asked number of tokens. `--layers` is the number of layers
of the family's kind of mixer; where it has two kinds, one of full attention comes behind them, and GPT-OSS has both
for each. So the difference of two models tells what a layer of the kind takes. With --llama-source and --llama-bin
also `model-Q4_K_M.gguf`, by llama.cpp's converter and `llama-quantize`.
Needs torch, transformers, tokenizers and, for GGUF, gguf.

  python3 tools/bench/random_moe.py qwen3 bench2 --layers 2 --text Sources --tokens 16640 \\
    --llama-source llama.cpp --llama-bin llama.cpp/build/bin
"""
import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

ROPE = dict(rope_type="default", rope_theta=1_000_000.0)
# Small: what is measured is the difference of layers.
VOCABULARY = dict(vocab_size=32_768, bos_token_id=None, eos_token_id=None, pad_token_id=None)


def behind(kind, count):
    return dict(num_hidden_layers=count + 1, layer_types=[kind] * count + ["full_attention"])


# Class, and configuration for a number of layers; what is not said is the class's own, a published model's.
FAMILIES = {
    # Qwen3-30B-A3B
    "qwen3": ("Qwen3Moe", lambda count: dict(
        num_hidden_layers=count, vocab_size=151_936, head_dim=128, norm_topk_prob=True, rope_parameters=ROPE)),
    # Qwen3.5-35B-A3B: gated delta nets
    "qwen3-5": ("Qwen3_5MoeText", lambda count: behind("linear_attention", count) | dict(
        rope_parameters=ROPE | dict(partial_rotary_factor=0.25))),
    # gpt-oss-20b: attention sinks; a layer with a window and one without
    "gpt-oss": ("GptOss", lambda count: dict(
        num_hidden_layers=2 * count, num_local_experts=32, layer_types=["sliding_attention", "full_attention"] * count,
        rope_parameters=ROPE | dict(rope_theta=150_000.0))),
    # GLM-4.7-Flash: latent attention
    "glm4-lite": ("Glm4MoeLite", lambda count: dict(
        num_hidden_layers=count, mlp_layer_types=["sparse"] * count, rope_parameters=ROPE)),
    # Gemma-4 with 128 experts: attention with a window, a dense branch beside the experts
    "gemma4": ("Gemma4Text", lambda count: behind("sliding_attention", count) | dict(
        hidden_size=2816, intermediate_size=2112, num_attention_heads=16, num_key_value_heads=8, head_dim=256,
        global_head_dim=512, num_global_key_value_heads=2, attention_k_eq_v=True, sliding_window=1024,
        hidden_size_per_layer_input=0, enable_moe_block=True, num_experts=128, top_k_experts=8,
        moe_intermediate_size=704, final_logit_softcapping=30.0, rope_parameters=dict(
            sliding_attention=ROPE | dict(rope_theta=10_000.0), full_attention=dict(
                rope_type="proportional", rope_theta=1_000_000.0, partial_rotary_factor=0.25)))),
}


def write_model(family, folder, layers, seed):
    name, configuration = FAMILIES[family]
    config = getattr(transformers, name + "Config")(**VOCABULARY | configuration(layers))
    torch.manual_seed(seed)
    # The classes' own start: about 1 / sqrt(hidden), so that activations keep their size.
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    for value in [*model.parameters(), *model.buffers()]:
        if not torch.isfinite(value).all():
            sys.exit("the class leaves parameters without a value")
    model.save_pretrained(folder, max_shard_size="2GB")


def read_text(paths):
    files = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*.swift")))]
    return "\n".join(file.read_text() for file in files)


def write_tokenizer(folder, text, tokens):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(text.splitlines(keepends=True), trainers.BpeTrainer(
        vocab_size=4096, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    encoding = tokenizer.encode(text)
    if len(encoding.ids) < tokens:
        sys.exit(f"the text has {len(encoding.ids)} tokens, fewer than {tokens}")
    (folder / "text.txt").write_text(text[:encoding.offsets[tokens - 1][1]])


def write_gguf(folder, source, binaries):
    converter = Path(__file__).parent.parent / "fixtures" / "convert_gguf.py"
    whole, quantised = folder / "model-BF16.gguf", folder / "model-Q4_K_M.gguf"
    subprocess.run([sys.executable, converter, source, folder, "--outtype", "bf16", "--outfile", whole], check=True)
    subprocess.run([binaries / "llama-quantize", whole, quantised, "Q4_K_M"], check=True)
    whole.unlink()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", choices=FAMILIES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--text", type=Path, nargs="+", required=True, help="files, or folders of Swift sources")
    parser.add_argument("--tokens", type=int, default=16384)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--llama-source", type=Path)
    parser.add_argument("--llama-bin", type=Path)
    parser.add_argument("--gguf-only", action="store_true", help="convert a model that was made before")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if not options.gguf_only:
        write_tokenizer(options.folder, read_text(options.text), options.tokens)
        write_model(options.family, options.folder, options.layers, options.seed)
    if options.llama_source and options.llama_bin:
        write_gguf(options.folder, options.llama_source, options.llama_bin)


if __name__ == "__main__":
    main()
