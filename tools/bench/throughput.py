#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Speed and memory of `regate capture` beside llama-perplexity and transformers.

Takes two folders of random_moe.py that differ in their number of layers: what one layer costs
is the difference of the two, the output head and all else the rest. Programs run in turn, `--repeat`
times; the best time of each counts, so that other load on the machine hurts none of them. The time
is that of the whole process (transformers: without loading and warming up). `--cpu` compares CPU
time instead of wall time, for a machine that others use too; give it `--threads 1`, since llama.cpp's
threads spin while they wait. Both of a pair compute NLL at the same positions: against
llama-perplexity, which counts the second half of each window, regate runs with `--ppl-protocol
llama`; against transformers all positions count, each
dtype against regate in the same `--precision`. Memory is sampled from /proc: anonymous pages, and
mapped file pages apart; beside it stands what regate aims at, one set of hidden states, one expert
per thread and the largest attention matrix decoded to float32, and 300 MB.

`--only` and `--results FILE` split a measurement into short runs: figures are kept in the file.

  python3 tools/bench/throughput.py /tmp/bench1 /tmp/bench2 --regate .build/release/regate \\
    --llama-perplexity llama.cpp/build/bin/llama-perplexity --transformers
"""
import argparse
import json
import math
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

WINDOW = 512


def memory(pid):
    """Anonymous and file-backed resident bytes."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0, 0
    found = dict(re.findall(r"(RssAnon|RssFile):\s+(\d+) kB", text))
    return int(found.get("RssAnon", 0)) * 1024, int(found.get("RssFile", 0)) * 1024


def children_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run(command, cpu=False):
    """Seconds, output, and peaks of anonymous and of mapped memory."""
    peak = [0, 0]
    start, start_cpu = time.monotonic(), children_seconds()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def sample():
        while process.poll() is None:
            peak[:] = map(max, peak, memory(process.pid))
            time.sleep(0.05)

    sampler = threading.Thread(target=sample)
    sampler.start()
    output = process.communicate()[0]
    sampler.join()
    seconds = children_seconds() - start_cpu if cpu else time.monotonic() - start
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{output[-2000:]}")
    return seconds, output, peak[0], peak[1]


def regate(options, model, positions, precision="auto"):
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        seconds, output, anonymous, mapped = run(
            [options.regate, "capture", model, "--calibration", options.text, "--length", str(WINDOW),
             "--max-tokens", str(options.tokens), "-o", f"{folder}/capture.safetensors", "--threads",
             str(options.threads), "--ppl-protocol", positions, "--precision", precision, "--json", "--quiet"],
            options.cpu)
    result = json.loads(output[output.index("{"):])
    return dict(seconds=seconds, tokens=result["tokens"], scored=result["scored_tokens"],
                nll=result["nll"], anonymous=anonymous, mapped=mapped)


def llama(options, model):
    best = None
    for batch in options.batches:
        seconds, output, anonymous, mapped = run(
            [options.llama_perplexity, "-m", model, "-f", options.text, "-c", str(WINDOW),
             "--chunks", str(options.tokens // WINDOW), "-b", str(batch), "-ub", str(batch),
             "-t", str(options.threads), "-tb", str(options.threads)],
            options.cpu)
        windows = int(re.search(r"calculating perplexity over (\d+) chunks", output).group(1))
        perplexity = float(re.search(r"Final estimate: PPL = ([0-9.]+)", output).group(1))
        entry = dict(seconds=seconds, tokens=windows * WINDOW, scored=windows * (WINDOW // 2 - 1), batch=batch,
                     nll=math.log(perplexity), anonymous=anonymous, mapped=mapped)
        if best is None or seconds < best["seconds"]:
            best = entry
    return best


TRANSFORMERS = """
import sys, time, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from tokenizers import Tokenizer
folder, text, window, tokens, threads, batch, kind, cpu = sys.argv[1:9]
torch.set_num_threads(int(threads))
model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, kind)).eval()
ids = Tokenizer.from_file(folder + "/tokenizer.json").encode(open(text).read()).ids[:int(tokens)]
window, batch = int(window), int(batch)
rows = torch.tensor(ids[:len(ids) // window * window]).view(-1, window)
total, scored = 0.0, 0
with torch.inference_mode():
    model(rows[:1])
    clock = time.process_time if cpu == "1" else time.monotonic
    start = clock()
    for part in rows.split(batch):
        hidden = model.model(part).last_hidden_state
        for states, sequence in zip(hidden, part):
            logits = model.lm_head(states[:-1]).float()
            total += torch.nn.functional.cross_entropy(logits, sequence[1:], reduction="sum").item()
            scored += len(sequence) - 1
    print("RESULT", clock() - start, rows.numel(), scored, total / scored)
"""


def transformers(options, folder, kind):
    best = None
    for batch in options.transformers_batches:
        _, output, anonymous, mapped = run(
            [sys.executable, "-c", TRANSFORMERS, folder, options.text, str(WINDOW), str(options.tokens),
             str(options.threads), str(batch), kind, str(int(options.cpu))])
        seconds, tokens, scored, nll = re.search(r"RESULT (\S+) (\S+) (\S+) (\S+)", output).groups()
        entry = dict(seconds=float(seconds), tokens=int(tokens), scored=int(scored), nll=float(nll), batch=batch,
                     anonymous=anonymous, mapped=mapped)
        if best is None or entry["seconds"] < best["seconds"]:
            best = entry
    return best


def goal(folder, tokens, threads):
    """Bytes of memory that regate aims at."""
    config = json.loads((folder / "config.json").read_text())
    width = config.get("moe_intermediate_size") or config["intermediate_size"]
    hidden, experts = config["hidden_size"], 3 * width * threads
    attention = config["num_attention_heads"] * max(config.get("head_dim", 0), config.get("v_head_dim", 0))
    return 4 * hidden * (tokens + experts + attention) + 300 * 10**6


def report(name, one, more, layers, aim):
    """One line; returns seconds per layer and token, and tokens per second."""
    per_layer = (more["seconds"] - one["seconds"]) / layers / more["tokens"]
    speed = more["tokens"] / more["seconds"]
    batch = f" (batch {more['batch']})" if "batch" in more else ""
    aim = f"{aim / 1e6:.0f}" if name.startswith("regate") else "-"
    print(f"| {name}{batch} | {more['tokens']} | {more['scored']} | {more['nll']:.4f} | {one['seconds']:.1f}, "
          f"{more['seconds']:.1f} | {speed:.0f} | {per_layer * 1e6:.0f} | {more['anonymous'] / 1e6:.0f} | {aim} | "
          f"{more['mapped'] / 1e6:.0f} |", flush=True)
    return per_layer, speed


def layers_of(folder):
    return json.loads((folder / "config.json").read_text())["num_hidden_layers"]


def programs(options):
    """What runs, by name, and whom it is held against."""
    found, rivals = {}, {}
    for kind in options.transformers or ["auto"]:
        precision = {"float32": "f32", "bfloat16": "bf16"}.get(kind, kind)
        own, name = f"regate {precision}, BF16", f"transformers {kind}, BF16"
        found[own] = lambda folder, precision=precision: regate(options, folder, "all", precision)
        if kind != "auto":
            found[name] = lambda folder, kind=kind: transformers(options, folder, kind)
            rivals[name] = own
    if (options.folders[1] / "model-Q4_K_M.gguf").exists():
        found["regate, Q4_K_M"] = lambda folder: regate(options, folder / "model-Q4_K_M.gguf", "llama")
        if options.llama_perplexity:
            name = "llama-perplexity, Q4_K_M"
            found[name] = lambda folder: llama(options, folder / "model-Q4_K_M.gguf")
            rivals[name] = "regate, Q4_K_M"
    return found, rivals


def measure(options, found):
    """The best run of every program on both folders, by name."""
    best = json.loads(options.results.read_text()) if options.results and options.results.exists() else {}
    for _ in range(options.repeat):
        for name, program in found.items():
            if options.only and not any(part in name for part in options.only):
                continue
            runs = best.setdefault(name, [None, None])
            for index, folder in enumerate(options.folders):
                result = program(folder)
                if runs[index] is None or result["seconds"] < runs[index]["seconds"]:
                    runs[index] = result
    if options.results:
        options.results.write_text(json.dumps(best, indent=1))
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs=2, help="the model with fewer layers, the one with more")
    parser.add_argument("--regate", type=Path, required=True)
    parser.add_argument("--llama-perplexity", type=Path)
    parser.add_argument("--batches", type=int, nargs="+", default=[512, 2048], help="of llama.cpp, -b and -ub")
    parser.add_argument("--transformers", nargs="*", default=[], metavar="DTYPE", help="float32, bfloat16")
    parser.add_argument("--transformers-batches", type=int, nargs="+", default=[2, 8])
    parser.add_argument("--tokens", type=int, default=16384)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--cpu", action="store_true", help="compare CPU time")
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=[], metavar="PART", help="programs whose names contain it")
    parser.add_argument("--results", type=Path, help="JSON file that figures are read from and added to")
    parser.add_argument("--scratch", help="where captures are written and deleted")
    options = parser.parse_args()
    options.text = str(options.folders[1] / "text.txt")
    layers = layers_of(options.folders[1]) - layers_of(options.folders[0])
    found, rivals = programs(options)
    best = measure(options, found)

    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()).group(1)
    print(f"{platform.platform()}, {model}, {options.threads} threads, load {os.getloadavg()[0]:.1f}\n")
    few, many = (layers_of(folder) for folder in options.folders)
    print(f"| program | tokens | scored | mean NLL | seconds, {few} and {many} layers | tokens/s | us per token and "
          "layer | anonymous MB | aim | mapped MB |\n|---|---|---|---|---|---|---|---|---|---|")
    figures = {}
    for name, (one, more) in best.items():
        figures[name] = report(name, one, more, layers, goal(options.folders[1], more["tokens"], options.threads))
    print()
    for name, rival in rivals.items():
        if name in figures and rival in figures:
            (layer, speed), (own_layer, own_speed) = figures[name], figures[rival]
            print(f"{rival} against {name}: {own_speed / speed:.2f} times; per layer, without the head, "
                  f"{layer / own_layer:.2f} times")


if __name__ == "__main__":
    main()
