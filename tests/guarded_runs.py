"""Whole runs on a served mock chip, with somebody who meddles with it while it is measured."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.fault_bench import ServedDevice, make_chip, served_device
from benchmarks.run_differences import differences
from command_line import campaign_file
from hil.campaign.config.load import load_campaign
from hil.campaign.run_events import RunEvent, RunPaused, VectorsRead
from hil.campaign.runner import resume_run, run_campaign, utc_now
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.faults.faulty_device import FaultyDevice

STEP = "core00_four_phase"
VECTORS = "calibration = 192\nverification = 64\nblock = 16"


def nothing() -> None:
    """Meddle with nothing."""


@dataclass
class Meddler:
    """Watches a run; provokes once a number of vectors is read, and clears when it is paused."""

    at: int = -1
    provoke: Callable[[], None] = nothing
    clear: Callable[[], None] = nothing
    clears_at_pause: int = 1
    events: list[RunEvent] = field(default_factory=list)
    read: int = 0

    def hear(self, event: RunEvent) -> None:
        self.events.append(event)
        if isinstance(event, VectorsRead):
            self.read += event.vectors
            if self.read == self.at:
                self.provoke()
        if isinstance(event, RunPaused) and len(self.reasons) == self.clears_at_pause:
            self.clear()

    @property
    def reasons(self) -> list[str]:
        return [event.reason for event in self.events if isinstance(event, RunPaused)]

    def tick(self) -> None:
        pass

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class GuardedBench:
    """A served chip, and a campaign for one step on it."""

    chip: ChipModel
    served: ServedDevice
    campaign: Path
    folder: Path

    def run(
        self,
        name: str,
        meddler: Meddler | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> Path:
        out = self.folder / name
        run_campaign(
            load_campaign(self.campaign, environment={}),
            out=out,
            observer=meddler or Meddler(),
            now=utc_now,
            monotonic=monotonic,
        )
        return out

    def resume(self, run: Path, meddler: Meddler | None = None) -> None:
        resume_run(
            run,
            None,
            accepts_changes=False,
            breaks_lock=False,
            observer=meddler or Meddler(),
            now=utc_now,
        )

    def check_undisturbed(self, run: Path) -> None:
        """Compare a run, bit by bit, with one that nobody meddles with."""
        assert differences(run, self.run("quiet")) == []


@contextmanager
def guarded_bench(
    folder: Path, guards: str, *, rest: str = "", chip: ChipModel | None = None
) -> Iterator[GuardedBench]:
    """Serve a chip, and write a campaign with these guards."""
    chip = chip or make_chip(5)
    patience = "" if "wait_s" in guards else "wait_s = 20.0\n"
    patience += "" if "clear_s" in guards else "clear_s = 0.3\n"
    with served_device(FaultyDevice(chip), "tcp") as served:
        path = campaign_file(
            folder,
            resource=served.resource,
            device="timeout_s = 0.2",
            campaign='cores = [0]\nread_modes = ["four_phase"]\nseed = 5',
            vectors=VECTORS,
            rest=f"[guards]\n{patience}{guards}\n{rest}",
        )
        yield GuardedBench(chip=chip, served=served, campaign=path, folder=folder)


def events_of(run: Path, *kinds: str) -> list[dict[str, Any]]:
    journal = run / "journal.jsonl"
    lines = journal.read_text().split("\n")[:-1] if journal.exists() else []
    return [event for event in map(json.loads, lines) if event["event"] in kinds]


def known_answers(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "known-answers.jsonl").read_text().splitlines()]
