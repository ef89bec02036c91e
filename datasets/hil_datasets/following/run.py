"""Reading a run while another process writes it: every block once, in the order of reading.

Blocks of a step that is not finished come from its part, see `FollowedPart`, those of a step that
was finished before anybody looked from its file. The journal says when a step is finished and when
the run is over. Nothing is written, and nothing locked.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.core.errors import DatasetError, Problem
from hil_datasets.durable import PART_SUFFIX
from hil_datasets.following.part import FollowedPart, PartBlock
from hil_datasets.journal import BEGINNINGS, parse_event
from hil_datasets.regular_file import LARGEST_LINES_BYTES, check_regular
from hil_datasets.run_directory import RunDirectory, key_of, open_directory
from hil_datasets.step import StepKey, StepRecord
from hil_datasets.step_files.damage import DAMAGE

_PART_ENDING = ".h5" + PART_SUFFIX


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedBlock:
    """What one request has read."""

    step: StepKey
    """Of which step."""
    vectors_in_step: int
    """How many vectors the whole step has."""
    first_vector: int
    """Index of the block's first vector in the step."""
    inputs: npt.NDArray[np.int8]
    """Input vectors, shape (vector, row)."""
    counts: npt.NDArray[np.uint16]
    """Counter codes, shape (vector, polarity, column)."""
    expected: npt.NDArray[np.int32]
    """Expected outputs, shape (vector, column), product units."""
    began_s: float
    """When its reading began, seconds since the step did; NaN if that is not known."""
    ended_s: float
    """When it ended."""
    is_again: bool
    """Whether vectors of it came before: what came of them, and after them, is replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedNews:
    """What happened between two blocks."""

    event: str
    """Name of the journal's event, or ``again``: a step is read again from a vector on."""
    step: str
    """Name of the step; empty if it is of none."""
    words: str
    """What happened, in words."""


def follow_run(
    path: Path,
    *,
    from_start: bool = False,
    on_news: Callable[[FollowedNews], None] = lambda _: None,
    on_idle: Callable[[], None] = lambda: None,
    look_every_s: float = 0.1,
) -> Iterator[FollowedBlock]:
    """Yield each block of a run as it is written, until the run is over.

    A run whose process was killed is not over: it may be resumed, and its blocks follow then.

    Parameters
    ----------
    path
        The run's folder.
    from_start
        Whether what is stored already comes first; otherwise only what is new.
    on_news
        Who is told what happens between the blocks, in order with them.
    on_idle
        Called whenever there is nothing to read; whatever it raises ends the following.
    look_every_s
        How long nothing is looked at then.

    Raises
    ------
    DatasetError
        If there is no run, its journal cannot be read, or a step of it is damaged.
    """
    following = _Following(open_directory(path), on_news, is_silent=not from_start)
    try:
        yield from following.look()
        following.is_silent = False
        while not following.is_over:
            on_idle()
            time.sleep(look_every_s)
            yield from following.look()
    finally:
        following.close()


@dataclass(slots=True)
class _Step:
    """What was yielded of one step."""

    part: FollowedPart | None = None
    """Its file under construction, while there is one."""
    ends: list[int] = field(default_factory=list)
    """Vector behind each block that was read, in order; what is read again is taken back."""
    most: int = 0
    """Vectors that were read at least once."""

    vectors: int = -1
    """Vectors that the whole step has; -1 before it is known."""


class _Following:
    def __init__(
        self, run: RunDirectory, on_news: Callable[[FollowedNews], None], *, is_silent: bool
    ) -> None:
        self._run = run
        self._on_news = on_news
        self.is_silent = is_silent
        """Whether what is found counts as known, and is not told."""
        self._journal = _GrowingJournal(run.journal_path)
        self._steps: dict[str, _Step] = {}
        self._finished: set[str] = set()
        self.is_over = False
        """Whether the journal's last word was that the run has stopped."""

    def look(self) -> Iterator[FollowedBlock]:
        """Yield what has come since the last time."""
        # The parts first: of every step before one that is there, the journal says what became.
        parts = self._parts()
        for event in self._journal.new_events():
            yield from self._open_parts()
            yield from self._take(event)
        for name in parts:
            if name not in self._finished:
                step = self._steps.setdefault(name, _Step())
                yield from self._written(name, step)

    def _parts(self) -> list[str]:
        """Return the names of the steps that are being written, the one begun last at the end."""
        found = []
        try:
            with os.scandir(self._run.path / "steps") as entries:
                for entry in entries:
                    if entry.name.endswith(_PART_ENDING):
                        name = entry.name.removesuffix(_PART_ENDING)
                        found.append((entry.stat(follow_symlinks=False).st_mtime_ns, name))
        except FileNotFoundError:  # the folder is not made yet, or a part has got its final name
            pass
        return [name for _, name in sorted(found)]

    def _open_parts(self) -> Iterator[FollowedBlock]:
        for name, step in self._steps.items():
            if step.part is not None:
                yield from self._written(name, step)

    def _take(self, event: dict[str, Any]) -> Iterator[FollowedBlock]:
        what = event["event"]
        self.is_over = what == "stop" or (self.is_over and what not in BEGINNINGS)
        if what == "step":
            key = key_of(event)
            yield from self._finish(key)
            self._tell(what, key.name, f"{key.name} is finished")
        elif words := _words_of(event):
            self._tell(what, event.get("step", ""), words)

    def _written(self, name: str, step: _Step) -> Iterator[FollowedBlock]:
        """Yield what is new in the part of a step."""
        path = self._run.path / "steps" / (name + _PART_ENDING)
        try:
            if step.part is None:
                check_regular(path)
                step.part = FollowedPart(path)
                if step.part.key.name != name:
                    raise ValueError(f"holds step {step.part.key.name}")
            part = step.part
            is_replaced = part.is_replaced()  # before it is read: then it was the last time
            for block in part.new_blocks():
                yield from self._block(part.key, step, block, part.vectors)
        except DatasetError:
            return  # gone since it was listed
        except DAMAGE as error:
            if path.exists():
                message = f"cannot be followed: {error}"
                raise DatasetError(str(path), [Problem("/", message)]) from error
            return
        if is_replaced:
            part.close()
            step.part = None

    def _block(
        self, key: StepKey, step: _Step, block: PartBlock, vectors: int
    ) -> Iterator[FollowedBlock]:
        """Yield a block, unless it counts as known."""
        first, stop = block.first_vector, block.first_vector + len(block.counts)
        is_again = first < step.most
        if is_again and step.ends and first < step.ends[-1]:
            self._tell("again", key.name, f"{key.name} is read again from vector {first} on")
        step.ends = [*(end for end in step.ends if end <= first), stop]
        step.most, step.vectors = max(step.most, stop), vectors
        if not self.is_silent:
            yield FollowedBlock(
                step=key,
                vectors_in_step=vectors,
                first_vector=first,
                inputs=block.inputs,
                counts=block.counts,
                expected=block.expected,
                began_s=block.began_s,
                ended_s=block.ended_s,
                is_again=is_again,
            )

    def _finish(self, key: StepKey) -> Iterator[FollowedBlock]:
        """Yield what is left of a step that is finished; its part may never have been seen."""
        self._finished.add(key.name)
        step = self._steps.setdefault(key.name, _Step())
        if step.part is not None:
            step.part.close()
            step.part = None
        read = step.ends[-1] if step.ends else 0
        if read == step.vectors:
            return
        if self.is_silent:
            return
        record = self._run.read_step(key)
        for block in _blocks_of(record):
            if block.first_vector >= read:
                yield from self._block(key, step, block, len(record.raw))

    def _tell(self, event: str, step: str, words: str) -> None:
        if not self.is_silent:
            self._on_news(FollowedNews(event=event, step=step, words=words))

    def close(self) -> None:
        for step in self._steps.values():
            if step.part is not None:
                step.part.close()


class _GrowingJournal:
    """The whole lines that were appended to a journal since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._lines = 0

    def new_events(self) -> list[dict[str, Any]]:
        try:
            check_regular(self._path)
            with self._path.open("rb") as file:
                file.seek(self._offset)
                *lines, _cut_short = file.read(LARGEST_LINES_BYTES).split(b"\n")
        except OSError as error:
            reason = error.strerror or str(error)
            raise DatasetError(
                str(self._path), [Problem("", f"cannot be read: {reason}")]
            ) from error
        events = []
        for line in lines:
            self._lines += 1
            self._offset += len(line) + 1
            events.append(parse_event(self._path, self._lines, line))
        return events


_WORDS = {
    "start": "the run begins",
    "resume": "the run goes on: it was resumed",
    "suspect": "{step}: what was read is not trusted: {reason}",
    "pause": "the run is paused: {reason}",
    "continue": "the run goes on after a pause",
    "failure": "{step} allows no calibration: {reason}",
    "stop": "the run is over, {status}",
}
"""What an event says to somebody who follows the readouts."""


def _words_of(event: dict[str, Any]) -> str:
    said = {name: event.get(name, "") for name in ("step", "reason", "status")}
    return _WORDS.get(event["event"], "").format(**said)


def _blocks_of(record: StepRecord) -> Iterator[PartBlock]:
    """Yield the blocks of a finished step; all of it is one where nobody noted them."""
    vectors, timing = len(record.raw), record.timing
    firsts = [0] if timing is None else timing.first_vector.tolist()
    for place, (first, stop) in enumerate(pairwise((*firsts, vectors))):
        yield PartBlock(
            first_vector=first,
            inputs=record.inputs[first:stop],
            counts=record.raw[first:stop],
            expected=record.expected[first:stop],
            began_s=float("nan") if timing is None else float(timing.began_s[place]),
            ended_s=float("nan") if timing is None else float(timing.ended_s[place]),
        )
