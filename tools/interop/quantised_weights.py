#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Quantised weights in every known layout, part by part of a model: Regate against the same values as F32.

Quantises one part of a small random model (attention, experts, head, ...) as the tools do that people
use, writes beside it the model with the values that those layouts stand for, and compares the mean NLL
of `regate capture`. Also what must be refused. Where compressed-tensors is installed, its own code
dequantises its formats.

  python3 tools/interop/quantised_weights.py --regate .build/release/regate [--only LAYOUT]

Exit code 1 where something differs. Needs torch, transformers and safetensors.
"""

import argparse
import json
import logging
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file

try:
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
except ImportError:
    BaseCompressor = None

LIMIT = 1e-6
# compressed-tensors unpacks FP4 to bfloat16 and goes on in it.
BFLOAT16 = 4e-3
BASE = dict(vocab_size=96, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64,
            initializer_range=0.2, tie_word_embeddings=False)
MODELS = {
    "qwen3": ("Qwen3Moe", BASE | dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=64, head_dim=24,
                                      num_key_value_heads=2, intermediate_size=64)),
    "deepseek": ("DeepseekV3", BASE | dict(
        num_key_value_heads=4, n_routed_experts=4, n_shared_experts=1, first_k_dense_replace=1, kv_lora_rank=32,
        q_lora_rank=64, qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=16, moe_intermediate_size=64,
        intermediate_size=96, n_group=2, topk_group=1, num_experts_per_tok=2)),
}
PARTS = {
    "attention": ("qwen3", "self_attn.", "_proj."), "latent attention": ("deepseek", "self_attn.", "_proj"),
    "experts": ("qwen3", ".experts.", ""), "shared": ("deepseek", "shared_experts.", ""),
    "dense": ("deepseek", "layers.0.mlp.", ""), "head": ("qwen3", "lm_head.", ""),
    "embedding": ("qwen3", "embed_tokens.", ""), "gate": ("qwen3", "mlp.gate.", ""),
}
FP4 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


def spread(grid, block, shape):
    """A grid of scales as one for each value."""
    whole = grid.repeat_interleave(block[0], 0).repeat_interleave(block[1], 1)
    return whole[:shape[0], :shape[1]]


def largest(value, block):
    """The largest magnitude of each block."""
    rows, columns = -(-value.shape[0] // block[0]), -(-value.shape[1] // block[1])
    padded = torch.zeros(rows * block[0], columns * block[1])
    padded[:value.shape[0], :value.shape[1]] = value.abs()
    return padded.reshape(rows, block[0], columns, block[1]).amax((1, 3)).clamp(min=1e-6)


def eight_bit(kind, block, word="weight_scale", shape=None, scale_type=torch.float32, extra=None):
    """A layout of FP8 or INT8 values: block of None is the whole matrix, 0 the whole row."""
    limit = {torch.int8: 127.0, torch.float8_e4m3fn: 448.0, torch.float8_e5m2: 57344.0}[kind]

    def layout(module, value):
        size = tuple(value.shape) if block is None else (1, value.shape[1]) if block == 0 else block
        grid = (largest(value, size) / limit).to(scale_type)
        if scale_type == torch.float8_e8m0fnu:
            grid = torch.exp2(torch.ceil(torch.log2(largest(value, size) / limit))).to(scale_type)
        whole = spread(grid.float(), size, value.shape)
        stored = value / whole
        stored = (stored.round().clamp(-127, 127) if kind == torch.int8 else stored).to(kind)
        if shape is not None:
            grid = grid.reshape(shape(grid))
        tensors = {f"{module}.weight": stored, f"{module}.{word}": grid.contiguous()}
        return tensors | {f"{module}.{key}": item for key, item in (extra or {}).items()}, stored.float() * whole

    return layout


def zero_points(module, value):
    low, high = value.amin(1, keepdim=True), value.amax(1, keepdim=True)
    scale = (high - low) / 255
    zero = (-128 - low / scale).round().clamp(-128, 127)
    stored = (value / scale + zero).round().clamp(-128, 127)
    return {f"{module}.weight": stored.to(torch.int8), f"{module}.weight_scale": scale,
            f"{module}.weight_zero_point": zero.to(torch.int8)}, (stored - zero) * scale


def llm_int8(module, value):
    largest_of_row = value.abs().amax(1)
    stored = (value / largest_of_row[:, None] * 127).round()
    return {f"{module}.weight": stored.to(torch.int8), f"{module}.SCB": largest_of_row,
            f"{module}.weight_format": torch.tensor(0, dtype=torch.uint8)}, stored * largest_of_row[:, None] / 127


def fp4(group, style):
    def layout(module, value):
        maximum = largest(value, (1, group))
        if style == "mxfp4" or style == "quark":
            exponent = torch.floor(torch.log2(maximum)) - 1
            scale, stored_scale = torch.exp2(exponent), (exponent + 127).to(torch.uint8)
        else:
            total = value.abs().max() / (6 * 448)
            stored_scale = (maximum / 6 / total).to(torch.float8_e4m3fn)
            scale = stored_scale.float() * total
        whole = spread(scale, (1, group), value.shape)
        code = ((value / whole)[..., None] - FP4).abs().argmin(-1).to(torch.uint8)
        packed = code[:, 0::2] | code[:, 1::2] << 4
        if style == "modelopt":
            tensors = {"weight": packed, "weight_scale": stored_scale, "weight_scale_2": total,
                       "input_scale": torch.tensor(0.01)}
        elif style == "compressed-tensors":
            # Stored upside down, and what stands for it is what that gives.
            whole = spread(stored_scale.float() / (1 / total), (1, group), value.shape)
            tensors = {"weight_packed": packed, "weight_scale": stored_scale, "weight_global_scale": (1 / total).reshape(1),
                       "input_global_scale": torch.tensor([100.0])}
        else:
            tensors = {"weight" if style == "quark" else "weight_packed": packed, "weight_scale": stored_scale}
        return {f"{module}.{key}": item for key, item in tensors.items()}, FP4[code.long()] * whole

    return layout


def int4(group):
    """Symmetric integers of four bits, eight in an I32; a group of 0 is the whole row."""
    def layout(module, value):
        size = (1, group or value.shape[1])
        scale = (largest(value, size) / 7.5).bfloat16()
        whole = spread(scale.float(), size, value.shape)
        code = (value / whole).round().clamp(-8, 7).int()
        packed = sum((code[:, place::8] + 8) << 4 * place for place in range(8)).int()
        return {f"{module}.weight_packed": packed, f"{module}.weight_scale": scale,
                f"{module}.weight_shape": torch.tensor(value.shape)}, code.float() * whole

    return layout


F8, I8 = torch.float8_e4m3fn, torch.int8
CT = dict(quant_method="compressed-tensors")
LAYOUTS = {
    "fp8, a scale": (eight_bit(F8, None, shape=lambda _: ()), CT | dict(format="float-quantized")),
    "fp8, weight_scale_inv and activation_scale": (
        eight_bit(F8, None, "weight_scale_inv", lambda _: (), extra=dict(activation_scale=torch.tensor(0.1))),
        dict(quant_method="fp8", activation_scheme="static", weight_block_size=None)),
    "fp8, a scale and input_scale of one value": (
        eight_bit(F8, None, shape=lambda _: (1,), extra=dict(input_scale=torch.ones(1))), CT),
    "fp8, ModelOpt with scales of a cache": (
        eight_bit(F8, None, shape=lambda _: (), extra={
            key: torch.tensor(2.0) for key in ("input_scale", "k_scale", "v_scale")}),
        dict(quant_method="modelopt", quant_algo="FP8")),
    "fp8 e5m2, a scale": (eight_bit(torch.float8_e5m2, None, shape=lambda _: ()), CT),
    "fp8, channels": (eight_bit(F8, 0, scale_type=torch.bfloat16), CT | dict(format="float-quantized")),
    "fp8, channels as [rows]": (eight_bit(F8, 0, shape=lambda grid: (grid.shape[0],)), dict(quant_method="fbgemm_fp8")),
    "fp8, blocks": (eight_bit(F8, (16, 16), "weight_scale_inv"), dict(quant_method="fp8", weight_block_size=[16, 16])),
    "fp8, odd blocks": (eight_bit(F8, (24, 20), "weight_scale_inv"), dict(quant_method="fp8", weight_block_size=[24, 20])),
    "fp8, blocks that no configuration tells": (eight_bit(F8, (32, 16)), CT | dict(format="float-quantized")),
    "fp8, blocks of a group": (eight_bit(F8, (20, 24)), CT | dict(format="float-quantized", config_groups=dict(
        group_0=dict(weights=dict(strategy="block", block_structure=[20, 24]))))),
    "mxfp8": (eight_bit(F8, (1, 32), scale_type=torch.float8_e8m0fnu), CT | dict(format="mxfp8-quantized")),
    "int8, a scale": (eight_bit(I8, None, shape=lambda _: (1,)), CT | dict(format="int-quantized")),
    "int8, channels": (eight_bit(I8, 0), CT | dict(format="int-quantized")),
    "int8, groups": (eight_bit(I8, (1, 16), scale_type=torch.bfloat16), CT | dict(format="int-quantized")),
    "int8, zero points": (zero_points, CT | dict(format="int-quantized")),
    "LLM.int8": (llm_int8, dict(quant_method="bitsandbytes", load_in_8bit=True)),
    "nvfp4, ModelOpt": (fp4(16, "modelopt"), dict(quant_method="modelopt", quant_algo="NVFP4")),
    "nvfp4, compressed-tensors": (fp4(16, "compressed-tensors"), CT | dict(format="nvfp4-pack-quantized")),
    "mxfp4, compressed-tensors": (fp4(32, "mxfp4"), CT | dict(format="mxfp4-pack-quantized")),
    "int4, groups": (int4(8), CT | dict(format="pack-quantized")),
    "int4, channels": (int4(0), CT | dict(format="pack-quantized")),
    "mxfp4, Quark": (fp4(32, "quark"), dict(quant_method="quark")),
}


def without(word, layout, replaced=None):
    def changed(module, value):
        tensors, plain = layout(module, value)
        tensors = {key: item for key, item in tensors.items() if key != f"{module}.{word}"}
        return tensors | {f"{module}.{key}": item for key, item in (replaced or {}).items()}, plain

    return changed


def pieces(**kinds):
    return lambda module, value: ({f"{module}.{key.replace('__', '.')}": item for key, item in kinds.items()}, value)


def beside(**extra):
    return lambda module, value: ({f"{module}.weight": value} | {
        f"{module}.{key.replace('__', '.')}": item for key, item in extra.items()}, value)


ONE, INTS = torch.ones(1), torch.ones(4, 4, dtype=torch.int32)
REFUSED = {
    "fp8 without a scale": without("weight_scale", LAYOUTS["fp8, a scale"][0]),
    "int8 without a scale": without("weight_scale", LAYOUTS["int8, channels"][0]),
    "two scales": without("", LAYOUTS["fp8, a scale"][0], dict(weight_scale_inv=ONE)),
    "a scale of another size": without("weight_scale", LAYOUTS["fp8, channels"][0], dict(weight_scale=torch.ones(5, 1))),
    "nvfp4 without its second scale": without("weight_scale_2", LAYOUTS["nvfp4, ModelOpt"][0]),
    "a scale beside plain values": beside(weight_scale=ONE),
    "an adapter": beside(lora_A__weight=torch.ones(2, 4), lora_B__weight=torch.ones(4, 2)),
    "an unknown scale": beside(weight_scale_3=ONE),
    "scaled inputs": beside(pre_quant_scale=torch.ones(4)),
    "GPTQ": pieces(qweight=INTS, qzeros=INTS, scales=ONE, g_idx=INTS),
    "AWQ": pieces(qweight=INTS, qzeros=INTS, scales=ONE),
    "HQQ": pieces(W_q=INTS, scale=ONE, zero=ONE),
    "packed int4 of another shape": without("weight_shape", int4(0), dict(weight_shape=torch.tensor([3, 3]))),
    "packed int4 with zero points": without("", int4(0), dict(weight_zero_point=INTS)),
    "quanto": pieces(weight___data=INTS, weight___scale=ONE, input_scale=ONE),
    "nf4": pieces(weight=torch.ones(64, 1, dtype=torch.uint8), weight__absmax=ONE, weight__quant_map=ONE,
                  weight__quant_state__bitsandbytes__nf4=INTS),
    "MLX": pieces(weight=torch.ones(64, 8, dtype=torch.uint32), scales=ONE, biases=ONE),
}


def compressed(tensors, module, config):
    """The values by compressed-tensors itself; None where it has no part in them."""
    if BaseCompressor is None or config.get("quant_method") != "compressed-tensors" or "format" not in config:
        return None
    local = {key.removeprefix(module + "."): item for key, item in tensors.items()}
    if config["format"] == "mxfp8-quantized":
        return None
    try:
        compressor = BaseCompressor.get_value_from_registry(config["format"])
        packs = config["format"] == "pack-quantized"
        args = dict(num_bits=4 if packs or "fp4" in config["format"] else 8,
                    type="int" if packs or "int" in config["format"] else "float")
        scale = local["weight_scale"]
        strategy = "tensor" if scale.numel() == 1 else "channel" if scale.dim() == 2 and scale.shape[1] == 1 else None
        if "fp4" in config["format"]:
            args |= dict(strategy="tensor_group" if "nvfp4" in config["format"] else "group",
                         group_size=16 if "nvfp4" in config["format"] else 32)
        elif packs and strategy is None:
            args |= dict(strategy="group", group_size=8)
        elif strategy is None:
            return None
        else:
            args |= dict(strategy=strategy, symmetric="weight_zero_point" not in local)
        scheme = QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(**args), format=config["format"])
        local = {key: item.float() if item.dtype == torch.bfloat16 else item for key, item in local.items()}
        return compressor.decompress(local, scheme)["weight"].float()
    except Exception as error:
        print(f"compressed-tensors, {config['format']}: {error}", file=sys.stderr)
        return None


class Bench:
    def __init__(self, root, regate):
        self.root, self.regate, self.wrong = root, regate, 0
        for name, (kind, config) in MODELS.items():
            torch.manual_seed(5)
            model = getattr(transformers, kind + "ForCausalLM")(getattr(transformers, kind + "Config")(**config))
            model.bfloat16().float().save_pretrained(root / name)
        generator = torch.Generator().manual_seed(7)
        save_file({"token_ids": torch.randint(0, 96, (4, 32), generator=generator, dtype=torch.int32)},
                  root / "ids.safetensors")

    def write(self, part, layout, config=None):
        name, *words = PARTS[part]
        source = self.root / name
        folders = self.root / "quantised", self.root / "plain"
        stored, plain, difference = {}, {}, None
        for key, value in load_file(source / "model.safetensors").items():
            stored[key] = plain[key] = value
            if value.dim() == 2 and key.endswith(".weight") and all(word in key for word in words):
                module = key.removesuffix(".weight")
                tensors, plain[key] = layout(module, value)
                del stored[key]
                stored |= tensors
                if config and (own := compressed(tensors, module, config)) is not None:
                    difference = max(difference or 0, ((own - plain[key]).norm() / plain[key].norm()).item())
        for folder, tensors in zip(folders, (stored, plain)):
            folder.mkdir(exist_ok=True)
            settings = json.loads((source / "config.json").read_text())
            if config and tensors is stored:
                settings["quantization_config"] = config
            (folder / "config.json").write_text(json.dumps(settings))
            save_file({key: value.contiguous().clone() for key, value in tensors.items()}, folder / "model.safetensors",
                      {"format": "pt"})
        return difference

    def run(self, folder):
        result = subprocess.run(
            [self.regate, "capture", self.root / folder,
             "--precision", "f32", "--calibration", self.root / "ids.safetensors", "-o",
             self.root / "out.capture", "--overwrite", "--json", "--quiet", "--threads", "1"],
            capture_output=True, text=True)
        if result.returncode == 0:
            return json.loads(result.stdout)["nll"], ""
        return None, result.stderr.strip().replace(str(self.root) + "/", "")

    def say(self, right, *words):
        self.wrong += not right
        print("ok   " if right else "WRONG", *words, sep="  ", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--regate", type=Path, required=True)
    parser.add_argument("--only", default="", help="layouts whose names have this in them")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch), args.regate.resolve())
        for name, (layout, config) in LAYOUTS.items():
            for part in PARTS if args.only in name else ():
                other = bench.write(part, layout, config)
                (nll, error), (plain, _) = bench.run("quantised"), bench.run("plain")
                if part == "gate" and "pack" in config.get("format", ""):
                    bench.say(nll is None and "the router is quantised" in error, name, part, error)
                    continue
                limit = BFLOAT16 if "fp4" in config.get("format", "") else LIMIT
                right = nll is not None and plain is not None and abs(nll - plain) <= LIMIT and (other or 0) <= limit
                figures = f"{nll:.7f} and {plain:.7f}" if nll is not None and plain is not None else error
                bench.say(right, name, part, figures, *(
                    [f"compressed-tensors differs by {other:.1e}"] if other is not None else []))
        for name, layout in REFUSED.items():
            for part in PARTS if args.only in name else ():
                bench.write(part, layout)
                nll, error = bench.run("quantised")
                bench.say(nll is None and error.startswith("regate: "), name, part, error or f"ran: {nll}")
        print(bench.wrong, "wrong")
        sys.exit(bench.wrong > 0)


if __name__ == "__main__":
    main()
