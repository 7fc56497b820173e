# SPDX-License-Identifier: Apache-2.0
"""Every family converted from captures: outputs load in transformers, whose routers then choose as
`regate validate` says.

Run on demand: `REGATE=.build/release/regate pytest tools/interop/test_families.py`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

sys.path.insert(0, str(Path(__file__).resolve().parent))
import test_capture as models  # noqa: E402

REGATE = os.environ.get("REGATE", str(Path(__file__).resolve().parents[2] / ".build/release/regate"))
ROWS, LENGTH = 40, 100

models.FAMILIES.update({
    "phimoe": (transformers.PhimoeConfig, dict(num_local_experts=8)),
    "granitemoe": (transformers.GraniteMoeConfig, dict(num_local_experts=8, num_experts_per_tok=3)),
    "granitemoeshared": (transformers.GraniteMoeSharedConfig, dict(
        num_local_experts=8, num_experts_per_tok=3, shared_intermediate_size=24)),
    "minimax_m2": (transformers.MiniMaxM2Config, dict(
        num_local_experts=8, num_experts_per_tok=3, head_dim=8, rotary_dim=4)),
    "ernie4_5_moe": (transformers.Ernie4_5_MoeConfig, dict(
        moe_intermediate_size=24, moe_num_experts=8, moe_k=3, moe_num_shared_experts=1)),
    "dots1": (transformers.Dots1Config, dict(
        moe_intermediate_size=24, n_routed_experts=8, num_experts_per_tok=3, n_shared_experts=1,
        first_k_dense_replace=1, n_group=1, topk_group=1, num_key_value_heads=4,
        layer_types=["full_attention"] * 3)),
})


def regate(*arguments):
    done = subprocess.run([REGATE, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


REFUSED = {"gpt_oss"}  # Its routers have a bias on their logits.


@pytest.fixture(scope="module", params=[name for name in models.FAMILIES if name not in REFUSED])
def converted(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    model = models.make_model(request.param, folder / "model")
    random = np.random.default_rng(3)
    # Few words are many of the tokens, as in text: load is far from even.
    ids = random.zipf(1.3, (ROWS, LENGTH)) % models.VOCABULARY
    for name, part in (("fit", ids[: ROWS // 2]), ("judge", ids[ROWS // 2 :])):
        np.save(folder / f"{name}.npy", part.astype(np.int32))
        assert models.run_capture(folder / "model", folder / f"{name}.npy", "-o",
                                  folder / f"{name}.safetensors") == 0
    report = json.loads(regate(
        "convert", folder / "model", "--router", "stock", "--calibration",
        folder / "fit.safetensors", "--output", folder / "stock", "--json"))
    return model, folder, ids, report


def loaded(folder):
    patched, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"], info
    assert not info["mismatched_keys"]
    return patched.eval()


def load(choices, experts):
    return np.bincount(choices.numpy().ravel(), minlength=experts).tolist()


def test_a_stock_output_loads_and_routes_as_validate_says(converted):
    model, folder, ids, _ = converted
    report = json.loads(regate(
        "validate", folder / "model", folder / "stock", "--calibration",
        folder / "judge.safetensors", "--json"))
    seen = models.watched(model, ids[ROWS // 2 :])
    patched = loaded(folder / "stock")
    routers = models.router_modules(patched)
    assert len(report["layers"]) == len(seen)
    for layer in report["layers"]:
        inputs, before, _ = seen[layer["index"]]
        # MiniMax's block holds the bias and hands it to its router.
        bias = getattr(patched.model.layers[layer["index"]].mlp, "e_score_correction_bias", None)
        with torch.no_grad():
            _, _, after = routers[layer["index"]](inputs, *([] if bias is None else [bias]))
        experts = len(layer["original"]["load"])
        for found, expected in ((before, layer["original"]), (after, layer["patched"])):
            counted = np.array(load(found, experts))
            # The captures are bfloat16: a tie may turn.
            assert np.abs(counted - expected["load"]).sum() <= 0.01 * counted.sum()
        assert layer["patched"]["gini"] < 0.7 * layer["original"]["gini"]
