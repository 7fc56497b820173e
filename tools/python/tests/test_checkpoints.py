# SPDX-License-Identifier: Apache-2.0
"""What is refused, with one sentence each, and how gates take their tensors from a stream."""

import sys
import types

import pytest
import torch
from torch import nn

from regate_serving import versions
from regate_serving.checkpoint import Gates, check_ranks
from regate_serving.vllm import interface
from test_gate import EXPERTS, HIDDEN, made


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate, self.experts = nn.Linear(HIDDEN, EXPERTS), nn.Module()
        self.experts.gate = self.gate


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.mlp = Block()


@pytest.fixture
def parts():
    _, tensors, config = made("qwen3_moe", "linear", "dot")
    layers = nn.ModuleList([Layer()])
    gates = Gates(layers, config, interface.replace_gate)
    return gates, layers, {f"model.layers.0.mlp.gate.{n}": t for n, t in tensors.items()}


def refused(parts, weights):
    with pytest.raises(ValueError) as error:
        parts[0].load(iter(weights.items()), list)
    said = str(error.value)
    assert "\n" not in said and said.startswith("model.layers.0.mlp.gate")
    return said


def test_gates_take_their_tensors_and_leave_the_rest(parts):
    gates, layers, weights = parts
    others = {"model.norm.weight": torch.ones(1), "model.layers.0.mlp.gate_up": torch.ones(1),
              "model.layers.7.mlp.gate.weight": torch.ones(1)}
    rest, own = gates.load(iter({**weights, **others}.items()), list)
    assert dict(rest).keys() == others.keys()
    gate = layers[0].mlp.gate
    assert layers[0].mlp.experts.gate is gate
    assert own == {f"model.layers.0.mlp.gate.{name}" for name, _ in gate.named_parameters()}
    assert torch.equal(gate.weight, weights["model.layers.0.mlp.gate.weight"])


def test_a_layer_of_another_pipeline_rank_is_left_alone():
    _, _, config = made("qwen3_moe", "linear", "dot")
    gates = Gates(nn.ModuleList([nn.Identity()]), config, interface.replace_gate)
    weights = {"model.layers.0.mlp.gate.weight": torch.ones(1)}
    assert gates.load(iter(weights.items()), list) == ([], set())


def test_missing_router_tensors_are_named(parts):
    weights = parts[2]
    del weights["model.layers.0.mlp.gate.clone_bias"]
    assert "has no clone_bias" in refused(parts, weights)
    assert "has no clone_bias, clone_prototypes" in refused(parts, {})


def test_tensors_of_another_form_are_named(parts):
    weights = parts[2] | {"model.layers.0.mlp.gate.e_score_correction_bias": torch.zeros(EXPERTS)}
    assert "has e_score_correction_bias" in refused(parts, weights)


def test_a_stock_gate_is_refused_by_its_shape(parts):
    weights = parts[2] | {"model.layers.0.mlp.gate.weight": torch.zeros(EXPERTS, HIDDEN)}
    assert "gate.weight is torch.float32 [16, 48], expected torch.float32 [48, 4]" in refused(
        parts, weights)


def test_a_rounded_router_is_refused(parts):
    weights = parts[2]
    name = "model.layers.0.mlp.gate.weight"
    assert "bfloat16" in refused(parts, weights | {name: weights[name].bfloat16()})


@pytest.mark.parametrize("value, said", [
    (-1, "holds -1 to"), (EXPERTS, f"to {EXPERTS}, expected 0")])
def test_a_map_beyond_the_experts_is_refused(parts, value, said):
    weights = parts[2]
    weights["model.layers.0.mlp.gate.physical_to_logical"][3] = value
    assert said in refused(parts, weights)


def test_fewer_experts_than_a_token_needs_are_refused(parts):
    weights = parts[2]
    weights["model.layers.0.mlp.gate.physical_to_logical"][:] = 2
    assert "names 1 logical experts" in refused(parts, weights)


def test_another_version_of_the_form_is_refused():
    from regate_serving.form.configuration_regate import RegateQwen3MoeConfig

    with pytest.raises(ValueError, match="regate.version is 3, these files read 4"):
        RegateQwen3MoeConfig(regate=dict(version=3, encoder="linear", similarity="dot"))
    with pytest.raises(ValueError, match="do not know"):
        RegateQwen3MoeConfig(regate=dict(version=4, encoder="linear", similarity="l1"))


@pytest.mark.parametrize("experts, redundant, ranks, said", [
    (32, 0, 3, "32 experts cannot be divided evenly among 3"),
    (32, 2, 4, "32 experts and 2 redundant ones cannot be divided evenly among 4")])
def test_experts_that_ranks_cannot_share_evenly_are_refused(experts, redundant, ranks, said):
    check_ranks(32, 0, 4)
    check_ranks(30, 2, 4)
    with pytest.raises(ValueError, match=said):
        check_ranks(experts, redundant, ranks)


def test_an_unknown_runtime_gets_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", types.SimpleNamespace(__version__="9.9"))
    monkeypatch.setitem(sys.modules, "vllm.part", types.SimpleNamespace())
    with pytest.raises(versions.UnknownVersion) as error:
        versions.lookup("vllm", "0.31", ["vllm.part:Gone"])
    said = str(error.value)
    assert "\n" not in said
    assert "tested with vllm 0.31, and this one (9.9) has no vllm.part.Gone" in said


def test_a_block_that_keeps_its_gate_elsewhere_too_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", types.SimpleNamespace(__version__="9.9"))
    block = Block()
    block.experts.router = block.gate
    with pytest.raises(versions.UnknownVersion, match="second hold"):
        interface.replace_gate(block, nn.Identity())
    with pytest.raises(versions.UnknownVersion, match="no gate"):
        interface.replace_gate(nn.Module(), nn.Identity())
