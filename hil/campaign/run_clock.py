"""When things happen in a run, and which faults of the link it meets meanwhile."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

import numpy as np

from hil_datasets.step_timing import RecordedFault, StepTiming
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
    """

    def __init__(
        self, *, began_utc: str, run_began_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._began_utc = began_utc
        self._clock = clock
        self._began_s = clock()
        self._since_run_began_s = self._began_s - run_began_s
        self._blocks: list[tuple[int, float, float]] = []
        self._faults: list[RecordedFault] = []

    @contextmanager
    def block(self, first_vector: int) -> Iterator[None]:
        """Note when a block is read: its requests are the body."""
        began_s = self._clock() - self._began_s
        yield
        self._blocks.append((first_vector, began_s, self._clock() - self._began_s))

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
            began_utc=self._began_utc,
            since_run_began_s=self._since_run_began_s,
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
        self._began_s = clock()
        self._watch: StepWatch | None = None
        self._untold: list[tuple[str, LinkFault]] = []
        self._counts: Counter[FaultKind] = Counter()

    def utc(self) -> str:
        """Return the time as the files of a run write it."""
        return self.now().isoformat(timespec="seconds")

    def begin_step(self) -> StepWatch:
        """Return a watch for the step that begins now."""
        began_utc = self.now().isoformat(timespec="microseconds")
        self._watch = StepWatch(began_utc=began_utc, run_began_s=self._began_s, clock=self._clock)
        return self._watch

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
