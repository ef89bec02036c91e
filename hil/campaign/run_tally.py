"""What the events of a run add up to: how far it is, and how long the rest takes."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from hil.campaign.pace import Pace
from hil.campaign.pause_tally import PauseTally
from hil.campaign.run_events import (
    FaultMet,
    LeftUnsafe,
    PauseSeen,
    RunContinued,
    RunEnded,
    RunEvent,
    RunPaused,
    RunStarted,
    RunState,
    StepFailed,
    StepFinished,
    StepSize,
    StepSkipped,
    StepStarted,
    StopAsked,
    VectorsRead,
    WaitEnded,
    Waiting,
)
from hil.campaign.run_progress import CurrentStep, CurrentWait, RunProgress
from hil.campaign.taken_step import TakenStep

_ChangeOfState = RunPaused | PauseSeen | RunContinued | StopAsked | RunEnded


class RunTally:
    """Adds up the events of a run.

    Parameters
    ----------
    clock
        Monotonic seconds.
    """

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began_s = clock()
        self.run: Path | None = None
        """The run directory, once it is known."""
        self._title = self._chip = self._reason = ""
        self._state = RunState.RUNNING
        self._sizes: dict[str, StepSize] = {}
        self._finished: set[str] = set()
        self._skipped: set[str] = set()
        self._taken: dict[str, TakenStep] = {}
        self._paces: dict[str, Pace] = {}
        self._failed: dict[str, str] = {}
        self._last_errors: dict[str, float | None] = {}
        self._last_errors_step = ""
        self._worst: dict[str, float] = {}
        self._faults: Counter[str] = Counter()
        self._last_fault = self._unsafe = ""
        self._wait: Waiting | None = None
        self._wait_began_s = 0.0
        self._pause = PauseTally(clock)

    def hear(self, event: RunEvent) -> None:
        """Take note of an event."""
        match event:
            case RunStarted():
                self._begin(event)
            case StepStarted(step=name, vectors_done=done):
                self._begin_step(name, done)
            case VectorsRead(step=name, vectors=vectors):
                self._read(name, vectors)
            case StepFinished() | StepSkipped():
                self._leave_step(event)
            case StepFailed(step=name, reason=reason):
                self._end_step(name)
                self._failed[name] = reason
            case FaultMet(kind=kind, request=request, detail=detail):
                self._faults[kind] += 1
                self._last_fault = f"{kind}: {detail} ({request})"
            case LeftUnsafe(reason=reason):
                self._unsafe = reason
            case Waiting() | WaitEnded():
                self._change_wait(event)
            case RunPaused() | PauseSeen() | RunContinued() | StopAsked() | RunEnded():
                self._change_state(event)

    def _begin(self, event: RunStarted) -> None:
        self.run, self._title, self._chip = event.run, event.title, event.chip
        self._sizes = {size.name: size for size in event.steps}
        self._finished, self._skipped = set(event.finished), set(event.skipped)

    def _begin_step(self, name: str, vectors_done: int) -> None:
        # A caller that does not say when a step ends has ended it by beginning the next.
        size = self._sizes.setdefault(name, StepSize(name=name, read_mode="", vectors=0))
        for other in [
            taken.size.name for taken in self._taken.values() if taken.size.chip == size.chip
        ]:
            self._end_step(other)
        self._finished.discard(name)
        self._skipped.discard(name)
        self._taken[name] = TakenStep(size, vectors_done, self._clock())

    def _read(self, name: str, vectors: int) -> None:
        taken = self._taken.get(name) or next(iter(self._taken.values()), None)
        if taken is None:
            return
        seconds = taken.read(vectors, self._clock())
        if seconds is not None:
            self._pace(taken.size.chip).note_block(taken.size.read_mode, vectors, seconds)

    def _leave_step(self, event: StepFinished | StepSkipped) -> None:
        self._end_step(event.step)
        if isinstance(event, StepFinished):
            self._note_errors(event.step, event.errors)
        else:
            self._skipped.add(event.step)

    def _end_step(self, name: str) -> None:
        taken = self._taken.pop(name, None)
        self._finished.add(name)
        if taken is None:
            return
        pace = self._pace(taken.size.chip)
        vector_s = pace.vector_s(taken.size.read_mode)
        if vector_s is not None:
            rest_s = taken.rest_s(self._clock(), vector_s)
            pace.note_rest(taken.size.read_mode, rest_s)

    @property
    def is_waiting(self) -> bool:
        """Whether the run waits for time to pass on the bench."""
        return self._wait is not None

    def _change_wait(self, event: Waiting | WaitEnded) -> None:
        self._wait = event if isinstance(event, Waiting) else None
        self._wait_began_s = self._clock()
        if self._wait is None:
            for taken in self._taken.values():
                taken.forget_pause(self._clock())

    def _waiting(self) -> CurrentWait | None:
        wait = self._wait
        if wait is None or self._state.is_over:
            return None
        if wait.until_s is None:
            return CurrentWait(reason=wait.reason, left_s=None)
        passed_s = self._clock() - self._wait_began_s
        left_s = max(0.0, wait.until_s - wait.now_s - passed_s)
        return CurrentWait(reason=wait.reason, left_s=left_s)

    @property
    def is_paused(self) -> bool:
        """Whether a guard has paused the run."""
        return self._state is RunState.PAUSED

    def _note_errors(self, name: str, errors: Mapping[str, float]) -> None:
        self._failed.pop(name, None)
        self._last_errors_step = name
        self._last_errors = {
            correction: error if math.isfinite(error) else None
            for correction, error in errors.items()
        }
        for correction, error in errors.items():
            if math.isfinite(error):
                self._worst[correction] = max(error, self._worst.get(correction, 0.0))

    def _change_state(self, event: _ChangeOfState) -> None:
        match event:
            case RunPaused(reason=reason):
                self._state, self._reason = RunState.PAUSED, reason
                self._pause.begin()
            case PauseSeen():
                self._pause.see(event)
            case RunContinued():
                self._state, self._reason = RunState.RUNNING, ""
                for taken in self._taken.values():
                    taken.forget_pause(self._clock())
            case StopAsked(reason=reason):
                self._state, self._reason = RunState.STOPPING, reason
            case RunEnded(state=state, reason=reason):
                # A caller that does not say when a step ends has ended all that it began.
                if state is RunState.COMPLETE:
                    for name in list(self._taken):
                        self._end_step(name)
                self._state, self._reason = state, reason or self._reason

    def _pace(self, chip: str) -> Pace:
        return self._paces.setdefault(chip, Pace())

    def _eta_s(self) -> float | None:
        if self._state.is_over:
            return 0.0
        left: dict[str, list[tuple[StepSize, int]]] = {}
        for size in self._sizes.values():
            if size.name not in self._finished:
                taken = self._taken.get(size.name)
                done = 0 if taken is None else taken.done
                left.setdefault(size.chip, []).append((size, max(0, size.vectors - done)))
        each = [self._pace(chip).left_s(steps) for chip, steps in left.items()]
        known = [seconds for seconds in each if seconds is not None]
        if len(known) < len(each):
            return None
        ends = (pace.closing_s(len(self._sizes)) for pace in self._paces.values())
        left_s = max(known, default=0.0) + max(ends, default=0.0)  # chips go at the same time
        wait = self._waiting()
        return left_s if wait is None else left_s + (wait.left_s or 0.0)

    def progress(self) -> RunProgress:
        """Return how far the run is."""
        current = tuple(map(_current, self._taken.values()))
        return RunProgress(
            state=self._state,
            reason=self._reason,
            title=self._title,
            chip=self._chip,
            steps_done=len(self._finished - self._skipped - self._failed.keys()),
            steps=len(self._sizes),
            vectors_done=self._vectors(self._finished - self._skipped)
            + sum(step.vectors_done for step in current),
            vectors=self._vectors(self._sizes.keys() - self._skipped),
            elapsed_s=self._clock() - self._began_s,
            eta_s=self._eta_s(),
            vectors_per_s=self._vectors_per_s(),
            current=current,
            failed=dict(self._failed),
            last_errors=dict(self._last_errors),
            last_errors_step=self._last_errors_step,
            worst_errors=dict(self._worst),
            faults=dict(sorted(self._faults.items())),
            last_fault=self._last_fault,
            unsafe=self._unsafe,
            waiting=self._waiting(),
            pause=self._pause.current() if self.is_paused else None,
            steps_skipped=len(self._skipped),
        )

    def _vectors(self, names: Iterable[str]) -> int:
        return sum(self._sizes[name].vectors for name in names if name in self._sizes)

    def _vectors_per_s(self) -> dict[str, float]:
        rates: dict[str, float] = {}
        for chip, pace in self._paces.items():
            for mode in sorted({size.read_mode for size in self._sizes.values()}):
                vector_s = pace.vector_s(mode)
                if vector_s:
                    name = f"{chip} {mode}" if chip else mode
                    rates[name] = 1 / vector_s
        return rates


def _current(taken: TakenStep) -> CurrentStep:
    size = taken.size
    return CurrentStep(
        name=size.name,
        vectors_done=min(taken.done, size.vectors) if size.vectors else taken.done,
        vectors=size.vectors,
        chip=size.chip,
    )
