"""When things happen in a run, and which faults of the link it meets meanwhile."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

import numpy as np

from hil_datasets.step_files.part import StepPart
from hil_datasets.step_timing import UNKNOWN_SEQUENCE, BlockQuality, RecordedFault, StepTiming
from hil_drivers.link_fault import FaultKind, LinkFault


class StepWatch:
    """Notes when each block of a step is read.

    Parameters
    ----------
    began_utc
        When the step began, ISO 8601.
    run_began_s
        When the run began, by `clock`.
    clock
        Monotonic seconds.
    earlier
        First vector, begin and end of the blocks that were read before the step goes on.
    lasted_s
        How long ago the step began, where it goes on.
    readouts
        How many readouts of blocks were made before it goes on; None where they are not counted.
    """

    def __init__(
        self,
        *,
        began_utc: str,
        run_began_s: float,
        clock: Callable[[], float] = time.monotonic,
        earlier: Sequence[tuple[int, float, float]] = (),
        lasted_s: float = 0.0,
        readouts: int | None = 0,
    ) -> None:
        self._clock = clock
        self._readouts = readouts
        self._taken_back: set[int] = set()
        self._began_s = clock() - lasted_s
        self.began = (began_utc, max(0.0, self._began_s - run_began_s))
        """When the step began, ISO 8601, and seconds since the run did."""
        self._blocks = list(earlier)
        self._faults: list[RecordedFault] = []

    @contextmanager
    def block(self, first_vector: int) -> Iterator[None]:
        """Note when a block is read: its requests are the body."""
        began_s = self._clock() - self._began_s
        yield
        if self._readouts is not None:
            self._readouts += 1
        self._blocks.append((first_vector, began_s, self._clock() - self._began_s))

    def go_back_to(self, vector: int) -> None:
        """Forget the blocks from a vector on: they are read again."""
        self._taken_back |= {first for first, _, _ in self._blocks if first >= vector}
        self._blocks = [block for block in self._blocks if block[0] < vector]
        self._faults = [
            replace(fault, block=min(fault.block, len(self._blocks))) for fault in self._faults
        ]

    @property
    def last_block(self) -> tuple[float, float]:
        """When reading the last block began and ended, seconds since the step began."""
        _, began_s, ended_s = self._blocks[-1]
        return began_s, ended_s

    @property
    def last_sequence(self) -> int:
        """Which readout of the step the last block is, from 0, forgotten ones counted too."""
        return UNKNOWN_SEQUENCE if self._readouts is None else self._readouts - 1

    @property
    def last_quality(self) -> BlockQuality:
        """What befell the last block."""
        quality = BlockQuality(0)
        if any(fault.block == len(self._blocks) - 1 for fault in self._faults):
            quality |= BlockQuality.LINK_FAULT
        if self._blocks[-1][0] in self._taken_back:
            quality |= BlockQuality.MEASURED_AGAIN
        return quality

    def note(self, fault: LinkFault) -> None:
        """Take note of a fault that is over."""
        lasted_s = fault.recovered_s or 0.0
        self._faults.append(
            RecordedFault(
                block=len(self._blocks),
                kind=fault.kind.value,
                request=fault.request,
                noticed_s=max(0.0, self._clock() - self._began_s - lasted_s),
                recovered_s=float("nan") if fault.recovered_s is None else fault.recovered_s,
            )
        )

    def timing(self) -> StepTiming:
        """Return what was noted, once at least one block is read."""
        first_vector, began_s, ended_s = zip(*self._blocks, strict=True)
        return StepTiming(
            began_utc=self.began[0],
            since_run_began_s=self.began[1],
            first_vector=np.array(first_vector, dtype=np.int64),
            began_s=np.array(began_s),
            ended_s=np.array(ended_s),
            # What happens after the last block belongs to no step.
            faults=tuple(fault for fault in self._faults if fault.block < len(self._blocks)),
        )


class RunClock:
    """The time of a run, and what has befallen its link.

    Parameters
    ----------
    now
        The time, UTC.
    clock
        Monotonic seconds.
    """

    def __init__(
        self, *, now: Callable[[], datetime], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.now = now
        self._clock = clock
        self._began_s = self._made_s = clock()
        self._watch: StepWatch | None = None
        self._untold: list[tuple[str, LinkFault]] = []
        self._counts: Counter[FaultKind] = Counter()

    def utc(self) -> str:
        """Return the time as the files of a run write it."""
        return self.now().isoformat(timespec="seconds")

    def working_s(self) -> float:
        """Return for how long this process has worked on the run."""
        return self._clock() - self._made_s

    def go_on(self, began_utc: str) -> None:
        """Count from when the run began in another process; ignore a clock that was set back."""
        self._began_s = self._clock() - self._since(began_utc)

    def begin_step(self, *, is_replayed: bool = False) -> StepWatch:
        """Return a watch for the step that begins now.

        Parameters
        ----------
        is_replayed
            Whether a recording answers: how often it is asked says nothing of the measurement.
        """
        self._watch = StepWatch(
            began_utc=self.now().isoformat(timespec="microseconds"),
            run_began_s=self._began_s,
            clock=self._clock,
            readouts=None if is_replayed else 0,
        )
        return self._watch

    def continue_step(self, part: StepPart) -> StepWatch:
        """Return a watch for a step that goes on."""
        # No monotonic clock outlives a process: the gap is as long as the wall clock says.
        last_s = max(ended_s for _, _, ended_s in part.times)
        lasted_s = max(last_s, self._since(part.began_utc))
        self._watch = StepWatch(
            began_utc=part.began_utc,
            run_began_s=self._clock() - lasted_s - part.since_run_began_s,
            clock=self._clock,
            earlier=part.times,
            lasted_s=lasted_s,
            readouts=part.readouts,
        )
        return self._watch

    def _since(self, utc: str) -> float:
        try:
            return max(0.0, (self.now() - datetime.fromisoformat(utc)).total_seconds())
        except (ValueError, TypeError):
            return 0.0

    def on_fault(self, fault: LinkFault) -> None:
        """Hear of a fault of the link that is over."""
        self._counts[fault.kind] += 1
        self._untold.append((self.utc(), fault))
        if self._watch is not None:
            self._watch.note(fault)

    def take_faults(self) -> list[tuple[str, LinkFault]]:
        """Return the faults since this was last asked, each with when it was told."""
        untold, self._untold = self._untold, []
        return untold

    @property
    def fault_counts(self) -> Mapping[str, int]:
        """How many faults of each kind there were in all."""
        return {kind.value: count for kind, count in sorted(self._counts.items())}
