"""What the workers of pools are asked to do in tests: functions that they can import."""

import os
import signal
import time
from pathlib import Path

from hil.core.errors import DatasetError, DeviceError, HilError, Problem


def square(number: int) -> int:
    """Return the square, the later the smaller: results become ready in another order."""
    time.sleep(0.02 if number % 3 == 0 else 0)
    return number * number


def complain(number: int) -> int:
    """Raise an error with two places at 3."""
    if number == 3:
        raise DatasetError("run", [Problem("/raw", "is gone"), Problem("line", "is cut", line=7)])
    return number


def refuse(number: int) -> int:
    """Raise an error whose class takes more than a message."""
    raise DeviceError(-222, f"Data out of range {number}", request="READ?")


def die(number: int) -> int:
    """End this process as the system does that is out of memory, at 2."""
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def large(size: int) -> bytes:
    """Return so many bytes."""
    return bytes(size)


def note_and_wait(folder: Path) -> int:
    """Leave this process's number in a folder, then wait for ever."""
    (folder / str(os.getpid())).touch()
    time.sleep(600)
    return 0


def note_and_square(item: tuple[Path, int]) -> int:
    """Leave this process's number in a folder, work for a moment, return the square."""
    folder, number = item
    (folder / str(os.getpid())).touch()
    time.sleep(0.05)
    return number * number


def meet(place: tuple[Path, str, str]) -> str:
    """Leave a note, wait for that of another item, which must be under way too; return it."""
    folder, own, other = place
    (folder / own).touch()
    end_s = time.monotonic() + 60
    while not (folder / other).exists():
        if time.monotonic() > end_s:
            raise HilError(f"{other} was not begun while {own} was under way")
        time.sleep(0.01)
    return other
