#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes a model of random weights with the layer shapes of Qwen3-30B-A3B, for speed measurements.

A folder with BF16 safetensors (3.7 GB for two layers), a byte-level BPE tokenizer that is trained on
the given text, and `text.txt`: as much of that text as makes the asked number of tokens. Weights are
scaled so that activations keep their size from layer to layer and routers spread their tokens.
With --llama-source and --llama-bin also `model-Q4_K_M.gguf`, by llama.cpp's converter and
`llama-quantize`. Needs torch, safetensors, tokenizers, numpy and, for GGUF, transformers and gguf.

  python3 tools/bench/random_qwen3_moe.py /tmp/bench --text Sources --tokens 16384 \\
    --llama-source llama.cpp --llama-bin llama.cpp/build/bin
"""
import argparse
import json
import math
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

HIDDEN, EXPERTS, WIDTH, TOP_K, HEADS, KV_HEADS, HEAD, VOCABULARY = 2048, 128, 768, 8, 32, 4, 128, 151936


def normal(generator, rows, columns, scale):
    values = torch.empty(rows, columns).normal_(generator=generator)
    return (values * scale).to(torch.bfloat16)


def layer_tensors(layer, generator):
    prefix = f"model.layers.{layer}."

    def linear(rows, columns, gain=1.0):
        return normal(generator, rows, columns, gain / math.sqrt(columns))

    ones = torch.ones(HIDDEN, dtype=torch.bfloat16)
    tensors = {
        "input_layernorm.weight": ones, "post_attention_layernorm.weight": ones.clone(),
        "self_attn.q_proj.weight": linear(HEADS * HEAD, HIDDEN),
        "self_attn.k_proj.weight": linear(KV_HEADS * HEAD, HIDDEN),
        "self_attn.v_proj.weight": linear(KV_HEADS * HEAD, HIDDEN),
        "self_attn.o_proj.weight": linear(HIDDEN, HEADS * HEAD),
        "self_attn.q_norm.weight": torch.ones(HEAD, dtype=torch.bfloat16),
        "self_attn.k_norm.weight": torch.ones(HEAD, dtype=torch.bfloat16),
        "mlp.gate.weight": linear(EXPERTS, HIDDEN, 2.0),
    }
    for expert in range(EXPERTS):
        stem = f"mlp.experts.{expert}."
        tensors[stem + "gate_proj.weight"] = linear(WIDTH, HIDDEN)
        tensors[stem + "up_proj.weight"] = linear(WIDTH, HIDDEN)
        tensors[stem + "down_proj.weight"] = linear(HIDDEN, WIDTH)
    return {prefix + name: tensor for name, tensor in tensors.items()}


def write_model(folder, layers, seed):
    generator = torch.Generator().manual_seed(seed)
    names = {}
    for number in range(layers + 2):
        if number == 0:
            tensors = {"model.embed_tokens.weight": normal(generator, VOCABULARY, HIDDEN, 1.0)}
        elif number <= layers:
            tensors = layer_tensors(number - 1, generator)
        else:
            tensors = {"model.norm.weight": torch.ones(HIDDEN, dtype=torch.bfloat16),
                       "lm_head.weight": normal(generator, VOCABULARY, HIDDEN, 1 / math.sqrt(HIDDEN))}
        file = f"model-{number + 1:05}-of-{layers + 2:05}.safetensors"
        save_file(tensors, folder / file, metadata={"format": "pt"})
        names.update({name: file for name in tensors})
    index = {"metadata": {"total_size": 0}, "weight_map": names}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
    config = dict(
        architectures=["Qwen3MoeForCausalLM"], model_type="qwen3_moe", attention_bias=False, head_dim=HEAD,
        hidden_act="silu", hidden_size=HIDDEN, intermediate_size=6144, max_position_embeddings=40960,
        mlp_only_layers=[], decoder_sparse_step=1, moe_intermediate_size=WIDTH, norm_topk_prob=True,
        num_attention_heads=HEADS, num_experts=EXPERTS, num_experts_per_tok=TOP_K, num_hidden_layers=layers,
        num_key_value_heads=KV_HEADS, rms_norm_eps=1e-6, rope_theta=1000000.0, tie_word_embeddings=False,
        torch_dtype="bfloat16", use_sliding_window=False, vocab_size=VOCABULARY, bos_token_id=None,
        eos_token_id=None)
    (folder / "config.json").write_text(json.dumps(config, indent=2))


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
        write_model(options.folder, options.layers, options.seed)
    if options.llama_source and options.llama_bin:
        write_gguf(options.folder, options.llama_source, options.llama_bin)


if __name__ == "__main__":
    main()
