#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Small language models of newer families, trained until their routers are imbalanced, for trade.py.

    train_families.py text FOLDER
    train_families.py train FOLDER NAME... [--minutes 3] [--device cuda]

`text` makes what all models share from this machine's Python library and manual pages: a byte-level
BPE of 4,096 tokens, training tokens, and of documents kept apart from those two sets, general (both
kinds of text) and python: {SET}-{calibration,heldout}.npy, int32 [sequences, 128]. `train` trains
models of transformers' classes side by side, without an auxiliary loss, for the time given: the
learning rate follows the clock, so that a faster device does more steps. Each is written to
FOLDER/NAME as transformers saves it, bfloat16, with the sets beside it: trade.py takes FOLDER.

Two trainings differ: what is compared on these models is before and after, on the same weights.
"""

import argparse
import json
import math
import multiprocessing
import pathlib
import shutil
import sys
import time

import numpy as np
import torch
import transformers

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "fixtures"))
import train_tiny as tiny  # noqa: E402

VOCABULARY, CONTEXT, BATCH, SEED = 4096, 128, 64, 20261127
ROPE = dict(rope_type="default", rope_theta=10000.0)
BASE = dict(
    vocab_size=VOCABULARY, hidden_size=160, intermediate_size=384, moe_intermediate_size=64, num_hidden_layers=4,
    num_attention_heads=5, num_key_value_heads=1, head_dim=32, num_experts_per_tok=4, max_position_embeddings=1024,
    rope_parameters=ROPE, tie_word_embeddings=False, bos_token_id=None, eos_token_id=None, pad_token_id=None)
# Name: class, configuration, step of DeepSeek's rule for the selection bias, if it has one. The rule
# is slow here: it leaves imbalance, as the published models have it on text unlike their own.
MODELS = {
    "glm4": ("Glm4Moe", BASE | dict(
        n_routed_experts=32, n_shared_experts=1, first_k_dense_replace=1, num_hidden_layers=5, use_qk_norm=True,
        n_group=1, topk_group=1, routed_scaling_factor=1.0, norm_topk_prob=True,
        rope_parameters=ROPE | dict(partial_rotary_factor=0.5)), 5e-5),
    "minimax": ("MiniMaxM2", BASE | dict(
        num_local_experts=32, intermediate_size=64, rotary_dim=16,
        rope_parameters=ROPE | dict(partial_rotary_factor=0.5)), 5e-5),
    "gpt-oss": ("GptOss", BASE | dict(
        num_local_experts=32, intermediate_size=64, sliding_window=64,
        layer_types=["sliding_attention", "full_attention"] * 2, rope_parameters=dict(
            rope_type="yarn", rope_theta=10000.0, factor=8.0, original_max_position_embeddings=128,
            beta_fast=32.0, beta_slow=1.0, truncate=False)), 0),
    "qwen3-5": ("Qwen3_5MoeText", BASE | dict(
        num_experts=32, shared_expert_intermediate_size=64, linear_num_key_heads=2, linear_num_value_heads=4,
        linear_key_head_dim=32, linear_value_head_dim=32,
        layer_types=["linear_attention"] * 3 + ["full_attention"],
        rope_parameters=ROPE | dict(partial_rotary_factor=0.5)), 0),
    "gemma4": ("Gemma4Text", {key: value for key, value in BASE.items() if key != "num_experts_per_tok"} | dict(
        intermediate_size=64, num_experts=32, top_k_experts=4, enable_moe_block=True, global_head_dim=64,
        num_global_key_value_heads=1, attention_k_eq_v=True, sliding_window=64, hidden_size_per_layer_input=0,
        final_logit_softcapping=30.0, layer_types=["sliding_attention"] * 3 + ["full_attention"],
        tie_word_embeddings=True, rope_parameters=dict(
            sliding_attention=ROPE, full_attention=dict(
                rope_type="proportional", rope_theta=10000.0, partial_rotary_factor=0.5))), 0),
}


# ---------------------------------------------------------------- text


def make_text(folder):
    """Of each kind of text 12 MB, of which one document in twenty is kept apart."""
    tiny.CORPUS_BYTES, tiny.VOCABULARY = 12_000_000, VOCABULARY
    training, apart = tiny.corpus()
    tokenizer = tiny.train_tokenizer(training)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    np.save(folder / "training.npy", tiny.stream(tokenizer, training).numpy().astype(np.uint16))
    python = [text for text in apart if "\ndef " in text or "\nimport " in text]
    for name, texts in (("general", apart), ("python", python)):
        # Calibration and held-out text come from different documents.
        for part, (kept, rows) in {"calibration": (texts[::3] + texts[1::3], 256), "heldout": (texts[2::3], 96)}.items():
            ids = tiny.stream(tokenizer, kept).numpy()
            whole = ids[:len(ids) // CONTEXT * CONTEXT].reshape(-1, CONTEXT)
            if len(whole) < rows:
                sys.exit(f"{name}-{part}: {len(whole)} sequences, {rows} are needed: too little text on this machine")
            chosen = np.random.default_rng(SEED).permutation(len(whole))[:rows]
            np.save(folder / f"{name}-{part}.npy", whole[np.sort(chosen)].astype(np.int32))


# ---------------------------------------------------------------- training


def all_experts(module, x, index, weights):
    """Every expert on every token: small experts on a GPU are faster so, and gradients are the same."""
    shares = torch.zeros(len(index), len(module.gate_up_proj), device=x.device).scatter(1, index, weights.float())
    if hasattr(module, "gate_up_proj_bias"):  # GPT-OSS: columns first, biases, a function of its own
        both = torch.einsum("th,ehi->eti", x, module.gate_up_proj) + module.gate_up_proj_bias[:, None]
        inner = module._apply_gate(both)
        out = torch.einsum("eti,eih->eth", inner, module.down_proj) + module.down_proj_bias[:, None]
    else:
        both = torch.einsum("th,eih->eti", x, module.gate_up_proj)
        gate, up = both.chunk(2, -1)
        out = torch.einsum("eti,ehi->eth", module.act_fn(gate) * up, module.down_proj)
    return torch.einsum("eth,te->th", out, shares)


def routers(model):
    """The modules that choose, by layer."""
    return {int(name.split("layers.")[1].split(".")[0]): module for name, module in model.named_modules()
            if type(module).__name__.lower().endswith("router") and "layers." in name}


def biases(model):
    """The selection bias of each layer that has one."""
    return {int(name.split("layers.")[1].split(".")[0]): value for name, value in
            list(model.named_buffers()) + list(model.named_parameters()) if name.endswith("e_score_correction_bias")}


def build(name, device):
    torch.manual_seed(SEED)
    kind, values, _ = MODELS[name]
    config = getattr(transformers, kind + "Config")(**values)
    config._attn_implementation = "eager"
    config._experts_implementation = "eager"
    model = getattr(transformers, kind.removesuffix("Text") + "ForCausalLM")(config).float()
    for module in model.modules():
        if hasattr(module, "gate_up_proj") and module.gate_up_proj.ndim == 3:
            module.forward = all_experts.__get__(module)
    for router in routers(model).values():
        gate = router.proj if hasattr(router, "proj") else router
        torch.nn.init.normal_(gate.weight, std=0.05)
    return model.to(device)


def rate_at(progress):
    """Warm-up over 5 %, then a cosine to 0."""
    return min(1, progress / 0.05) * 0.5 * (1 + math.cos(math.pi * min(1, progress)))


def loss_of(model, rows):
    logits = model(input_ids=rows, use_cache=False).logits[:, :-1]
    return torch.nn.functional.cross_entropy(logits.reshape(-1, VOCABULARY).float(), rows[:, 1:].reshape(-1))


def train(folder, name, minutes, device):
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("high")
    model = build(name, device)
    loads = {}

    def count(layer):
        def hook(_, inputs, outputs):
            loads[layer] = torch.bincount(outputs[2].reshape(-1), minlength=32)
        return hook

    for layer, router in routers(model).items():
        router.register_forward_hook(count(layer))
    ids = torch.from_numpy(np.load(folder / "training.npy").astype(np.int64)).to(device)
    heldout = torch.from_numpy(np.load(folder / "general-heldout.npy").astype(np.int64)).to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.05)
    generator = torch.Generator().manual_seed(SEED)
    offsets = torch.arange(CONTEXT, device=device)
    speed, bias = MODELS[name][2], biases(model)
    began, step, progress = time.monotonic(), 0, 0.0
    while progress < 1:
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * rate_at(progress)
        start = torch.randint(len(ids) - CONTEXT, (BATCH, 1), generator=generator).to(device)
        loss = loss_of(model, ids[start + offsets])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        for layer, value in bias.items():
            load = loads[layer].float()
            value.data += speed * torch.sign(load.mean() - load)
        step += 1
        if step % 200 == 0:
            balance = {layer: round(tiny.gini(load.tolist()), 2) for layer, load in loads.items()}
            print(f"{name} step {step} loss {loss.item():.3f} Gini {balance}", flush=True)
        progress = (time.monotonic() - began) / (60 * minutes)
    save(model, folder, name)
    with torch.no_grad():
        nll = loss_of(model.float(), heldout).item()
    print(f"{name}: {step} steps, held-out NLL {nll:.4f}, "
          f"Gini {({layer: round(tiny.gini(load.tolist()), 3) for layer, load in loads.items()})}", flush=True)


def save(model, folder, name):
    kept = {layer: value.detach().clone() for layer, value in biases(model).items()}
    model.to(torch.bfloat16)
    for layer, value in biases(model).items():
        value.data = kept[layer].float()  # as published
    model.save_pretrained(folder / name)
    (folder / name / "generation_config.json").unlink(missing_ok=True)
    for shared in ("tokenizer.json", *(f"{part}-{half}.npy" for part in ("general", "python")
                                       for half in ("calibration", "heldout"))):
        shutil.copy(folder / shared, folder / name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("text").add_argument("folder", type=pathlib.Path)
    training = commands.add_parser("train")
    training.add_argument("folder", type=pathlib.Path)
    training.add_argument("names", nargs="+", choices=MODELS)
    training.add_argument("--minutes", type=float, default=3)
    training.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    if options.command == "text":
        return make_text(options.folder)
    context = multiprocessing.get_context("spawn")
    runs = [context.Process(target=train, args=(options.folder, name, options.minutes, options.device))
            for name in options.names]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    return max(abs(run.exitcode) for run in runs)


if __name__ == "__main__":
    sys.exit(main())
