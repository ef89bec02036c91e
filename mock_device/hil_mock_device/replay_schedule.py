"""When the answers of a recording are due, and which faults of the link come again.

Rules
-----
1. The schedule is absolute: the first block read fixes where the recording's time stands on the
   clock, and every later answer is due at its own recorded time. What one answer is late by is made
   up for at the next, so nothing adds up.
2. A host that is late gets its answers at once until it has caught up.
3. A host that is ahead is held back, by `LONGEST_LEAD_S` at most. One that leaves out a longer
   pause of the recording (a chamber that settled, a calibration) moves the schedule.
4. A host that asks for something else than what comes next, or again after ``*RST``, begins a new
   schedule.
5. Recorded time passes `speed` times as fast; with an infinite speed nothing ever waits.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil_datasets.recording import Recording
from hil_datasets.step import StepKey, StepRecord
from hil_datasets.step_timing import StepTiming
from hil_drivers.link_fault import FaultKind

LONGEST_LEAD_S = 1.0
"""A host may be so far ahead of the schedule before the schedule gives way."""

REPLAYED = (FaultKind.TIMEOUT, FaultKind.TRUNCATION, FaultKind.LINK_LOST, FaultKind.WRONG_CRC)
"""Kinds of faults that happen again; of the others a recording tells, and no more."""

_HANDS_OUT = ("READ?", "FETC")
"""How requests begin, in capitals, that can hand out what was read last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedFault:
    """A fault that happens again."""

    kind: FaultKind
    """What goes wrong, one of `REPLAYED`."""
    request: str
    """The request that meets it."""
    noticed_s: float
    """When it was noticed, seconds since the run began, at the replay's speed."""
    silence_s: float
    """Seconds until then from the request, at that speed."""


@dataclass(frozen=True, slots=True)
class _TimedStep:
    """Where a step's blocks stand among those of all steps."""

    first_block: int
    first_vector: npt.NDArray[np.int64]

    def block_of(self, vector: int) -> int:
        within = int(np.searchsorted(self.first_vector, vector, side="right")) - 1
        return self.first_block + within


class ReplaySchedule:
    """The times and faults of a recording, on a clock; steps without timing are never waited for.

    It is told what is read and asked when the answer is due; it reads no clock itself.

    Parameters
    ----------
    recording
        What was recorded.
    speed
        How many times as fast as recorded, 0 < speed <= inf.
    plays_faults
        Whether recorded faults of the link come again.
    """

    def __init__(self, recording: Recording, *, speed: float, plays_faults: bool) -> None:
        self._speed = speed
        self._plays_faults = plays_faults
        self._steps: dict[StepKey, _TimedStep] = {}
        self._faults: list[list[ReplayedFault]] = []
        self._began_s: list[float] = []
        self._ended_s: list[float] = []
        self._answer_s: list[float] = []
        for record, timing in _in_order(recording):
            self._add(record.key, timing)
        self.rewind()

    def _add(self, key: StepKey, timing: StepTiming) -> None:
        faults: list[list[ReplayedFault]] = [[] for _ in timing.began_s]
        noticed_s = timing.began_s.copy()
        for fault in timing.faults:
            at = fault.block
            if fault.kind in REPLAYED:
                replayed = ReplayedFault(
                    kind=FaultKind(fault.kind),
                    request=fault.request,
                    noticed_s=(timing.since_run_began_s + fault.noticed_s) / self._speed,
                    silence_s=max(0.0, fault.noticed_s - noticed_s[at]) / self._speed,
                )
                faults[at].append(replayed)
            if fault.recovered_s != 0.0:  # else it cost no time
                noticed_s[at] = max(noticed_s[at], fault.noticed_s)
        self._steps[key] = _TimedStep(len(self._faults), timing.first_vector)
        self._faults += faults
        self._began_s += (timing.since_run_began_s + timing.began_s).tolist()
        self._ended_s += (timing.since_run_began_s + timing.ended_s).tolist()
        # A block that met faults was answered after the last of them.
        self._answer_s += np.maximum(0.0, timing.ended_s - noticed_s).tolist()

    def rewind(self) -> None:
        """Begin again: nothing was read yet, and every fault is still to come."""
        self._origin_s: float | None = None
        self._first, self._last = -1, -1
        self._is_timed = False
        self._left = [list(faults) for faults in self._faults]

    def note_readout(self, key: StepKey, vectors: npt.NDArray[np.int64]) -> None:
        """Take note that these vectors of a step were read."""
        step = self._steps.get(key)
        self._is_timed = step is not None and len(vectors) > 0
        if step is None or not self._is_timed:
            return
        first, last = step.block_of(int(vectors.min())), step.block_of(int(vectors.max()))
        if first not in {self._last, self._last + 1}:
            self._origin_s = None
        self._first, self._last = first, last

    def begin(self, request: str, *, arrived_s: float) -> None:
        """Let the schedule stand, if it does not yet, on a readout that was asked for just now.

        Parameters
        ----------
        request
            Text of the request, without tag and block.
        arrived_s
            When it came, by the clock that the answers are given by.
        """
        if self._origin_s is None and self._is_timed and _hands_out(request):
            self._origin_s = arrived_s - self._began_s[self._first] / self._speed

    def due_s(self, request: str, *, arrived_s: float) -> float:
        """Return when the answer to a request is due; -inf where it never waits.

        Parameters
        ----------
        request, arrived_s
            As in `begin`.
        """
        if self._origin_s is None or not self._is_timed or not _hands_out(request):
            return -math.inf
        due_s = self._origin_s + self._ended_s[self._last] / self._speed
        answer_s = sum(self._answer_s[self._first : self._last + 1]) / self._speed
        lead_s = due_s - arrived_s - answer_s
        if lead_s <= LONGEST_LEAD_S * (self._last - self._first + 1):  # once before each block
            return due_s
        self._origin_s -= lead_s
        return due_s - lead_s

    def take_fault(self, request: str) -> ReplayedFault | None:
        """Return the fault that a request meets, and regard it as done; None if it meets none."""
        if not self._plays_faults:
            return None
        # What comes before a readout belongs to the block that is read next.
        blocks = (self._last,) if _hands_out(request) else (self._last, self._last + 1)
        for block in blocks:
            left = self._left[block] if 0 <= block < len(self._left) else []
            for fault in left:
                if fault.request.casefold() == request.casefold():
                    left.remove(fault)
                    return fault
        return None

    def noticed_s(self, fault: ReplayedFault, *, arrived_s: float) -> float:
        """Return when a fault that `take_fault` has returned is to be noticed."""
        soonest_s = arrived_s + fault.silence_s
        if self._origin_s is None:
            return soonest_s
        due_s = self._origin_s + fault.noticed_s
        return due_s if due_s - soonest_s <= LONGEST_LEAD_S else soonest_s


def _in_order(recording: Recording) -> list[tuple[StepRecord, StepTiming]]:
    """Return the steps that have a timing, in the order they were taken."""
    records = [recording.record(key) for key in recording.keys]
    timed = [(record, record.timing) for record in records if record.timing is not None]
    return sorted(timed, key=lambda step: (step[1].since_run_began_s, step[0].key))


def _hands_out(request: str) -> bool:
    units = [unit.strip().removeprefix(":").upper() for unit in request.split(";")]
    return any(unit.startswith(_HANDS_OUT) for unit in units)
