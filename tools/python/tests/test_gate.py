# SPDX-License-Identifier: Apache-2.0
"""The served gate, followed by a family's own rule, against the router of the specification."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from prototype_router import PrototypeRouter
from regate_serving import fused
from regate_serving.form import configuration_regate as configurations
from regate_serving.form.gate_regate import best
from regate_serving.gate import NEVER, ServedGate
from regate_serving.vllm.configurations import DeepseekV2Config

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
EXPERTS, HIDDEN, LATENT, TOKENS, TOP_K = 16, 48, 4, 200, 3
SIZES = dict(hidden_size=HIDDEN, num_attention_heads=4, num_experts_per_tok=TOP_K)
FAMILIES = {
    "mixtral": (configurations.RegateMixtralConfig, dict(num_local_experts=EXPERTS)),
    "qwen3_moe": (
        configurations.RegateQwen3MoeConfig, dict(num_experts=EXPERTS, norm_topk_prob=True)),
    "deepseek_v2": (DeepseekV2Config, dict(
        n_routed_experts=EXPERTS, n_group=4, topk_group=2, topk_method="group_limited_greedy",
        routed_scaling_factor=1.5)),
    "deepseek_v3": (configurations.RegateDeepseekV3Config, dict(
        n_routed_experts=EXPERTS, n_group=4, topk_group=2, norm_topk_prob=True,
        routed_scaling_factor=2.5)),
}
FORMS = [(encoder, similarity) for encoder in configurations.ENCODERS
         for similarity in configurations.SIMILARITIES]


def made(family, encoder, similarity, experts=EXPERTS, seed=0):
    """A gate with random tensors, clones and pruned experts; the tensors; the configuration."""
    torch.manual_seed(seed)
    kind, keys = FAMILIES[family]
    keys = {key: experts if key.endswith("experts") else value for key, value in keys.items()}
    regate = dict(version=configurations.VERSION, encoder=encoder, similarity=similarity,
                  latent_size={"0": LATENT})
    config = kind(regate=regate, hidden_act="silu", **SIZES, **keys)
    gate = ServedGate(config, LATENT)
    tensors = {name: torch.randn_like(tensor) if tensor.is_floating_point() else tensor.clone()
               for name, tensor in gate.state_dict().items()}
    tensors["weight"] /= HIDDEN**0.5
    tensors["selection_bias"] /= 20
    tensors["token_bias"] /= 50
    tensors["logit_bias"][[0, 4]] += 2  # Those that have clones are chosen often.
    # Scores that underflow would be ties.
    tensors["logit_bias"] += 5
    if "similarity_scale" in tensors:
        wide = similarity in ("kl", "wasserstein")
        tensors["similarity_scale"] = torch.tensor([0.5 if wide else 3.0])
    if "prototype_log_variances" in tensors:
        tensors["prototype_log_variances"] /= 4
    # Within groups of four: 1 pruned for a second 0, 6 for a third 4 beside 5's copy of it.
    tensors["physical_to_logical"][[1, 5, 6]] = torch.tensor([0, 4, 4])
    gate.load(tensors, "gate")
    return gate, tensors, config


def stock_rule(family, config, logits):
    """Chosen experts and weights as a runtime's own rule makes them of a gate's logits."""
    if family in ("mixtral", "qwen3_moe"):
        weights, chosen = logits.softmax(-1).topk(TOP_K)
        return chosen, weights / weights.sum(-1, keepdim=True)
    scores = logits.sigmoid()
    groups = scores.view(len(scores), config.n_group, -1)
    kept = groups.topk(2).values.sum(-1).topk(config.topk_group).indices
    inside = torch.zeros(len(scores), config.n_group, dtype=torch.bool).scatter(1, kept, True)
    limited = groups.masked_fill(~inside[..., None], float("-inf")).flatten(1)
    weights, chosen = limited.topk(TOP_K)
    if config.norm_topk_prob:
        weights = weights / weights.sum(-1, keepdim=True)
    return chosen, weights * config.routed_scaling_factor


class Tensors(dict):
    """What the twin reads of a checkpoint."""


def twin(family, config, tensors):
    keys = config.to_dict() | {"model_type": "regate_" + family}
    if family == "deepseek_v2":
        keys["topk_group"] = config.regate_kept_groups
    block = "block_sparse_moe" if family == "mixtral" else "mlp"
    prefix = f"model.layers.0.{block}.gate."
    checkpoint = Tensors({prefix + name: tensor for name, tensor in tensors.items()})
    checkpoint.config = keys
    return PrototypeRouter(checkpoint, 0)


EVERY_FAMILY_AND_FORM = pytest.mark.parametrize("family, encoder, similarity", [
    *((family, "linear", "dot") for family in FAMILIES),
    *((sorted(FAMILIES)[n % 4], *form) for n, form in enumerate(FORMS))])


@EVERY_FAMILY_AND_FORM
def test_a_familys_own_rule_makes_the_specifications_choice_of_the_logits(
        family, encoder, similarity):
    gate, tensors, config = made(family, encoder, similarity)
    x = torch.randn(TOKENS, HIDDEN)
    logits, bias = gate(x)
    assert bias is None and logits.dtype == torch.float32
    assert ((logits > NEVER).sum(1) == TOP_K).all()
    chosen, weights = stock_rule(family, config, logits)
    expected, expected_weights = twin(family, config, tensors)(x.numpy())
    order, expected_order = chosen.sort(1).indices, np.argsort(expected, 1)
    same = (chosen.sort(1).values.numpy() == np.sort(expected, 1)).all(1)
    assert same.mean() > 0.98  # Sums in another order can decide a near tie.
    np.testing.assert_allclose(
        weights.gather(1, order).numpy()[same],
        np.take_along_axis(expected_weights, expected_order, 1)[same], rtol=2e-3, atol=1e-6)
    used = set(chosen.unique().tolist())  # Clones of one expert among them.
    assert len({0, 1} & used) == 2 or len({4, 5, 6} & used) > 1


@pytest.fixture
def kernels_run(monkeypatch):
    """On a GPU or interpreted; the interpreter would multiply the bits of bfloat16 as numbers."""
    pytest.importorskip("triton")
    if torch.cuda.is_available():
        return
    from triton import language
    from triton.runtime import interpreter

    def number(handle):
        if handle.dtype.scalar != language.bfloat16:
            return handle
        data = interpreter._convert_float(handle.data, handle.dtype, language.float32, None)
        return interpreter.TensorHandle(data.view(np.float32), language.float32)

    builder, dot = interpreter.InterpreterBuilder, interpreter.InterpreterBuilder.create_dot
    monkeypatch.setattr(builder, "create_dot", lambda self, left, right, *rest: dot(
        self, number(left), number(right), *rest))


def assert_chosen_alike(logits, expected):
    assert torch.equal(logits > NEVER, expected > NEVER)
    # The logits that stand for V2's scores are steep where these are near 1.
    torch.testing.assert_close(logits.sigmoid(), expected.sigmoid(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(logits.clamp_max(10), expected.clamp_max(10), rtol=1e-4, atol=1e-5)


@EVERY_FAMILY_AND_FORM
def test_kernels_make_what_torchs_operations_do(kernels_run, family, encoder, similarity):
    gate = made(family, encoder, similarity)[0].to(DEVICE)
    for tokens, dtype in ((3, torch.bfloat16), (20, torch.bfloat16), (20, torch.float32)):
        x = torch.randn(tokens, HIDDEN, dtype=dtype, device=DEVICE)
        assert_chosen_alike(gate.fused(x), gate.plain(x))


@pytest.mark.parametrize("experts", [24, 40])
@pytest.mark.parametrize("family", FAMILIES)
def test_kernels_take_any_number_of_experts(kernels_run, family, experts):
    gate = made(family, "linear", "dot", experts)[0].to(DEVICE)
    x = torch.randn(20, HIDDEN, dtype=torch.bfloat16, device=DEVICE)
    assert_chosen_alike(gate.fused(x), gate.plain(x))


def test_kernels_give_ties_to_the_lowest_numbers(kernels_run):
    gate, tensors, _ = made("deepseek_v3", "linear", "dot")
    for name in ("weight", "logit_bias", "selection_bias", "clone_bias"):
        tensors[name].zero_()
    gate.load(tensors, "gate")
    x = torch.randn(3, HIDDEN, dtype=torch.bfloat16, device=DEVICE)
    chosen = gate.to(DEVICE).fused(x) > NEVER
    assert chosen.nonzero()[:, 1].tolist() == 3 * [0, 2, 3]  # 1 is pruned.


def test_kernels_take_any_latent_and_hidden_size(kernels_run):
    for latent, hidden in ((80, 200), (3, 64)):
        x = torch.randn(20, hidden, dtype=torch.bfloat16, device=DEVICE)
        encoder = torch.randn(latent, hidden, device=DEVICE)
        torch.testing.assert_close(
            fused.latent(x, encoder), (x.double() @ encoder.double().T).float(), rtol=1e-5, atol=1e-5)


def test_kernels_take_no_token(kernels_run):
    gate = made("mixtral", "linear", "dot")[0].to(DEVICE)
    assert gate.fused(torch.empty(0, HIDDEN, dtype=torch.bfloat16, device=DEVICE)).shape == (
        0, EXPERTS)


def test_deepseek_v2_may_choose_outside_the_kept_groups():
    """As in transformers, whose outside scores 0, above what is negative inside."""
    gate, tensors, config = made("deepseek_v2", "linear", "dot")
    tensors["selection_bias"] -= 5
    gate.load(tensors, "gate")
    x = torch.randn(TOKENS, HIDDEN)
    chosen, _ = stock_rule("deepseek_v2", config, gate(x)[0])
    expected, _ = twin("deepseek_v2", config, tensors)(x.numpy())
    assert (chosen.sort(1).values.numpy() == np.sort(expected, 1)).mean() > 0.98


def test_equal_scores_go_to_the_lowest_number():
    rows = torch.tensor([[1.0, 2, 2, -3, 2, 0], [0, 0, -0.5, 0, float("-inf"), 0]])
    assert best(rows, 4, -torch.arange(6)).tolist() == [[1, 2, 4, 0], [0, 1, 3, 5]]
    random = torch.randint(-4, 4, (300, 40)).float()
    expected = random.argsort(dim=1, descending=True, stable=True)
    assert torch.equal(best(random, 40, -torch.arange(40)), expected)
    zeros = torch.tensor([[-0.0, 0.0, 1e-45, -1e-45, float("-inf")]])  # Both zeros are equal.
    assert best(zeros, 5, -torch.arange(5)).tolist() == [[2, 0, 1, 3, 4]]


def test_equally_near_clones_go_to_the_lowest_number():
    gate, tensors, _ = made("qwen3_moe", "linear", "dot")
    tensors["clone_prototypes"].zero_()
    tensors["clone_bias"].zero_()
    gate.load(tensors, "gate")
    used = (gate(torch.randn(TOKENS, HIDDEN))[0] > NEVER).any(0)
    assert used[[0, 4]].all() and not used[[1, 5, 6]].any()


@pytest.mark.parametrize("similarity", ["gaussian", "mahalanobis", "kl", "js", "hellinger",
                                        "wasserstein"])
def test_distances_take_no_more_room_than_the_input(similarity):
    gate, _, _ = made("qwen3_moe", "lpr", similarity)
    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                largest = max(largest, result.numel())
            return result

    with Watch(), torch.no_grad():
        gate(torch.randn(TOKENS, HIDDEN))
    assert largest <= TOKENS * HIDDEN < TOKENS * EXPERTS * LATENT


@pytest.mark.parametrize("family, encoder, similarity", [
    ("deepseek_v3", "linear", "dot"), ("deepseek_v2", "lpr", "js"), ("mixtral", "lpr", "cosine")])
def test_compiles_whole_and_once_for_all_numbers_of_tokens(family, encoder, similarity):
    gate, _, _ = made(family, encoder, similarity)
    torch._dynamo.reset()
    graphs = []

    def backend(module, inputs):
        graphs.append(module)
        return module.forward

    compiled = torch.compile(gate, fullgraph=True, dynamic=True, backend=backend)
    with torch.no_grad():
        for tokens in (5, 64, 200):
            x = torch.randn(tokens, HIDDEN)
            torch.testing.assert_close(compiled(x)[0], gate(x)[0])
    assert len(graphs) == 1


def test_loading_anew_keeps_the_addresses_that_captured_graphs_hold():
    gate, tensors, _ = made("mixtral", "lpr", "cross_attention")
    before = {name: buffer.data_ptr() for name, buffer in gate.named_buffers()}
    tensors["logical_prototypes"] += 1
    gate.load(tensors, "gate")
    assert before == {name: buffer.data_ptr() for name, buffer in gate.named_buffers()}
    x = torch.randn(9, HIDDEN)
    again, _, _ = made("mixtral", "lpr", "cross_attention")
    again.load(tensors, "gate")
    assert torch.equal(gate(x)[0], again(x)[0])


def test_the_gate_stays_float32_in_a_bfloat16_model():
    gate, _, _ = made("qwen3_moe", "lpr", "kl")
    x = torch.randn(9, HIDDEN).bfloat16()
    expected = gate(x)[0]
    assert torch.equal(gate.to(torch.bfloat16)(x)[0], expected)
