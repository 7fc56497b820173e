#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Maps and renumberings of `regate place`, read by the runtimes' own code.

Takes the reading functions out of the source packages of vLLM, vLLM-Ascend and SGLang (none of them
is imported: they want their accelerators), gives them what Regate writes for a GGUF model and its
importance matrix, and compares the load of every rank with the figures that Regate prints.

  python3 tools/interop/expert_maps.py --regate .build/release/regate --packages DIR MODEL.gguf IMATRIX

DIR is where the source packages are kept (downloaded from PyPI where they are missing). Needs torch,
numpy and pyyaml. Exit code 1 where something differs.
"""

import argparse
import ast
import json
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import torch
import yaml


def package(name: str, folder: Path) -> Path:
    """The newest source package of `name`, or its wheel where there is no other."""
    with urllib.request.urlopen(f"https://pypi.org/pypi/{name}/json") as answer:
        files = json.load(answer)["urls"]
    best = next((f for f in files if f["filename"].endswith(".tar.gz")), files[0])
    path = folder / best["filename"]
    if not path.exists():
        urllib.request.urlretrieve(urllib.request.urljoin("https://pypi.org/pypi/", best["url"]), path)
    return path


def source(archive: Path, member: str) -> str:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as file:
            return file.read(member).decode()
    with tarfile.open(archive) as file:
        name = next(n for n in file.getnames() if n.split("/", 1)[-1] == member)
        return file.extractfile(name).read().decode()


def functions(text: str, *names: str) -> dict:
    """The named functions of a module, methods included, run without the module's imports."""
    found = [
        node for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef) and node.name in names
    ]
    assert len(found) == len(names), f"{[n.name for n in found]} of {names}"
    for node in found:
        node.decorator_list, node.returns = [], None
        for argument in node.args.args:
            argument.annotation = None
    space = {"torch": torch, "np": np, "json": json, "logger": None}
    exec(compile(ast.Module(found, []), "runtime", "exec"), space)
    return space


class Regate:
    def __init__(self, arguments, folder: str):
        self.arguments, self.folder = arguments, Path(folder)

    def run(self, *words) -> dict:
        done = subprocess.run(
            [self.arguments.regate, *map(str, words), "--json", "-q"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def load(self) -> list:
        report = self.run("inspect", self.arguments.model, "--counts", self.arguments.imatrix)
        return [(layer["index"], np.array(layer["load"], float)) for layer in report["layers"]]

    def place(self, ranks: int, redundant: int, *output) -> float:
        report = self.run(
            "place", self.arguments.model, "--counts", self.arguments.imatrix, "--ep", ranks,
            "--redundant", redundant, *output)
        return report["rank_max_over_mean"][str(ranks)]["after"]

    def map(self, runtime: str, ranks: int, redundant: int) -> tuple:
        path = self.folder / f"{runtime}-{ranks}-{redundant}.json"
        return path, self.place(ranks, redundant, "--map", f"{runtime}:{path}")


def imbalance(plan, load, ranks: int) -> float:
    """Max/mean over ranks that hold `plan`'s places in a row; copies of an expert share its load."""
    plan = np.asarray(plan).reshape(ranks, -1)
    copies = np.bincount(plan.ravel(), minlength=len(load))
    assert copies.min() > 0, "an expert lies nowhere"
    sums = (load / copies)[plan].sum(1)
    return sums.max() / sums.mean()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("imatrix")
    parser.add_argument("--regate", default=".build/release/regate")
    parser.add_argument("--packages", type=Path, default=Path(".build/interop"))
    arguments = parser.parse_args()
    arguments.packages.mkdir(parents=True, exist_ok=True)
    archives = {n: package(n, arguments.packages) for n in ("vllm", "vllm-ascend", "sglang")}
    start = functions(
        source(archives["vllm"], "vllm/distributed/eplb/eplb_state.py"),
        "build_initial_global_physical_to_logical_map",
    )["build_initial_global_physical_to_logical_map"]
    ascend = functions(
        source(archives["vllm-ascend"], "vllm_ascend/eplb/core/eplb_utils.py"),
        "expert_file_to_tensor")["expert_file_to_tensor"]
    balancer = functions(
        source(archives["sglang"], "sglang/srt/eplb/eplb_algorithms/deepseek.py"), "balanced_packing",
        "replicate_experts", "rebalance_experts_hierarchical", "inverse")

    failed = 0

    def judge(what: str, found: float, said: float) -> None:
        nonlocal failed
        good = abs(found - said) < 1e-9
        failed += not good
        print(f"{what:44} {found:.6f} {said:.6f} {'ok' if good else 'DIFFERS'}")

    with tempfile.TemporaryDirectory() as folder:
        regate = Regate(arguments, folder)
        loads = regate.load()
        experts = len(loads[0][1])
        print(f"{'':44} by the runtime's code, by Regate (mean over layers of max/mean)")
        for ranks, redundant in ((2, 0), (4, 0), (4, 4), (8, 8)):
            # vLLM: place p holds new number p mod E; `order` says which expert has each number.
            output = regate.folder / f"{ranks}-{redundant}" / "model.gguf"
            output.parent.mkdir()
            said = regate.place(ranks, redundant, "--output", output)
            manifest = json.loads(output.with_suffix(".regate.json").read_text())
            orders = {l["index"]: np.array(l["physical_to_logical"]) for l in manifest["layers"]}
            slots = start(experts, redundant)
            found = [
                imbalance(slots, load[orders.get(index, np.arange(experts))], ranks)
                for index, load in loads
            ]
            judge(f"vLLM's start, {ranks} ranks, {redundant} redundant", np.mean(found), said)

            path, said = regate.map("ascend", ranks, redundant)
            found = []
            for number, (_, load) in enumerate(loads):
                devices, count = ascend(path, number)
                assert devices.shape[0] == ranks and count == experts + redundant
                assert all(len(set(row)) == len(row) for row in devices.tolist())
                found.append(imbalance(devices, load, ranks))
            judge(f"vLLM-Ascend's map, {ranks} ranks, {redundant} redundant", np.mean(found), said)

            path, said = regate.map("sglang", ranks, redundant)
            data = json.loads(path.read_text())
            assert list(data) == ["physical_to_logical_map"]
            rows = data["physical_to_logical_map"]
            found = [imbalance(rows[index], load, ranks) for index, load in loads]
            judge(f"SGLang's map, {ranks} ranks, {redundant} redundant", np.mean(found), said)
            # ... and it is the plan that SGLang's own copy of DeepSeek's balancer makes.
            weight = torch.tensor(np.stack([load for _, load in loads])).float()
            plan, _, _ = balancer["rebalance_experts_hierarchical"](
                weight, experts + redundant, 1, 1, ranks)
            own = [imbalance(p, load, ranks) for p, (_, load) in zip(plan.numpy(), loads)]
            judge(f"DeepSeek's plan, {ranks} ranks, {redundant} redundant", np.mean(own), said)

            path, said = regate.map("eplb", ranks, redundant)
            data = {name: np.array(value) for name, value in json.loads(path.read_text()).items()}
            found = [
                imbalance(p, load, ranks)
                for p, (_, load) in zip(data["physical_to_logical_map"], loads)
            ]
            judge(f"EPLB's arrays, {ranks} ranks, {redundant} redundant", np.mean(found), said)
            for layer, places in enumerate(data["logical_to_physical_map"]):
                for expert, held in enumerate(places):
                    held = held[held >= 0]
                    assert len(held) == data["expert_count"][layer][expert]
                    assert (data["physical_to_logical_map"][layer][held] == expert).all()

            path, said = regate.map("tensorrt-llm", ranks, redundant)
            data = yaml.safe_load(path.read_text())
            assert data["layer_updates_per_iter"] == 0
            assert data["num_slots"] == experts + redundant
            found = [
                imbalance(data["initial_global_assignments"][index], load, ranks)
                for index, load in loads
            ]
            judge(f"TensorRT-LLM's YAML, {ranks} ranks, {redundant} redundant", np.mean(found), said)
    print(", ".join(path.name for path in archives.values()))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
