"""`hil explore` as a user runs it, on a small recorded chip."""

import json
import os
import shutil
import signal
import subprocess
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from command_line import campaign_file, hil, start_hil

AXES = ("--axis", "scale_bits=8,4,2", "--axis", "off_frac=1,2")
"""Five formats with the base, and one that cannot be."""
FORMATS, STEPS = 5, 2

PROFILE = """\
schema_version = 1
name = "small"
seed = 3
[array]
cores = 1
rows = 32
columns = 16
[counter]
full_scale_products = 70000.0
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of one small core in both read modes."""
    folder = tmp_path_factory.mktemp("explored")
    (folder / "small.toml").write_text(PROFILE)
    path = campaign_file(folder, resource="mock://small.toml")
    ended = hil("run", path)
    assert ended.code == 0, ended.stderr
    return folder / "run"


@pytest.fixture(scope="module")
def studied(run: Path) -> Path:
    """The folder of a finished study of that run, made by one worker."""
    out = run.with_name("studied")
    ended = hil("explore", run, *AXES, "--workers", 1, "--out", out)
    assert ended.code == 0, ended.stderr
    return out


@pytest.fixture(scope="module")
def summary(run: Path, studied: Path) -> Any:
    """What that study prints with `--json`."""
    return hil("explore", run, *AXES, "--out", studied, "--json").json


def test_study_prints_the_pareto_set_the_baselines_and_what_was_refused(
    run: Path, studied: Path
) -> None:
    ended = hil("explore", run, *AXES, "--out", studied)
    assert ended.code == 0
    for words in (
        "four_phase, core 0: the formats worth their bits, of 5",
        "2 x u(1,7) + s8(7,1)",
        "float, no rounding",
        "FP16 unit",
        "uncorrected",
        "1 formats refused:",
        "scale_bits=2,off_frac=2: off_frac = 2: must be at most scale_frac + shift = 1",
        "cost: register bits per column: both scales",
    ):
        assert words in ended.stdout


def test_second_call_computes_nothing_and_says_the_same(run: Path, studied: Path) -> None:
    stored = (studied / "results.jsonl").read_bytes()
    again = hil("explore", run, *AXES, "--out", studied, "--json")
    assert again.stderr.startswith(f"0 results computed, {FORMATS * STEPS} known before")
    assert (studied / "results.jsonl").read_bytes() == stored
    assert stored.count(b"\n") == FORMATS * STEPS


def test_study_that_was_cut_off_computes_only_what_is_missing(
    run: Path, studied: Path, tmp_path: Path
) -> None:
    whole = (studied / "results.jsonl").read_bytes()
    copy = tmp_path / "copy"
    shutil.copytree(studied, copy)
    lines = whole.splitlines(keepends=True)
    (copy / "results.jsonl").write_bytes(b"".join(lines[:6]) + lines[6][:50])
    ended = hil("explore", run, *AXES, "--out", copy, "--workers", 1)
    assert ended.stderr.startswith("4 results computed, 6 known before")
    assert (copy / "results.jsonl").read_bytes() == whole


def test_two_workers_give_the_same_bytes_as_one(run: Path, studied: Path, tmp_path: Path) -> None:
    two = hil("explore", run, *AXES, "--out", tmp_path / "two", "--workers", 2, "--json")
    one = hil("explore", run, *AXES, "--out", studied, "--workers", 1, "--json")
    assert two.stdout == one.stdout
    for name in ("results.jsonl", "study.json"):
        assert (tmp_path / "two" / name).read_bytes() == (studied / name).read_bytes()


def test_json_has_every_format_and_reference(summary: Any) -> None:
    assert sorted(summary) == [
        "base", "calibration_vectors", "chip", "cost_model", "images", "metric", "read_modes",
        "recording", "refused", "schema_version", "title", "verification_vectors",
    ]  # fmt: skip
    assert summary["schema_version"] == 1
    assert sorted(summary["recording"]) == ["core00_four_phase", "core00_one_phase"]
    assert [refusal["format"] for refusal in summary["refused"]] == ["scale_bits=2,off_frac=2"]
    for mode in summary["read_modes"]:
        assert sorted(mode["baselines"]) == ["float", "fp16", "uncorrected"]
        # 2 x 8 + 8; the same with a finer offset; 2 x 4 + 8 twice; 2 x 2 + 8.
        assert [point["register_bits"] for point in mode["formats"]] == [24, 24, 16, 16, 12]
        assert mode["formats"][0]["changes"] == {}
        assert mode["formats"][1]["changes"] == {"off_int": 6, "off_frac": 2}
        assert {point["is_pareto"] for point in mode["formats"]} == {True, False}


def test_format_of_the_run_has_the_errors_that_the_run_measured(run: Path, summary: Any) -> None:
    steps = {step["read_mode"]: step["errors"] for step in hil("info", run, "--json").json["steps"]}
    for mode in summary["read_modes"]:
        measured = steps[mode["read_mode"]]
        assert mode["formats"][0]["error"] == measured["nmpu"]
        assert mode["baselines"] == {name: measured[name] for name in mode["baselines"]}


def test_only_the_chosen_steps_are_studied(run: Path, studied: Path) -> None:
    chosen = ("--core", 0, "--read-mode", "one_phase", "--json")
    summary = hil("explore", run, *AXES, "--out", studied, *chosen).json
    assert [mode["read_mode"] for mode in summary["read_modes"]] == ["one_phase"]


def test_campaign_file_is_run_once_and_then_studied(run: Path, tmp_path: Path) -> None:
    campaign = run.with_name("campaign.toml")
    axes = ("--axis", "cut_pre=0,6", "--out", tmp_path / "study", "--workers", 1)
    first = hil("explore", campaign, *axes)
    assert first.code == 0, first.stderr
    journal = (tmp_path / "study" / "run" / "journal.jsonl").read_bytes()
    again = hil("explore", campaign, *axes)
    assert again.stderr.startswith("0 results computed, 4 known before")
    assert (tmp_path / "study" / "run" / "journal.jsonl").read_bytes() == journal


def test_mock_is_measured_once_as_a_new_campaign_would_and_then_studied(
    run: Path, tmp_path: Path
) -> None:
    shutil.copy(run.with_name("small.toml"), tmp_path)
    asked = ("explore", "mock://small.toml", "--axis", "cut_pre=0,6", "--workers", 1, "--json")
    first = hil(*asked, cwd=tmp_path)
    assert first.code == 0, first.stderr
    folder = tmp_path / "small-explore"
    journal = (folder / "run" / "journal.jsonl").read_bytes()
    summary = first.json
    assert summary["title"] == "mock://small.toml"
    # What `hil init` writes: both read modes, 512 vectors fitted and 256 held out.
    assert (summary["calibration_vectors"], summary["verification_vectors"]) == (512, 256)
    assert [mode["read_mode"] for mode in summary["read_modes"]] == ["four_phase", "one_phase"]
    again = hil(*asked, cwd=tmp_path)
    assert (again.stdout, again.stderr) == (
        first.stdout, "0 results computed, 4 known before: small-explore\n"
    )  # fmt: skip
    assert (folder / "run" / "journal.jsonl").read_bytes() == journal
    other = hil("explore", "mock://quickstart", "--out", folder, cwd=tmp_path)
    assert other.code == 3
    assert "is a run of another campaign; choose another folder with --out" in other.stderr


def test_plots_are_a_png_and_an_svg_and_the_same_each_time(
    run: Path, studied: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra `plot`")
    png, twin, svg = (tmp_path / name for name in ("study.png", "twin.png", "study.svg"))
    plots = [word for path in (png, twin, svg) for word in ("--plot", path)]
    ended = hil("explore", run, *AXES, "--out", studied, *plots)
    assert ended.code == 0, ended.stderr
    header = png.read_bytes()
    assert header == twin.read_bytes()
    assert header.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = (int.from_bytes(header[at : at + 4], "big") for at in (16, 20))
    assert (width, height) == (2100, 1560)  # two panels of 3.5 in at 300 dots per inch
    root = ET.fromstring(svg.read_bytes())  # noqa: S314 - our own file
    assert root.tag == "{http://www.w3.org/2000/svg}svg"


def start_study(run: Path, *axes: str, out: Path) -> subprocess.Popen[str]:
    """Start a study with two workers, and wait until some results are stored."""
    study = start_hil("explore", run, *axes, "--out", out, "--workers", 2)
    deadline = time.monotonic() + 60
    results = out / "results.jsonl"
    while not (results.exists() and results.stat().st_size > 2000):
        assert time.monotonic() < deadline, "no results in time"
        time.sleep(0.01)
    return study


def test_interrupted_study_keeps_what_is_done_and_goes_on(run: Path, tmp_path: Path) -> None:
    axes = ("--axis", "scale_bits=3..8", "--axis", "off_bits=4..9", "--axis", "in_bits=9..12")
    out = tmp_path / "study"
    study = start_study(run, *axes, out=out)
    os.killpg(study.pid, signal.SIGINT)
    _, words = study.communicate(timeout=30)
    assert study.returncode == 130, words
    assert words.endswith("the same command goes on\ninterrupted\n")
    assert "Traceback" not in words
    kept = [json.loads(line) for line in (out / "results.jsonl").read_bytes().splitlines()]
    assert 2 <= len(kept) < 288  # 6 x 6 x 4 formats, 2 steps
    first = kept[1]["format_text"].replace(",", "\n").split()
    stored = [word for text in first if "shift" not in text for word in ("--axis", text)]
    ended = hil("explore", run, *stored, "--out", out, "--read-mode", "four_phase")
    assert ended.stderr.startswith("0 results computed, 2 known before")


def worker_of(study: int) -> int:
    """Return the process of one worker of a running study."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            words = (folder / "cmdline").read_bytes()
        except OSError:  # it has ended
            continue
        if parent == study and b"spawn_main" in words:
            return int(folder.name)
    pytest.fail("no worker is at work")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the worker in /proc")
def test_study_whose_worker_was_killed_says_so_and_goes_on(run: Path, tmp_path: Path) -> None:
    axes = ("--axis", "scale_bits=3..8", "--axis", "off_bits=4..9", "--axis", "in_bits=9,10")
    out = tmp_path / "study"
    results = out / "results.jsonl"
    study = start_study(run, *axes, out=out)
    os.kill(worker_of(study.pid), signal.SIGKILL)
    stdout, words = study.communicate(timeout=30)
    assert (study.returncode, stdout) == (1, "")
    assert words == (
        f"stopped early; finished results are in {out}: the same command goes on\n"
        "error: a worker process was killed, perhaps for want of memory: run the same command "
        "again, with fewer --workers\n"
    )
    kept = results.read_bytes()
    lines = [json.loads(line) for line in kept.splitlines()]
    assert 2 <= len(lines) < 144  # 6 x 6 x 2 formats, 2 steps
    ended = hil("explore", run, *axes, "--out", out, "--workers", 1)
    assert ended.code == 0, ended.stderr
    assert ended.stderr.startswith(f"{144 - len(lines)} results computed, {len(lines)} known")
    assert results.read_bytes().startswith(kept)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--axis", "offbits=3"], 3, "error: --axis offbits=3: 'offbits' is no axis; did you mean"),
        (["--axis", "off_bits=99"], 3, "off_bits=99: no such format: off_int = 98: must be 1 to"),
        (["--axis", "cut_pre=1", "--grid", "x.toml"], 3, "and --axis exclude each other"),
        (["--grid", "lost.toml"], 3, "lost.toml: no such file"),
        (["--core", "7"], 3, "core 7 was not recorded; there are 0"),
        (["--workers", "0"], 2, "0 is not in the range x>=1"),
        (["--plot", "study.pdf"], 3, "study.pdf: must end in .png or .svg"),
        (["--plot", "lost/study.png"], 3, "the folder lost does not exist"),
    ],
)
def test_wrong_argument_is_named_before_any_work(
    run: Path, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    ended = hil("explore", run, *arguments, "--out", tmp_path / "study", cwd=tmp_path)
    assert (ended.code, ended.stdout) == (code, "")
    assert words in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_study_of_another_run_is_refused(run: Path, studied: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert hil("replay", run, "--out", other).code == 0
    # A replay has the readouts of its recording: the study goes on. Another chip's is refused.
    assert hil("explore", other, *AXES, "--out", studied).code == 0
    campaign = campaign_file(tmp_path, campaign="seed = 5\ncores = [0]")
    ended = hil("explore", campaign, "--axis", "cut_pre=0", "--out", studied)
    assert (ended.code, ended.stdout) == (3, "")
    assert "holds a study of a run; choose another folder with --out" in ended.stderr
    assert not (studied / "run").exists()


def test_folder_of_a_run_is_never_written_into(run: Path) -> None:
    before = sorted(run.rglob("*"))
    ended = hil("explore", run, *AXES, "--out", run)
    assert (ended.code, ended.stdout) == (3, "")
    assert "holds a run; choose another folder with --out" in ended.stderr
    assert sorted(run.rglob("*")) == before


def test_run_without_a_finished_step_is_refused(tmp_path: Path, run: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    shutil.copy(run / "campaign.toml", empty)
    (empty / "journal.jsonl").write_bytes((run / "journal.jsonl").read_bytes().split(b"\n")[0])
    ended = hil("explore", empty, "--out", tmp_path / "study")
    assert ended.code == 5
    assert "this run has no finished step" in ended.stderr


def test_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    ended = hil("explore", tmp_path / "lost", "--out", tmp_path / "study")
    assert (ended.code, ended.stdout) == (5, "")
    assert "lost: no such folder" in ended.stderr
