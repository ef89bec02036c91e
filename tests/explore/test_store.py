"""The folder of a study: nothing finished is lost, nothing foreign is mixed in."""

from dataclasses import replace
from pathlib import Path

import pytest

from hil.core.errors import ConfigError, DatasetError
from hil.explore.evaluate import FormatResult
from hil.explore.store import StudyFolder, StudySubject, open_study

SUBJECT = StudySubject(
    campaign_sha256="c0ffee", recording={"core00_one_phase": "abc"}, software="aimc-hil 1"
)
FIRST = FormatResult(
    format_text="in_bits=10",
    step="core00_one_phase",
    raw_sha256="abc",
    shift=1,
    output_lsb=1446.25,
    columns=255,
    errors={"nmpu": 0.125, "float": 0.1},
)
REFUSED = FormatResult(
    format_text="in_bits=1", step="core00_one_phase", raw_sha256="abc", refusal="too narrow"
)


def study_with(folder: Path, *results: FormatResult) -> StudyFolder:
    study = open_study(folder / "study", SUBJECT)
    with study.held():
        for result in results:
            study.append(result)
    return study


def test_results_come_back_as_they_were(tmp_path: Path) -> None:
    study = study_with(tmp_path, FIRST, REFUSED)
    assert study.results() == {("in_bits=10", "abc"): FIRST, ("in_bits=1", "abc"): REFUSED}


@pytest.mark.parametrize("tail", [b'{"format_text": "in_', b"\0" * 40, b"\0\0\n", b"{}\n"])
def test_damaged_last_line_counts_as_nothing_and_is_replaced(tmp_path: Path, tail: bytes) -> None:
    study = study_with(tmp_path, FIRST)
    whole = study.results_path.read_bytes()
    study.results_path.write_bytes(whole + tail)
    assert list(study.results().values()) == [FIRST]
    with study.held():
        study.append(REFUSED)
    assert list(study.results().values()) == [FIRST, REFUSED]
    assert study.results_path.read_bytes().startswith(whole + b'{"format_text": "in_bits=1"')


def test_damaged_earlier_line_is_named(tmp_path: Path) -> None:
    study = study_with(tmp_path, FIRST, REFUSED)
    lines = study.results_path.read_bytes().splitlines(keepends=True)
    study.results_path.write_bytes(b"{]\n" + lines[1])
    with pytest.raises(DatasetError, match=r"results\.jsonl: line 1: is no result"):
        study.results()


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (replace(SUBJECT, recording={"core00_one_phase": "def"}), "is about another recording"),
        (replace(SUBJECT, campaign_sha256="decaf"), "is about another recording"),
        (replace(SUBJECT, software="aimc-hil 2"), "was made by aimc-hil 1, this is aimc-hil 2"),
    ],
    ids=["readouts", "campaign", "software"],
)
def test_folder_of_another_study_is_refused(
    tmp_path: Path, other: StudySubject, words: str
) -> None:
    study = study_with(tmp_path, FIRST)
    with pytest.raises(ConfigError, match=words):
        open_study(tmp_path / "study", other)
    assert list(study.results().values()) == [FIRST]


def test_folder_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty and holds no study"):
        open_study(tmp_path, SUBJECT)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_description_that_is_damaged_is_named(tmp_path: Path) -> None:
    study_with(tmp_path)
    (tmp_path / "study" / "study.json").write_text("[]")
    with pytest.raises(DatasetError, match=r"study\.json: is no study"):
        open_study(tmp_path / "study", SUBJECT)


@pytest.mark.parametrize(
    ("name", "largest"), [("results.jsonl", 1073741824), ("study.json", 67108864)]
)
def test_file_that_is_too_large_is_refused_unread(tmp_path: Path, name: str, largest: int) -> None:
    open_study(tmp_path, SUBJECT)
    with (tmp_path / name).open("wb") as file:
        file.truncate(largest + 1)  # no block of it is on the disk
    with pytest.raises(
        DatasetError, match=f"{name}: has .* bytes or more: must be at most {largest}"
    ):
        open_study(tmp_path, SUBJECT).results()


def test_second_study_in_the_same_folder_is_refused_while_one_works(tmp_path: Path) -> None:
    study = study_with(tmp_path)
    other = StudyFolder(tmp_path / "study")
    with study.held(), pytest.raises(ConfigError, match="at work in this folder"), other.held():
        pass
    with other.held():  # free again
        pass
