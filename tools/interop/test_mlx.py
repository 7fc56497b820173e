# SPDX-License-Identifier: Apache-2.0
"""Stock outputs in MLX, on the CPU: mean NLL against `regate validate`, and what mlx-lm refuses.

    python3 -m venv mlx && mlx/bin/pip install "mlx[cpu]==0.32.4" mlx-lm==0.32.2 pytest==9.2.0
    REGATE=.build/release/regate mlx/bin/python -m pytest tools/interop/test_mlx.py

LAB_MODELS names a folder of further models (see run.sh). Skipped where mlx is not installed.
"""

import json
import os
import pathlib
import shutil
import subprocess

import numpy as np
import pytest

mx = pytest.importorskip("mlx.core")
from mlx.utils import tree_map  # noqa: E402
from mlx_lm import convert  # noqa: E402
from mlx_lm.utils import load_model  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
REGATE = os.environ.get("REGATE", str(ROOT / ".build/release/regate"))
FIXTURES = ROOT / "fixtures"


def regate(*words, code=0):
    done = subprocess.run([REGATE, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done


def models():
    found = {name: (FIXTURES / name, FIXTURES / f"{name}-data/calibration.npy",
                    FIXTURES / f"{name}-data/heldout.npy")
             for name in ("tiny-qwen3-moe", "tiny-deepseek")}
    if lab := os.environ.get("LAB_MODELS"):
        for path in sorted(pathlib.Path(lab).iterdir()):
            if path.is_dir():
                found[path.name] = (path, path / "general-calibration.npy", path / "general-heldout.npy")
    return found


MODELS = models()


def for_mlx(folder, target):
    """A copy whose config.json has the keys that mlx-lm looks for."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*.gguf", "*.npy", "reference*"))
    file = target / "config.json"
    file.chmod(0o644)
    config = json.loads(file.read_text())
    config.setdefault("rope_theta", (config.get("rope_parameters") or {}).get("rope_theta"))
    if "num_local_experts" in config:
        config.setdefault("num_experts", config["num_local_experts"])
    file.write_text(json.dumps(config))
    return target


def mlx_verdict(folder):
    words = [REGATE, "check", str(folder), "--target", "mlx", "--json"]
    # Exit code 1 says that it does not load.
    return json.loads(subprocess.run(words, capture_output=True, text=True).stdout)["runtimes"][0]


def nll(folder, ids):
    """Mean NLL over all shifted positions, arithmetic in Float32."""
    model, _ = load_model(folder, strict=True)
    # Words of quantised matrices stay what they are.
    model.update(tree_map(
        lambda value: value.astype(mx.float32) if mx.issubdtype(value.dtype, mx.floating) else value,
        model.parameters()))
    total = 0.0
    for row in ids:
        logits = model(mx.array(row[None, :-1].astype(np.int32)))[0]
        scores = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
        total -= np.array(scores)[np.arange(len(row) - 1), row[1:]].mean()
    return total / len(ids)


@pytest.fixture(params=MODELS)
def case(request, tmp_path):
    folder, calibration, heldout = MODELS[request.param]
    ids = np.load(heldout)[:24]
    np.save(tmp_path / "ids.npy", ids)
    return for_mlx(folder, tmp_path / "model"), calibration, tmp_path / "ids.npy", ids


def test_a_stock_output_has_the_predicted_likelihood(case, tmp_path):
    model, calibration, file, ids = case
    out = tmp_path / "stock"
    regate("convert", model, "--calibration", calibration, "--router", "stock", "--output", out, "-q")
    report = json.loads(regate("validate", model, out,
                               "--precision", "f32", "--calibration", file, "--json", "-q").stdout)
    found = {name: nll(path, ids) for name, path in (("original", model), ("patched", out))}
    print(found, report["nll"])
    verdict = mlx_verdict(out)
    assert verdict["loads"] and verdict["verdict"] == "loads"
    assert abs(report["nll"]["patched"] - report["nll"]["original"]) > 1e-3, "no test"
    for name, value in found.items():
        assert abs(value - report["nll"][name]) < 2e-3


def test_prototype_and_official_routers_are_refused(case, tmp_path):
    model, calibration, _, _ = case
    for form in ("lpr", "lpr-official"):
        if form == "lpr-official" and "deepseek" in json.loads(
                (model / "config.json").read_text())["model_type"]:
            continue
        out = tmp_path / form
        regate("convert", model, "--calibration", calibration, "--router", form, "--output", out, "-q")
        with pytest.raises(ValueError, match="not supported"):
            load_model(out)
        assert not mlx_verdict(out)["loads"]


def test_keys_that_only_transformers_5_reads(tmp_path):
    folder = FIXTURES / "tiny-qwen3-moe"
    with pytest.raises(TypeError, match="num_experts"):
        load_model(folder)
    verdict = mlx_verdict(folder)
    assert "mlx-qwen-keys" in [f["rule"] for f in verdict["findings"]] and not verdict["loads"]


def test_a_mixtral_with_a_head_size_of_its_own(tmp_path):
    folder = for_mlx(FIXTURES / "tiny-mixtral", tmp_path / "model")
    with pytest.raises(ValueError, match="shape"):
        load_model(folder)
    verdict = mlx_verdict(folder)
    assert "mlx-head-size" in [f["rule"] for f in verdict["findings"]] and not verdict["loads"]


def test_a_rope_base_that_mlx_does_not_find_changes_the_model(tmp_path):
    """DeepSeek's default is 10000; another base in rope_parameters alone is not seen."""
    folder = tmp_path / "model"
    shutil.copytree(FIXTURES / "tiny-deepseek", folder)
    config = json.loads((folder / "config.json").read_text())
    config.pop("rope_theta", None)
    config["rope_parameters"] = {"rope_type": "default", "rope_theta": 777.0}
    (folder / "config.json").write_text(json.dumps(config))
    ids = np.load(FIXTURES / "tiny-deepseek-data/heldout.npy")[:2]
    unseen = nll(folder, ids)
    assert "mlx-rope" in [f["rule"] for f in mlx_verdict(folder)["findings"]]
    (folder / "config.json").write_text(json.dumps(config | {"rope_theta": 777.0}))
    assert abs(nll(folder, ids) - unseen) > 1e-4
    assert "mlx-rope" not in [f["rule"] for f in mlx_verdict(folder)["findings"]]


def test_a_gguf_and_a_stray_bias_are_refused(tmp_path):
    gguf = tmp_path / "gguf"
    gguf.mkdir()
    shutil.copy(FIXTURES / "tiny-qwen3-moe-data/qwen3-moe-Q8_0.gguf", gguf / "model.gguf")
    shutil.copy(FIXTURES / "tiny-qwen3-moe/config.json", gguf)
    with pytest.raises(FileNotFoundError):
        load_model(gguf)
    assert "needs-safetensors" in [f["rule"] for f in mlx_verdict(gguf / "model.gguf")["findings"]]
    folder = for_mlx(FIXTURES / "tiny-qwen3-moe", tmp_path / "model")
    file = folder / "model.safetensors"
    tensors = mx.load(str(file))
    file.unlink()  # mapped by the tensors
    mx.save_safetensors(str(file), tensors | {
        "model.layers.0.mlp.gate.e_score_correction_bias": mx.zeros(32)}, {"format": "pt"})
    with pytest.raises(ValueError, match="not in model"):
        load_model(folder)
    assert "stray-bias-strict" in [f["rule"] for f in mlx_verdict(folder)["findings"]]


@pytest.mark.parametrize("name, gate_bits", [("tiny-qwen3-moe", 8), ("tiny-deepseek", None)])
def test_a_model_that_mlx_quantised(name, gate_bits, tmp_path):
    """Gates are read (Qwen3-MoE's are quantised too); convert writes a router or says why not."""
    data = FIXTURES / f"{name}-data"
    quantised = tmp_path / "mlx"
    convert(str(for_mlx(FIXTURES / name, tmp_path / "model")), mlx_path=str(quantised),
            quantize=True, q_bits=4, q_group_size=32)
    capture = data / "heldout.capture.safetensors"
    plain = json.loads(regate("inspect", FIXTURES / name, "--json").stdout)
    report = json.loads(regate("inspect", quantised, "--json").stdout)
    for before, after in zip(plain["layers"], report["layers"]):
        assert abs(after["row_norm"]["mean"] / before["row_norm"]["mean"] - 1) < 0.01
    verdict = mlx_verdict(quantised)
    assert verdict["loads"]
    words = ["convert", quantised, "--calibration", capture, "--router", "stock", "--output",
             tmp_path / "out", "-q"]
    if gate_bits:
        error = regate(*words, code=1).stderr
        assert f"quantised to {gate_bits} bits" in error and not (tmp_path / "out").exists()
        return
    regate(*words)
    ids = np.load(data / "heldout.npy")[:4]
    before, after = nll(quantised, ids), nll(tmp_path / "out", ids)
    print(before, after)
    assert np.isfinite(after) and after != before and after < before + 0.3
