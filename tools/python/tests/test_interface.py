# SPDX-License-Identifier: Apache-2.0
"""The commands as functions, by the built program: REGATE's, or .build/release/regate."""

import html
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import regate
from regate import _program

ROOT = Path(__file__).resolve().parents[3]
MODEL = ROOT / "fixtures/tiny-qwen3-moe"
DATA = ROOT / "fixtures/tiny-qwen3-moe-data"
CALIBRATION, HELDOUT = DATA / "calibration.npy", DATA / "heldout.npy"
CAPTURE = DATA / "heldout.capture.safetensors"


@pytest.fixture(autouse=True)
def built(monkeypatch):
    program = os.environ.get("REGATE", str(ROOT / ".build/release/regate"))
    assert os.access(program, os.X_OK), f"{program}: build it first, swift build -c release"
    monkeypatch.setenv("REGATE", program)
    return program


@pytest.fixture(scope="module")
def balanced(tmp_path_factory):
    """A converted model, and the progress of its conversion."""
    output = tmp_path_factory.mktemp("model") / "balanced"
    os.environ.setdefault("REGATE", str(ROOT / ".build/release/regate"))
    told = []
    report = regate.convert(
        MODEL, calibration=CALIBRATION, max_tokens=256, refine=0, output=output, progress=told.append)
    return output, report, told


def test_a_report_is_the_object_of_json(built):
    said = subprocess.run(
        [built, "inspect", MODEL, "--calibration", HELDOUT, "--ep", "2,4", "--json"],
        check=True, capture_output=True)
    for ep in ([2, 4], "2,4", (2, 4)):
        report = regate.inspect(MODEL, calibration=[HELDOUT], ep=ep)
        assert report == json.loads(said.stdout)
    assert report["tokens"] == 1024
    assert report.page is None and report._repr_html_() is None


def test_progress_goes_from_nothing_to_all(balanced):
    output, report, told = balanced
    assert (output / "regate.json").exists()
    assert len(report["layers"]) == 2
    works = {progress.label: [] for progress in told}
    for progress in told:
        works[progress.label].append(progress.share)
    assert len(works) > 1
    for shares in works.values():
        assert shares == sorted(shares) and (shares[0], shares[-1]) == (0, 1)
    assert any(progress.stage for progress in told)


def test_a_refusal_is_an_error_with_the_tool_s_sentence(built, tmp_path):
    said = subprocess.run([built, "inspect", tmp_path / "absent"], capture_output=True, text=True)
    with pytest.raises(regate.Error) as error:
        regate.inspect(tmp_path / "absent")
    assert said.stderr == f"regate: {error.value}\n"
    assert error.value.code == 1 and not isinstance(error.value, regate.NotMet)


def test_a_wrong_usage_is_an_error_of_one_line():
    with pytest.raises(regate.Error, match="^--ep goes with --calibration or --counts") as error:
        regate.inspect(MODEL, ep=4)
    assert error.value.code == 2 and "\n" not in str(error.value)
    with pytest.raises(TypeError, match="calibratoin"):
        regate.inspect(MODEL, calibratoin=HELDOUT)


def test_a_threshold_that_is_not_met_has_the_report(balanced):
    output, _, _ = balanced
    report = regate.validate(MODEL, output, calibration=HELDOUT, max_gini=0.9)
    with pytest.raises(regate.NotMet) as error:
        regate.validate(MODEL, output, calibration=HELDOUT, max_gini=0.001)
    assert error.value.code == 1
    assert error.value.report["layers"] == report["layers"]
    with pytest.raises(regate.NotMet) as error:
        regate.check(output, target=["llama.cpp"])
    assert error.value.report
    assert regate.check(output, target="transformers")


class Whole:
    """A number that is neither an int nor a float, as NumPy's are not."""

    def __str__(self):
        return "4"


def test_a_number_may_be_any_number():
    one = regate.inspect(MODEL, calibration=HELDOUT, ep=Whole())
    assert one == regate.inspect(MODEL, calibration=HELDOUT, ep=[Whole()])
    assert one == regate.inspect(MODEL, calibration=HELDOUT, ep=4)


@pytest.mark.parametrize("said", ["regate: no room for the report", ""])
def test_half_a_report_is_an_error_with_the_tool_s_sentence(monkeypatch, tmp_path, said):
    program = tmp_path / "regate"
    program.write_text(f"#!/bin/sh\nprintf '{{\"layers\": ['\necho '{said}' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("REGATE", str(program))
    with pytest.raises(regate.Error, match="no room for the report" if said else "no whole report"):
        regate.inspect(MODEL)


def test_a_page_is_kept_or_written_and_shown_in_a_frame(tmp_path):
    report = regate.inspect(MODEL, calibration=HELDOUT, html=True)
    assert report.page.text.startswith("<!")
    frame = report._repr_html_()
    assert frame == report.page._repr_html_()
    source = frame.split('srcdoc="')[1].split('"')[0]
    assert html.unescape(source) == report.page.text
    file = tmp_path / "load, all.html"
    written = regate.inspect(MODEL, calibration=HELDOUT, html=file)
    assert written.page.text == file.read_text(encoding="utf-8") == report.page.text
    report.page.write(tmp_path / "copy.html")
    assert (tmp_path / "copy.html").read_text(encoding="utf-8") == report.page.text


def test_names_are_taken_as_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.symlink(MODEL, "-model")
    tokens = {"a,b=c d.npy": 1024, "--json.npy": 1536}
    for file, name in zip((HELDOUT, CALIBRATION), tokens, strict=True):
        os.symlink(file, name)
        assert regate.inspect("-model", calibration=name)["tokens"] == tokens[name]
    both = regate.inspect("-model", calibration=("a,b=c d.npy", Path("--json.npy")))
    assert both["tokens"] == 2560


@pytest.mark.filterwarnings("ignore::regate.Warned")
def test_parts_of_a_fit_are_merged(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    parts = [Path("-1.fit"), Path("2.fit")]
    for layer, part in enumerate(parts):
        regate.fit(MODEL, calibration=CAPTURE, refine=0, layers=f"{layer}-{layer}", output=part)
    regate.fit(merge=parts, output=tmp_path / "merged.fit")
    regate.fit(MODEL, calibration=CAPTURE, refine=0, output=tmp_path / "one.fit")
    assert (tmp_path / "merged.fit").read_bytes() == (tmp_path / "one.fit").read_bytes()
    with pytest.raises(regate.Error, match="are in none of the parts"):
        regate.fit(merge="-1.fit", output=tmp_path / "half.fit")


def test_warnings_are_python_s(tmp_path):
    with pytest.warns(regate.Warned, match="does not say which weights it was captured with") as warned:
        regate.fit(MODEL, calibration=CAPTURE, refine=0)
    assert warned[0].filename == __file__


def test_a_watcher_that_throws_ends_the_program(monkeypatch, tmp_path):
    started = []

    class Recorded(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self)

    def stop(progress):
        raise KeyboardInterrupt

    monkeypatch.setattr(_program.subprocess, "Popen", Recorded)
    with pytest.raises(KeyboardInterrupt):
        regate.convert(MODEL, calibration=CALIBRATION, output=tmp_path / "out", progress=stop)
    assert started[0].poll() == -signal.SIGTERM
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="children are looked up in /proc")
def test_an_interrupt_of_python_alone_ends_the_program(tmp_path):
    code = (
        "import regate, sys\n"
        "tell = lambda progress: print(progress.label, flush=True)\n"
        "regate.convert(sys.argv[1], calibration=sys.argv[2], output=sys.argv[3], progress=tell)\n")
    python = subprocess.Popen(
        [sys.executable, "-c", code, MODEL, CALIBRATION, tmp_path / "out"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(regate.__file__).parents[1])})
    assert python.stdout.readline()
    child = Path(f"/proc/{python.pid}/task/{python.pid}/children").read_text().split()
    assert len(child) == 1
    python.send_signal(signal.SIGINT)
    _, said = python.communicate(timeout=30)
    assert "KeyboardInterrupt" in said
    assert not Path(f"/proc/{child[0]}").exists()
    assert not (tmp_path / "out").exists()


def test_the_program_is_found_or_asked_for(monkeypatch, tmp_path):
    monkeypatch.delenv("REGATE")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(_program.sysconfig, "get_path", lambda *_: str(tmp_path / "scripts"))
    with pytest.raises(FileNotFoundError, match="install the wheel"):
        regate.program()
    program = tmp_path / "regate"
    program.write_text("", encoding="utf-8")
    program.chmod(0o755)
    assert regate.program() == str(program)


def test_the_functions_have_the_program_s_options(built):
    path = ROOT / "tools/python/commands.py"
    spec = importlib.util.spec_from_file_location("commands", path)
    commands = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(commands)
    assert commands.text(built) == commands.OUTPUT.read_text(encoding="utf-8"), (
        f"run python {path} {built}")
