# SPDX-License-Identifier: Apache-2.0
"""Every family converted from captures: outputs load in transformers, whose routers then choose as
`regate validate` says.

Run on demand: `REGATE=.build/release/regate pytest tools/interop/test_families.py`. With LLAMA_CPP
(its source) and LLAMA_BIN (a folder of its binaries), GGUF files that its converter makes of them are
converted too, and perplexities compared.
"""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fixtures"))
import llama_log  # noqa: E402
import test_capture as models  # noqa: E402
import tiny_variants  # noqa: E402

REGATE = os.environ.get("REGATE", str(Path(__file__).resolve().parents[2] / ".build/release/regate"))
ROWS, LENGTH = 40, 100

GRANITE = dict(num_local_experts=8, num_experts_per_tok=3, embedding_multiplier=6.0, residual_multiplier=0.4,
               attention_multiplier=0.2, logits_scaling=3.0)


def longrope(factors):
    """llama.cpp rounds contexts up to 256 tokens: those have the short factors still."""
    return dict(rope_type="longrope", rope_theta=1e4, original_max_position_embeddings=256,
                short_factor=[1 + place / 8 for place in range(factors)],
                long_factor=[4.0 + place for place in range(factors)],
                # The attention factor that llama.cpp's converter works out.
                short_mscale=math.sqrt(1 + math.log(2) / math.log(256)), long_mscale=1.5)


DELTA = dict(
    models.QWEN, head_dim=16, shared_expert_intermediate_size=32, linear_num_key_heads=2,
    linear_num_value_heads=4, linear_key_head_dim=8, linear_value_head_dim=8,
    layer_types=["linear_attention", "full_attention", "linear_attention"])
models.FAMILIES.update({
    "qwen3_next": (transformers.Qwen3NextConfig, DELTA),
    "qwen3_5_moe_text": (transformers.Qwen3_5MoeTextConfig, DELTA),
    "glm4_moe_lite": (transformers.Glm4MoeLiteConfig, dict(
        {key: value for key, value in models.MLA.items() if key != "first_k_dense_replace"},
        num_experts_per_tok=3, mlp_layer_types=["sparse", "dense", "sparse"])),
    "deepseek_v32": (transformers.DeepseekV32Config, dict(
        models.MLA, num_experts_per_tok=3, n_group=4, topk_group=2, index_topk=100,
        index_n_heads=2, index_head_dim=16)),
    "glm_moe_dsa": (transformers.GlmMoeDsaConfig, dict(
        models.MLA, num_experts_per_tok=3, index_topk=100, index_n_heads=2, index_head_dim=16,
        index_topk_freq=2)),
    "mistral4": (transformers.Mistral4Config, dict(
        models.MLA, num_experts_per_tok=3, n_group=4, topk_group=2, rope_parameters=dict(
            rope_type="yarn", rope_theta=1e4, factor=4.0, original_max_position_embeddings=32,
            mscale=1.0, mscale_all_dim=1.0, llama_4_scaling_beta=0.1))),
    "phimoe": (transformers.PhimoeConfig, dict(
        num_local_experts=8, attention_bias=True, lm_head_bias=True, max_position_embeddings=512,
        rope_parameters=longrope(4))),
    "granitemoe": (transformers.GraniteMoeConfig, GRANITE),
    "granitemoeshared": (transformers.GraniteMoeSharedConfig, GRANITE | dict(shared_intermediate_size=24)),
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


WRAPPED = {"mistral4"}  # AutoModelForCausalLM does not know it: run inside its wrapper.


@pytest.fixture(scope="module", params=[name for name in models.FAMILIES if name not in WRAPPED])
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
        folder, dtype=torch.float32, trust_remote_code=True, output_loading_info=True)
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
        block = getattr(patched.model.layers[layer["index"]], "mlp", None)
        bias = getattr(block, "e_score_correction_bias", None)
        with torch.no_grad():
            _, _, after = models.route(routers[layer["index"]], inputs, *([] if bias is None else [bias]))
        experts = len(layer["original"]["load"])
        for found, expected in ((before, layer["original"]), (after, layer["patched"])):
            counted = np.array(load(found, experts))
            # The captures are bfloat16: a tie may turn.
            assert np.abs(counted - expected["load"]).sum() <= 0.01 * counted.sum()
        # A layer of random weights may be even from the start.
        assert layer["patched"]["gini"] < max(0.1, 0.7 * layer["original"]["gini"])


RUN = ["mixtral", "qwen3_moe", "qwen2_moe", "olmoe", "deepseek_v2", "deepseek_v3", "glm4_moe",
       "glm4_moe_lite", "deepseek_v32", "glm_moe_dsa", "minimax_m2", "gpt_oss", "granitemoe",
       "granitemoeshared", "ernie4_5_moe", "dots1", "phimoe",
       "qwen3_next", "qwen3_5_moe_text", "gemma4_text"]
PROTOTYPE = {"mixtral", "qwen3_moe", "deepseek_v2", "deepseek_v3", "glm4_moe", "glm4_moe_lite", "gpt_oss",
             "qwen3_next"}


def nll(model, ids):
    ids = torch.from_numpy(ids.astype(np.int64))
    with torch.no_grad():
        logits = model(input_ids=ids).logits[:, :-1].double()
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).item()


def test_what_regate_runs_gives_the_nll_of_transformers(converted):
    model, folder, ids, _ = converted
    family = model.config.model_type
    if family not in RUN:
        pytest.skip("fitted to captures")
    outputs = ["stock"]
    if family in PROTOTYPE:
        regate("convert", folder / "model", "--router", "lpr", "--calibration", folder / "fit.npy",
               "--output", folder / "lpr", "-q")
        outputs.append("lpr")
    for output in outputs:
        report = json.loads(regate(
            "validate", folder / "model", folder / output, "--calibration", folder / "judge.npy",
            "--json"))
        patched = loaded(folder / output)
        judged = ids[ROWS // 2 :]
        assert report["nll"]["original"] == pytest.approx(nll(model, judged), abs=2e-4)
        assert report["nll"]["patched"] == pytest.approx(nll(patched, judged), abs=2e-4)


# Of two rotated pairs.
MROPE = dict(rope_type="default", rope_theta=1e4, partial_rotary_factor=0.25, mrope_section=[1, 1, 0],
             mrope_interleaved=True)


def qwen3_vl():
    text = {**models.COMMON, **models.QWEN, "head_dim": 16, "rope_parameters": dict(
        rope_type="default", rope_theta=1e4, mrope_section=[4, 2, 2], mrope_interleaved=True)}
    tower = dict(depth=1, hidden_size=16, intermediate_size=16, num_heads=2, out_hidden_size=32,
                 deepstack_visual_indexes=[0], num_position_embeddings=16)
    tokens = dict(image_token_id=93, video_token_id=94, vision_start_token_id=95, vision_end_token_id=96)
    return transformers.Qwen3VLMoeForConditionalGeneration(
        transformers.Qwen3VLMoeConfig(text_config=text, vision_config=tower, **tokens))


def qwen3_5():
    text = {**models.COMMON, **DELTA, "rope_parameters": MROPE}
    tower = dict(depth=1, hidden_size=16, intermediate_size=16, num_heads=2, out_hidden_size=32,
                 num_position_embeddings=16)
    tokens = dict(image_token_id=93, video_token_id=94, vision_start_token_id=95, vision_end_token_id=96)
    return transformers.Qwen3_5MoeForConditionalGeneration(
        transformers.Qwen3_5MoeConfig(text_config=text, vision_config=tower, **tokens))


def gemma4():
    text = {**models.COMMON, **models.FAMILIES["gemma4_text"][1], "pad_token_id": 0,
            "use_bidirectional_attention": "vision"}
    tower = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
                 num_key_value_heads=2, head_dim=8, patch_size=4, position_embedding_size=16)
    tokens = dict(image_token_id=93, video_token_id=94, boi_token_id=95, eoi_token_id=95)
    return transformers.Gemma4ForConditionalGeneration(
        transformers.Gemma4Config(text_config=text, vision_config=tower, **tokens))


def qwen3_omni():
    text = {**models.COMMON, **models.QWEN, "head_dim": 16, "rope_parameters": dict(
        rope_type="default", rope_theta=1e4, mrope_section=[4, 2, 2], mrope_interleaved=True)}
    vision = dict(depth=1, hidden_size=16, intermediate_size=16, num_heads=2, out_hidden_size=32,
                  deepstack_visual_indexes=[0], num_position_embeddings=16)
    audio = dict(d_model=16, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=16,
                 output_dim=32, num_mel_bins=8, max_source_positions=50, downsample_hidden_size=16)
    return transformers.Qwen3OmniMoeThinkerForConditionalGeneration(
        transformers.Qwen3OmniMoeThinkerConfig(
            text_config=text, vision_config=vision, audio_config=audio, audio_token_id=92,
            image_token_id=93, video_token_id=94))


def mistral_small_4():
    kind, values = models.FAMILIES["mistral4"]
    text = kind(**{**models.COMMON, **values}).to_dict()
    vision = dict(model_type="pixtral", hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                  num_attention_heads=2, head_dim=8, image_size=28, patch_size=14)
    return transformers.Mistral3ForConditionalGeneration(transformers.Mistral3Config(
        text_config=text, vision_config=vision, image_token_index=93, tie_word_embeddings=False))


def kimi_k25():
    text = {**models.COMMON, **models.FAMILIES["deepseek_v3"][1]}
    vision = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
                  patch_size=14, pos_emb_height=4, pos_emb_width=4)
    return transformers.Kimi_K25ForConditionalGeneration(transformers.Kimi_K25Config(
        text_config=text, vision_config=vision, image_token_id=93, video_token_id=94,
        tie_word_embeddings=False))


def with_published_names(folder):
    """save_pretrained of transformers 5.23 renames the layers of Kimi-K2.5's language model with those
    of its vision tower."""
    tensors = load_file(folder / "model.safetensors")
    save_file({name.replace("language_model.model.blocks", "language_model.model.layers"): value
               for name, value in tensors.items()}, folder / "model.safetensors", {"format": "pt"})


def pack_experts(folder):
    """Rounds experts to INT4 as compressed-tensors packs them; gives the model of what is stored."""
    tensors = load_file(folder / "model.safetensors")
    plain = dict(tensors)
    for name, value in list(tensors.items()):
        if ".mlp.experts." not in name:
            continue
        assert value.dim() == 2, "experts that are not fused"
        groups = value.reshape(value.shape[0], -1, 8)
        scale = (groups.abs().amax(-1) / 7.5).bfloat16()
        code = (groups / scale.float()[..., None]).round().clamp(-8, 7).int()
        plain[name] = (code * scale.float()[..., None]).reshape(value.shape)
        code = code.reshape(value.shape) + 8
        del tensors[name]
        tensors[name + "_packed"] = sum(code[:, place::8] << 4 * place for place in range(8)).int()
        tensors[name + "_scale"] = scale
        tensors[name + "_shape"] = torch.tensor(value.shape)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["quantization_config"] = dict(
        quant_method="compressed-tensors", format="pack-quantized", config_groups=dict(group_0=dict(
            targets=["Linear"], weights=dict(num_bits=4, type="int", strategy="group", group_size=8))))
    (folder / "config.json").write_text(json.dumps(config))
    return plain


def inside_omni(folder):
    """Turns the thinker's checkpoint into a whole model's, beside a talker with experts."""
    config = json.loads((folder / "config.json").read_text())
    whole = {"model_type": "qwen3_omni_moe", "architectures": ["Qwen3OmniMoeForConditionalGeneration"],
             "thinker_config": config}
    (folder / "config.json").write_text(json.dumps(whole))
    tensors = {"thinker." + name: value for name, value in load_file(folder / "model.safetensors").items()}
    for name, value in list(tensors.items()):
        if ".mlp." in name and ".layers." in name:
            tensors[name.replace("thinker.", "talker.")] = value.clone()
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def fitted_and_judged(folder, ids):
    np.save(folder / "fit.npy", ids[: ROWS // 2])
    np.save(folder / "judge.npy", ids[ROWS // 2 :])
    regate("convert", folder / "model", "--calibration", folder / "fit.npy", "--router", "stock",
           "--output", folder / "stock", "-q")
    return json.loads(regate("validate", folder / "model", folder / "stock", "--calibration",
                             folder / "judge.npy", "--json"))


@pytest.mark.parametrize("wrapper", [qwen3_vl, qwen3_5, gemma4, qwen3_omni, mistral_small_4, kimi_k25])
def test_the_language_model_of_a_wrapper_is_converted(wrapper, tmp_path):
    torch.manual_seed(0)
    model = wrapper().float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.15)
        models.vary_scales(model)
    model.save_pretrained(tmp_path / "model")
    shutil.copy(tmp_path / "model" / "config.json", tmp_path)
    if wrapper is kimi_k25:
        with_published_names(tmp_path / "model")
    ids = (np.random.default_rng(3).zipf(1.3, (ROWS, LENGTH)) % 92).astype(np.int32)
    report = fitted_and_judged(tmp_path, ids)
    patched, info = type(model).from_pretrained(
        tmp_path / "stock", dtype=torch.float32, output_loading_info=True)
    assert not any(info.values()), info
    for name, network in (("original", model), ("patched", patched.eval())):
        assert report["nll"][name] == pytest.approx(nll(network, ids[ROWS // 2 :]), abs=2e-4)
    if wrapper is gemma4:
        before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("model", "stock"))
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert changed and all(".router." in name or ".experts." in name for name in changed), changed
    if wrapper is qwen3_omni:
        shutil.rmtree(tmp_path / "stock")
        inside_omni(tmp_path / "model")
        whole = fitted_and_judged(tmp_path, ids)
        assert whole["nll"] == report["nll"]
        before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("model", "stock"))
        assert all(torch.equal(before[name], after[name]) for name in before if "talker" in name)
        gate = "thinker.model.layers.0.mlp.gate.weight"
        assert not torch.equal(before[gate], after[gate])
    if wrapper is kimi_k25:
        shutil.rmtree(tmp_path / "stock")
        plain = pack_experts(tmp_path / "model")
        packed = fitted_and_judged(tmp_path, ids)
        shutil.copytree(tmp_path / "model", tmp_path / "plain")
        shutil.copy(tmp_path / "config.json", tmp_path / "plain")
        save_file(plain, tmp_path / "plain" / "model.safetensors", {"format": "pt"})
        rounded = type(model).from_pretrained(tmp_path / "plain", dtype=torch.float32).eval()
        assert packed["nll"]["original"] == pytest.approx(nll(rounded, ids[ROWS // 2 :]), abs=2e-4)
        assert packed["nll"]["original"] != report["nll"]["original"]


def test_a_gpt_oss_is_converted_as_it_is_published(tmp_path):
    """Experts in MXFP4: what transformers makes of them, and clones as copies of their bytes."""
    models.FAMILIES["packed"] = (transformers.GptOssConfig, dict(
        models.FAMILIES["gpt_oss"][1], num_local_experts=8, intermediate_size=64, swiglu_limit=2.0))
    models.make_model("packed", tmp_path / "model")
    with torch.no_grad():
        model = tiny_variants.pack_mxfp4(tmp_path / "model")
    ids = (np.random.default_rng(3).zipf(1.3, (ROWS, LENGTH)) % models.VOCABULARY).astype(np.int32)
    report = fitted_and_judged(tmp_path, ids)
    patched, info = transformers.GptOssForCausalLM.from_pretrained(
        tmp_path / "stock", dtype=torch.float32, output_loading_info=True,
        quantization_config=transformers.Mxfp4Config(dequantize=True))
    assert not any(info.values()), info
    for name, network in (("original", model), ("patched", patched.eval())):
        assert report["nll"][name] == pytest.approx(nll(network, ids[ROWS // 2 :]), abs=2e-4)
    regate("convert", tmp_path / "model", "--calibration", tmp_path / "fit.npy", "--router", "lpr",
           "--output", tmp_path / "lpr", "-q")
    report = json.loads(regate("validate", tmp_path / "model", tmp_path / "lpr", "--calibration",
                               tmp_path / "judge.npy", "--json"))
    network = loaded(tmp_path / "lpr")
    assert report["nll"]["patched"] == pytest.approx(nll(network, ids[ROWS // 2 :]), abs=2e-4)
    network.train().config.regate_loss_coef = 0.01
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    rows = torch.from_numpy(ids[:8].astype(np.int64))
    losses = []
    for _ in range(8):
        losses.append(network(input_ids=rows, labels=rows).loss)
        losses[-1].backward()
        for router in models.router_modules(network).values():
            learning = router.weight, router.logical_prototypes, router.logit_bias
            assert all(part.grad.abs().sum() > 0 for part in learning)
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < losses[0] - 0.1
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("model", "stock"))
    parts = [name for name in before if ".experts." in name]
    assert len(parts) == 3 * 6
    copies = 0
    for layer in range(3):
        own = [name for name in parts if f".layers.{layer}." in name]
        for expert in range(8):
            source, = [other for other in range(8)
                       if all(torch.equal(after[name][expert], before[name][other]) for name in own)]
            copies += source != expert
    assert copies > 0


def test_longer_sequences_than_the_indexer_keeps_are_refused(converted):
    model, folder, ids, _ = converted
    if not hasattr(model.config, "index_topk"):
        pytest.skip("has no indexer")
    long = np.concatenate([ids, ids[:, :1]], 1)
    np.save(folder / "long.npy", long.astype(np.int32))
    done = subprocess.run(
        [REGATE, "inspect", str(folder / "model"), "--calibration", str(folder / "long.npy")],
        capture_output=True, text=True)
    assert done.returncode == 1
    assert "index_topk: is 100" in done.stderr and "one has 101 tokens" in done.stderr, done.stderr


TOOLS = Path(__file__).resolve().parents[1]
TEXT = TOOLS.parent / "fixtures" / "tiny-text"
TOKENIZER = TOOLS.parent / "fixtures" / "tiny-qwen3-moe"
# What llama.cpp and its converter want beside transformers' keys.
GGUF = {"mixtral": {}, "qwen3_moe": dict(mlp_only_layers=[]), "qwen2_moe": {}, "olmoe": dict(num_key_value_heads=4), "glm4_moe": {},
        "deepseek_v3": dict(num_hidden_layers=3, scoring_func="sigmoid", topk_method="noaux_tc"),
        "glm_moe_dsa": dict(scoring_func="sigmoid", topk_method="noaux_tc", index_head_dim=128,
                            indexer_types=["full"] * 3),
        "mistral4": dict(architectures=["Mistral3ForConditionalGeneration"], n_group=1, topk_group=1),
        "minimax_m2": dict(scoring_func="sigmoid"), "gpt_oss": dict(intermediate_size=64),
        "granitemoe": {}, "granitemoeshared": {}, "ernie4_5_moe": {}, "dots1": dict(scoring_func="sigmoid"),
        "phimoe": dict(architectures=["PhiMoEForCausalLM"], rope_parameters=longrope(8)),
        "qwen3_next": {}, "qwen3_5_moe_text": dict(rope_parameters=MROPE), "gemma4_text": {}}


def perplexity(model):
    for _ in range(5):
        done = subprocess.run(
            [Path(os.environ["LLAMA_BIN"]) / "llama-perplexity", "-m", model, "-f", TEXT / "heldout.txt",
             "-c", "64", "-b", "64", "-ub", "64", "-t", "2", "-ctk", "f32", "-ctv", "f32", "-fa", "off"],
            capture_output=True, text=True)
        # The program may end before its log has written anything.
        if found := llama_log.perplexity(done.stdout + done.stderr):
            return found
    raise AssertionError(done.stderr[-2000:])


@pytest.mark.skipif("LLAMA_BIN" not in os.environ, reason="LLAMA_BIN is not set")
@pytest.mark.parametrize("family", GGUF)
def test_a_gguf_output_has_the_perplexity_that_validate_says(family, tmp_path):
    kind, values = models.FAMILIES[family]
    tokenizer = json.loads((TOKENIZER / "config.json").read_text())
    config = kind(**{**models.COMMON, **values, **GGUF[family], "hidden_size": 64,
                     "vocab_size": tokenizer["vocab_size"]})
    torch.manual_seed(3)
    kind = transformers.Mistral4ForCausalLM if family in WRAPPED else None
    model = kind(config) if kind else transformers.AutoModelForCausalLM.from_config(
        config, dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 or name.endswith("bias"):
                parameter.normal_(std=0.15)
        models.vary_scales(model)
    model.save_pretrained(tmp_path / "model")
    settings = tmp_path / "model" / "config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | GGUF[family]))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TOKENIZER / name, tmp_path / "model")
    if family == "gpt_oss":
        tiny_variants.pack_mxfp4(tmp_path / "model")
    original = tmp_path / "model.gguf"
    subprocess.run(
        [sys.executable, TOOLS / "fixtures" / "convert_gguf.py", os.environ["LLAMA_CPP"],
         tmp_path / "model", "--outtype", "f32", "--outfile", original,
         *(["--no-mtp"] if family in ("qwen3_next", "qwen3_5_moe_text") else [])],
        check=True, capture_output=True)
    regate("convert", original, "--calibration", TEXT / "calibration.txt", "--length", 64,
           "--output", tmp_path / "stock.gguf", "-q")
    report = json.loads(regate(
        "validate", original, tmp_path / "stock.gguf", "--calibration", TEXT / "heldout.txt",
        "--ppl-protocol", "llama", "--length", 64, "--json"))
    for name, found in (("original", original), ("patched", tmp_path / "stock.gguf")):
        expected = perplexity(found)
        assert report["perplexity"][name] == pytest.approx(expected, rel=5e-3)
