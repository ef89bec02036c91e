"""`hil calibrate history`: what is found of a chip, and what is left out."""

import csv
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import example_steps as example
import visited_run as visited
from hil.cli import command_line
from hil_datasets.chip_book.chip_key import ChipKey
from hil_datasets.chip_book.entry import CampaignStarted, Source
from hil_datasets.chip_book.library import book_of


def history(*arguments: object) -> Result:
    return CliRunner().invoke(command_line, ["calibrate", "history", *map(str, arguments)])


def points(done: Result) -> list[dict[str, Any]]:
    return json.loads(done.stdout)["calibrations"]  # type: ignore[no-any-return]


@pytest.fixture
def books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIMC_HIL_DATA", str(tmp_path / "data"))
    return tmp_path / "data" / "chips"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Chip 42 in one run of two visits and one of another day, and chip 43."""
    folder = tmp_path_factory.mktemp("runs")
    visited.write_visited_run(folder / "swept")
    raw = example.RAW.copy()
    raw[0, 0, 0] += 1
    later = replace(example.ORIGIN, measured_utc="2026-02-02T03:04:05+00:00", temperature_c=40.0)
    example.write_run(folder / "deeper" / "later", example.ONE, origin=later, raw=raw)
    chip = replace(example.CHIP, serial="43")
    example.write_run(folder / "other", example.ONE, origin=replace(example.ORIGIN, chip=chip))
    return folder


def test_every_calibration_is_there_by_time(runs: Path) -> None:
    done = history("42", "--root", runs, "--no-book", "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    assert [(point["core"], point["step"]) for point in points(done)] == [
        (0, "core00_one_phase"),
        (0, "core00_one_phase_visit01"),
        (2, "core02_one_phase"),
        (2, "core02_one_phase_visit01"),
        (0, "core00_one_phase"),
    ]
    first = points(done)[0]
    # Columns 0 and 1 are calibrated: medians of 0.5 and 0.25, -1.5 and 2.5 LSB of 8.5 products.
    assert (first["gain_p"], first["offset"]) == (3.1875, 4.25)
    assert (first["age_s"], first["temperature_c"], first["columns"]) == (60.0, 25.5, 2)
    assert json.loads(done.stdout)["runs_of_other_chips"] == 1


def test_one_column_has_the_errors_of_its_fit(runs: Path, tmp_path: Path) -> None:
    table = tmp_path / "column.csv"
    where = ("--root", runs, "--no-book", "--core", 0, "--column", 1)
    assert history("42", *where, "--csv", table).exit_code == 0
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert len(rows) == 3
    assert (rows[0]["gain_n"], rows[0]["gain_n_error"]) == ("3.1875", "0.34")  # 0.375 +- 0.04 LSB
    assert history("42", *where, "--csv", table).exit_code == 3
    dead = json.loads(history("42", *where[:-1], 2, "--json").stdout)["calibrations"]
    assert {point["gain_p"] for point in dead} == {None}


def test_the_table_names_runs_and_slopes(runs: Path) -> None:
    done = history("42", "--root", runs, "--no-book")
    assert done.exit_code == 0
    assert "core 0 one_phase, medians over the columns" in done.stdout
    assert "2 calibrations for 2 unknowns: more are needed" in done.stdout
    assert "5 calibrations of 2 runs" in done.stdout


def test_a_copy_counts_once(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "swept", tmp_path / "copy")
    done = history("42", "--root", runs, "--root", tmp_path, "--no-book", "--json")
    assert len(points(done)) == 5
    assert json.loads(done.stdout)["copies"] == 4


def test_what_was_measured_stands_for_what_was_fitted_again(tmp_path: Path) -> None:
    other = replace(example.CONCLUSION, output_lsb=17.0)
    refit = example.write_run(tmp_path / "a-refit", example.ONE, conclusion=other)
    lines = refit.journal_path.read_text().splitlines()
    start = json.loads(lines[0]) | {"replay_of": {"core00_one_phase": "0" * 64}}
    refit.journal_path.write_text("\n".join([json.dumps(start), *lines[1:], ""]))
    example.write_run(tmp_path / "measured", example.ONE)
    (point,) = points(history("42", "--root", tmp_path, "--no-book", "--json"))
    assert point["run"] == str(tmp_path / "measured")


def test_the_journal_tells_an_age_that_the_step_does_not(tmp_path: Path) -> None:
    unknown = replace(example.ORIGIN.circumstance, age_s=math.nan)
    origin = replace(example.ORIGIN, measured_utc="2026-01-02T03:10:00+00:00", circumstance=unknown)
    run = example.write_run(tmp_path / "run", example.ONE, origin=origin)
    lines = [json.loads(line) for line in run.journal_path.read_text().splitlines()]
    programmed = [
        {"event": "program", "utc": f"2026-01-02T03:0{minute}:30+00:00", "core": core}
        for minute, core in ((1, 0), (6, 0), (7, 1))
    ]
    lines[1:1] = programmed
    run.journal_path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    (point,) = points(history("42", "--root", tmp_path, "--json"))
    assert point["age_s"] == 210.0  # 03:06:30 to 03:10:00
    lines[0]["replay_of"] = {"core00_one_phase": "0" * 64}
    run.journal_path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    (point,) = points(history("42", "--root", tmp_path, "--json"))
    assert point["age_s"] is None  # nothing was programmed in a replay


def test_a_damaged_run_is_told_and_left_out(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "swept", tmp_path / "bad")
    damaged = tmp_path / "bad" / "steps" / "core02_one_phase.h5"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    (tmp_path / "junk.hil.h5").write_bytes(b"no such file")
    done = history("42", "--root", tmp_path, "--root", runs / "deeper", "--no-book", "--json")
    assert done.exit_code == 5
    assert len(points(done)) == 1
    left_out = json.loads(done.stdout)["left_out"]
    assert {Path(one["path"]).name for one in left_out} == {"bad", "junk.hil.h5"}
    assert done.stderr.count("is left out") == 2


def test_the_book_knows_where_runs_are(
    runs: Path, books: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = book_of(ChipKey(manufacturer="Acme", model="AIMC-4x3", serial="42"), books)
    for run in (runs / "swept", tmp_path / "gone", Path()):
        book.append(
            CampaignStarted(
                utc="2026-01-02T03:04:05+00:00",
                run="" if run == Path() else str(run),
                title="One",
                campaign_sha256="ab",
                resource="r",
                firmware="1.0",
                source=Source.DEVICE,
            )
        )
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    done = history("42", "--json")
    assert done.exit_code == 0
    assert len(points(done)) == 4
    # Whoever says where to look means no other place, unless the book is asked for.
    assert len(points(history("42", "--root", runs / "deeper", "--json"))) == 1
    assert len(points(history("42", "--root", runs / "deeper", "--book", "--json"))) == 5
    assert done.stderr == (
        f"note: {tmp_path / 'gone'} is left out: the chip's book names it; it is not there any "
        "more\n"
    )


def test_an_unknown_chip_is_told_with_those_that_are_there(runs: Path) -> None:
    done = history("44", "--root", runs, "--no-book")
    assert done.exit_code == 3
    assert "no calibration of a chip with this serial number was found; found: 42, 43" in (
        done.stderr
    )


def test_two_chips_with_one_serial_number_need_a_word_more(runs: Path, tmp_path: Path) -> None:
    chip = replace(example.CHIP, manufacturer="Bolt")
    example.write_run(tmp_path / "run", example.ONE, origin=replace(example.ORIGIN, chip=chip))
    where = ("--root", runs, "--root", tmp_path, "--no-book")
    done = history("42", *where)
    assert done.exit_code == 3
    assert "say --manufacturer or --model" in done.stderr
    chosen = history("42", *where, "--manufacturer", "Bolt", "--json")
    assert len(points(chosen)) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--column", 1), 2, "--column needs --core"),
        (("--core", 0, "--column", 3), 3, "the core has columns 0 to 2"),
        (("--root", "missing"), 5, "no such file or folder"),
        (("--root", Path(__file__).parents[2] / "docs"), 5, "holds no run, and no packed file"),
    ],
    ids=["no-core", "column", "root", "no-runs"],
)
def test_wrong_input_is_named(
    runs: Path, arguments: tuple[object, ...], code: int, words: str
) -> None:
    done = history("42", "--root", runs, "--no-book", *arguments)
    assert done.exit_code == code
    assert words in done.stderr
