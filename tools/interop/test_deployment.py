# SPDX-License-Identifier: Apache-2.0
"""Outputs other than a whole copy, in the programs that use them, and on a disk that fills up.

LLAMA_BIN names the folder of llama.cpp's programs; without it the adapter is not tested. The tests
of a full disk mount a small tmpfs, those of shared blocks an image of XFS and btrfs (mkfs.xfs,
mkfs.btrfs), which needs the right to (root in most containers).
"""

import json
import os
import pathlib
import shutil
import subprocess

import numpy as np
import pytest

import llama_log

ROOT = pathlib.Path(__file__).resolve().parents[2]
REGATE = os.environ.get("REGATE", str(ROOT / ".build/release/regate"))
FIXTURES = ROOT / "fixtures"
LLAMA = os.environ.get("LLAMA_BIN")
MODEL = FIXTURES / "tiny-qwen3-moe"
DATA = FIXTURES / "tiny-qwen3-moe-data"


def regate(*words, code=0):
    result = subprocess.run([REGATE, *map(str, words)], capture_output=True, text=True)
    assert result.returncode == code, result.stderr
    return result


def perplexity(model, *words):
    """llama.cpp's figure."""
    text = FIXTURES / "tiny-text/heldout.txt"
    for _ in range(3):
        result = subprocess.run(
            [f"{LLAMA}/llama-perplexity", "-m", str(model), "-f", str(text), "-c", "128",
             "-t", "2", *map(str, words)], capture_output=True, text=True)
        assert result.returncode == 0, result.stderr[-2000:]
        if (found := llama_log.perplexity(result.stdout + result.stderr)) is not None:
            return found
    raise AssertionError("llama-perplexity printed no final estimate")


@pytest.mark.skipif(not LLAMA, reason="LLAMA_BIN is not set")
@pytest.mark.parametrize("rank", [None, 8])
def test_llama_cpp_routes_by_the_adapter(tmp_path, rank):
    base = DATA / "qwen3-moe-Q8_0.gguf"
    fit = tmp_path / "gates.fit"
    regate("fit", base, "--calibration", DATA / "calibration.npy", "--no-clones", "--output", fit, "-q")
    regate("convert", base, "--fit", fit, "--output", tmp_path / "whole.gguf", "-q")
    report = json.loads(
        regate("convert", base, "--fit", fit, "--lora", tmp_path / "lora.gguf", "-q", "--json",
               *(["--lora-rank", rank] if rank else [])).stdout)
    plain = perplexity(base)
    whole = perplexity(tmp_path / "whole.gguf")
    adapted = perplexity(base, "--lora", tmp_path / "lora.gguf")
    print(f"rank {rank}: original {plain}, whole {whole}, adapter {adapted}, {report['lora']}")
    assert abs(plain - whole) / plain > 1e-3, "the router changed nothing: no test"
    if rank is None:
        assert report["lora"]["largest_error"] == 0
        assert abs(adapted - whole) / whole < 1e-3
    else:
        assert adapted != plain


def on_small_disk(folder, size, script):
    """Runs `script` where `folder` is a fresh tmpfs of `size` bytes; exit code, stderr, what is left."""
    folder.mkdir()
    listing = folder.parent / "left"
    wrapped = (f"mount -t tmpfs -o size={size} tmpfs {folder} || exit 99\n(\n{script}\n)\ncode=$?\n"
               f"find {folder} -mindepth 1 | sort > {listing}\nexit $code")
    result = subprocess.run(["unshare", "-m", "bash", "-c", wrapped], capture_output=True, text=True)
    if result.returncode == 99 or "unshare" in result.stderr:
        pytest.skip("cannot mount a tmpfs here")
    return result, listing.read_text().split()


@pytest.fixture(scope="module")
def fit(tmp_path_factory):
    path = tmp_path_factory.mktemp("fit") / "my.fit"
    regate("fit", MODEL, "--calibration", DATA / "calibration.npy", "--output", path, "-q")
    return path


def test_an_output_on_a_disk_that_fills_up_is_not_there(tmp_path, fit):
    disk = tmp_path / "disk"
    weights = (MODEL / "model.safetensors").stat().st_size
    # Room for the weights, so that the work begins, but not for what comes after them.
    result, left = on_small_disk(
        disk, weights + 12288,
        f"{REGATE} convert {MODEL} --fit {fit} --router stock --output {disk}/out -q")
    assert result.returncode == 1
    assert "No space left" in result.stderr and result.stderr.count("\n") == 1, result.stderr
    assert left == []


def test_a_delta_on_a_disk_that_is_full_is_not_there(tmp_path, fit):
    disk = tmp_path / "disk"
    result, left = on_small_disk(
        disk, 65536, f"{REGATE} convert {MODEL} --fit {fit} --delta {disk}/my.delta -q")
    assert result.returncode == 1 and "left" in result.stderr
    assert left == []


def test_in_place_on_a_full_disk(tmp_path, fit):
    disk = tmp_path / "disk"
    size = sum(f.stat().st_size for f in MODEL.iterdir())
    # Room for the model, but not for the undo delta: nothing is touched.
    result, left = on_small_disk(
        disk, size + 65536,
        f"cp {MODEL}/* {disk}\n{REGATE} convert {disk} --fit {fit} --in-place -q\ncode=$?\n"
        f"diff -r {MODEL} {disk} || exit 98\nexit $code")
    assert result.returncode == 1, result.stdout + result.stderr
    assert "needs" in result.stderr


def test_in_place_fills_the_disk_after_the_undo_delta(tmp_path, fit):
    """Every size around the last one that suffices: whatever fails, revert leads back."""
    trial = tmp_path / "trial"
    shutil.copytree(MODEL, trial)
    regate("convert", trial, "--fit", fit, "--in-place", "-q")
    undo = (trial / "regate-undo.delta").stat().st_size
    # tmpfs counts whole pages, and directories.
    pages = sum(-(-f.stat().st_size // 4096) for f in MODEL.iterdir()) + -(-undo // 4096)
    codes = set()
    for spare in range(0, 4):
        disk = tmp_path / f"disk{spare}"
        result, _ = on_small_disk(
            disk, (pages + spare) * 4096,
            f"cp {MODEL}/* {disk}\n{REGATE} convert {disk} --fit {fit} --in-place -q\ncode=$?\n"
            f"if [ -e {disk}/regate-undo.delta ]; then {REGATE} revert {disk} -q || exit 97; fi\n"
            f"diff -r {MODEL} {disk} || exit 98\nexit $code")
        assert result.returncode in (0, 1), result.stdout + result.stderr
        codes.add(result.returncode)
    assert 1 in codes, "the disk was never full"


@pytest.mark.parametrize("system", ["xfs", "btrfs"])
def test_blocks_are_shared_where_the_file_system_can(tmp_path, fit, system):
    if not shutil.which(f"mkfs.{system}"):
        pytest.skip(f"no mkfs.{system}")
    image, disk, plain = tmp_path / "image", tmp_path / "disk", tmp_path / "out"
    disk.mkdir()
    with open(image, "wb") as file:
        file.truncate(512 << 20)
    options = f"--fit {fit} --router stock -q --json"
    regate("convert", MODEL, *options.split(), "--output", plain)
    # Outputs that differ from the original, which must be the copy's bytes, and one that does not.
    script = f"""
mkfs.{system} -q {image} > {tmp_path}/log && mount -o loop {image} {disk} || exit 99
cp -r {MODEL} {disk}/{MODEL.name}; cd {disk}
{REGATE} convert {MODEL.name} {options} --output shared > {tmp_path}/shared.json || exit 1
{REGATE} convert {MODEL.name} {options} --link --output linked > {tmp_path}/linked.json || exit 1
diff -r shared {plain} && diff -r linked {plain} || exit 2
sync; before=$(df --output=used -k . | tail -1)
{REGATE} convert {MODEL.name} --calibration {DATA}/calibration.npy --strength 0 --router stock \
  --output same -q > {tmp_path}/log || exit 1
sync; echo $(($(df --output=used -k . | tail -1) - before)) > {tmp_path}/taken
cd /; umount {disk}"""
    result = subprocess.run(["unshare", "-m", "bash", "-c", script], capture_output=True, text=True)
    if result.returncode == 99 or "unshare" in result.stderr:
        pytest.skip(f"cannot mount {system} here: {result.stderr[-200:]}")
    assert result.returncode == 0, result.stdout + result.stderr
    shared, linked = (json.loads((tmp_path / f"{name}.json").read_text())["written"]["methods"]
                      for name in ("shared", "linked"))
    taken = int((tmp_path / "taken").read_text())
    print(f"{system}: {shared}, with --link {linked}; an unchanged output takes {taken} KiB")
    assert shared["reflinked"] > 0 and shared["hard_linked"] == 0
    assert linked["hard_linked"] > 0
    assert taken < (MODEL / "model.safetensors").stat().st_size / 1024 / 4


def test_transformers_ignores_a_stray_bias(tmp_path):
    """The rule `stray-bias` of regate check."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file
    from transformers import AutoModelForCausalLM

    folder = tmp_path / "model"
    shutil.copytree(MODEL, folder)
    tensors = load_file(folder / "model.safetensors")
    experts = tensors["model.layers.0.mlp.gate.weight"].shape[0]
    stray = torch.zeros(experts)
    stray[0] = 100.0
    for name in [name for name in tensors if name.endswith("mlp.gate.weight")]:
        tensors[name.replace("weight", "e_score_correction_bias")] = stray.clone()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    check = json.loads(regate("check", folder, "--target", "transformers", "--json", code=1).stdout)
    rules = [finding["rule"] for finding in check["runtimes"][0]["findings"]]
    assert rules[0] == "stray-bias"
    ids = torch.tensor(np.load(DATA / "heldout.npy")[:1, :32].astype(np.int64))
    with torch.no_grad():
        before = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)(ids).logits
        after = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(ids).logits
    assert torch.equal(before, after)


def test_transformers_reads_renumbered_experts(tmp_path):
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM

    regate("place", MODEL, "--calibration", DATA / "calibration.npy", "--ep", "4", "--output",
           tmp_path / "placed", "-q")
    ids = torch.tensor(np.load(DATA / "heldout.npy")[:4].astype(np.int64))
    with torch.no_grad():
        before = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)(ids).logits
        after = AutoModelForCausalLM.from_pretrained(
            tmp_path / "placed", dtype=torch.float32)(ids).logits
    print(f"largest difference {(before - after).abs().max().item():.2e}")
    assert (before - after).abs().max() < 1e-3


@pytest.mark.skipif(not LLAMA, reason="LLAMA_BIN is not set")
@pytest.mark.parametrize("name", ["qwen3-moe-Q8_0", "deepseek-Q8_0", "mixtral-Q4_K_M"])
def test_llama_cpp_reads_renumbered_experts(tmp_path, name):
    family = name.split("-Q")[0]
    source = FIXTURES / f"tiny-{family}-data" / f"{name}.gguf"
    calibration = FIXTURES / f"tiny-{family}-data" / "calibration.npy"
    regate("place", source, "--calibration", calibration, "--ep", "4", "--output",
           tmp_path / "placed.gguf", "-q")
    before, after = perplexity(source), perplexity(tmp_path / "placed.gguf")
    print(f"{name}: {before} and {after}")
    assert abs(before - after) / before < 2e-4
