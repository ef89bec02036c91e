"""``hil data trace`` as a user meets it: what it prints, its exit codes, what it refuses."""

import json
from pathlib import Path

import pytest

import example_steps as example
from command_line import hil
from visited_run import HOT, PROBE, write_visited_run

COEFFICIENTS_ID = "d42002a0306fd5d389b9349fee5a8f9009d56dd095950e0e7014a448eb143be8"
"""Computed from scratch in ``tests/datasets/test_export_ids.py``."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("traced") / "runs" / "tiny"
    folder.parent.mkdir()
    return example.write_run(folder, example.ONE, example.FOUR).path


def test_coefficient_is_traced_in_words_and_as_json(run: Path) -> None:
    arguments = ("data", "trace", run, "--core", 0, "--column", 1, "--read-mode", "one_phase")
    told = hil(*arguments)
    assert (told.code, told.stderr) == (0, "")
    lines = told.stdout.splitlines()
    assert lines[1] == (
        "  registers  scale_p 64, scale_n 96, offset 5, swap 1, shift 1, P and N change places"
    )
    assert f"ok      coefficients         {COEFFICIENTS_ID}" in lines
    assert any(
        line.strip().startswith("vectors 4 to 5, 1.250 s to 4.500 s, P 141...151") for line in lines
    )
    assert (
        "        chamber.temperature: 44.5 degC before, 45.25 degC after, set to 45 degC" in lines
    )
    assert lines[-1] == "every link that can be checked holds"
    document = hil(*arguments, "--json").json
    assert (document["step"], document["column"], document["is_whole"]) == (
        "core00_one_phase",
        1,
        True,
    )
    assert document["links"][0]["content_id"] == COEFFICIENTS_ID


def test_without_a_read_mode_the_coefficient_of_each_is_shown(run: Path, tmp_path: Path) -> None:
    arguments = ("data", "trace", run, "--core", 0, "--column", 1)
    told = hil(*arguments)
    assert (told.code, told.stderr) == (0, "")
    lines = told.stdout.splitlines()
    heads = [
        f"core 0 {mode} column 1: step core00_{mode} of {run}"
        for mode in ("four_phase", "one_phase")
    ]
    assert [line for line in lines if line.startswith("core 0 ")] == heads
    assert lines[lines.index(heads[1]) - 1] == ""
    assert lines.count("every link that can be checked holds") == 1
    assert lines[-1] == "every link that can be checked holds"
    both = hil(*arguments, "--json").json
    assert list(both) == ["is_whole", "read_modes"]
    assert both["is_whole"] is True
    assert both["read_modes"] == [
        hil(*arguments, "--read-mode", mode, "--json").json for mode in ("four_phase", "one_phase")
    ]
    exported = tmp_path / "chip.json"
    hil("export", run, "--format", "json", "-o", exported)
    of_file = hil("data", "trace", run.parent, "--export", exported, *arguments[3:], "--json")
    assert of_file.code == 0
    assert of_file.json == both


def test_what_is_broken_in_one_read_mode_is_said_with_it(tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run", example.ONE, example.FOUR)
    step = run.path / "steps" / "core00_one_phase.h5"
    step.write_bytes(step.read_bytes()[:-1])
    told = hil("data", "trace", run.path, "--core", 0, "--column", 1)
    assert told.code == 1
    last = told.stdout.splitlines()[-1]
    assert f"file {step} of one_phase" in last
    assert "of four_phase" not in last


def test_broken_link_is_named_and_ends_with_1(run: Path, tmp_path: Path) -> None:
    broken = example.write_run(tmp_path / "broken", example.ONE)
    broken.campaign_path.write_bytes(b"changed")
    told = hil("data", "trace", broken.path, "--core", 0, "--column", 0)
    assert told.code == 1
    assert "BROKEN  campaign" in told.stdout
    assert told.stdout.splitlines()[-1] == "broken: campaign"


def test_exported_file_leads_through_the_folder_of_runs_to_the_counts(
    run: Path, tmp_path: Path
) -> None:
    path = tmp_path / "chip.csv"
    document = json.loads(hil("data", "trace", run, "--id", COEFFICIENTS_ID[:6], "--json").stdout)
    assert [found["steps"] for found in document["found"]] == [
        ["core00_one_phase"],
        ["core00_four_phase"],
    ]
    # The residual of the tiny chip is made up, so the export's own check fails; the file stays.
    hil("export", run, "--format", "csv", "-o", path)
    told = hil("data", "trace", run.parent, "--export", path)
    assert told.code == 0
    assert told.stdout.splitlines()[1:4] == [
        f"core00_four_phase {COEFFICIENTS_ID}",
        "  ok: id and registers are those of the step",
        f"  {run}: core00_four_phase",
    ]
    arguments = ("--core", 0, "--column", 2, "--read-mode", "four_phase")
    down = hil("data", "trace", run.parent, "--export", path, *arguments)
    assert down.code == 0
    assert f"core 0 four_phase column 2: step core00_four_phase of {run}" in down.stdout
    path.write_text(path.read_text().replace(",128,128,-3,", ",129,128,-3,"))
    changed = hil("data", "trace", run.parent, "--export", path, *arguments)
    assert changed.code == 1
    assert "broken: its registers differ from the step's, first in column 0" in changed.stdout


def test_visit_and_step_say_which_of_several_is_meant(tmp_path: Path) -> None:
    run = write_visited_run(tmp_path / "run").path
    which = hil("data", "trace", run, "--core", 0, "--column", 0)
    assert which.code == 3
    assert "has 2 such calibrations of core 0 one_phase; say which with --at" in which.stderr
    at = hil("data", "trace", run, "--core", 0, "--column", 0, "--at", "chamber.temperature=40")
    assert at.code == 0
    assert f"step {HOT.name} of" in at.stdout
    probe = hil("data", "trace", run, "--step", PROBE.name, "--column", 0)
    assert probe.code == 0
    assert f"step: {HOT.name}" in probe.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "say which coefficient with --core NUMBER --column NUMBER"),
        (("--core", 0), 2, "say which coefficient with --core"),
        (("--core", 9, "--column", 0), 3, "has no calibration of core 9; it has cores 0"),
        (("--core", 0, "--column", 3), 3, "has columns 0 to 2"),
        (("--core", 0, "--column", 3, "--read-mode", "one_phase"), 3, "has columns 0 to 2"),
        (("--step", "x", "--column", 3), 3, "has no finished step 'x'"),
        (("--id", "12345"), 2, "must be 6 to 64 hexadecimal digits"),
        (("--id", "abcdef", "--export", "x.json"), 2, "give --id or --export, not both"),
        (("--export", "no.json"), 3, "no.json: no such file"),
    ],
)
def test_wrong_command_is_refused(
    run: Path, arguments: tuple[object, ...], code: int, words: str
) -> None:
    told = hil("data", "trace", run, *arguments)
    assert told.code == code
    assert words in told.stderr
    assert "Traceback" not in told.stderr


def test_id_that_no_run_has_ends_with_1(run: Path) -> None:
    told = hil("data", "trace", run, "--id", "abcdef01")
    assert (told.code, told.stdout) == (1, "nothing in 1 run has an id that begins with abcdef01\n")
