"""How a run stands, as told from its folder alone."""

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hil.campaign.process_identity import ProcessTable
from hil.campaign.progress_file import ProgressFile
from hil.campaign.run_events import RunEnded, RunEvent, RunPaused, RunStarted, RunState, StepSize
from hil.campaign.run_lock import acquire_run_lock
from hil.campaign.run_status import RunStatus, find_runs, read_status
from hil.core.errors import DatasetError
from hil_datasets.run_directory import RunDirectory
from run_writer import start_journal

STEPS = ["core00_one_phase", "core00_four_phase"]


def now() -> datetime:
    return datetime(2026, 1, 31, 12, 0, 30, tzinfo=UTC)


def status(run: Path) -> RunStatus:
    return read_status(run, now=now(), table=ProcessTable())


def stop(run: Path, how: str, reason: str = "", **more: Any) -> None:
    RunDirectory(run).journal.append(
        "stop", utc="2026-01-31T12:00:20+00:00", status=how, reason=reason, **more
    )


def write_progress(run: Path, *events: RunEvent, pid: int | None = None) -> None:
    own = ProcessTable().own()
    file = ProgressFile(
        writer=own if pid is None else replace(own, pid=pid),
        now=lambda: datetime(2026, 1, 31, 12, tzinfo=UTC),
        clock=lambda: 0.0,
    )
    sizes = tuple(StepSize(name=name, read_mode="one_phase", vectors=8) for name in STEPS)
    for event in (RunStarted(run=run, title="T", chip="C", steps=sizes), *events):
        file.hear(event)
    file.close()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    start_journal(tmp_path / "run", STEPS)
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("how", "reason", "state"),
    [
        ("complete", "", RunState.COMPLETE),
        ("incomplete", "", RunState.INCOMPLETE),
        ("aborted", "TransportError: gone", RunState.FAILED),
        ("aborted", "KeyboardInterrupt", RunState.INTERRUPTED),
        ("interrupted", "SIGTERM", RunState.INTERRUPTED),
    ],
)
def test_journal_says_how_a_run_ended(run: Path, how: str, reason: str, state: RunState) -> None:
    stop(run, how, reason)
    found = status(run)
    assert (found.state, found.reason, found.writer) == (state, reason, None)
    assert (found.title, found.steps_done, found.steps) == ("Written", 0, 2)
    assert ("hil resume" in found.note) == (state in {RunState.FAILED, RunState.INTERRUPTED})


def test_run_without_an_end_and_without_a_writer_was_killed(run: Path) -> None:
    found = status(run)
    assert found.state is RunState.KILLED
    assert found.note == (
        "nobody has made the chip and the instruments safe: look after them; "
        f"hil resume {run} continues"
    )


def test_step_that_was_not_needed_is_told_apart_from_finished_ones(run: Path) -> None:
    journal, tile = RunDirectory(run).journal, {"core": 0, "read_mode": "one_phase"}
    journal.append(
        "skip", utc="2026-01-31T12:00:10+00:00", step=STEPS[0], reason="within the limit", **tile
    )
    found = status(run)
    assert (found.steps_done, found.steps_skipped, found.steps) == (0, 1, 2)


def test_run_with_a_live_writer_is_as_its_progress_says(run: Path) -> None:
    write_progress(run, RunPaused(reason="hot"))
    with acquire_run_lock(run, now=now):
        found = status(run)
    assert (found.state, found.reason, found.updated_s_ago) == (RunState.PAUSED, "hot", 30.0)
    assert found.writer is not None
    assert found.writer.pid == os.getpid()


def test_progress_of_a_former_writer_is_not_the_new_ones_state(run: Path) -> None:
    write_progress(run, RunEnded(state=RunState.FAILED, reason="no link"), pid=4_000_000)
    with acquire_run_lock(run, now=now):
        found = status(run)
    assert (found.state, found.reason) == (RunState.RUNNING, "")


def test_run_that_went_on_after_its_end_is_not_over(run: Path) -> None:
    stop(run, "aborted", "KeyboardInterrupt")
    RunDirectory(run).journal.append("resume", utc="2026-01-31T13:00:00+00:00")
    assert status(run).state is RunState.KILLED


def test_writer_that_is_killed_after_its_last_word_has_ended(run: Path) -> None:
    own = ProcessTable().own()
    write_progress(run, RunEnded(state=RunState.COMPLETE), pid=4_000_000)
    stop(run, "complete")
    gone = replace(own, pid=4_000_000)
    (run / "lock.json").write_text(json.dumps({**gone.to_json(), "since": "x"}))
    assert status(run).state is RunState.COMPLETE


def test_writer_on_another_machine_cannot_be_asked(run: Path) -> None:
    far = replace(ProcessTable().own(), host="cellar", machine="m2", boot_id="far", user="ada")
    (run / "lock.json").write_text(json.dumps({**far.to_json(), "since": "x"}))
    found = status(run)
    assert found.state is RunState.RUNNING
    assert f"process {os.getpid()} of ada on cellar cannot be asked from here" in found.note


def test_run_that_has_only_begun_to_connect_is_running(tmp_path: Path) -> None:
    (tmp_path / "campaign.toml").write_text("")
    with acquire_run_lock(tmp_path, now=now):
        found = status(tmp_path)
    assert (found.state, found.steps, found.started_utc) == (RunState.RUNNING, 0, "")


def test_damaged_lock_is_noted_and_the_rest_is_told(run: Path) -> None:
    stop(run, "complete")
    (run / "lock.json").write_text("{")
    found = status(run)
    assert found.state is RunState.COMPLETE
    assert "lock.json" in found.note


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no run: it has no journal\.jsonl"):
        status(tmp_path)


def test_runs_are_found_newest_first_and_damaged_ones_last(tmp_path: Path) -> None:
    for name, utc in (("a/old", "2026-01-01"), ("b", "2026-01-03"), ("a/mid", "2026-01-02")):
        folder = tmp_path / name
        (folder / "steps").mkdir(parents=True)
        RunDirectory(folder).journal.append("start", utc=f"{utc}T00:00:00+00:00", planned=[])
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "journal.jsonl").write_text("no json\n")
    (tmp_path / "no run").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "journal.jsonl").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path)
    found = find_runs(tmp_path, now=now(), table=ProcessTable())
    assert [Path(run.path).relative_to(tmp_path).as_posix() for run in found] == [
        "b", "a/mid", "a/old", "c",
    ]  # fmt: skip
    assert found[-1].status is None
    assert "is no JSON" in found[-1].problem


def test_folder_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        find_runs(tmp_path / "none", now=now(), table=ProcessTable())
