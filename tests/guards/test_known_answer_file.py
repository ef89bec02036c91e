"""The file of known answers: what is found again, whatever was cut short."""

from dataclasses import replace
from pathlib import Path

import pytest

from hil.campaign.guards.known_answer_file import (
    KNOWN_ANSWERS_FILE,
    KnownAnswerCheck,
    KnownAnswerFile,
    last_known_answer,
)

CHECK = KnownAnswerCheck(
    utc="2031-01-01T00:00:00+00:00",
    step="core00_four_phase",
    vector=512,
    score=0.25,
    upper=0.0,
    lower=0.0,
    upper_from=512,
    lower_from=512,
    is_alarm=False,
    mean=100.0,
    noise=0.5,
    signal=80.0,
)


def test_last_check_of_a_step_up_to_a_vector_is_found_again(tmp_path: Path) -> None:
    file = KnownAnswerFile(tmp_path)
    for vector in (0, 512, 1024):
        file.append(replace(CHECK, vector=vector))
    file.append(replace(CHECK, step="core01_four_phase", vector=256))
    assert file.last_of("core00_four_phase", at_most=1023) == CHECK
    assert file.last_of("core02_four_phase", at_most=1023) is None


def test_alarm_is_not_gone_on_with(tmp_path: Path) -> None:
    file = KnownAnswerFile(tmp_path)
    file.append(CHECK)
    file.append(replace(CHECK, upper=9.0, is_alarm=True))
    assert file.last_of("core00_four_phase", at_most=512) == CHECK


@pytest.mark.parametrize(
    "rest",
    [
        b'{"utc": "2031',
        b"\xff\n",
        b"[]\n",
        b'{"vector": 3}\n',
        b"[" * 100_000,
        (
            b'{"utc":"","step":"","vector":0,"score":NaN,"upper":0,"lower":0,"upper_from":0,'
            b'"lower_from":0,"is_alarm":false,"mean":0,"noise":0,"signal":0}\n'
        ),
    ],
    ids=["cut_short", "no_text", "no_object", "no_check", "endless", "not_a_number"],
)
def test_line_that_is_no_check_is_passed_over(tmp_path: Path, rest: bytes) -> None:
    file, path = KnownAnswerFile(tmp_path), tmp_path / KNOWN_ANSWERS_FILE
    file.append(CHECK)
    with path.open("ab") as torn:
        torn.write(rest)
    file.append(replace(CHECK, vector=1024))
    assert file.last_of("core00_four_phase", at_most=512) == CHECK
    newest = last_known_answer(tmp_path)
    assert newest is not None
    assert newest.vector == 1024


def test_run_without_known_answers_has_no_last_one(tmp_path: Path) -> None:
    assert last_known_answer(tmp_path) is None
