# SPDX-License-Identifier: Apache-2.0
"""tools/capture.py against randomly initialised models of every family that it names.

Run on demand: `pytest tools/interop/test_capture.py` (see tools/interop/README.md).
"""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file

TOOLS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOOLS))
import capture  # noqa: E402

VOCABULARY, LAYERS = 97, 3
COMMON = dict(vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=LAYERS,
              num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256,
              pad_token_id=None, bos_token_id=0, eos_token_id=0)
MLA = dict(num_key_value_heads=4, moe_intermediate_size=24, n_routed_experts=8, num_experts_per_tok=2,
           n_shared_experts=1, first_k_dense_replace=1, q_lora_rank=16, kv_lora_rank=16,
           qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=8)
QWEN = dict(moe_intermediate_size=24, num_experts=8, num_experts_per_tok=3)

FAMILIES = {
    "mixtral": (transformers.MixtralConfig, dict(num_local_experts=6, num_experts_per_tok=2)),
    "qwen3_moe": (transformers.Qwen3MoeConfig, dict(**QWEN, head_dim=8, mlp_only_layers=[1])),
    "qwen2_moe": (transformers.Qwen2MoeConfig, dict(**QWEN, shared_expert_intermediate_size=32)),
    "olmoe": (transformers.OlmoeConfig, dict(num_experts=8, num_experts_per_tok=3)),
    "deepseek_v2": (transformers.DeepseekV2Config, dict(
        MLA, topk_method="group_limited_greedy", n_group=4, topk_group=2, routed_scaling_factor=4.0)),
    "deepseek_v3": (transformers.DeepseekV3Config, dict(MLA, n_group=4, topk_group=2)),
    "glm4_moe": (transformers.Glm4MoeConfig, dict(
        moe_intermediate_size=24, n_routed_experts=8, num_experts_per_tok=2, n_group=1, topk_group=1,
        first_k_dense_replace=1, head_dim=8)),
    "gpt_oss": (transformers.GptOssConfig, dict(
        num_local_experts=6, num_experts_per_tok=2, head_dim=8, sliding_window=16)),
    "gemma4_text": (transformers.Gemma4TextConfig, dict(
        enable_moe_block=True, num_experts=8, top_k_experts=3, moe_intermediate_size=24, head_dim=16,
        global_head_dim=32, num_global_key_value_heads=1, attention_k_eq_v=True, hidden_size_per_layer_input=0,
        sliding_window=16, final_logit_softcapping=5.0,
        layer_types=["sliding_attention", "full_attention", "full_attention"])),
}


def make_model(family, folder):
    kind, values = FAMILIES[family]
    torch.manual_seed(list(FAMILIES).index(family))
    config = kind(**{**COMMON, **values})
    model = capture.auto_class(config).from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:  # larger than the default, so that routing is far from uniform
                parameter.normal_(std=0.15)
        vary_scales(model)
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith(("e_score_correction_bias", "expert_bias")):
                value.normal_(std=0.05)
            elif name.endswith("tid2eid"):
                value.random_(0, config.n_routed_experts)
    model.save_pretrained(folder)
    return model


def vary_scales(model):
    """Gives Gemma's scales, which are 1 in a new model, values of their own."""
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        if name.endswith((".router.scale", "per_expert_scale", "layer_scalar")):
            value.uniform_(0.6, 1.4)


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return make_model(request.param, folder), folder, request.param


def router_modules(model):
    """Layer number to router, found by its output rather than by capture.py's own pattern."""
    found = {}
    for name, module in model.named_modules():
        if re.search("Router|MoEV1Gate", type(module).__name__) and not hasattr(module, "tid2eid"):
            found[int(name.split(".layers.")[1].split(".")[0])] = module
    return found


def choice(outputs):
    """Experts and weights that a router gives; Llama-4's scores all, of which it takes one."""
    if len(outputs) == 3:
        return outputs[2], outputs[1]
    weights, experts = outputs[0].topk(1, -1)
    return experts, weights


def run_capture(*arguments):
    return capture.main([str(argument) for argument in arguments])


def ragged_ids(rows=7, longest=19):
    """[S, L] ids with -1 padding, rows of different lengths, so that batches need padding."""
    random = np.random.default_rng(5)
    ids = np.full((rows, longest), -1, np.int32)
    for row in ids:
        length = random.integers(3, longest + 1)
        row[:length] = random.integers(0, VOCABULARY, length)
    return ids


def route(router, inputs, *more):
    """What a router makes of what its gate reads."""
    if not hasattr(router, "proj"):
        return router(inputs, *more)
    scores = router.proj(inputs).softmax(-1)
    weights, chosen = scores.topk(router.config.top_k_experts)
    return scores, weights / weights.sum(-1, keepdim=True) * router.per_expert_scale[chosen], chosen


def watched(model, ids):
    """What each router's gate reads and what it chooses, one unpadded sequence at a time."""
    seen = {layer: ([], [], []) for layer in router_modules(model)}
    handles = []
    for layer, router in router_modules(model).items():
        def hook(router, inputs, outputs, layer=layer):
            if not hasattr(router, "proj"):
                seen[layer][0].append(inputs[0].reshape(-1, inputs[0].shape[-1]))
            for part, value in zip(seen[layer][1:], choice(outputs)):
                part.append(value)
        handles.append(router.register_forward_hook(hook))
        if hasattr(router, "proj"):
            handles.append(router.proj.register_forward_pre_hook(
                lambda _, inputs, layer=layer: seen[layer][0].append(inputs[0])))
    with torch.no_grad():
        for row in ids:
            model(input_ids=torch.from_numpy(row[row >= 0].astype(np.int64))[None], use_cache=False)
    for handle in handles:
        handle.remove()
    return {layer: tuple(torch.cat(part) for part in parts) for layer, parts in seen.items()}


def test_a_capture_equals_a_manual_hook_and_reproduces_the_routing(model, tmp_path):
    network, folder, family = model
    ids = ragged_ids()
    np.save(tmp_path / "ids.npy", ids)
    assert run_capture(folder, tmp_path / "ids.npy", "-o", tmp_path / "c.safetensors", "--batch", 3) == 0
    tensors = load_file(tmp_path / "c.safetensors")
    expected = watched(network, ids)
    assert np.array_equal(tensors.pop("token_ids").numpy(), ids)
    assert set(tensors) == {f"layers.{layer}.router_input" for layer in expected}
    assert expected, "no router found"
    for layer, (inputs, chosen, weights) in expected.items():
        captured = tensors[f"layers.{layer}.router_input"]
        assert captured.shape == ((ids >= 0).sum(), COMMON["hidden_size"])
        torch.testing.assert_close(captured, inputs, rtol=1e-4, atol=2e-5)
        with torch.no_grad():
            _, again_weights, again = route(router_modules(network)[layer], captured)
        assert (again.sort(-1).values == chosen.sort(-1).values).all(-1).float().mean() > 0.99
        torch.testing.assert_close(again_weights.sort(-1).values, weights.sort(-1).values, rtol=1e-2, atol=1e-3)
    with safe_open(tmp_path / "c.safetensors", "np") as file:
        metadata = file.metadata()
    assert metadata["format"] == "regate.capture.v1"
    assert metadata["model_type"] == family
    assert metadata["tokens"] == str((ids >= 0).sum()) and metadata["sequences"] == str(len(ids))


def test_batching_does_not_change_a_sequence(model, tmp_path):
    _, folder, _ = model
    np.save(tmp_path / "ids.npy", ragged_ids())
    for batch in (1, 7):
        assert run_capture(folder, tmp_path / "ids.npy", "-o", tmp_path / f"{batch}.safetensors", "--batch", batch) == 0
    one, seven = load_file(tmp_path / "1.safetensors"), load_file(tmp_path / "7.safetensors")
    for name in one:
        torch.testing.assert_close(one[name], seven[name], rtol=1e-4, atol=2e-5)


# ---------------------------------------------------------------- one family is enough for the rest


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("qwen")
    return make_model("qwen3_moe", folder), folder


def gate_tensors(folder):
    tensors = load_file(folder / "model.safetensors")
    return {int(name.split(".")[2]): tensor for name, tensor in tensors.items() if name.endswith("mlp.gate.weight")}


def metadata_of(path):
    with safe_open(path, "np") as file:
        return file.metadata()


def test_the_fingerprint_is_the_documented_hash_of_the_gates_on_disk(qwen, tmp_path):
    network, folder = qwen
    np.save(tmp_path / "ids.npy", np.arange(10))
    network.to(torch.bfloat16).save_pretrained(tmp_path / "bf16")
    network.to(torch.float32).save_pretrained(tmp_path / "f32")
    prints = []
    for name, options in (("bf16", ["--float32"]), ("bf16", []), ("f32", [])):
        output = tmp_path / "c.safetensors"
        assert run_capture(tmp_path / name, tmp_path / "ids.npy", "-o", output, "--overwrite", *options) == 0
        prints.append(metadata_of(output)["model_fingerprint"])
    digest = hashlib.sha256()
    for layer, gate in sorted(gate_tensors(tmp_path / "bf16").items()):
        digest.update(f"layers.{layer}.router {gate.shape[0]} {gate.shape[1]}\n".encode())
        digest.update(gate.float().numpy().tobytes())
    assert prints == [digest.hexdigest()] * 3


def test_the_weights_are_told_apart_where_the_gates_are_the_same(qwen, tmp_path):
    network, folder = qwen
    np.save(tmp_path / "ids.npy", np.arange(10))
    weight = network.model.layers[1].self_attn.q_proj.weight

    def captured(name, **options):
        network.save_pretrained(tmp_path / name, **options)
        assert run_capture(tmp_path / name, tmp_path / "ids.npy", "-o", tmp_path / f"{name}.safetensors") == 0
        metadata = metadata_of(tmp_path / f"{name}.safetensors")
        return [metadata[key] for key in ("model_fingerprint", "weights_layout", "weights_sample")]

    base = captured("base")
    assert captured("shards", max_shard_size="20KB") == base
    with torch.no_grad():
        weight.mul_(1.5)
    tuned = captured("tuned")
    with torch.no_grad():
        weight.div_(1.5)
    assert tuned[:2] == base[:2] and tuned[2] != base[2]


def test_kimi_k2_is_read_as_deepseek_v3(tmp_path):
    make_model("deepseek_v3", tmp_path / "kimi")
    np.save(tmp_path / "ids.npy", ragged_ids())
    assert run_capture(tmp_path / "kimi", tmp_path / "ids.npy", "-o", tmp_path / "v3") == 0
    config = json.loads((tmp_path / "kimi" / "config.json").read_text())
    (tmp_path / "kimi" / "config.json").write_text(json.dumps({**config, "model_type": "kimi_k2"}))
    assert run_capture(tmp_path / "kimi", tmp_path / "ids.npy", "-o", tmp_path / "kimi.out") == 0
    v3, kimi = load_file(tmp_path / "v3"), load_file(tmp_path / "kimi.out")
    assert v3.keys() == kimi.keys() and all(torch.equal(v3[name], kimi[name]) for name in v3)


@pytest.mark.parametrize("dtype,torch_dtype", [("f16", torch.float16), ("bf16", torch.bfloat16)])
def test_narrow_types_are_the_rounded_float32(qwen, tmp_path, dtype, torch_dtype):
    _, folder = qwen
    np.save(tmp_path / "ids.npy", ragged_ids())
    for kind in ("f32", dtype):
        assert run_capture(folder, tmp_path / "ids.npy", "-o", tmp_path / kind, "--dtype", kind) == 0
    wide, narrow = load_file(tmp_path / "f32"), load_file(tmp_path / dtype)
    assert torch.equal(wide["layers.0.router_input"].to(torch_dtype), narrow["layers.0.router_input"])


def test_rows_are_cut_limited_and_chosen_by_seed(qwen, tmp_path):
    _, folder = qwen
    ids = np.arange(90).reshape(3, 30)
    np.savez(tmp_path / "ids.npz", token_ids=ids)

    def captured(*options):
        assert run_capture(folder, tmp_path / "ids.npz", "-o", tmp_path / "c", "--overwrite", *options) == 0
        return load_file(tmp_path / "c")["token_ids"].numpy()

    assert np.array_equal(captured("--length", 15), ids.reshape(6, 15))
    assert np.array_equal(captured("--length", 20)[1], np.r_[ids[0, 20:], np.full(10, -1)])
    assert np.array_equal(captured("--sequences", 2), ids[:2])
    assert np.array_equal(captured("--max-tokens", 40), np.stack([ids[0], np.r_[ids[1, :10], np.full(20, -1)]]))
    assert np.array_equal(captured("--pad-id", 29)[0, -1:], [-1])
    once, again, other = (captured("--length", 5, "--sequences", 4, "--seed", seed) for seed in (1, 1, 2))
    assert np.array_equal(once, again) and not np.array_equal(once, other)


def test_text_goes_through_the_models_tokenizer_and_documents_stay_apart(qwen, tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    _, folder = qwen
    words = {"<unk>": 0, **{word: 10 + index for index, word in enumerate("one two three four".split())}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(folder)
    lines = [{"text": "one two three"}, {"text": "four"}, {"text": "one two three four one"}]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert run_capture(folder, tmp_path / "t.jsonl", "-o", tmp_path / "c", "--length", 4) == 0
    expected = [[10, 11, 12, -1], [13, -1, -1, -1], [10, 11, 12, 13], [10, -1, -1, -1]]
    assert load_file(tmp_path / "c")["token_ids"].tolist() == expected


def test_errors_are_one_line_and_leave_no_file(qwen, tmp_path, capsys):
    _, folder = qwen
    np.save(tmp_path / "large.npy", np.array([[1, VOCABULARY]]))
    np.save(tmp_path / "float.npy", np.zeros((2, 3), np.float32))
    np.savez(tmp_path / "two.npz", a=np.arange(3), b=np.arange(3))
    (tmp_path / "bad.jsonl").write_text('{"text": "a"}\n{"body": "b"}\n')
    dense = transformers.Qwen3Config(**COMMON, head_dim=8)
    transformers.AutoModelForCausalLM.from_config(dense).save_pretrained(tmp_path / "dense")
    cases = [
        (folder, "large.npy", f"token id {VOCABULARY}"), (folder, "float.npy", "must be integers"),
        (folder, "two.npz", "exactly one integer array"), (folder, "missing.npy", "No such file"),
        (folder, "bad.jsonl", "line 2"), (folder, "ids.bin", "unknown kind"),
        (tmp_path / "dense", "large.npy", "no router"), (tmp_path / "absent", "large.npy", "absent"),
    ]
    capsys.readouterr()
    for checkpoint, name, message in cases:
        assert run_capture(checkpoint, tmp_path / name, "-o", tmp_path / "c") == 1
        error = capsys.readouterr().err.strip()
        assert message in error and error.count("\n") == 0 and error.startswith("capture.py: error:"), error
    assert not (tmp_path / "c").exists() and not (tmp_path / "c.partial").exists()


def test_an_existing_file_is_kept_unless_told_otherwise(qwen, tmp_path, capsys):
    _, folder = qwen
    np.save(tmp_path / "ids.npy", np.arange(10))
    (tmp_path / "c").write_text("precious")
    assert run_capture(folder, tmp_path / "ids.npy", "-o", tmp_path / "c") == 1
    assert "--overwrite" in capsys.readouterr().err and (tmp_path / "c").read_text() == "precious"
    assert run_capture(folder, tmp_path / "ids.npy", "-o", tmp_path / "c", "--overwrite") == 1
    assert "no capture" in capsys.readouterr().err and (tmp_path / "c").read_text() == "precious"


def test_overflow_in_f16_is_refused(qwen, tmp_path, capsys):
    network, _ = qwen
    with torch.no_grad():
        network.model.layers[0].post_attention_layernorm.weight.mul_(1e6)
    network.save_pretrained(tmp_path / "large")
    with torch.no_grad():
        network.model.layers[0].post_attention_layernorm.weight.div_(1e6)
    np.save(tmp_path / "ids.npy", np.arange(10))
    assert run_capture(tmp_path / "large", tmp_path / "ids.npy", "-o", tmp_path / "c", "--dtype", "f16") == 1
    assert "--dtype bf16" in capsys.readouterr().err and not (tmp_path / "c").exists()


def test_help_has_examples():
    output = subprocess.run([sys.executable, TOOLS / "capture.py", "--help"], capture_output=True, text=True)
    assert output.returncode == 0 and "examples:" in output.stdout
