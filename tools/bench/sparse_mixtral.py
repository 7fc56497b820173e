#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes a checkpoint with the names, shapes, dtypes and shards of Mixtral-8x7B out of sparse files.

About 93 GB apparent, a few MB on disk: all tensor bytes are holes. For measuring what `inspect` and
`convert --dry-run` cost on a real header, without the weights. Python's standard library only.

  python3 tools/bench/sparse_mixtral.py /tmp/sparse-mixtral
  /usr/bin/time -v .build/release/regate inspect /tmp/sparse-mixtral
"""
import json
import os
import struct
import sys

LAYERS, EXPERTS, HIDDEN, WIDTH, VOCAB, KV = 32, 8, 4096, 14336, 32000, 1024
SHARD_BYTES = 5_000_000_000


def tensors():
    yield "model.embed_tokens.weight", [VOCAB, HIDDEN]
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        for name, rows in (("q", HIDDEN), ("k", KV), ("v", KV), ("o", HIDDEN)):
            yield f"{prefix}self_attn.{name}_proj.weight", [rows, HIDDEN]
        yield f"{prefix}block_sparse_moe.gate.weight", [EXPERTS, HIDDEN]
        for expert in range(EXPERTS):
            for name, shape in (("w1", [WIDTH, HIDDEN]), ("w2", [HIDDEN, WIDTH]), ("w3", [WIDTH, HIDDEN])):
                yield f"{prefix}block_sparse_moe.experts.{expert}.{name}.weight", shape
        yield f"{prefix}input_layernorm.weight", [HIDDEN]
        yield f"{prefix}post_attention_layernorm.weight", [HIDDEN]
    yield "model.norm.weight", [HIDDEN]
    yield "lm_head.weight", [VOCAB, HIDDEN]


def size(shape):
    return 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)


def shards():
    current, total = [], 0
    for name, shape in tensors():
        if current and total + size(shape) > SHARD_BYTES:
            yield current
            current, total = [], 0
        current.append((name, shape))
        total += size(shape)
    yield current


def write_shard(path, entries):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in entries:
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size(shape)]}
        offset += size(shape)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + offset)
    return offset


def main():
    folder = sys.argv[1]
    os.makedirs(folder)
    groups, weight_map, total = list(shards()), {}, 0
    for number, entries in enumerate(groups, 1):
        name = f"model-{number:05}-of-{len(groups):05}.safetensors"
        total += write_shard(os.path.join(folder, name), entries)
        weight_map.update({tensor: name for tensor, _ in entries})
    with open(os.path.join(folder, "model.safetensors.index.json"), "w") as file:
        json.dump({"metadata": {"total_size": total}, "weight_map": weight_map}, file, indent=2)
    config = {
        "architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "hidden_size": HIDDEN,
        "intermediate_size": WIDTH, "num_attention_heads": 32, "num_key_value_heads": 8,
        "num_hidden_layers": LAYERS, "num_local_experts": EXPERTS, "num_experts_per_tok": 2,
        "rms_norm_eps": 1e-5, "rope_theta": 1e6, "torch_dtype": "bfloat16", "vocab_size": VOCAB,
    }
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(config, file, indent=2)
    print(f"{len(groups)} shards, {total:,} bytes of tensors")


if __name__ == "__main__":
    main()
