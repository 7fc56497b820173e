#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writing commands, disturbed: killed at a random moment, on a disk that is or becomes full, with a
source that is read-only or disappears, twice at once on one output, with another clock or locale.

  python3 tools/soak/campaign.py --regate .build/release/regate [--kills 1000] [--disks 200] [--sources 200]
      [--pairs 100] [--surroundings 60] [--seed 1] [--only NAME]...

After each: the source has the bytes that it had, what is under the output's name is whole or nothing,
the exit code is 0 or 1 (1 with one line), a run that was not killed leaves nothing half-built, and
the next run makes the bytes that an undisturbed run makes. Prints what does not hold and the counts;
exit code 1 where something does not.

Linux, as root (it mounts small file systems of its own). Python's standard library only. The system's
clock is left alone: a library that is loaded before the tool's tells it another time.
"""

import argparse
import collections
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "fixtures"
CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <sys/time.h>
static long shift(void) { return (rand() % 3 - 1) * 400L * 24 * 3600; }
int clock_gettime(clockid_t id, struct timespec *t) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int code = real(id, t);
  if (id == CLOCK_REALTIME) t->tv_sec += shift();
  return code;
}
int gettimeofday(struct timeval *t, void *z) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  t->tv_sec = now.tv_sec, t->tv_usec = now.tv_nsec / 1000;
  return 0;
}
time_t time(time_t *t) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (t) *t = now.tv_sec;
  return now.tv_sec;
}
"""


def size(folder):
    """Bytes of all files in it."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def tree(path):
    """{relative name: digest} of a file or folder, without what a killed run leaves under hidden names."""
    path = Path(path)
    files = [path] if path.is_file() else sorted(found for found in path.rglob("*") if found.is_file())
    named = {str(found.relative_to(path.parent if path.is_file() else path)): found for found in files}
    return {name: hashlib.sha256(found.read_bytes()).hexdigest() for name, found in named.items()
            if ".partial" not in name}


class Job:
    """One writing command in one form. `arguments` gets the source and the output's path; `files` are the
    names beside each other that the output consists of (the first of them is what others go by);
    None: a change in place of the source itself."""

    def __init__(self, name, source, arguments, files, replaces=("--overwrite",), weight=4):
        self.name, self.source, self.arguments, self.files = name, source, arguments, files
        self.replaces, self.weight = replaces, weight
        self.good = self.seconds = self.bytes = self.original = None

    def made(self, folder, source):
        """What is there of the output, under its final names."""
        if self.files is None:
            return tree(source)
        found = {}
        for name in self.files:
            if (folder / name).exists():
                found |= {f"{name}/{inner}" if (folder / name).is_dir() else name: digest
                          for inner, digest in tree(folder / name).items()}
        return found


class Campaign:
    def __init__(self, regate, seed, folder):
        self.regate, self.random, self.folder = str(Path(regate).resolve()), random.Random(seed), folder
        self.broken, self.counts = [], collections.Counter()
        self.number = 0
        self.jobs = self.make_jobs()

    # MARK: What is run

    def make_jobs(self):
        data = self.folder / "data"
        data.mkdir()
        models = {name: FIXTURES / name for name in ["tiny-qwen3-moe", "tiny-mixtral", "tiny-deepseek"]}
        capture = {name: FIXTURES / f"{name}-data/heldout.capture.safetensors" for name in models}
        gguf = {"tiny-qwen3-moe": FIXTURES / "tiny-qwen3-moe-data/qwen3-moe-Q8_0.gguf",
                "tiny-deepseek": FIXTURES / "tiny-deepseek-data/deepseek-Q8_0.gguf"}

        def fit(name, model, *options):
            path = data / f"{name}.fit"
            self.run(["fit", models[model], "--calibration", capture[model], "--latent", 4, "--refine", 2, "-o", path,
                      *options], check=True)
            return path

        qwen = fit("qwen", "tiny-qwen3-moe")
        official = fit("official", "tiny-qwen3-moe", "--router", "lpr-official")
        plain = fit("plain", "tiny-qwen3-moe", "--no-clones")
        deepseek = fit("deepseek", "tiny-deepseek")
        mixtral = fit("mixtral", "tiny-mixtral")
        parts = []
        for layer in range(2):
            parts.append(fit(f"part-{layer}", "tiny-qwen3-moe", "--layers", f"{layer}-{layer}"))
        delta = data / "qwen.delta"
        self.run(["convert", models["tiny-qwen3-moe"], "--fit", qwen, "--delta", delta], check=True)
        patched = data / "patched"
        self.run(["apply", delta, models["tiny-qwen3-moe"], "-o", patched], check=True)

        jobs = []

        def add(name, source, arguments, files, **more):
            jobs.append(Job(name, source, arguments, files, **more))

        def convert(fit, *options):
            return lambda source, output: ["convert", source, "--fit", fit, *options, "-o", output]

        q, d, m = (models[name] for name in ["tiny-qwen3-moe", "tiny-deepseek", "tiny-mixtral"])
        add("convert lpr", q, convert(qwen), ["out"])
        add("convert stock", q, convert(qwen, "--router", "stock"), ["out"])
        add("convert lpr-official", q, convert(official, "--router", "lpr-official"), ["out"])
        add("convert stock, linked", d, convert(deepseek, "--router", "stock", "--link"), ["out"])
        add("convert lpr, Mixtral", m, convert(mixtral), ["out"])
        add("convert, plain reads", d, convert(deepseek, "--io", "read"), ["out"])
        for name, path in [("GGUF", gguf["tiny-qwen3-moe"]), ("GGUF with a bias", gguf["tiny-deepseek"])]:
            made = qwen if path == gguf["tiny-qwen3-moe"] else deepseek
            add(f"convert {name}", path, convert(made), ["out.gguf", "out.regate.json"])
        add("convert delta", q, lambda source, output: ["convert", source, "--fit", qwen, "--delta", output],
            ["out.delta"])
        add("convert lora", gguf["tiny-qwen3-moe"], lambda source, output: [
            "convert", source, "--fit", plain, "--lora", output], ["out.gguf"])
        add("convert pruned", q, lambda source, output: [
            "convert", source, "--calibration", capture["tiny-qwen3-moe"], "--prune", 4, "-o", output], ["out"])
        add("convert calibrated, resumed", q, lambda source, output: [
            "convert", source, "--calibration", capture["tiny-qwen3-moe"], "--latent", 4, "--refine", 2,
            "-o", output, "--resume-every", 0],
            ["out"], replaces=("--overwrite", "--resume"), weight=1)
        add("apply", q, lambda source, output: ["apply", delta, source, "-o", output], ["out"])
        add("place", q, lambda source, output: [
            "place", source, "--calibration", capture["tiny-qwen3-moe"], "--ep", 4, "-o", output], ["out"])
        add("place GGUF", gguf["tiny-deepseek"], lambda source, output: [
            "place", source, "--calibration", capture["tiny-deepseek"], "--ep", 4, "-o", output],
            ["out.gguf", "out.regate.json"])
        add("place, linked", q, lambda source, output: [
            "place", source, "--calibration", capture["tiny-qwen3-moe"], "--ep", 4, "--link",
            "-o", output], ["out"])
        add("place delta", q, lambda source, output: [
            "place", source, "--calibration", capture["tiny-qwen3-moe"], "--ep", 4,
            "--delta", output], ["out.delta"])
        for kind in ["sglang", "tensorrt-llm", "ascend", "eplb"]:
            add(f"place map {kind}", q, lambda source, output, kind=kind: [
                "place", source, "--calibration", capture["tiny-qwen3-moe"], "--ep", 4, "--map",
                f"{kind}:{output}"], ["out.safetensors" if kind == "eplb" else "out.json"], weight=1)
        add("capture", q, lambda source, output: [
            "capture", source, "--calibration", FIXTURES / "tiny-qwen3-moe-data/heldout.npy", "-o", output],
            ["out.safetensors"])
        add("capture, resumed", q, lambda source, output: [
            "capture", source, "--calibration", FIXTURES / "tiny-qwen3-moe-data/heldout.npy", "-o", output,
            "--resume-every", 0], ["out.safetensors"], replaces=("--overwrite", "--resume"))
        add("fit, resumed", d, lambda source, output: [
            "fit", source, "--calibration", capture["tiny-deepseek"], "--latent", 4, "--refine", 2, "-o", output,
            "--resume-every", 0], ["out.fit"], replaces=("--overwrite", "--resume"), weight=1)
        add("fit merged", q, lambda source, output: ["fit", "--merge", *parts, "-o", output], ["out.fit"])
        for name, arguments in [("inspect", []), ("advise", ["--ep", 4]), ("validate", [patched]),
                                ("sweep", ["--strengths", "0.5,1", "--latent", 4, "--refine", 2])]:
            add(f"{name} page", q, lambda source, output, name=name, arguments=arguments: [
                name, source, *arguments, "--calibration", capture["tiny-qwen3-moe"],
                "--html", output], ["out.html"], weight=1)
        add("in place", q, lambda source, output: ["convert", source, "--fit", qwen, "--router", "stock",
                                                   "--in-place"], None)
        add("in place, GGUF", gguf["tiny-deepseek"], lambda source, output: [
            "convert", source, "--fit", deepseek, "--in-place"], None)
        add("in place, placed", m, lambda source, output: [
            "place", source, "--calibration", capture["tiny-mixtral"], "--ep", 2, "--in-place"], None)
        return jobs

    def run(self, arguments, check=False, **more):
        done = subprocess.run([self.regate, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, errors="replace", timeout=120, **more)
        if check and done.returncode != 0:
            sys.exit(f"{' '.join(map(str, arguments))}: {done.stderr}")
        return done

    def prepare(self):
        """What an undisturbed run makes, twice, and how long it takes."""
        kept = []
        for job in self.jobs:
            goods = []
            for _ in range(2):
                folder, source = self.fresh(job)
                before = size(folder)
                began = time.monotonic()
                done = self.run(self.arguments(job, folder, source), cwd=source.parent.parent)
                job.seconds = time.monotonic() - began
                job.bytes = size(folder) - before
                if done.returncode != 0:
                    self.tell(job, "undisturbed", done.stderr)
                    break
                goods.append(job.made(folder, source))
                shutil.rmtree(folder)
            if len(goods) < 2:
                continue
            if goods[0] != goods[1]:
                differing = sorted(name for name in goods[0] if goods[0][name] != goods[1].get(name))
                self.tell(job, "undisturbed", f"two runs differ: {differing}")
                continue
            job.good = goods[0]
            kept.append(job)
        if not kept:
            sys.exit("no command ran undisturbed")
        self.jobs = kept
        print(f"{len(kept)} commands and forms, {sum(job.seconds for job in kept) / len(kept):.2f} s each", flush=True)

    def fresh(self, job, folder=None):
        """A folder with a copy of the job's source of its own."""
        self.number += 1
        folder = folder or self.folder / f"run-{self.number}"
        folder.mkdir(exist_ok=True)
        source = folder / "source" / job.source.name
        if job.source.is_dir():
            shutil.copytree(job.source, source)
        else:
            source.parent.mkdir()
            shutil.copy(job.source, source)
        if job.original is None:
            job.original = tree(source.parent)
        return folder, source

    def arguments(self, job, folder, source):
        """For a run in the folder that holds the source's: what is written names no path of this run."""
        output = "" if job.files is None else str(folder / job.files[0])
        return job.arguments(os.path.relpath(source, source.parent.parent), output)

    def pick(self):
        return self.random.choices(self.jobs, [job.weight for job in self.jobs])[0]

    def tell(self, job, what, problem):
        self.broken.append((job.name, what, problem.strip()))
        print(f"BROKEN {job.name}, {what}: {problem.strip()}", flush=True)

    # MARK: What must hold

    def check_end(self, job, what, done):
        """An exit is 0, or 1 with one line."""
        if done.returncode == 0:
            return
        lines = [line for line in done.stderr.splitlines() if line.startswith("regate: ")]
        if done.returncode != 1 or len(lines) != 1:
            self.tell(job, what, f"exit code {done.returncode}: {done.stderr[-400:]}")

    def check_stage(self, job, what, folder):
        """What a run builds under a hidden name is gone when it ends by itself."""
        left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.regate-*.partial*"))
        if left:
            self.tell(job, what, f"left {', '.join(left)}")

    def check_made(self, job, what, folder, source):
        """The output is whole or not there, and the source is as it was."""
        if job.files is None:
            return self.take_back(job, what, folder, source)
        made = job.made(folder, source)
        # A GGUF is found by its own name; the manifest beside it alone is no output.
        is_there = (folder / job.files[0]).exists()
        if is_there and made != job.good:
            names = sorted(name for name in job.good if job.good[name] != made.get(name))
            self.tell(job, what, f"half an output: {names or sorted(made)}")
        if tree(source.parent) != job.original:
            self.tell(job, what, "the source was changed")
        return is_there

    def take_back(self, job, what, folder, source):
        """A change in place, whole or not, is taken back."""
        there = tree(source.parent)
        undo = any(name.endswith("undo.delta") for name in there)
        if undo:
            done = self.run(["revert", source], cwd=source.parent.parent)
            if done.returncode != 0 and "was reverted" not in done.stderr:
                self.tell(job, what, f"cannot be reverted: {done.stderr}")
        if tree(source.parent) != job.original:
            self.tell(job, what, "the source is not what it was" + (" after a revert" if undo else ""))
        return undo

    def check_next(self, job, what, folder, source):
        """The next run makes what an undisturbed one makes."""
        arguments = self.arguments(job, folder, source)
        done = self.run([*arguments, *(() if job.files is None else job.replaces)], cwd=source.parent.parent)
        if done.returncode != 0:
            return self.tell(job, what, f"the next run: {done.stderr}")
        if job.made(folder, source) != job.good:
            self.tell(job, what, "the next run makes something else")

    # MARK: Disturbances

    def kill(self):
        job = self.pick()
        folder, source = self.fresh(job)
        arguments = self.arguments(job, folder, source)
        for again in range(2):
            process = subprocess.Popen([self.regate, *map(str, arguments)], cwd=source.parent.parent, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(self.random.uniform(0, job.seconds * 1.05))
            process.kill()
            code = process.wait()
            self.counts["killed" if code == -signal.SIGKILL else "ended before the kill"] += 1
            there = self.check_made(job, "killed", folder, source)
            self.counts["left an output or an undo delta"] += bool(there)
            if job.files is not None:
                arguments = [*self.arguments(job, folder, source), *job.replaces]
        self.check_next(job, "killed", folder, source)
        shutil.rmtree(folder)

    def disk(self):
        """A file system that is too small from the start, or is filled up meanwhile."""
        job = self.pick()
        mount = self.folder / "disk"
        mount.mkdir(exist_ok=True)
        in_place, meanwhile = job.files is None, self.random.random() < 0.5
        # A change in place has its source there too.
        held = size(job.source) if job.source.is_dir() else job.source.stat().st_size
        held = held + 4096 * 32 if in_place else 0
        room = 4 * job.bytes if meanwhile else int(self.random.uniform(0, 1.1) * job.bytes)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={held + room + 8192}", "none", mount], check=True)
        try:
            if in_place:
                folder, source = self.fresh(job, mount / "run")
            else:
                folder, source = self.fresh(job)
                source_folder, folder = folder, mount
            filler = threading.Thread(target=self.fill, args=(mount, self.random.uniform(0, job.seconds)))
            if meanwhile:
                filler.start()
            done = self.run(self.arguments(job, folder, source), cwd=source.parent.parent)
            if meanwhile:
                filler.join()
            self.check_end(job, "disk full", done)
            self.check_stage(job, "disk full", folder)
            self.counts["disk full: refused or failed" if done.returncode else "disk full: went well"] += 1
            (mount / "filling").unlink(missing_ok=True)
            subprocess.run(["mount", "-o", f"remount,size={held + 8 * job.bytes + (8 << 20)}", mount], check=True)
            self.check_made(job, "disk full", folder, source)
            self.check_next(job, "disk full", folder, source)
        finally:
            subprocess.run(["umount", "-l", mount], check=True)
        if not in_place:
            shutil.rmtree(source_folder)

    @staticmethod
    def fill(mount, delay):
        time.sleep(delay)
        try:
            with open(mount / "filling", "wb") as file:
                while True:
                    file.write(bytes(1 << 16))
                    file.flush()
        except OSError:
            pass

    def source(self):
        """A source that is read-only, or loses bytes, a file or its name meanwhile."""
        job = self.pick()
        kind = self.random.choice(["read-only", "truncated", "removed", "renamed", "longer"])
        folder, source = self.fresh(job)
        weights = source if source.is_file() else source / "model.safetensors"
        arguments = self.arguments(job, folder, source)
        if kind == "read-only":
            subprocess.run(["mount", "--bind", source.parent, source.parent], check=True)
            subprocess.run(["mount", "-o", "remount,bind,ro", source.parent], check=True)
            try:
                done = self.run(arguments, cwd=source.parent.parent)
                self.check_end(job, kind, done)
                self.check_stage(job, kind, folder)
                if (done.returncode == 0) != (job.files is not None):
                    self.tell(job, kind, f"exit code {done.returncode}: {done.stderr}")
                if tree(source.parent) != job.original:
                    self.tell(job, kind, "the source was changed")
                if job.files is not None and job.made(folder, source) != job.good:
                    self.tell(job, kind, "makes something else")
            finally:
                subprocess.run(["umount", source.parent], check=True)
        else:
            process = subprocess.Popen([self.regate, *map(str, arguments)], cwd=source.parent.parent, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            time.sleep(self.random.uniform(0, job.seconds))
            bytes_before = weights.read_bytes()
            if kind == "truncated":
                os.truncate(weights, self.random.randrange(len(bytes_before)))
            elif kind == "removed":
                weights.unlink()
            elif kind == "renamed":
                source.rename(source.parent / "elsewhere")
            else:
                with open(weights, "ab") as file:
                    file.write(b"more")
            try:
                _, error = process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                self.tell(job, f"source {kind}", "hangs")
                error = ""
            done = subprocess.CompletedProcess(arguments, process.returncode, "", error)
            self.check_end(job, f"source {kind}", done)
            if process.returncode >= 0:
                self.check_stage(job, f"source {kind}", folder)
            self.counts[f"source {kind}: code {done.returncode}"] += 1
            if job.files is not None:
                made = job.made(folder, source)
                if (folder / job.files[0]).exists() and made != job.good:
                    self.tell(job, f"source {kind}", "half an output, or one of other bytes")
                if kind == "renamed":
                    (source.parent / "elsewhere").rename(source)
                elif not weights.is_symlink():
                    weights.unlink(missing_ok=True)
                    weights.write_bytes(bytes_before)
                self.check_next(job, f"source {kind}", folder, source)
        self.counts[f"source {kind}"] += 1
        shutil.rmtree(folder)

    def pair(self):
        """Two runs at once on one output: one of them is what is there, whole."""
        job = self.random.choice([job for job in self.jobs if job.files is not None])
        folder, source = self.fresh(job)
        arguments = [*self.arguments(job, folder, source)]
        if self.random.random() < 0.5:
            arguments.append("--overwrite")
        began = []
        for _ in range(2):
            began.append(subprocess.Popen([self.regate, *map(str, arguments)], cwd=source.parent.parent, stdin=subprocess.DEVNULL,
                                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True))
            time.sleep(self.random.uniform(0, job.seconds * 0.3))
        ends = [(process.communicate(timeout=120)[1], process.returncode) for process in began]
        for error, code in ends:
            self.check_end(job, "two at once", subprocess.CompletedProcess(arguments, code, "", error))
        codes = sorted(code for _, code in ends)
        self.check_stage(job, "two at once", folder)
        self.counts[f"two at once: codes {codes}"] += 1
        if codes == [0, 0] and "--overwrite" not in arguments:
            self.tell(job, "two at once", "one output took the other's place, and both went well")
        if codes == [1, 1]:
            self.tell(job, "two at once", "both failed: " + " / ".join(error.strip() for error, _ in ends))
        self.check_made(job, "two at once", folder, source)
        if 0 in codes and job.made(folder, source) != job.good:
            self.tell(job, "two at once", "one went well, but its output is not there")
        self.check_next(job, "two at once", folder, source)
        shutil.rmtree(folder)

    def surroundings(self):
        """Another locale and time zone, a clock that jumps by a year at each look, files of the future."""
        job = self.pick()
        folder, source = self.fresh(job)
        changed = dict(os.environ)
        changed["LC_ALL"] = self.random.choice(["C", "tr_TR.UTF-8", "de_DE.UTF-8", "ar_EG.UTF-8", "no_SUCH", ""])
        changed["TZ"] = self.random.choice(["UTC", "Pacific/Kiritimati", "America/St_Johns", "No/Where"])
        clock = self.folder / "clock.so"
        if clock.exists():
            changed["LD_PRELOAD"] = str(clock)
        then = self.random.choice([0, 2 ** 31 + 10, 4102444800])
        for path in source.parent.rglob("*"):
            os.utime(path, (then, then))
        done = self.run(self.arguments(job, folder, source), cwd=source.parent.parent, env=changed)
        if done.returncode != 0:
            self.tell(job, "surroundings", f"{changed['LC_ALL']} {changed['TZ']} {then}: {done.stderr}")
        elif job.made(folder, source) != job.good:
            self.tell(job, "surroundings", f"{changed['LC_ALL']} {changed['TZ']} {then}: other bytes")
        self.check_made(job, "surroundings", folder, source)
        shutil.rmtree(folder)

    def make_clock(self):
        compiler = next((name for name in ["clang", "cc", "gcc"] if shutil.which(name)), None)
        if compiler is None:
            return print("no C compiler: the clock is left alone")
        (self.folder / "clock.c").write_text(CLOCK)
        subprocess.run([compiler, "-shared", "-fPIC", "-o", self.folder / "clock.so", self.folder / "clock.c", "-ldl"],
                       check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--regate", default=ROOT / ".build/release/regate")
    for name, count in [("kills", 1000), ("disks", 200), ("sources", 200), ("pairs", 100), ("surroundings", 60)]:
        parser.add_argument(f"--{name}", type=int, default=count)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", help="commands whose name holds this")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="regate-soak-") as folder:
        campaign = Campaign(arguments.regate, arguments.seed, Path(folder))
        if arguments.only:
            campaign.jobs = [job for job in campaign.jobs if any(word in job.name for word in arguments.only)]
        if not campaign.jobs:
            parser.error("--only: there is no such command")
        campaign.prepare()
        campaign.make_clock()
        if all(job.files is None for job in campaign.jobs):
            arguments.pairs = 0  # A change in place has no output for two.
        # A kill is of a run and of the one that comes after it.
        for what, count in [("kill", arguments.kills // 2), ("disk", arguments.disks), ("source", arguments.sources),
                            ("pair", arguments.pairs), ("surroundings", arguments.surroundings)]:
            began = time.monotonic()
            for _ in range(count):
                getattr(campaign, what)()
            print(f"{what}: {count} in {time.monotonic() - began:.0f} s", flush=True)
        for name, count in sorted(campaign.counts.items()):
            print(f"{name}: {count}")
        print(f"{len(campaign.broken)} broken promises")
    sys.exit(1 if campaign.broken else 0)


if __name__ == "__main__":
    main()
