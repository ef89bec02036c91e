"""One process for each chip: started together, watched, told to stop, waited for.

Each is a whole ``hil run`` or ``hil resume``, so what one does, or dies of, is nothing to the
others. They have sessions of their own: Ctrl-C reaches the process that has started them, which
passes it on. If that one is killed, they go on.
"""

import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Protocol

from hil.core.ending_signals import ending_signals_heard

_LOOK_EVERY_S = 0.1
_SECOND_WISH_S = 10.0
_LONGEST_WORDS = 2000
_INTERRUPTED = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipEnd:
    """How the process of one chip has ended."""

    chip: str
    """Name of the chip."""
    code: int
    """Its exit code; below 0 the number of the signal that has killed it."""
    words: str
    """Why, as far as it could say; empty if it did what it should."""


class ChipsWatcher(Protocol):
    """Who is told how several chips come on."""

    def ended(self, end: ChipEnd) -> None:
        """Hear that one has ended."""
        ...

    def asked(self, reason: str) -> None:
        """Hear that all were told to stop."""
        ...

    def tick(self) -> None:
        """Do what is due by the clock; called about ten times in a second."""
        ...


class ChipProcess:
    """The process of one chip.

    Parameters
    ----------
    chip
        Name of the chip.
    command
        Program and arguments.
    words
        File that what it prints is appended to.
    """

    def __init__(self, chip: str, command: Sequence[str], words: Path) -> None:
        self.chip = chip
        """Name of the chip."""
        self._words = words
        self._begin = words.stat().st_size if words.exists() else 0
        self._is_asked = False
        with words.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - this very interpreter, our own module
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def end(self) -> ChipEnd | None:
        """Return how it has ended; None as long as it runs."""
        code = self._process.poll()
        if code is None:
            return None
        if code < 0 and self._is_asked:  # it was told so early that it could not say anything
            code = _INTERRUPTED
        return ChipEnd(chip=self.chip, code=code, words=self._last_words(code))

    def tell(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        self._is_asked = True
        self._process.send_signal(number)

    def wait(self, limit_s: float) -> bool:
        """Wait for its end; tell whether it came in time."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(limit_s)
        return self._process.returncode is not None

    def _last_words(self, code: int) -> str:
        if code in {0, _INTERRUPTED}:
            return ""
        if code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        with suppress(OSError), self._words.open("rb") as file:
            file.seek(self._begin)
            lines = file.read().decode(errors="replace").splitlines()
            errors = [number for number, line in enumerate(lines) if line.startswith("error: ")]
            said = lines[errors[-1] :] if errors else lines[-1:] if code != 1 else []
            return "\n".join(said).removeprefix("error: ")[:_LONGEST_WORDS]
        return ""


def drive_chips(
    commands: Mapping[str, Sequence[str]],
    words_of: Callable[[str], Path],
    *,
    watcher: ChipsWatcher,
    sleep: Callable[[float], None] = time.sleep,
) -> list[ChipEnd]:
    """Start a process for each chip, and wait until all have ended.

    SIGINT, SIGTERM and SIGHUP are passed on to those that still run.

    Parameters
    ----------
    commands
        Chip to program and arguments.
    words_of
        From a chip to the file for what its process prints.
    watcher
        Who is told.
    sleep
        Waits so many seconds.

    Returns
    -------
    How each has ended, in the order of `commands`.

    Raises
    ------
    OSError
        If a process cannot be started; those that were are stopped.
    """
    running: dict[str, ChipProcess] = {}
    ends: dict[str, ChipEnd] = {}
    with _heard() as asked:
        try:
            for chip, command in commands.items():
                running[chip] = ChipProcess(chip, command, words_of(chip))
            while running:
                while asked:
                    number = asked.pop(0)
                    for process in running.values():
                        process.tell(number)
                    watcher.asked(signal.Signals(number).name)
                for end in [end for process in running.values() if (end := process.end())]:
                    del running[end.chip]
                    ends[end.chip] = end
                    watcher.ended(end)
                watcher.tick()
                sleep(_LOOK_EVERY_S)
        finally:
            _stop(running.values())
    return [ends[chip] for chip in commands]


def _stop(processes: Iterable[ChipProcess]) -> None:
    left = list(processes)
    while left:
        for process in left:
            process.tell(signal.SIGTERM)
        left = [process for process in left if not process.wait(_SECOND_WISH_S)]


@contextmanager
def _heard() -> Iterator[list[int]]:
    """Collect the signals that ask to stop, for the length of the body."""
    asked: list[int] = []

    def hear(number: int, _: FrameType | None) -> None:
        asked.append(number)

    with ending_signals_heard(hear):
        yield asked
