"""A process that writes a run without a chip: it takes the lock, tells its events, heeds requests.

As a script: ``python run_writer.py FOLDER [--stubborn] [--steps N] [--block-s S]``. It prints
``ready`` once the run has begun. A stubborn one heeds nothing.
"""

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from hil.campaign.control import StopKind, StopRequests
from hil.campaign.observers import Observers, watch_run
from hil.campaign.run_events import (
    FaultMet,
    RunEnded,
    RunStarted,
    RunState,
    StepFinished,
    StepSize,
    StepStarted,
    StopAsked,
    VectorsRead,
)
from hil.campaign.run_lock import acquire_run_lock
from hil_datasets.run_directory import RunDirectory

_UTC = "2026-01-31T12:00:00+00:00"
_BLOCKS = 4
_signalled = False


@contextmanager
def running_writer(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a writer, wait until its run has begun, and end it."""
    process = subprocess.Popen(
        [sys.executable, __file__, str(folder), *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate(timeout=20)


def utc_now() -> datetime:
    return datetime.now(UTC)


def start_journal(folder: Path, steps: list[str]) -> None:
    """Write what a run has before its first step."""
    (folder / "steps").mkdir(parents=True, exist_ok=True)
    (folder / "campaign.toml").write_text("schema_version = 1\n")
    RunDirectory(folder).journal.append(
        "start", utc=_UTC, title="Written", chip="maker model, serial 7, firmware 1", planned=steps
    )


def _remember_signal(*_: object) -> None:
    global _signalled  # noqa: PLW0603 - a signal's handler has nothing else to write to
    _signalled = True


def _take_steps(
    sizes: tuple[StepSize, ...],
    observers: Observers,
    requests: StopRequests,
    options: argparse.Namespace,
) -> str:
    """Return why the steps were not all taken; empty if they were."""
    run = RunDirectory(options.folder)
    for core, size in enumerate(sizes):
        observers.hear(StepStarted(step=size.name))
        for _ in range(_BLOCKS):
            request = requests.pending()
            if not options.stubborn and (request or _signalled):
                reason = f"asked by {request.by}" if request else "SIGTERM"
                observers.hear(StopAsked(reason=reason))
                if request is None or request.kind is not StopKind.AT_ONCE:
                    time.sleep(options.block_s)
                return reason
            time.sleep(options.block_s)
            observers.hear(VectorsRead(step=size.name, vectors=size.vectors // _BLOCKS))
        errors = {"uncorrected": 0.25, "float": 0.03125, "fp16": 0.03125, "nmpu": 0.0625}
        run.journal.append(
            "step", utc=_UTC, core=core, read_mode="four_phase", file=f"steps/{size.name}.h5",
            raw_sha256="0" * 64, errors=errors,
        )  # fmt: skip
        observers.hear(StepFinished(step=size.name, errors=errors))
    return ""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--stubborn", action="store_true")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--block-s", type=float, default=0.05)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _remember_signal)
    options.folder.mkdir(parents=True, exist_ok=True)
    sizes = tuple(
        StepSize(name=f"core{core:02d}_four_phase", read_mode="four_phase", vectors=256)
        for core in range(options.steps)
    )
    with (
        acquire_run_lock(options.folder, now=utc_now) as lock,
        watch_run(notify=None, now=utc_now) as observers,
    ):
        if not RunDirectory(options.folder).journal_path.exists():
            start_journal(options.folder, [size.name for size in sizes])
        requests = StopRequests(options.folder, lock.owner.process)
        requests.clear()
        observers.hear(
            RunStarted(
                run=options.folder,
                title="Written",
                chip="maker model, serial 7, firmware 1",
                steps=sizes,
            )
        )
        observers.hear(
            FaultMet(kind="timeout", request="READ?", detail="no answer in 1 s", recovered_s=0.5)
        )
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        reason = _take_steps(sizes, observers, requests, options)
        RunDirectory(options.folder).journal.append(
            "stop", utc=_UTC, status="interrupted" if reason else "complete", reason=reason
        )
        state = RunState.INTERRUPTED if reason else RunState.COMPLETE
        observers.hear(RunEnded(state=state, reason=reason))
        requests.clear()
    sys.stdout.write(json.dumps({"reason": reason}) + "\n")


if __name__ == "__main__":
    main()
