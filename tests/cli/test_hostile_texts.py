"""Texts out of files never reach the terminal as anything but letters."""

import json
from pathlib import Path

import pytest

import example_steps as example
from command_line import hil, hil_here
from hil_datasets.run_directory import RunDirectory

EVIL = "a\x1b]0;pwned\x07b\x9b2Jc"
"""Sets the title of a terminal, rings its bell, and clears its screen."""
_TEXTS = {"title", "resource", "chip", "manufacturer", "model", "firmware", "reason", "campaign"}


def evil(value: object, name: str = "") -> object:
    """Return an event with the hostile text wherever people's words may be."""
    if isinstance(value, dict):
        return {key: evil(item, key) for key, item in value.items()}
    return EVIL if isinstance(value, str) and name in _TEXTS else value


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    folder = tmp_path_factory.mktemp("hostile")
    run = example.write_run(folder / "run", example.ONE, example.OTHER_CORE)
    events = [evil(json.loads(line)) for line in run.journal_path.read_text().splitlines()]
    told = {"utc": EVIL, "step": EVIL, "reason": EVIL}
    fault = {"kind": EVIL, "request": EVIL, "detail": EVIL, "recovered_s": None}
    events[-1:-1] = [
        {"event": "failure", **told},
        {"event": "pause", **told},
        {"event": "fault", "utc": EVIL, "step": EVIL, **fault},
    ]
    run.journal_path.write_text("".join(f"{json.dumps(event)}\n" for event in events))
    (run.path / f"{EVIL}.txt").write_text("a file with such a name")
    return run


@pytest.mark.parametrize(
    ("words", "shows_it"),
    [
        (("info", "{run}"), True),
        (("data", "info", "{run}"), True),
        (("data", "ls", "{run}"), True),
        (("data", "verify", "{run}"), False),
        (("data", "trace", "{run}", "--core", "0", "--column", "1"), True),
        (("list", "{run}/.."), True),
        (("status", "{run}"), True),
        (("calibrate", "history", "42", "--root", "{run}", "--no-book"), False),
        (("calibrate", "history", EVIL, "--root", "{run}", "--no-book"), True),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else "",
)
def test_command_prints_no_control_character_of_a_journal(
    run: RunDirectory, words: tuple[str, ...], *, shows_it: bool
) -> None:
    ended = hil_here(*(word.format(run=run.path) for word in words))
    printed = ended.stdout + ended.stderr
    assert printed
    assert not {"\x1b", "\x07", "\x9b"} & set(printed)
    assert ("?]0;pwned" in printed) == shows_it


def test_many_files_that_are_no_runs_do_not_bury_a_history(
    run: RunDirectory, tmp_path: Path
) -> None:
    for number in range(300):
        (tmp_path / f"junk{number:03}.hil.h5").write_text("junk")
    words = ("calibrate", "history", "42", "--no-book", "--root", tmp_path)
    ended = hil(*words, "--root", run.path)
    assert ended.code == 5
    lines = ended.stderr.splitlines()
    assert len(lines) == 11
    assert lines[-1] == "warning: 290 more are left out: --json names all of them"
    nothing = hil(*words)
    assert len(nothing.stderr.splitlines()) < 20
    assert "290 more are left out" in nothing.stderr
