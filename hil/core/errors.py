"""Every error this project raises on purpose.

::

    HilError
     +-- ConfigError(ValueError)        .problems: every problem, each with its place
     +-- TransportError(OSError)
     |    +-- TransportTimeoutError(TimeoutError)
     |    +-- LinkLostError(ConnectionError)
     +-- FrameError                     bytes that are no frame, or no answer
     +-- DeviceError                    the device said no: its code and its words
     +-- CalibrationError               the fit is not usable, and why
     +-- DatasetError(ValueError)       .problems: every problem, each with its place
     +-- SafetyLimitError(ValueError)   a value beyond a hard limit
     +-- InstrumentError                a bench instrument does not do what it shall
     |    +-- ReadingError(ValueError)     an answer that is no number
     |    +-- NotSettledError(TimeoutError)
     +-- WorkerLostError                a process that did part of the work is gone

Each class also derives from the built-in that a caller would look for. Messages say what was
wrong, the offending value, the allowed range, where, and what to do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class HilError(Exception):
    """Base of every error that this project raises on purpose.

    It crosses processes whole, whatever the arguments of a derived class are.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _error_again, (type(self), self.args), self.__dict__


def _error_again(kind: type[HilError], arguments: tuple[Any, ...]) -> HilError:
    # Not kind(*arguments): an error that takes more than its message would not be made.
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    return error


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a file, and where."""

    where: str
    """Key path in a campaign file, or object path in an HDF5 file."""
    message: str
    """What is wrong there, with the value and what is allowed."""
    line: int | None = None
    """Line of a text file, from 1."""
    source: str = ""
    """File, environment variable or option, where it is another than the error's."""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message

    def located(self, source: str) -> str:
        """Return it behind its file and line, as editors and terminals know to open them."""
        place = self.source or source
        return f"{place}: {self}" if self.line is None else f"{place}:{self.line}: {self}"


class _ProblemListError(HilError, ValueError):
    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        super().__init__(self._text())

    def _text(self) -> str:
        if len(self.problems) == 1:
            return self.problems[0].located(self.source)
        # Without a place of its own, a problem is the source's, which the first line names.
        lines = "".join(
            f"\n  {problem.located(self.source) if problem.source or problem.line else problem}"
            for problem in self.problems
        )
        return f"{self.source}: {len(self.problems)} problems:{lines}"


class ConfigError(_ProblemListError):
    """What the user asked for cannot be done.

    Example scenarios
    -----------------
    - a campaign file with an unknown key, a wrong type or an impossible value
    - an output folder that already holds a run
    - a core that the chip does not have
    """


class DatasetError(_ProblemListError):
    """A stored file is missing, damaged, not what it says it is, or cannot be written.

    Example scenarios
    -----------------
    - a step file that was truncated
    - an index that names a step file which is not there
    - a disk that is full
    """


class TransportError(HilError, OSError):
    """The link to the device cannot carry bytes.

    Example scenarios
    -----------------
    - nothing listens on the port
    - the resource string is not one that can be opened
    """


class TransportTimeoutError(TransportError, TimeoutError):
    """The device did not answer in time.

    Example scenarios
    -----------------
    - the board hangs, or its firmware is in a debugger
    - the deadline is shorter than the conversion takes
    """


class LinkLostError(TransportError, ConnectionError):
    """The link was there and is gone.

    Example scenarios
    -----------------
    - the cable was pulled, the board rebooted, the mock was stopped
    """


class FrameError(HilError):
    """Bytes arrived that are no frame, or no answer to the request made.

    Example scenarios
    -----------------
    - a CRC that does not match: the link flips bits
    - text where a block is due: another instrument, or another firmware
    """


class DeviceError(HilError):
    """The device understood the request and refused it."""

    def __init__(self, code: int, words: str, *, request: str = "") -> None:
        self.code = code
        self.words = words
        self.request = request
        asked = f" (request: {request})" if request else ""
        super().__init__(f"device error {code}: {words}{asked}")


class CalibrationError(HilError):
    """No usable correction can be made from these readouts, or held in this format."""


class SafetyLimitError(HilError, ValueError):
    """A value lies beyond a hard limit.

    Example scenarios
    -----------------
    - a campaign asks for 150 degrees of a chamber limited to 85: nothing was sent
    - a reading is beyond what the bench may ever show: the chamber runs away
    """


class InstrumentError(HilError):
    """An instrument does not do what its description says.

    Example scenarios
    -----------------
    - the setpoint read back is not the one that was sent
    - another instrument answers under this address
    """


class ReadingError(InstrumentError, ValueError):
    """An instrument answered with something that is no finite number.

    Example scenarios
    -----------------
    - text, or more numbers than one
    - SCPI's 9.91E37 for "not a number", 9.9E37 for an overflow
    """


class NotSettledError(InstrumentError, TimeoutError):
    """A quantity did not come to rest in time.

    Example scenarios
    -----------------
    - a chamber whose door is open
    - a tolerance below the noise of the reading
    """


class WorkerLostError(HilError):
    """A process that did part of the work is gone, and so is what it was at.

    Example scenarios
    -----------------
    - the system has killed a worker for want of memory
    - the scheduler of a cluster was stopped
    """
