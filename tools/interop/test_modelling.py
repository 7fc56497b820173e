# SPDX-License-Identifier: Apache-2.0
"""The modelling files of the prototype form in transformers (see modelling.md beside this file).

    REGATE=.build/release/regate python -m pytest tools/interop/test_modelling.py

runs on the tiny models of fixtures/ and a random DeepSeek-V2. With LAB_MODELS (folders with
weights and general-heldout.npy) and LAB_CAPTURES (folders of the same names with
general-{calibration,heldout}.safetensors) it runs on those instead. Once with transformers 5,
once with the last 4.
"""

import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from safetensors import safe_open
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from prototype_router import Checkpoint, PrototypeRouter, router_prefix

TOOLS = Path(__file__).resolve().parents[1]
FIXTURES = TOOLS.parent / "fixtures"
REGATE = os.environ.get("REGATE", TOOLS.parent / ".build/release/regate")
TRANSFORMERS_5 = int(transformers.__version__.split(".")[0]) >= 5
BUFFERS = ["selection_bias", "token_bias", "physical_to_logical"]
CLONES = ["clone_prototypes", "clone_bias"]
INNER_PRODUCTS = ("dot", "cosine", "cross_attention")
torch.set_num_threads(1)


def trained(gate):
    """The parameters that every layer's language loss trains."""
    return [name for name, _ in gate.named_parameters() if name not in CLONES]


def regate(*arguments):
    done = subprocess.run([str(REGATE), *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def random_deepseek_v2(folder):
    """A DeepSeek-V2 with group-limited selection, its captures and ids: no small real one exists."""
    torch.manual_seed(2)
    config = transformers.DeepseekV2Config(
        vocab_size=97, hidden_size=32, intermediate_size=48, moe_intermediate_size=24,
        num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=4, n_routed_experts=16,
        num_experts_per_tok=3, n_shared_experts=1, first_k_dense_replace=1, q_lora_rank=16,
        kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=8, n_group=4,
        topk_group=2, topk_method="group_limited_greedy", routed_scaling_factor=4.0,
        max_position_embeddings=256, bos_token_id=0, eos_token_id=0, aux_loss_alpha=0.0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.15)
    model.save_pretrained(folder / "original")
    for name in ("calibration", "heldout"):
        np.save(folder / f"{name}.npy", np.random.default_rng(len(name)).integers(0, 97, (32, 32)))
        subprocess.run([sys.executable, TOOLS / "capture.py", folder / "original",
                        folder / f"{name}.npy", "-o", folder / f"{name}.safetensors", "--float32"],
                       check=True, capture_output=True)
    return SimpleNamespace(
        original=folder / "original", heldout=folder / "heldout.npy",
        captures=[folder / f"{n}.safetensors" for n in ("calibration", "heldout")])


def tiny(name):
    data = FIXTURES / f"{name}-data"
    return SimpleNamespace(
        original=FIXTURES / name, heldout=data / "heldout.npy",
        captures=[data / "calibration.npy", data / "heldout.capture.safetensors"])


def lab(name):
    captures = Path(os.environ["LAB_CAPTURES"]) / name
    original = Path(os.environ["LAB_MODELS"]) / name
    return SimpleNamespace(
        original=original, heldout=original / "general-heldout.npy",
        captures=[captures / f"general-{n}.safetensors" for n in ("calibration", "heldout")])


MODELS = (sorted(path.name for path in Path(os.environ["LAB_MODELS"]).iterdir() if path.is_dir())
          if "LAB_MODELS" in os.environ
          else ["tiny-mixtral", "tiny-qwen3-moe", "tiny-deepseek", "random-deepseek-v2"])
SIMILARITIES = ["dot", "cosine", "gaussian", "mahalanobis", "cross-attention", "kl", "js",
                "hellinger", "wasserstein"]
# Every model with the default form, every other form on one of the models, in turn.
FORMS = [(encoder, similarity) for encoder in ("lpr", "linear") for similarity in SIMILARITIES]
CASES = [(model, "linear", "dot") for model in MODELS] + [
    (MODELS[number % len(MODELS)], *form) for number, form in enumerate(FORMS)
    if form != ("linear", "dot")]


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def case(request, tmp_path_factory):
    """A model, converted: the checkpoint `out`, the model in Float32, some held-out ids."""
    name, encoder, similarity = request.param
    folder = tmp_path_factory.mktemp(name)
    if name == "random-deepseek-v2":
        case = random_deepseek_v2(folder)
    else:
        case = (lab if "LAB_MODELS" in os.environ else tiny)(name)
    case.out = folder / "prototype"
    case.diversity = ["orthogonal", "cosine", "euclidean"][CASES.index(request.param) % 3]
    regate("convert", case.original, "--calibration", case.captures[0], "--router", "lpr",
           "--encoder", encoder, "--similarity", similarity, "--output", case.out, "-q")
    case.is_default = (encoder, similarity) == ("linear", "dot")
    case.checkpoint = Checkpoint(case.out)
    case.layers = [int(n) for n in case.checkpoint.config["regate"]["latent_size"]]
    case.ids = torch.tensor(np.load(case.heldout).astype(np.int64))[:12]
    return case


@pytest.fixture
def default(case):
    """For what does not depend on the form."""
    if not case.is_default:
        pytest.skip("as with the default form")
    return case


def load(folder, **options):
    return AutoModelForCausalLM.from_pretrained(
        folder, trust_remote_code=True, **{"dtype": torch.float32, **options})


@pytest.fixture
def model(case):
    return load(case.out).eval()


def block(model, layer):
    decoder = model.model.layers[layer]
    return getattr(decoder, "block_sparse_moe", None) or decoder.mlp


def router(model, layer):
    return block(model, layer).gate


def experts_and_weights(output):
    return (output[2], output[1]) if TRANSFORMERS_5 else output


def nll(model, ids):
    with torch.no_grad():
        return model(input_ids=ids, labels=ids).loss.item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, "auto"])
@pytest.mark.parametrize("auto", [AutoModelForCausalLM, AutoModel])
def test_loads_every_tensor_as_it_lies_on_disk(case, dtype, auto):
    model, info = auto.from_pretrained(
        case.out, trust_remote_code=True, dtype=dtype, output_loading_info=True)
    if auto is AutoModel:
        assert set(info.pop("unexpected_keys")) <= {"lm_head.weight"}
    assert not any(info.values()), info
    decoder = getattr(model, "model", model)
    for layer in case.layers:
        gate = router(SimpleNamespace(model=decoder), layer)
        for name, tensor in gate.state_dict().items():
            disk = case.checkpoint[router_prefix(case.checkpoint, layer) + name]
            assert tensor.dtype == disk.dtype and torch.equal(tensor, disk), name
    others = {p.dtype for n, p in model.named_parameters() if ".gate." not in n}
    assert others == {getattr(torch, case.checkpoint.config["dtype"]) if dtype == "auto" else dtype}


def test_router_keeps_float32_when_the_model_is_cast(case):
    for cast in (lambda m: m.to(torch.bfloat16), lambda m: m.bfloat16(), lambda m: m.half(),
                 lambda m: m.to("cpu", torch.float16)):
        model = cast(load(case.out))
        gate = router(model, case.layers[0])
        dtypes = {name: tensor.dtype for name, tensor in gate.state_dict().items()}
        assert dtypes.pop("physical_to_logical") == torch.int64
        assert set(dtypes.values()) == {torch.float32} and len(dtypes) >= 6
        assert torch.equal(
            gate.weight, case.checkpoint[router_prefix(case.checkpoint, case.layers[0]) + "weight"])
        assert model.lm_head.weight.dtype != torch.float32
        with torch.no_grad():
            assert model(case.ids[:1]).logits.isfinite().all()


def test_routes_as_the_specification_says(case, model):
    """Physical experts are those of a naive numpy router on the inputs that the model itself produces."""
    seen = {}
    for layer in case.layers:
        router(model, layer).register_forward_hook(
            lambda _, inputs, output, layer=layer: seen.update(
                {layer: (inputs[0].reshape(-1, inputs[0].shape[-1]).numpy(),
                         experts_and_weights(output))}))
    with torch.no_grad():
        model(case.ids[:3])
    different = total = 0
    for layer, (x, (chosen, weights)) in seen.items():
        expected, expected_weights = PrototypeRouter(case.checkpoint, layer)(x)
        same = (chosen.numpy() == expected).all(1)
        # Scales multiply what Float32 leaves of distances.
        exact = case.is_default
        np.testing.assert_allclose(
            weights.numpy()[same], expected_weights[same], rtol=2e-5 if exact else 2e-3, atol=1e-7)
        different += (~same).sum()
        total += len(same)
    # Sums in another order can decide a near tie.
    assert len(seen) == len(case.layers) and different <= total / 1000


def test_loads_are_those_that_regate_validate_counts(case, model):
    report = json.loads(regate("validate", case.original, case.out, "--precision", "f32", "--calibration",
                               case.captures[1], "--json", "-q"))
    for layer, figures in zip(case.layers, report["layers"], strict=True):
        assert figures["index"] == layer
        with safe_open(case.captures[1], "pt") as capture:
            x = capture.get_tensor(f"layers.{layer}.router_input")
        with torch.no_grad():
            chosen, _ = experts_and_weights(router(model, layer)(x))
        load = np.bincount(chosen.flatten().numpy(), minlength=len(figures["patched"]["load"]))
        counted = np.array(figures["patched"]["load"])
        assert load.sum() == counted.sum()
        assert np.abs(load - counted).sum() / 2 / load.sum() < 0.0005


class HandMadeMoE(torch.nn.Module):
    """A MoE block from the tensors on disk: numpy routing, one expert after the other."""

    def __init__(self, checkpoint, layer, shared):
        super().__init__()
        self.route = PrototypeRouter(checkpoint, layer)
        self.shared = shared
        names = ["w1", "w3", "w2"] if self.route.family == "mixtral" else [
            "gate_proj", "up_proj", "down_proj"]
        prefix = router_prefix(checkpoint, layer).removesuffix("gate.")
        self.weights = [[checkpoint[f"{prefix}experts.{expert}.{name}.weight"].float()
                         for name in names] for expert in range(self.route.experts)]

    def forward(self, hidden):
        x = hidden.reshape(-1, hidden.shape[-1])
        chosen, weights = map(torch.tensor, self.route(x.numpy()))
        y = self.shared(x) if self.shared is not None else torch.zeros_like(x)
        for expert, (gate, up, down) in enumerate(self.weights):
            for token, rank in (chosen == expert).nonzero().tolist():
                inner = torch.nn.functional.silu(gate @ x[token]) * (up @ x[token])
                y[token] += weights[token, rank] * (down @ inner)
        y = y.view_as(hidden)
        mixtral_4 = not TRANSFORMERS_5 and self.route.family == "mixtral"
        return (y, None) if mixtral_4 else y


def test_logits_are_those_of_a_router_put_in_by_hand(case, model):
    by_hand = copy.deepcopy(model)
    for layer in case.layers:
        decoder = by_hand.model.layers[layer]
        name = "block_sparse_moe" if hasattr(decoder, "block_sparse_moe") else "mlp"
        shared = getattr(getattr(decoder, name), "shared_experts", None)
        setattr(decoder, name, HandMadeMoE(case.checkpoint, layer, shared))
    ids = case.ids[:2]
    with torch.no_grad():
        ours, theirs = model(ids).logits, by_hand(ids).logits
    assert abs(nll(model, ids) - nll(by_hand, ids)) < 1e-4
    close = (ours - theirs).abs().amax(-1) < 1e-3
    assert close.float().mean() > 0.99


def test_generates_with_and_without_a_cache(case, model):
    prompt = case.ids[:2, :8]
    options = dict(max_new_tokens=12, do_sample=False, pad_token_id=0, eos_token_id=None)
    made = model.generate(prompt, **options)
    assert made.shape == (2, 20)
    assert torch.equal(made, model.generate(prompt, use_cache=False, **options))
    step = prompt
    with torch.no_grad():
        for _ in range(12):
            step = torch.cat([step, model(step).logits[:, -1:].argmax(-1)], 1)
    assert torch.equal(made, step)


# ---------------------------------------------------------------- training

LOSSES = dict(regate_loss_coef=0.01)


def naive_loss(gate, x, config):
    """The router losses of one layer, from their definitions."""
    choice = gate.choose(x, gate.constants())
    z, log_variance = choice.latent, choice.log_variance
    physical, _ = experts_and_weights(gate(x))
    logical = gate.physical_to_logical[physical]
    experts = len(gate.physical_to_logical)
    held = sorted(set(gate.physical_to_logical.tolist()))

    def diversity(rows):
        unit = rows / rows.norm(dim=1, keepdim=True)
        others = ~torch.eye(len(rows), dtype=bool)
        return {
            "orthogonal": lambda: (unit @ unit.T - torch.eye(len(rows))).square().mean(),
            "cosine": lambda: (unit @ unit.T)[others].mean(),
            "euclidean": lambda: -(rows[:, None] - rows).norm(dim=-1)[others].mean(),
        }[config.regate_diversity_type]()

    align = []
    for expert in range(experts):
        mine = z[(logical == expert).any(1)]
        if len(mine):
            p, centre = gate.logical_prototypes[expert], mine.mean(0)
            if gate.similarity in INNER_PRODUCTS:
                p, centre = p / p.norm(), centre / centre.norm()
            align.append((p - centre).abs())

    scores = choice.scores
    nearness = z @ gate.clone_prototypes.T + gate.clone_bias
    probability = torch.stack([
        scores[:, f] * nearness[:, [j]].sub(nearness[:, gate.physical_to_logical == f]).exp().pow(-1)
        .sum(1).pow(-1) for j, f in enumerate(gate.physical_to_logical.tolist())], 1)
    probability = probability / probability.sum(1, keepdim=True)
    load = torch.stack([(physical == j).float().mean() for j in range(experts)])
    kl = torch.zeros(1)
    if log_variance is not None:
        standard = torch.distributions.Normal(0.0, 1.0)
        mine = torch.distributions.Normal(z, (log_variance / 2).exp())
        kl = torch.distributions.kl_divergence(mine, standard).sum(1).mean()
    return (config.regate_diversity_weight
            * (diversity(z) + diversity(gate.logical_prototypes[held]))
            + config.regate_kl_weight * kl
            + config.regate_align_weight * torch.stack(align).mean()
            + config.regate_balance_weight * experts * (load * probability.mean(0)).sum())


def test_router_losses_are_off_unless_asked_for_and_never_in_evaluation(case, model):
    ids = case.ids[:2]
    asked = load(case.out, **LOSSES, regate_diversity_type=case.diversity)
    quiet = nll(model, ids)
    assert nll(asked.eval(), ids) == quiet
    assert model.train()(input_ids=ids, labels=ids).loss.item() == pytest.approx(quiet, abs=1e-6)

    inputs = {}
    for layer in case.layers:
        router(asked, layer).register_forward_pre_hook(
            lambda _, x, layer=layer: inputs.update({layer: x[0].reshape(-1, x[0].shape[-1])}))
    total = asked.train()(input_ids=ids, labels=ids).loss.item()
    with torch.no_grad():
        extra = sum(naive_loss(router(asked, layer).eval(), x, asked.config)
                    for layer, x in inputs.items())
    assert extra != 0 and len(inputs) == len(case.layers)
    assert total == pytest.approx(quiet + 0.01 * extra.item(), abs=2e-5, rel=1e-5)


def gradients(model, ids):
    model.zero_grad()
    loss = model(input_ids=ids, labels=ids, use_cache=False).loss
    loss.backward()
    trained = ((name, p.grad) for name, p in model.named_parameters() if p.grad is not None)
    return loss.item(), {name: gradient.clone() for name, gradient in trained}


def test_gradients_reach_every_parameter_of_the_routers(case):
    ids = case.ids[:4]
    for options in ({}, LOSSES):
        model = load(case.out, **options).train()
        _, found = gradients(model, ids)
        for layer in case.layers:
            gate = router(model, layer)
            for name in trained(gate):
                assert getattr(gate, name).grad.abs().sum() > 0, name
            cloned = len(set(gate.physical_to_logical.tolist())) < len(gate.physical_to_logical)
            for name in ("clone_prototypes", "clone_bias"):
                assert (getattr(gate, name).grad.abs().sum() > 0) == cloned
        assert all(g.isfinite().all() for g in found.values())


def test_gradient_checkpointing_gives_the_same_gradients(case):
    model = load(case.out, **LOSSES).train()
    loss, plain = gradients(model, case.ids[:2])
    model.gradient_checkpointing_enable({"use_reentrant": False})
    again, checkpointed = gradients(model, case.ids[:2])
    assert again == pytest.approx(loss, abs=1e-6) and set(plain) == set(checkpointed)
    for name, gradient in plain.items():
        torch.testing.assert_close(checkpointed[name], gradient, rtol=1e-4, atol=1e-6)
    assert all(router(model, layer).routing is None for layer in case.layers)
    model.gradient_checkpointing_enable({"use_reentrant": True})
    with pytest.raises(ValueError, match="use_reentrant"):
        gradients(model, case.ids[:2])


def test_a_few_steps_lower_the_loss(case):
    model = load(case.out, **LOSSES).train()
    before = {layer: copy.deepcopy(router(model, layer).state_dict()) for layer in case.layers}
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.01)
    losses = []
    for _ in range(8):
        optimiser.zero_grad()
        loss = model(input_ids=case.ids[:4], labels=case.ids[:4]).loss
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.01
    for layer in case.layers:
        gate = router(model, layer)
        assert not torch.equal(gate.weight, before[layer]["weight"])
        for fixed in BUFFERS:
            assert torch.equal(getattr(gate, fixed), before[layer][fixed])


def test_the_router_losses_themselves_fall(case):
    """With the language loss and everything but the routers left out."""
    model = load(case.out).train()
    gates = [router(model, layer) for layer in case.layers]
    model.requires_grad_(False)
    for gate in gates:
        gate.requires_grad_(True)
    # Distances reach the logits through scales of several hundred: a longer step overshoots.
    optimiser = torch.optim.AdamW([p for g in gates for p in g.parameters()], lr=1e-4)
    totals = []
    for _ in range(6):
        optimiser.zero_grad()
        for gate in gates:
            gate.keeps_routing = True
        model.model(case.ids[:4])
        total = sys.modules[type(model).__module__].router_loss(model)
        totals.append(total.item())
        total.backward()
        optimiser.step()
    assert totals[-1] < totals[0]


def test_transformers_own_balance_loss_is_refused(case, model):
    with pytest.raises(ValueError, match="regate_loss_coef"):
        model(case.ids[:1], output_router_logits=True)


# ---------------------------------------------------------------- saving and refusing


def test_save_and_reload_keep_every_tensor(case, tmp_path):
    model = load(case.out, dtype="auto")
    model.save_pretrained(tmp_path)
    files = {"configuration_regate.py", "gate_regate.py", "modeling_regate.py"}
    assert files <= {p.name for p in tmp_path.iterdir()}
    saved = Checkpoint(tmp_path)
    assert saved.names() == case.checkpoint.names()
    for name in saved.names():
        assert torch.equal(saved[name], case.checkpoint[name]), name
        assert saved[name].dtype == case.checkpoint[name].dtype, name
    for key in ("model_type", "regate", "architectures", "hidden_act"):
        assert saved.config[key] == case.checkpoint.config[key]
    again = load(tmp_path, dtype="auto")
    with torch.no_grad():
        # Equal weights, mapped at other alignments: matrix products differ in their last bits.
        torch.testing.assert_close(
            again(case.ids[:1]).logits, model(case.ids[:1]).logits, rtol=0, atol=1e-5)
    # Regate itself reads what transformers saved, and finds the same routers and experts.
    report = json.loads(regate("validate", case.original, tmp_path, "--precision", "f32", "--calibration",
                               case.captures[1], "--json", "-q"))
    before = json.loads(regate("validate", case.original, case.out, "--precision", "f32", "--calibration",
                               case.captures[1], "--json", "-q"))
    assert report["layers"] == before["layers"]


def test_nothing_loads_without_remote_code(case, default):
    for auto in (AutoConfig, AutoModel, AutoModelForCausalLM):
        with pytest.raises(ValueError, match="trust_remote_code"):
            auto.from_pretrained(case.out, trust_remote_code=False)
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from transformers import AutoModelForCausalLM as A; "
         "A.from_pretrained(sys.argv[1])", case.out],
        stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode != 0 and "trust_remote_code" in done.stderr


# In a process of its own: once our files are imported, transformers 5 renames our tensors for
# stock classes too.
FORCE = """
import json, sys, transformers
folder, original, *names = sys.argv[1:]
for name in names:
    stock = getattr(transformers, name)
    options = {}
    if original:
        keys = json.load(open(original + "/config.json"))
        if int(transformers.__version__.split(".")[0]) < 5:
            keys["rope_theta"] = keys.pop("rope_parameters", {}).get("rope_theta", 10000.0)
            keys["num_experts"] = keys.get("num_local_experts")
        del keys["model_type"]
        options["config"] = stock.config_class(**keys)
    try:
        stock.from_pretrained(folder, **options)
        print(json.dumps([name, "loaded"]))
    except Exception as error:
        print(json.dumps([name, type(error).__name__ + ": " + str(error)]))
"""


def forced(case, names, original=""):
    """What each stock class says to the checkpoint."""
    done = subprocess.run([sys.executable, "-c", FORCE, case.out, original, *names],
                          capture_output=True, text=True, check=True)
    return dict(json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))


def is_mixtral(case):
    return case.checkpoint.config["model_type"] == "regate_mixtral"


def test_its_stock_class_stops(case, default):
    """At the gate's shape; Mixtral's already at the activation that config.json names."""
    stock = case.checkpoint.config["architectures"][0].removeprefix("Regate")
    said = forced(case, [stock])[stock]
    assert ("trust_remote_code" if is_mixtral(case) else "mismatch") in said
    # With the original's configuration always at the shape.
    assert "mismatch" in forced(case, [stock], case.original)[stock]


def test_stock_classes_of_other_families_with_the_same_names_stop(case, default):
    others = ["Qwen2MoeForCausalLM", "Qwen3MoeForCausalLM", "OlmoeForCausalLM",
              "DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM", "Glm4MoeForCausalLM"]
    if is_mixtral(case):
        others += ["MixtralForCausalLM", "PhimoeForCausalLM", "MiniMaxForCausalLM"]
    said = forced(case, others)
    assert set(said) == set(others) and "loaded" not in said.values(), said


def edited(case, folder, change):
    shutil.copytree(case.out, folder)
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_another_version_is_refused(case, tmp_path):
    def change(config):
        config["regate"]["version"] = 2

    with pytest.raises(ValueError, match="version"):
        load(edited(case, tmp_path / "v2", change))


def test_a_configuration_without_routers_is_refused(case, tmp_path):
    with pytest.raises(ValueError, match="regate"):
        load(edited(case, tmp_path / "none", lambda config: config.pop("regate")))
