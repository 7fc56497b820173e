# SPDX-License-Identifier: Apache-2.0
"""`--router lpr-official`: state dict and config load in the official router, and route the same.

    REGATE=.build/release/regate python -m pytest tools/interop/test_official.py
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from prototype_router import Checkpoint
from official_router import METRICS, OfficialRouter

TOOLS = Path(__file__).resolve().parents[1]
FIXTURES = TOOLS.parent / "fixtures"
REGATE = os.environ.get("REGATE", TOOLS.parent / ".build/release/regate")
MODELS = {"tiny-mixtral": "block_sparse_moe", "tiny-qwen3-moe": "mlp"}


def regate(*arguments):
    done = subprocess.run([str(REGATE), *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=MODELS)
def case(request, tmp_path_factory):
    name = request.param
    out = tmp_path_factory.mktemp(name) / "official"
    data = FIXTURES / f"{name}-data"
    regate("convert", FIXTURES / name, "--calibration", data / "calibration.npy",
           "--router", "lpr-official", "--output", out, "-q")
    return name, out, data


def routers(name, out):
    """{layer: the official router, loaded strictly}."""
    checkpoint = Checkpoint(out)
    found = {}
    for layer in range(checkpoint.config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}.{MODELS[name]}.gate."
        state = {key[len(prefix):]: checkpoint[key] for key in checkpoint.names()
                 if key.startswith(prefix)}
        router = OfficialRouter(checkpoint.config)
        router.load_state_dict(state, strict=True)
        found[layer] = router.eval()
    return found


def test_the_router_loads_and_its_load_is_what_regate_counts(case):
    name, out, data = case
    capture = data / "heldout.capture.safetensors"
    report = json.loads(regate("validate", FIXTURES / name, out, "--precision", "f32", "--calibration", capture,
                               "--json", "-q"))
    with safe_open(capture, "pt") as inputs, torch.no_grad():
        for layer, router in routers(name, out).items():
            x = inputs.get_tensor(f"layers.{layer}.router_input").float()
            weights, experts, scores, decoded = router(x)
            load = report["layers"][layer]["patched"]["load"]
            counted = torch.bincount(experts.flatten(), minlength=len(load))
            # A tie may fall either way.
            assert (counted - torch.tensor(load)).abs().sum() <= 2
            assert decoded.abs().max() == 0
            assert torch.allclose(weights.sum(-1), torch.ones(len(x)), atol=1e-6)
            spread = scores.topk(router.top_k).values
            # Weights follow the scores: a bounded similarity would leave them almost equal.
            assert (spread[:, 0] - spread[:, -1]).mean() > 0.5


def test_scores_are_those_of_regates_own_router(case, tmp_path):
    """Every token alone: the load of one token is its choice."""
    name, out, data = case
    with safe_open(data / "heldout.capture.safetensors", "np") as inputs:
        layers = {layer: inputs.get_tensor(f"layers.{layer}.router_input").astype(np.float32)
                  for layer in routers(name, out)}
    for token in range(4):
        np.savez(tmp_path / "one.npz", **{
            f"layers.{layer}.router_input": rows[token:token + 1] for layer, rows in layers.items()})
        report = json.loads(regate("validate", FIXTURES / name, out, "--precision", "f32", "--calibration",
                                   tmp_path / "one.npz", "--json", "-q"))
        for layer, router in routers(name, out).items():
            with torch.no_grad():
                _, experts, _, _ = router(torch.tensor(layers[layer][token:token + 1]))
            chosen = [i for i, n in enumerate(report["layers"][layer]["patched"]["load"]) if n]
            assert chosen == sorted(experts[0].tolist())


def test_the_configuration_has_the_official_keys(case):
    name, out, _ = case
    config = json.loads((out / "config.json").read_text())
    assert config["model_type"] == {"tiny-mixtral": "mixtral_lpr",
                                    "tiny-qwen3-moe": "qwen3_moe_lpr"}[name]
    assert config["architectures"] == [{"tiny-mixtral": "MixtralForCausalLM_LPR",
                                        "tiny-qwen3-moe": "Qwen3MoeForCausalLM_LPR"}[name]]
    assert config["routing_metrics"] in METRICS
    for key in ("kl_weight", "align_weight", "div_weight", "unit_ball", "output_router_kl",
                "router_kl_loss_coef", "router_aux_loss_coef"):
        assert key in config


def test_transformers_refuses_it(case):
    _, out, _ = case
    with pytest.raises((ValueError, KeyError), match="_lpr"):
        AutoConfig.from_pretrained(out)
    with pytest.raises((ValueError, KeyError), match="_lpr"):
        AutoModelForCausalLM.from_pretrained(out, trust_remote_code=True)


def test_only_routers_and_experts_differ_and_regate_inspects_it(case):
    name, out, data = case
    original, written = Checkpoint(FIXTURES / name), Checkpoint(out)
    for key in written.names() & original.names():
        if ".experts." not in key:
            assert torch.equal(written[key], original[key]), key
    report = json.loads(regate("inspect", out, "--json"))
    assert len(report["layers"]) == written.config["num_hidden_layers"]
    verdicts = json.loads(regate("check", out, "--json"))["runtimes"]
    assert not any(verdict["loads"] for verdict in verdicts)


@pytest.mark.parametrize("metric", METRICS)
def test_regate_reads_every_metric_of_the_official_code(case, tmp_path, metric):
    """A random official router in place of the written one: its choices are Regate's."""
    name, out, data = case
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    config = json.loads((copy / "config.json").read_text())
    config["routing_metrics"] = metric
    (copy / "config.json").write_text(json.dumps(config))
    torch.manual_seed(7)
    state, made = {}, {}
    for layer in range(config["num_hidden_layers"]):
        router = made[layer] = OfficialRouter(config).eval()
        with torch.no_grad():
            router.out_proj.weight.zero_(), router.out_proj.bias.zero_()
            router.encoder.weight.mul_(4)
        prefix = f"model.layers.{layer}.{MODELS[name]}.gate."
        state |= {prefix + key: value.contiguous() for key, value in router.state_dict().items()}
    shard = copy / "model-regate-router.safetensors"
    old = load_file(shard)
    from safetensors.torch import save_file
    save_file(state, shard, metadata={"format": "pt"})
    index = json.loads((copy / "model.safetensors.index.json").read_text())
    places = {k: v for k, v in index["weight_map"].items() if k not in old}
    index["weight_map"] = places | {key: shard.name for key in state}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    capture = data / "heldout.capture.safetensors"
    report = json.loads(regate("validate", FIXTURES / name, copy, "--precision", "f32", "--calibration", capture,
                               "--json", "-q"))
    with safe_open(capture, "pt") as inputs, torch.no_grad():
        for layer, router in made.items():
            x = inputs.get_tensor(f"layers.{layer}.router_input").float()
            load = torch.tensor(report["layers"][layer]["patched"]["load"])
            counted = torch.bincount(router(x)[1].flatten(), minlength=len(load))
            assert (counted - load).abs().sum() <= 2
