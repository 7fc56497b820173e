# SPDX-License-Identifier: Apache-2.0
"""check_outputs.py accepts what Regate may do to a checkpoint, and nothing else.

The outputs are made here by hand from the tiny models of fixtures/. With LLAMA_BIN set to a folder
of llama.cpp's binaries the GGUF files are loaded there too.
"""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).resolve().parent))
import check_outputs  # noqa: E402

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
QWEN = FIXTURES / "tiny-qwen3-moe"
GGUF = FIXTURES / "tiny-mixtral-data" / "mixtral-Q4_K_M.gguf"
LLAMA = ["--llama-bin", os.environ["LLAMA_BIN"]] if "LLAMA_BIN" in os.environ else []


def check(original, *outputs):
    return check_outputs.main([str(original), *map(str, outputs), *LLAMA])


def edited(tmp_path, change):
    """A copy of the tiny Qwen3 model after `change(tensors)`."""
    folder = tmp_path / "edited"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(QWEN / name, folder)
    tensors = load_file(QWEN / "model.safetensors")
    change(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()},
              folder / "model.safetensors", {"format": "pt"})
    return folder


def expert(layer, index, part):
    return f"model.layers.{layer}.mlp.experts.{index}.{part}_proj.weight"


def copy_expert(tensors, source, target, parts=("gate", "up", "down")):
    for part in parts:
        tensors[expert(0, target, part)] = tensors[expert(0, source, part)].clone()


def swap(tensors):
    for part in ("gate", "up", "down"):
        a, b = expert(1, 3, part), expert(1, 7, part)
        tensors[a], tensors[b] = tensors[b], tensors[a]


def test_the_original_itself_passes(capsys):
    assert check(QWEN, QWEN) == 0
    assert "0 routers changed, 0 experts moved" in capsys.readouterr().out


def test_a_changed_gate_a_clone_and_a_swap_pass(tmp_path, capsys):
    def change(tensors):
        tensors["model.layers.0.mlp.gate.weight"] += 1
        copy_expert(tensors, 4, 9)
        swap(tensors)

    assert check(QWEN, edited(tmp_path, change)) == 0
    assert "1 routers changed, 3 experts moved, 1 of them clones" in capsys.readouterr().out


def set_one(name):
    def change(tensors):
        tensors[name].view(-1)[0] += 1
    return change


FORBIDDEN = {
    "another tensor changed": (set_one("model.norm.weight"), "neither a router nor an expert"),
    "half an expert copied": (lambda t: copy_expert(t, 4, 9, ("gate", "up")), "no expert of this layer"),
    "an expert changed": (set_one(expert(1, 2, "down")), "no expert of this layer"),
    "a tensor missing": (lambda t: t.pop("model.norm.weight"), "missing"),
    "a tensor added": (lambda t: t.update({"model.layers.0.mlp.gate.extra": t["model.norm.weight"].clone()}),
                       "not in the original"),
    "another shape": (lambda t: t.update({"model.layers.0.mlp.gate.weight": t["model.layers.0.mlp.gate.weight"][:31]}),
                      "[31, 64]"),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_what_is_forbidden_fails(what, tmp_path, capsys):
    change, message = FORBIDDEN[what]
    assert check(QWEN, edited(tmp_path, change)) == 1
    assert message in capsys.readouterr().out


def gguf_copy(tmp_path, name, change):
    """A byte copy of the Q4_K_M file with `change(data of the tensor)` applied in place."""
    from gguf import GGUFReader

    path = tmp_path / "copy.gguf"
    shutil.copy(GGUF, path)
    path.chmod(0o644)
    reader = GGUFReader(path, "r+")
    change(next(tensor for tensor in reader.tensors if tensor.name == name).data)
    reader.data.flush()
    return path


def clone_slice(data):
    data[1] = data[0]


def flip(data):
    data.view(np.uint8).reshape(-1)[5] ^= 1


def test_gguf_gates_may_change_and_experts_may_be_cloned_whole(tmp_path, capsys):
    assert check(GGUF, gguf_copy(tmp_path, "blk.0.ffn_gate_inp.weight", lambda data: data.__imul__(2))) == 0
    assert "1 routers changed" in capsys.readouterr().out
    assert check(GGUF, gguf_copy(tmp_path, "blk.0.ffn_down_exps.weight", clone_slice)) == 1
    assert "expert 1 is no expert" in capsys.readouterr().out
    path = gguf_copy(tmp_path, "blk.0.ffn_down_exps.weight", clone_slice)
    for part in ("gate", "up"):
        from gguf import GGUFReader

        reader = GGUFReader(path, "r+")
        clone_slice(next(t for t in reader.tensors if t.name == f"blk.0.ffn_{part}_exps.weight").data)
        reader.data.flush()
    assert check(GGUF, path) == 0
    assert "1 experts moved, 1 of them clones" in capsys.readouterr().out


def test_a_changed_gguf_tensor_fails(tmp_path, capsys):
    assert check(GGUF, gguf_copy(tmp_path, "output.weight", flip)) == 1
    assert "output.weight: bytes differ" in capsys.readouterr().out


def test_files_that_no_reader_opens_fail(tmp_path, capsys):
    path = tmp_path / "cut.gguf"
    path.write_bytes(GGUF.read_bytes()[:5000])
    assert check(GGUF, path) == 1
    assert "FAILED" in capsys.readouterr().out
