# SPDX-License-Identifier: Apache-2.0
"""The rules written in fixtures/routers describe the values beside them.

An independent numpy implementation of the rule in `__metadata__` must give the recorded experts and
weights, and must stop doing so when a parameter that matters is changed: goldens that a wrong rule
also passes would be worth nothing.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

FOLDER = Path(__file__).resolve().parents[2] / "fixtures" / "routers"
FILES = sorted(FOLDER.glob("*.safetensors"))


def read(path):
    with safe_open(path, "numpy") as file:
        rule = json.loads(file.metadata()["rule"])
        return {key: file.get_tensor(key) for key in file.keys()}, {**rule, "name": path.stem}


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sparse_mixer(z, jitter):
    chosen, weights, rest = [], [], z.copy()
    for _ in range(2):
        best = rest.max(-1, keepdims=True)
        far = (best - z) / np.maximum(np.abs(z), best) > 2 * jitter
        p = softmax(np.where(far, -np.inf, rest))
        index = rest.argmax(-1)[:, None]
        chosen.append(index)
        weights.append(np.take_along_axis(p, index, -1))
        np.put_along_axis(rest, index, -np.inf, -1)
    return np.concatenate(chosen, -1), np.concatenate(weights, -1)


def route(tensors, rule):
    z = tensors["inputs"].astype(np.float64) @ tensors["gate"].astype(np.float64).T
    bias = tensors.get("bias", np.zeros(rule["experts"])).astype(np.float64)
    if rule["bias"] == "logits":
        z = z + bias
    if rule["scoring"] == "sparse_mixer":
        return sparse_mixer(z, rule["jitter"])
    score = {"softmax": softmax, "sigmoid": lambda v: 1 / (1 + np.exp(-v)),
             "sqrt_softplus": lambda v: np.sqrt(np.log1p(np.exp(v))), "softmax_of_selected": lambda v: v}[rule["scoring"]](z)
    select = score + (bias if rule["bias"] == "selection" else 0)
    if rule["groups"]:
        g = rule["groups"]
        parts = np.sort(select.reshape(len(z), g["count"], -1), -1)
        value = parts[..., -1] if g["score"] == "max" else parts[..., -2:].sum(-1)
        kept = np.argsort(-value, -1)[:, : g["kept"]]
        mask = np.zeros(value.shape, bool)
        np.put_along_axis(mask, kept, True, -1)
        mask = np.repeat(mask, rule["experts"] // g["count"], -1)
        select = np.where(mask, select, 0.0 if g["mask"] == "zero" else -np.inf)
    indices = np.argsort(-select, -1, kind="stable")[:, : rule["top_k"]]
    weights = np.take_along_axis(score, indices, -1)
    if rule["scoring"] == "softmax_of_selected":
        weights = softmax(weights)
    if rule["normalise"]:
        total, guard = weights.sum(-1, keepdims=True), rule["guard"]
        weights = weights / {"none": lambda: total, "add": lambda: total + guard["value"],
                             "clamp": lambda: np.maximum(total, guard["value"])}[guard["kind"]]()
    return indices, weights * rule["scale"]


def agrees(tensors, rule):
    """Same experts and weights; per token as sets where the rule leaves the order open."""
    indices, weights = route(tensors, rule)
    expected, expected_weights = tensors["indices"], tensors["weights"]
    if not rule["ordered"]:
        a, b = indices.argsort(-1), expected.argsort(-1)
        indices, weights = np.take_along_axis(indices, a, -1), np.take_along_axis(weights, a, -1)
        expected, expected_weights = np.take_along_axis(expected, b, -1), np.take_along_axis(expected_weights, b, -1)
    return np.array_equal(indices, expected) and np.allclose(weights, expected_weights, rtol=2e-6, atol=2e-7)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_the_written_rule_gives_the_recorded_values(path):
    assert agrees(*read(path))


MUTATIONS = {
    "normalise": lambda r: r["scoring"] in ("softmax", "sigmoid", "sqrt_softplus") and {**r, "normalise": not r["normalise"]},
    "scale": lambda r: r["scale"] != 1 and {**r, "scale": 1.0},
    "bias ignored": lambda r: r["bias"] != "none" and {**r, "bias": "none"},
    "bias in the logits": lambda r: r["bias"] == "selection" and {**r, "bias": "logits"},
    "jitter": lambda r: "wide" in r["name"] and {**r, "jitter": 0.2},
    "no groups": lambda r: r["groups"] and {**r, "groups": None},
    "group score": lambda r: r["groups"] and {**r, "groups": {
        **r["groups"], "score": "max" if r["groups"]["score"] == "top_two_sum" else "top_two_sum"}},
    "scoring": lambda r: r["scoring"] in ("softmax", "sigmoid", "sqrt_softplus") and {
        **r, "scoring": "sigmoid" if r["scoring"] == "softmax" else "softmax"},
}


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_changed_rule_does_not(path, mutation):
    tensors, rule = read(path)
    changed = MUTATIONS[mutation](rule)
    if not changed:
        pytest.skip("not a parameter of this rule")
    assert not agrees(tensors, changed)


def test_masking_with_zero_is_told_from_masking_with_minus_infinity():
    tensors, rule = read(FOLDER / "deepseek-v3-negative-bias.safetensors")
    assert not agrees(tensors, {**rule, "groups": {**rule["groups"], "mask": "zero"}})
