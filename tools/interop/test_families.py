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

import gguf
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
from prototype_router import Checkpoint  # noqa: E402

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


def step_3_7(**text):
    vision = dict(width=16, layers=1, heads=2, image_size=28, patch_size=14, mlp_ratio=2.0)
    return transformers.Step3p7Config(
        text_config=dict(text, pad_token_id=1), vision_config=vision, image_token_id=96)


def minimax_m3(**text):
    vision = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
                  image_size=28, patch_size=14)
    return transformers.MiniMaxM3VLConfig(
        text_config=text, vision_config=vision, projector_hidden_size=32, image_token_index=95,
        video_token_index=96)


def mistral_large_4(**text):
    vision = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, head_dim=8,
                  image_size=28, patch_size=14)
    return transformers.MistralLarge4Config(text_config=text, vision_config=vision, image_token_index=96)


def llama_4(**text):
    vision = dict(hidden_size=16, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
                  image_size=28, patch_size=14, projector_input_dim=16, projector_output_dim=16,
                  vision_output_dim=16)
    return transformers.Llama4Config(text_config=text, vision_config=vision, image_token_index=96)


# Those that Regate does not run.
INSPECTED = {
    "deepseek_v4": (transformers.DeepseekV4Config, dict(
        moe_intermediate_size=24, intermediate_size=24, n_routed_experts=8, num_experts_per_tok=3,
        num_key_value_heads=1, head_dim=8, partial_rotary_factor=0.5, q_lora_rank=16, o_lora_rank=16,
        o_groups=2, index_n_heads=2, index_head_dim=8, index_topk=4, sliding_window=16, hc_mult=2,
        swiglu_limit=1.0, layer_types=["sliding_attention"] * 3,
        mlp_layer_types=["hash_moe", "moe", "moe"])),
    "minimax_m3_vl_text": (transformers.MiniMaxM3VLTextConfig, dict(
        num_local_experts=8, num_experts_per_tok=3, intermediate_size=24, dense_intermediate_size=40,
        shared_intermediate_size=24, head_dim=8, rotary_dim=4, swiglu_limit=1.0,
        mlp_layer_types=["dense", "sparse", "sparse"])),
    "hy_v3": (transformers.HYV3Config, dict(
        num_experts=8, num_experts_per_tok=3, moe_intermediate_size=24, head_dim=8)),
    "nemotron_h": (transformers.NemotronHConfig, dict(
        n_routed_experts=8, num_experts_per_tok=3, moe_intermediate_size=24,
        moe_shared_expert_intermediate_size=16, moe_latent_size=12, head_dim=8, mamba_num_heads=4,
        mamba_head_dim=8, n_groups=2, ssm_state_size=8, n_group=4, topk_group=2,
        layers_block_type=["linear_attention", "moe", "full_attention", "moe"])),
    "lfm2_moe": (transformers.Lfm2MoeConfig, dict(
        num_experts=8, num_experts_per_tok=3, moe_intermediate_size=24, num_dense_layers=1,
        layer_types=["conv", "full_attention", "conv"])),
    "llama4_text": (transformers.Llama4TextConfig, dict(
        num_local_experts=8, intermediate_size=24, intermediate_size_mlp=40, num_hidden_layers=4,
        interleave_moe_layer_step=2, head_dim=8)),
    "afmoe": (transformers.AfmoeConfig, dict(
        num_experts=8, num_experts_per_tok=3, moe_intermediate_size=24, num_shared_experts=1,
        head_dim=8, route_scale=1.5)),
    "bailing_hybrid": (transformers.BailingHybridConfig, dict(
        {key: models.MLA[key] for key in ("kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim",
                                          "v_head_dim", "num_key_value_heads", "moe_intermediate_size")},
        num_local_experts=8, num_experts_per_tok=3, n_group=4, topk_group=2, first_k_dense_replace=1,
        head_dim=8, layer_group_size=2)),
    "hunyuan_v1_moe": (transformers.HunYuanMoEV1Config, dict(
        num_experts=8, moe_topk=3, intermediate_size=24, head_dim=8)),
    "kimi_linear": (transformers.KimiLinearConfig, dict(
        {key: models.MLA[key] for key in ("kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim",
                                          "v_head_dim", "num_key_value_heads", "moe_intermediate_size")},
        num_local_experts=8, num_experts_per_tok=3, linear_head_dim=8, linear_num_heads=4)),
    "solar_open": (transformers.SolarOpenConfig, dict(
        n_routed_experts=8, num_experts_per_tok=3, moe_intermediate_size=24, head_dim=8)),
    "exaone_moe": (transformers.ExaoneMoeConfig, dict(
        num_experts=8, num_experts_per_tok=3, moe_intermediate_size=24, sliding_window=16)),
    "step3p7": (step_3_7, dict(
        n_routed_experts=8, num_experts_per_tok=3, moe_intermediate_size=24, share_expert_dim=16,
        head_dim=8, sliding_window=16, layer_types=["sliding_attention", "full_attention"] + ["sliding_attention"],
        mlp_layer_types=["dense", "sparse", "sparse"], moe_router_scaling_factor=3.0)),
}
INSPECTED["minimax_m3_vl"] = (minimax_m3, INSPECTED["minimax_m3_vl_text"][1])
INSPECTED["mistral_large4"] = (mistral_large_4, dict(
    {key: value for key, value in models.MLA.items() if key != "q_lora_rank"}, num_experts_per_tok=3, n_group=4,
    topk_group=2, head_dim=8, index_n_heads=2, index_head_dim=16, index_topk=64))
INSPECTED["llama4"] = (llama_4, INSPECTED["llama4_text"][1])
models.FAMILIES.update(INSPECTED)


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


def loaded(folder, dtype=torch.float32):
    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=True)
    patched, info = models.capture.auto_class(config).from_pretrained(
        folder, dtype=dtype, trust_remote_code=True, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"], info
    assert not info["mismatched_keys"]
    return patched.eval()


def chosen(model, router, inputs):
    """What a router chooses of what its gate reads, inside its block, which may hold the bias."""
    if hasattr(router, "proj"):
        return models.route(router, inputs)[2]
    names = {module: name for name, module in model.named_modules()}
    block = model.get_submodule(names[router].rpartition(".")[0])
    found = []
    handle = router.register_forward_hook(lambda _, __, outputs: found.append(models.choice(outputs)[0]))
    with torch.no_grad():
        block(inputs[None])
    handle.remove()
    return found[0]


def load(choices, experts):
    return np.bincount(choices.numpy().ravel(), minlength=experts).tolist()


def test_a_stock_output_loads_and_routes_as_validate_says(converted):
    model, folder, ids, _ = converted
    report = json.loads(regate(
        "validate", folder / "model", folder / "stock", "--precision", "f32", "--calibration",
        folder / "judge.safetensors", "--json"))
    seen = models.watched(model, ids[ROWS // 2 :])
    patched = loaded(folder / "stock")
    routers = models.router_modules(patched)
    assert len(report["layers"]) == len(seen)
    for layer in report["layers"]:
        inputs, before, _ = seen[layer["index"]]
        after = chosen(patched, routers[layer["index"]], inputs)
        experts = len(layer["original"]["load"])
        for found, expected in ((before, layer["original"]), (after, layer["patched"])):
            counted = np.array(load(found, experts))
            # The captures are bfloat16: a tie may turn.
            assert np.abs(counted - expected["load"]).sum() <= 0.01 * counted.sum()
        # A layer of random weights may be even from the start, or hard to learn from 2,000 tokens: the
        # model as a whole becomes even.
        assert layer["patched"]["gini"] < max(0.1, layer["original"]["gini"])
    assert report["mean"]["patched"]["gini"] < max(0.1, 0.75 * report["mean"]["original"]["gini"])


def nll(model, ids):
    ids = torch.from_numpy(ids.astype(np.int64))
    with torch.no_grad():
        logits = model(input_ids=ids).logits[:, :-1].double()
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).item()


def test_what_regate_runs_gives_the_nll_of_transformers(converted):
    model, folder, ids, _ = converted
    if model.config.model_type in INSPECTED:
        pytest.skip("not run")
    judged = ids[ROWS // 2 :]
    report = validated(folder, "stock")
    assert report["nll"]["original"] == pytest.approx(nll(model, judged), abs=2e-4)
    assert report["nll"]["patched"] == pytest.approx(nll(loaded(folder / "stock"), judged), abs=2e-4)
    requires_the_prototype_form(folder, model, judged)


def validated(folder, output):
    return json.loads(regate(
        "validate", folder / "model", folder / output, "--precision", "f32", "--calibration", folder / "judge.npy",
        "--json"))


def requires_the_prototype_form(folder, model, ids):
    """The prototype output of `folder / "model"` in transformers: its NLL, and in bfloat16; saved, it is
    the same; trained, it learns; the model's own class stops at it."""
    regate("convert", folder / "model", "--router", "lpr", "--calibration", folder / "fit.npy", "--output",
           folder / "lpr", "-q")
    expected = validated(folder, "lpr")["nll"]["patched"]
    patched = loaded(folder / "lpr")
    assert expected == pytest.approx(nll(patched, ids), abs=2e-4)
    rounded = loaded(folder / "lpr", dtype=torch.bfloat16)
    assert expected == pytest.approx(nll(rounded, ids), abs=0.02)
    kept = [value.dtype for router in routers(rounded) for value in router.state_dict().values()]
    assert kept and set(kept) == {torch.float32, torch.int64}
    requires_that_saving_keeps(folder, patched, expected)
    requires_that_training_lowers_the_loss(folder / "lpr", ids[:8])
    with pytest.raises(Exception, match="mismatched|regate: load with trust_remote_code"):
        type(model).from_pretrained(folder / "lpr")


def routers(model):
    return [module for module in model.modules() if type(module).__name__ == "RegateRouter"]


def requires_that_saving_keeps(folder, patched, expected):
    patched.save_pretrained(folder / "saved")
    before, after = Checkpoint(folder / "lpr"), Checkpoint(folder / "saved")
    assert before.names() == after.names()
    assert all(torch.equal(before[name], after[name]) for name in before.names())
    assert validated(folder, "saved")["nll"]["patched"] == pytest.approx(expected, abs=1e-6)
    loaded(folder / "saved")


def requires_that_training_lowers_the_loss(folder, ids):
    network = loaded(folder).train()
    network.config.regate_loss_coef = 0.01
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    rows = torch.from_numpy(ids.astype(np.int64))
    # A Gemma-4 that sees pictures is not trained without these.
    kinds = {"mm_token_type_ids": torch.zeros_like(rows)} if "gemma4" in network.config.model_type else {}
    losses = []
    for _ in range(8):
        losses.append(network(input_ids=rows, labels=rows, **kinds).loss)
        losses[-1].backward()
        for router in routers(network):
            learning = router.weight, router.logical_prototypes, router.logit_bias
            assert all(part.grad.abs().sum() > 0 for part in learning)
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < losses[0] - 0.1
    assert all(value.isfinite().all() for router in routers(network) for value in router.state_dict().values())


# Of two rotated pairs.
MROPE = dict(rope_type="default", rope_theta=1e4, partial_rotary_factor=0.25, mrope_section=[1, 1, 0],
             mrope_interleaved=True)


def qwen3_vl(**sizes):
    text = {**models.COMMON, **models.QWEN, "head_dim": 16, "rope_parameters": dict(
        rope_type="default", rope_theta=1e4, mrope_section=[4, 2, 2], mrope_interleaved=True), **sizes}
    tower = dict(depth=1, hidden_size=16, intermediate_size=16, num_heads=2, out_hidden_size=text["hidden_size"],
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
    return json.loads(regate("validate", folder / "model", folder / "stock", "--precision", "f32", "--calibration",
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
    if wrapper not in (qwen3_omni, kimi_k25):
        requires_the_prototype_form(tmp_path, model, ids[ROWS // 2 :])
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
    report = json.loads(regate("validate", tmp_path / "model", tmp_path / "lpr", "--precision", "f32", "--calibration",
                               tmp_path / "judge.npy", "--json"))
    assert report["nll"]["patched"] == pytest.approx(nll(loaded(tmp_path / "lpr"), ids[ROWS // 2 :]), abs=2e-4)
    requires_that_training_lowers_the_loss(tmp_path / "lpr", ids[:8])
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
    if not hasattr(model.config, "index_topk") or model.config.model_type in INSPECTED:
        pytest.skip("has no indexer that Regate runs")
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
        "deepseek_v32": dict(scoring_func="sigmoid", topk_method="noaux_tc", index_head_dim=128),
        "glm_moe_dsa": dict(scoring_func="sigmoid", topk_method="noaux_tc", index_head_dim=128,
                            indexer_types=["full"] * 3),
        "mistral4": dict(architectures=["Mistral3ForConditionalGeneration"], n_group=1, topk_group=1),
        "minimax_m2": dict(scoring_func="sigmoid"), "gpt_oss": dict(intermediate_size=64),
        "granitemoe": {}, "granitemoeshared": {}, "ernie4_5_moe": {}, "dots1": dict(scoring_func="sigmoid"),
        "phimoe": dict(architectures=["PhiMoEForCausalLM"], rope_parameters=longrope(8)),
        "qwen3_next": {}, "qwen3_5_moe_text": dict(rope_parameters=MROPE), "gemma4_text": {},
        "qwen3_vl_moe": {}}


def perplexity(model):
    # The program may end before its log is written: once more then.
    for _ in range(5):
        done = subprocess.run(
            [Path(os.environ["LLAMA_BIN"]) / "llama-perplexity", "-m", model, "-f", TEXT / "heldout.txt",
             "-c", "64", "-b", "64", "-ub", "64", "-t", "2", "-ctk", "f32", "-ctv", "f32", "-fa", "off"],
            capture_output=True, text=True)
        if found := llama_log.perplexity(done.stdout + done.stderr):
            return found
    raise AssertionError(done.stderr[-2000:])


def turn_experts(path):
    """Matrices of experts as they are published: transformers turns them when it reads."""
    tensors = load_file(path)
    for name, value in tensors.items():
        if ".experts." in name:
            tensors[name] = value.transpose(1, 2).contiguous()
    save_file(tensors, path, metadata={"format": "pt"})


def gguf_of(family, extra, folder):
    """A model of random weights with the tiny tokenizer, and what llama.cpp's converter makes of it."""
    tokenizer = json.loads((TOKENIZER / "config.json").read_text())
    sizes = dict(hidden_size=64, vocab_size=tokenizer["vocab_size"])
    torch.manual_seed(3)
    if family == "qwen3_vl_moe":
        model = qwen3_vl(mlp_only_layers=[], **sizes).float()
    else:
        kind, values = models.FAMILIES[family]
        config = kind(**{**models.COMMON, **values, **extra, **sizes})
        kind = transformers.Mistral4ForCausalLM if family in WRAPPED else None
        model = kind(config) if kind else models.capture.auto_class(config).from_config(
            config, dtype=torch.float32)
    with torch.no_grad():
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith("bias") or value.ndim > 1 and isinstance(value, torch.nn.Parameter):
                value.normal_(std=0.15)
        models.vary_scales(model)
    model.save_pretrained(folder / "model")
    settings = folder / "model" / "config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | extra))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TOKENIZER / name, folder / "model")
    if family == "gpt_oss":
        tiny_variants.pack_mxfp4(folder / "model")
    if family == "qwen3_vl_moe":
        turn_experts(folder / "model" / "model.safetensors")
    return to_gguf(folder / "model", folder / "model.gguf",
                   *(["--no-mtp"] if family in ("qwen3_next", "qwen3_5_moe_text") else []))


def to_gguf(folder, result, *options):
    subprocess.run(
        [sys.executable, TOOLS / "fixtures" / "convert_gguf.py", os.environ["LLAMA_CPP"], folder,
         "--outtype", "f32", "--outfile", result, *options], check=True, capture_output=True)
    return result


def imatrix(model, result):
    subprocess.run(
        [Path(os.environ["LLAMA_BIN"]) / "llama-imatrix", "-m", model, "-f", TEXT / "heldout.txt",
         "-o", result, "-c", "64", "-b", "64", "-ub", "64", "-t", "2", "-fa", "off",
         "--no-ppl"], check=True, capture_output=True)
    return result


def in_float32(source):
    """A copy whose experts llama.cpp does not multiply by activations in 8 bits, as it does MXFP4."""
    reader = gguf.GGUFReader(source)
    copy = source.with_name(source.stem + "-f32.gguf")
    fields = {name: field for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    writer = gguf.GGUFWriter(copy, fields.pop("general.architecture").contents())
    for name, field in fields.items():
        kinds = field.types
        writer.add_key_value(name, field.contents(), kinds[0], kinds[-1] if len(kinds) > 1 else None)
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        writer.add_tensor(tensor.name, np.ascontiguousarray(values, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return copy


@pytest.mark.skipif("LLAMA_BIN" not in os.environ, reason="LLAMA_BIN is not set")
@pytest.mark.parametrize("family", GGUF)
def test_a_gguf_output_has_the_perplexity_that_validate_says(family, tmp_path):
    original = gguf_of(family, GGUF[family], tmp_path)
    regate("convert", original, "--calibration", TEXT / "calibration.txt", "--length", 64,
           "--output", tmp_path / "stock.gguf", "-q")
    report = json.loads(regate(
        "validate", original, tmp_path / "stock.gguf", "--precision", "f32", "--calibration", TEXT / "heldout.txt",
        "--ppl-protocol", "llama", "--length", 64, "--json"))
    for name, found in (("original", original), ("patched", tmp_path / "stock.gguf")):
        if family == "gpt_oss":
            found = in_float32(found)
        expected = perplexity(found)
        assert report["perplexity"][name] == pytest.approx(expected, rel=5e-3)


# The same of families that are not run, as far as the converter takes what transformers saves.
INSPECTED_GGUF = {"hy_v3": {}, "lfm2_moe": {}, "llama4": {}, "afmoe": dict(mup_enabled=True, route_norm=True),
                  "exaone_moe": dict(scoring_func="sigmoid"),
                  "nemotron_h": dict(mamba_num_heads=4, mamba_head_dim=64)}


def loads(*arguments):
    report = json.loads(regate("inspect", *arguments, "--json"))
    return {layer["index"]: np.array(layer["load"]) for layer in report["layers"]}


@pytest.mark.skipif("LLAMA_BIN" not in os.environ, reason="LLAMA_BIN is not set")
@pytest.mark.parametrize("family", INSPECTED_GGUF)
def test_a_gguf_that_is_not_run_is_read_as_llama_cpp_reads_it(family, tmp_path):
    """llama.cpp's own counts are what the rule says of transformers' router inputs; renumbered experts
    change no perplexity, and a conversion loads."""
    original = gguf_of(family, INSPECTED_GGUF[family], tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(TOKENIZER)
    ids = np.array(tokenizer((TEXT / "heldout.txt").read_text())["input_ids"], np.int32)
    np.save(tmp_path / "ids.npy", ids[: len(ids) // 64 * 64].reshape(-1, 64))
    capture = tmp_path / "capture.safetensors"
    assert models.run_capture(tmp_path / "model", tmp_path / "ids.npy", "-o", capture) == 0
    expected = loads(original, "--calibration", capture)
    counted = loads(original, "--counts", imatrix(original, tmp_path / "counts.gguf"))
    assert expected.keys() == counted.keys()
    for layer, load in expected.items():
        differing = np.abs(load - counted[layer]).sum() / load.sum()
        print(family, layer, differing)
        assert differing <= 0.005, (layer, load, counted[layer])
    regate("place", original, "--calibration", capture, "--ep", 2, "--output", tmp_path / "placed.gguf")
    regate("convert", original, "--calibration", capture, "--output", tmp_path / "stock.gguf", "-q")
    assert (tmp_path / "placed.gguf").read_bytes() != original.read_bytes()
    before = perplexity(original)
    assert perplexity(tmp_path / "placed.gguf") == pytest.approx(before, rel=1e-4)
    assert perplexity(tmp_path / "stock.gguf") == pytest.approx(before, rel=0.1)


def ling(folder, second):
    """A checkpoint of Ling 1 or 2.0, of which transformers has no class, of random weights."""
    tokenizer = json.loads((TOKENIZER / "config.json").read_text())
    hidden, width, experts, layers, head = 64, 24, 8, 3, 16
    dense = int(second)  # llama.cpp knows no dense layers of the first ones.
    config = dict(
        architectures=["BailingMoeV2ForCausalLM" if second else "BailingMoeForCausalLM"], model_type="bailing_moe",
        vocab_size=tokenizer["vocab_size"], hidden_size=hidden, intermediate_size=48, moe_intermediate_size=width,
        num_hidden_layers=layers, num_attention_heads=4, num_key_value_heads=2, head_dim=head,
        num_experts=experts, num_experts_per_tok=3, num_shared_experts=1, first_k_dense_replace=dense, norm_topk_prob=True,
        max_position_embeddings=256, rms_norm_eps=1e-6, rope_theta=1e4, hidden_act="silu", tie_word_embeddings=False)
    if second:
        config |= dict(n_group=4, topk_group=2, routed_scaling_factor=1.5, score_function="sigmoid",
                       moe_router_enable_expert_bias=True)
    shapes = {"model.word_embeddings": (config["vocab_size"], hidden), "lm_head": (config["vocab_size"], hidden),
              "model.norm": (hidden,)}
    for layer in range(layers):
        own = {"input_layernorm": (hidden,), "post_attention_layernorm": (hidden,),
               "attention.query_key_value": (8 * head, hidden), "attention.dense": (hidden, 4 * head)}
        networks = [("mlp", 48)] if layer < dense else [
            ("mlp.shared_experts", width), *((f"mlp.experts.{number}", width) for number in range(experts))]
        for name, size in networks:
            own |= {f"{name}.gate_proj": (size, hidden), f"{name}.up_proj": (size, hidden),
                    f"{name}.down_proj": (hidden, size)}
        own |= {"mlp.gate": (experts, hidden)} if layer >= dense else {}
        if second:
            own |= {"attention.query_layernorm": (head,), "attention.key_layernorm": (head,)}
        shapes |= {f"model.layers.{layer}.{name}": shape for name, shape in own.items()}
    generator = torch.Generator().manual_seed(5)
    tensors = {f"{name}.weight": (1 if len(shape) == 1 else 0) + 0.15 * torch.randn(shape, generator=generator)
               for name, shape in shapes.items()}
    if second:
        tensors |= {f"model.layers.{layer}.mlp.gate.expert_bias": 0.1 * torch.randn(experts, generator=generator)
                    for layer in range(dense, layers)}
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TOKENIZER / name, folder)


@pytest.mark.skipif("LLAMA_BIN" not in os.environ, reason="LLAMA_BIN is not set")
@pytest.mark.parametrize("second", [False, True])
def test_ling_is_renumbered_in_both_containers(second, tmp_path):
    """By llama.cpp's own counts, and computes what it did in llama.cpp."""
    ling(tmp_path / "model", second)
    original = to_gguf(tmp_path / "model", tmp_path / "model.gguf")
    counts = imatrix(original, tmp_path / "counts.gguf")
    for source, placed in (("model", "placed"), ("model.gguf", "placed.gguf")):
        regate("place", tmp_path / source, "--counts", counts, "--ep", "2", "--output", tmp_path / placed, "-q")
    before = perplexity(original)
    assert perplexity(tmp_path / "placed.gguf") == pytest.approx(before, rel=1e-4)
    again = to_gguf(tmp_path / "placed", tmp_path / "again.gguf")
    assert perplexity(again) == pytest.approx(before, rel=1e-4)
    moved = loads(again, "--counts", imatrix(again, tmp_path / "moved.gguf"))
    maps = json.loads((tmp_path / "placed" / "regate.json").read_text())["layers"]
    for layer, load in loads(original, "--counts", counts).items():
        order = next(entry["physical_to_logical"] for entry in maps if entry["index"] == layer)
        assert order != sorted(order)
        assert np.abs(moved[layer] - load[order]).sum() <= 0.01 * load.sum()
