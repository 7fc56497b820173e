# SPDX-License-Identifier: Apache-2.0
# Written by tools/python/commands.py.
"""The commands of Regate as functions: each gives the object that `--json` prints."""

from __future__ import annotations

from typing import Literal

from ._program import File, Files, Number, Numbers, Watcher, Words, run
from ._report import Report

__all__ = [
    "inspect",
    "advise",
    "capture",
    "fit",
    "convert",
    "place",
    "validate",
    "sweep",
    "check",
    "apply",
    "revert",
]


def inspect(
    checkpoint: File, *, calibration: Files | None = None, counts: Files | None = None,
    max_tokens: int | None = None, field: str | None = None, length: int | None = None,
    precision: Literal["auto", "f32", "bf16"] | None = None, seed: int | None = None,
    ep: Numbers | None = None, mtp: bool = False, html: bool | File = False,
    overwrite: bool = False, io: Literal["map", "read"] | None = None,
    threads: int | None = None, progress: Watcher | None = None,
) -> Report:
    """Show a checkpoint's routers, and how even its expert load is.

    checkpoint: A checkpoint directory, a .safetensors file, or a .gguf file (split or not).
    calibration: Text (.txt, .jsonl, .json, .gz), token ids (.npy, .npz, .safetensors) or
        captured activations to count the load on.
    counts: Counts instead of a run: llama.cpp's importance matrix, SGLang's dump (.pt), vLLM's
        routed experts (.npy, .npz), CSV or JSON of layer, expert, count.
    max_tokens: Most tokens of text to use. (default: 65536)
    field: Key of the text in JSON lines. (default: text)
    length: Longest sequence of text, in tokens. (default: 512)
    precision: How weights are multiplied: f32, bf16 (with activations rounded to it, as servers
        do), or auto: bf16 for weights stored so or in fewer bits, where the CPU is made for it.
        (default: auto)
    seed: Seed; the same seed gives the same bytes. (default: 0)
    ep: Expert-parallel rank counts to report imbalance for.
    mtp: Include the layers of multi-token prediction (DeepSeek-V3's last), which are left alone
        otherwise; needs captures that hold them.
    html: Write the page to this file, or with True only into the report's `page`.
    overwrite: Replace a page of Regate at --html.
    io: How files are read: map, or read on a network file system. (default: map)
    threads: Threads; the result does not depend on it.
    progress: Is called with a Progress, several times a second.
    """
    return run(
        "inspect", (checkpoint,), {
            "calibration": calibration, "counts": counts, "max_tokens": max_tokens,
            "field": field, "length": length, "precision": precision, "seed": seed, "ep": ep,
            "mtp": mtp, "html": html, "overwrite": overwrite, "io": io, "threads": threads,
        }, progress)


def advise(
    checkpoint: File, *, ep: Numbers, calibration: Files | None = None,
    counts: Files | None = None, max_tokens: int | None = None, field: str | None = None,
    length: int | None = None, precision: Literal["auto", "f32", "bf16"] | None = None,
    seed: int | None = None, batch: Numbers | None = None, redundant: int | None = None,
    flops: Number | None = None, bandwidth: Number | None = None, html: bool | File = False,
    overwrite: bool = False, io: Literal["map", "read"] | None = None,
    threads: int | None = None, progress: Watcher | None = None,
) -> Report:
    """Say what to do for even expert-parallel ranks, and what it costs.

    checkpoint: A checkpoint directory, a .safetensors file, or a .gguf file (split or not).
    ep: Expert-parallel rank counts; each is looked at for itself.
    calibration: Text (.txt, .jsonl, .json, .gz), token ids (.npy, .npz, .safetensors) or
        captured activations to count the load on.
    counts: Counts instead of a run: llama.cpp's importance matrix, SGLang's dump (.pt), vLLM's
        routed experts (.npy, .npz), CSV or JSON of layer, expert, count.
    max_tokens: Most tokens of text to use. (default: 65536)
    field: Key of the text in JSON lines. (default: text)
    length: Longest sequence of text, in tokens. (default: 512)
    precision: How weights are multiplied: f32, bf16 (with activations rounded to it, as servers
        do), or auto: bf16 for weights stored so or in fewer bits, where the CPU is made for it.
        (default: auto)
    seed: Seed; the same seed gives the same bytes. (default: 0)
    batch: Tokens of a batch, all ranks of --ep together (default: 256,4096,32768).
    redundant: Redundant experts, those of all ranks together (default: one for each rank).
    flops: FLOP/s of a rank; default: dense BF16 of an H100 SXM. (default: 989000000000000.0)
    bandwidth: Bytes/s of a rank's memory; default: an H100 SXM's. (default: 3350000000000.0)
    html: Write the page to this file, or with True only into the report's `page`.
    overwrite: Replace a page of Regate at --html.
    io: How files are read: map, or read on a network file system. (default: map)
    threads: Threads; the result does not depend on it.
    progress: Is called with a Progress, several times a second.
    """
    return run(
        "advise", (checkpoint,), {
            "ep": ep, "calibration": calibration, "counts": counts, "max_tokens": max_tokens,
            "field": field, "length": length, "precision": precision, "seed": seed,
            "batch": batch, "redundant": redundant, "flops": flops, "bandwidth": bandwidth,
            "html": html, "overwrite": overwrite, "io": io, "threads": threads,
        }, progress)


def capture(
    checkpoint: File, *, calibration: Files, output: File, part: str | None = None,
    float32: bool = False, ppl_protocol: Literal["all", "llama"] | None = None,
    overwrite: bool = False, max_tokens: int | None = None, field: str | None = None,
    length: int | None = None, precision: Literal["auto", "f32", "bf16"] | None = None,
    seed: int | None = None, resume: bool = False, resume_every: Number | None = None,
    io: Literal["map", "read"] | None = None, threads: int | None = None,
    progress: Watcher | None = None,
) -> Report:
    """Run a model on text and record what its routers read.

    checkpoint: A checkpoint directory, a .safetensors file, or a .gguf file (split or not).
    calibration: Text (.txt, .jsonl, .json, .gz) or token ids (.npy, .npz, .safetensors).
    output: Capture file to write.
    part: Capture the i-th of n shares of the sequences; --calibration then takes all n
        captures, or their folder, as one.
    float32: Record F32 instead of BF16: twice the size, and exact.
    ppl_protocol: Positions that the printed NLL counts: all, or llama-perplexity's. (default:
        all)
    overwrite: Replace a capture that exists already.
    max_tokens: Most tokens of text to use. (default: 65536)
    field: Key of the text in JSON lines. (default: text)
    length: Longest sequence of text, in tokens. (default: 512)
    precision: How weights are multiplied: f32, bf16 (with activations rounded to it, as servers
        do), or auto: bf16 for weights stored so or in fewer bits, where the CPU is made for it.
        (default: auto)
    seed: Seed; the same seed gives the same bytes. (default: 0)
    resume: Continue an interrupted run from the state that it kept beside the output (validate:
        beside PATCHED).
    resume_every: Seconds of work between two saves of that state. (default: 60.0)
    io: How files are read: map, or read on a network file system. (default: map)
    threads: Threads; the result does not depend on it.
    progress: Is called with a Progress, several times a second.
    """
    return run(
        "capture", (checkpoint,), {
            "calibration": calibration, "output": output, "part": part, "float32": float32,
            "ppl_protocol": ppl_protocol, "overwrite": overwrite, "max_tokens": max_tokens,
            "field": field, "length": length, "precision": precision, "seed": seed,
            "resume": resume, "resume_every": resume_every, "io": io, "threads": threads,
        }, progress)


def fit(
    checkpoint: File | None = None, *, output: File | None = None, layers: str | None = None,
    merge: Files | None = None, overwrite: bool = False, calibration: Files | None = None,
    weights: Numbers | None = None, protect: Files | None = None, max_tokens: int | None = None,
    field: str | None = None, length: int | None = None,
    precision: Literal["auto", "f32", "bf16"] | None = None, strength: Number | None = None,
    target_gini: Number | None = None, max_loss_increase: Number | None = None,
    max_output_error: Number | None = None, ep: Numbers | None = None,
    balance: Literal["experts", "ranks"] | None = None, rank_slack: Number | None = None,
    prune: int | None = None, router: Literal["lpr", "stock", "lpr-official"] | None = None,
    no_clones: bool = False, encoder: Literal["linear", "lpr"] | None = None,
    similarity: str | None = None, latent: int | str | None = None,
    refine: int | str | None = None, mtp: bool = False, seed: int | None = None,
    resume: bool = False, resume_every: Number | None = None,
    io: Literal["map", "read"] | None = None, threads: int | None = None,
    progress: Watcher | None = None,
) -> Report:
    """Fit balanced routers to traffic, and keep them in a file.

    checkpoint: A checkpoint directory, a .safetensors file, or a .gguf file (split or not).
    output: Fit file to write.
    layers: Fit these layers alone, or the i-th of n shares of them, to captures: a part for
        --merge.
    merge: Join parts, which hold all layers once, into the fit that one run writes.
    overwrite: Replace an existing fit file.
    calibration: Text, token ids or captures to fit to.
    weights: Each file's share of the traffic: a set of its own.
    protect: Traffic whose experts are never pruned.
    max_tokens: Most tokens of text to use. (default: 65536)
    field: Key of the text in JSON lines. (default: text)
    length: Longest sequence of text, in tokens. (default: 512)
    precision: How weights are multiplied: f32, bf16 (with activations rounded to it, as servers
        do), or auto: bf16 for weights stored so or in fewer bits, where the CPU is made for it.
        (default: auto)
    strength: 0 changes nothing, 1 (default): uniform load; down to -1: fewer experts at a time.
    target_gini: Least strength with this mean held-out Gini.
    max_loss_increase: Most balance for this rise of the held-out NLL.
    max_output_error: The same by output error, on captures.
    ep: Even out these expert-parallel ranks, not experts.
    balance: experts, or ranks (default with --ep).
    rank_slack: The busiest rank may carry 1 + x times the mean.
    prune: Leave this many experts out of each layer; the router stays.
    router: lpr (prototype router; default for safetensors), stock or lpr-official.
    no_clones: Copy hot experts over hardly used ones; without, only routers change.
    encoder: Encoder of the prototype router: linear, or lpr (LayerNorm, SiLU, linear, as in the
        paper). (default: linear)
    similarity: Similarity of the prototype router: dot, cosine, gaussian, mahalanobis,
        cross-attention, kl, js, hellinger, wasserstein. (default: dot)
    latent: Latent size of the prototypes; with --router lpr-official, of its router (auto: the
        number of experts + 1; the paper has 16). (default: auto)
    refine: Gradient steps of the prototype router towards the original's routing; auto: 400
        where --latent is a number, none where its size is chosen to keep the routing. With
        --router lpr-official, of its router (auto: 400). (default: auto)
    mtp: Include the layers of multi-token prediction (DeepSeek-V3's last), which are left alone
        otherwise; needs captures that hold them.
    seed: Seed; the same seed gives the same bytes. (default: 0)
    resume: Continue an interrupted run from the state that it kept beside the output (validate:
        beside PATCHED).
    resume_every: Seconds of work between two saves of that state. (default: 60.0)
    io: How files are read: map, or read on a network file system. (default: map)
    threads: Threads; the result does not depend on it.
    progress: Is called with a Progress, several times a second.
    """
    return run(
        "fit", (checkpoint,), {
            "output": output, "layers": layers, "merge": merge, "overwrite": overwrite,
            "calibration": calibration, "weights": weights, "protect": protect,
            "max_tokens": max_tokens, "field": field, "length": length, "precision": precision,
            "strength": strength, "target_gini": target_gini,
            "max_loss_increase": max_loss_increase, "max_output_error": max_output_error,
            "ep": ep, "balance": balance, "rank_slack": rank_slack, "prune": prune,
            "router": router, "no_clones": no_clones, "encoder": encoder,
            "similarity": similarity, "latent": latent, "refine": refine, "mtp": mtp,
            "seed": seed, "resume": resume, "resume_every": resume_every, "io": io,
            "threads": threads,
        }, progress)


def convert(
    checkpoint: File, *, calibration: Files | None = None, weights: Numbers | None = None,
    protect: Files | None = None, strength: Number | None = None,
    target_gini: Number | None = None, max_loss_increase: Number | None = None,
    max_output_error: Number | None = None, ep: Numbers | None = None, prune: int | None = None,
    max_tokens: int | None = None, field: str | None = None, seed: int | None = None,
    balance: Literal["experts", "ranks"] | None = None, rank_slack: Number | None = None,
    length: int | None = None, precision: Literal["auto", "f32", "bf16"] | None = None,
    no_clones: bool = False, encoder: Literal["linear", "lpr"] | None = None,
    similarity: str | None = None, latent: int | str | None = None,
    refine: int | str | None = None, mtp: bool = False, fit: File | None = None,
    router: Literal["lpr", "stock", "lpr-official"] | None = None, output: File | None = None,
    delta: File | None = None, in_place: bool = False, lora: File | None = None,
    lora_rank: int | None = None, link: bool = False, overwrite: bool = False,
    dry_run: bool = False, resume: bool = False, resume_every: Number | None = None,
    io: Literal["map", "read"] | None = None, threads: int | None = None,
    progress: Watcher | None = None,
) -> Report:
    """Write a checkpoint with balanced routers.

    checkpoint: A checkpoint directory, .safetensors or .gguf file.
    calibration: Text, token ids or captures to fit to.
    weights: Each file's share of the traffic: a set of its own.
    protect: Traffic whose experts are never pruned.
    strength: 0 changes nothing, 1 (default): uniform load; down to -1: fewer experts at a time.
    target_gini: Least strength with this mean held-out Gini.
    max_loss_increase: Most balance for this rise of the held-out NLL.
    max_output_error: The same by output error, on captures.
    ep: Even out these expert-parallel ranks, not experts.
    prune: Leave this many experts out of each layer; the router stays.
    max_tokens: Most tokens of text to use. (default: 65536)
    field: Key of the text in JSON lines. (default: text)
    seed: Seed; the same seed gives the same bytes. (default: 0)
    balance: experts, or ranks (default with --ep).
    rank_slack: The busiest rank may carry 1 + x times the mean.
    length: Longest sequence of text, in tokens. (default: 512)
    precision: How weights are multiplied: f32, bf16 (with activations rounded to it, as servers
        do), or auto: bf16 for weights stored so or in fewer bits, where the CPU is made for it.
        (default: auto)
    no_clones: Copy hot experts over hardly used ones; without, only routers change.
    encoder: Encoder of the prototype router: linear, or lpr (LayerNorm, SiLU, linear, as in the
        paper). (default: linear)
    similarity: Similarity of the prototype router: dot, cosine, gaussian, mahalanobis,
        cross-attention, kl, js, hellinger, wasserstein. (default: dot)
    latent: Latent size of the prototypes; with --router lpr-official, of its router (auto: the
        number of experts + 1; the paper has 16). (default: auto)
    refine: Gradient steps of the prototype router towards the original's routing; auto: 400
        where --latent is a number, none where its size is chosen to keep the routing. With
        --router lpr-official, of its router (auto: 400). (default: auto)
    mtp: Include the layers of multi-token prediction (DeepSeek-V3's last), which are left alone
        otherwise; needs captures that hold them.
    fit: A fit of regate fit, instead of all that.
    router: lpr (prototype router; default for safetensors), stock or lpr-official.
    output: Directory or .gguf file to write.
    delta: Write only what changes, for regate apply.
    in_place: Change the checkpoint's own files; regate revert takes it back.
    lora: Write a GGUF adapter that holds the gates only.
    lora_rank: Rank of the adapter; exact without.
    link: Hard-link files of --output that do not differ.
    overwrite: Replace an output of Regate.
    dry_run: Say what would be written and needed.
    resume: Continue an interrupted run from the state that it kept beside the output (validate:
        beside PATCHED).
    resume_every: Seconds of work between two saves of that state. (default: 60.0)
    io: How files are read: map, or read on a network file system. (default: map)
    threads: Threads; the result does not depend on it.
    progress: Is called with a Progress, several times a second.
    """
    return run(
        "convert", (checkpoint,), {
            "calibration": calibration, "weights": weights, "protect": protect,
            "strength": strength, "target_gini": target_gini,
            "max_loss_increase": max_loss_increase, "max_output_error": max_output_error,
            "ep": ep, "prune": prune, "max_tokens": max_tokens, "field": field, "seed": seed,
            "balance": balance, "rank_slack": rank_slack, "length": length,
            "precision": precision, "no_clones": no_clones, "encoder": encoder,
            "similarity": similarity, "latent": latent, "refine": refine, "mtp": mtp,
            "fit": fit, "router": router, "output": output, "delta": delta,
            "in_place": in_place, "lora": lora, "lora_rank": lora_rank, "link": link,
            "overwrite": overwrite, "dry_run": dry_run, "resume": resume,
            "resume_every": resume_every, "io": io, "threads": threads,
        }, progress)


def place(
    checkpoint: File, *, ep: Numbers, calibration: Files | None = None,
    counts: Files | None = None, max_tokens: int | None = None, field: str | None = None,
    length: int | None = None, precision: Literal["auto", "f32", "bf16"] | None = None,
    seed: int | None = None, output: File | None = None, delta: File | None = None,
    in_place: bool = False, map: str | None = None, redundant: int | None = None,
    nodes: int | None = None, link: bool = False, overwrite: bool = False, mtp: bool = False,
    io: Literal["map", "read"] | None = None, threads: int | None = None,
    progress: Watcher | None = None,
) -> Report:
    """Renumber experts so that expert-parallel ranks carry equal load (lossless).

    checkpoint: A checkpoint directory, a .safetensors file, or a .gguf file (split or not).
    ep: Expert-parallel rank counts to balance together; a map is for the largest.
    calibration: Text (.txt, .jsonl, .json, .gz), token ids (.npy, .npz, .safetensors) or
        captured activations to count the load on.
    counts: Counts instead of a run: llama.cpp's importance matrix, SGLang's dump (.pt), vLLM's
        routed experts (.npy, .npz), CSV or JSON of layer, expert, count.
    max_tokens: Most tokens of text to use. (default: 65536)
    field: Key of the text in JSON lines. (default: text)
    length: Longest sequence of text, in tokens. (default: 512)
    precision: How weights are multiplied: f32, bf16 (with activations rounded to it, as servers
        do), or auto: bf16 for weights stored so or in fewer bits, where the CPU is made for it.
        (default: auto)
    seed: Seed; the same seed gives the same bytes. (default: 0)
    output: Directory (safetensors) or .gguf file to write.
    delta: Write only what changes, for regate apply.
    in_place: Change the checkpoint's own files; regate revert takes it back.
    map: Write a map for sglang, tensorrt-llm, ascend or eplb.
    redundant: Redundant experts: in the map, or those that vLLM starts with. (default: 0)
    nodes: Machines that the ranks of the map are on. (default: 1)
    link: Hard-link files of --output that do not differ.
    overwrite: Replace an output of Regate that exists already.
    mtp: Include the layers of multi-token prediction (DeepSeek-V3's last), which are left alone
        otherwise; needs captures that hold them.
    io: How files are read: map, or read on a network file system. (default: map)
    threads: Threads; the result does not depend on it.
    progress: Is called with a Progress, several times a second.
    """
    return run(
        "place", (checkpoint,), {
            "ep": ep, "calibration": calibration, "counts": counts, "max_tokens": max_tokens,
            "field": field, "length": length, "precision": precision, "seed": seed,
            "output": output, "delta": delta, "in_place": in_place, "map": map,
            "redundant": redundant, "nodes": nodes, "link": link, "overwrite": overwrite,
            "mtp": mtp, "io": io, "threads": threads,
        }, progress)


def validate(
    original: File, patched: File, *, calibration: Files, max_gini: Number | None = None,
    max_layer_gini: Number | None = None, min_ratio: Number | None = None,
    max_output_error: Number | None = None, max_perplexity_increase: Number | None = None,
    ep: Numbers | None = None, batch: Numbers | None = None,
    ppl_protocol: Literal["all", "llama"] | None = None, drift: bool = False, mtp: bool = False,
    max_tokens: int | None = None, field: str | None = None, length: int | None = None,
    precision: Literal["auto", "f32", "bf16"] | None = None, seed: int | None = None,
    html: bool | File = False, overwrite: bool = False, resume: bool = False,
    resume_every: Number | None = None, io: Literal["map", "read"] | None = None,
    threads: int | None = None, progress: Watcher | None = None,
) -> Report:
    """Compare a patched checkpoint with its original on held-out text.

    original: The checkpoint that the patched one was made from.
    patched: The patched checkpoint.
    calibration: Text (.txt, .jsonl, .json, .gz), token ids (.npy, .npz, .safetensors) or
        captured activations of the original, held out from the fit.
    max_gini: Fail if the mean Gini over layers is above this.
    max_layer_gini: Fail if any layer's Gini is above this.
    min_ratio: Fail if the mean over layers of least/most used expert is below this.
    max_output_error: Fail if the mean output error over layers is above this.
    max_perplexity_increase: Fail if the perplexity rises by more than this share, 0.01 for one
        percent. Needs text or token ids.
    ep: Expert-parallel rank counts to report imbalance for.
    batch: Tokens of a batch, all ranks of --ep together (default: 256,4096,32768).
    ppl_protocol: Which positions count for NLL, perplexity and KL: all, or llama for
        llama-perplexity's figures (windows of --length tokens as its -c, the second half of
        each, the tail dropped). (default: all)
    drift: Compare the expert load of two trainings of one model, each run with its own weights;
        PATCHED is the other training.
    mtp: Include the layers of multi-token prediction (DeepSeek-V3's last), which are left alone
        otherwise; needs captures that hold them.
    max_tokens: Most tokens of text to use. (default: 65536)
    field: Key of the text in JSON lines. (default: text)
    length: Longest sequence of text, in tokens. (default: 512)
    precision: How weights are multiplied: f32, bf16 (with activations rounded to it, as servers
        do), or auto: bf16 for weights stored so or in fewer bits, where the CPU is made for it.
        (default: auto)
    seed: Seed; the same seed gives the same bytes. (default: 0)
    html: Write the page to this file, or with True only into the report's `page`.
    overwrite: Replace a page of Regate at --html.
    resume: Continue an interrupted run from the state that it kept beside the output (validate:
        beside PATCHED).
    resume_every: Seconds of work between two saves of that state. (default: 60.0)
    io: How files are read: map, or read on a network file system. (default: map)
    threads: Threads; the result does not depend on it.
    progress: Is called with a Progress, several times a second.
    """
    return run(
        "validate", (original, patched), {
            "calibration": calibration, "max_gini": max_gini, "max_layer_gini": max_layer_gini,
            "min_ratio": min_ratio, "max_output_error": max_output_error,
            "max_perplexity_increase": max_perplexity_increase, "ep": ep, "batch": batch,
            "ppl_protocol": ppl_protocol, "drift": drift, "mtp": mtp, "max_tokens": max_tokens,
            "field": field, "length": length, "precision": precision, "seed": seed,
            "html": html, "overwrite": overwrite, "resume": resume,
            "resume_every": resume_every, "io": io, "threads": threads,
        }, progress)


def sweep(
    checkpoint: File, *, strengths: Numbers | None = None, calibration: Files | None = None,
    weights: Numbers | None = None, protect: Files | None = None, max_tokens: int | None = None,
    field: str | None = None, length: int | None = None,
    precision: Literal["auto", "f32", "bf16"] | None = None,
    router: Literal["lpr", "stock", "lpr-official"] | None = None, no_clones: bool = False,
    encoder: Literal["linear", "lpr"] | None = None, similarity: str | None = None,
    latent: int | str | None = None, refine: int | str | None = None, mtp: bool = False,
    seed: int | None = None, html: bool | File = False, overwrite: bool = False,
    io: Literal["map", "read"] | None = None, threads: int | None = None,
    progress: Watcher | None = None,
) -> Report:
    """Show what balance costs, over strengths.

    checkpoint: A checkpoint directory, a .safetensors file, or a .gguf file (split or not).
    strengths: Strengths to try, above 0 up to 1, ascending; each takes memory.
    calibration: Text, token ids or captures to fit to.
    weights: Each file's share of the traffic: a set of its own.
    protect: Traffic whose experts are never pruned.
    max_tokens: Most tokens of text to use. (default: 65536)
    field: Key of the text in JSON lines. (default: text)
    length: Longest sequence of text, in tokens. (default: 512)
    precision: How weights are multiplied: f32, bf16 (with activations rounded to it, as servers
        do), or auto: bf16 for weights stored so or in fewer bits, where the CPU is made for it.
        (default: auto)
    router: lpr (prototype router; default for safetensors), stock or lpr-official.
    no_clones: Copy hot experts over hardly used ones; without, only routers change.
    encoder: Encoder of the prototype router: linear, or lpr (LayerNorm, SiLU, linear, as in the
        paper). (default: linear)
    similarity: Similarity of the prototype router: dot, cosine, gaussian, mahalanobis,
        cross-attention, kl, js, hellinger, wasserstein. (default: dot)
    latent: Latent size of the prototypes; with --router lpr-official, of its router (auto: the
        number of experts + 1; the paper has 16). (default: auto)
    refine: Gradient steps of the prototype router towards the original's routing; auto: 400
        where --latent is a number, none where its size is chosen to keep the routing. With
        --router lpr-official, of its router (auto: 400). (default: auto)
    mtp: Include the layers of multi-token prediction (DeepSeek-V3's last), which are left alone
        otherwise; needs captures that hold them.
    seed: Seed; the same seed gives the same bytes. (default: 0)
    html: Write the page to this file, or with True only into the report's `page`.
    overwrite: Replace a page of Regate at --html.
    io: How files are read: map, or read on a network file system. (default: map)
    threads: Threads; the result does not depend on it.
    progress: Is called with a Progress, several times a second.
    """
    return run(
        "sweep", (checkpoint,), {
            "strengths": strengths, "calibration": calibration, "weights": weights,
            "protect": protect, "max_tokens": max_tokens, "field": field, "length": length,
            "precision": precision, "router": router, "no_clones": no_clones,
            "encoder": encoder, "similarity": similarity, "latent": latent, "refine": refine,
            "mtp": mtp, "seed": seed, "html": html, "overwrite": overwrite, "io": io,
            "threads": threads,
        }, progress)


def check(
    checkpoint: File, *, target: Words | None = None, io: Literal["map", "read"] | None = None,
) -> Report:
    """Say which runtimes will load a checkpoint, and what they would leave out.

    checkpoint: A checkpoint directory, a .safetensors file, or a .gguf file (split or not).
    target: Runtimes that must load it: vllm, sglang, transformers, llama.cpp, mlx.
    io: How files are read: map, or read on a network file system. (default: map)
    """
    return run(
        "check", (checkpoint,), {
            "target": target, "io": io,
        })


def apply(
    delta: File, checkpoint: File, *, output: File, overwrite: bool = False,
    io: Literal["map", "read"] | None = None, threads: int | None = None,
    progress: Watcher | None = None,
) -> Report:
    """Make a converted or renumbered checkpoint from a delta and the original.

    delta: A delta that regate convert or place --delta wrote.
    checkpoint: The checkpoint that the delta was made of.
    output: Directory (safetensors) or .gguf file to write.
    overwrite: Replace an output of Regate that exists already.
    io: How files are read: map, or read on a network file system. (default: map)
    threads: Threads; the result does not depend on it.
    progress: Is called with a Progress, several times a second.
    """
    return run(
        "apply", (delta, checkpoint), {
            "output": output, "overwrite": overwrite, "io": io, "threads": threads,
        }, progress)


def revert(
    checkpoint: File, *, io: Literal["map", "read"] | None = None, threads: int | None = None,
    progress: Watcher | None = None,
) -> Report:
    """Take back a change in place: every file gets its original bytes.

    checkpoint: The checkpoint that was changed in place.
    io: How files are read: map, or read on a network file system. (default: map)
    threads: Threads; the result does not depend on it.
    progress: Is called with a Progress, several times a second.
    """
    return run(
        "revert", (checkpoint,), {
            "io": io, "threads": threads,
        }, progress)
