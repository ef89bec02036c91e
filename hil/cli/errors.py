"""From errors to exit codes and one line for the user."""

import os
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from functools import wraps
from typing import Any, NoReturn, ParamSpec

import click

from hil.cli.interruption import Interruption
from hil.core.errors import (
    CalibrationError,
    ConfigError,
    DatasetError,
    DeviceError,
    FrameError,
    HilError,
    InstrumentError,
    SafetyLimitError,
    TransportError,
)
from hil.core.legible import printable

ParametersT = ParamSpec("ParametersT")


class ExitCode(IntEnum):
    """What the process returns; documented in ``docs/reference/command-line.md``."""

    DONE = 0
    SOME_FAILED = 1
    USAGE = 2
    CONFIG = 3
    DEVICE = 4
    DATA = 5
    SAFETY = 6
    INTERRUPTED = 130


_EXIT_CODES: dict[type[HilError], ExitCode] = {
    ConfigError: ExitCode.CONFIG,
    TransportError: ExitCode.DEVICE,
    FrameError: ExitCode.DEVICE,
    DeviceError: ExitCode.DEVICE,
    CalibrationError: ExitCode.SOME_FAILED,
    DatasetError: ExitCode.DATA,
    InstrumentError: ExitCode.DEVICE,
    SafetyLimitError: ExitCode.SAFETY,
}


def reports_errors(
    function: Callable[ParametersT, Any],
) -> Callable[ParametersT, None]:
    """Turn this project's errors, and Ctrl-C, into a message and an exit code."""

    @wraps(function)
    def command(*args: ParametersT.args, **kwargs: ParametersT.kwargs) -> None:
        interruption = Interruption()
        try:
            with interruption.raised_by_signals():
                function(*args, **kwargs)
        except KeyboardInterrupt:
            _end_interrupted()
        except Exception as error:
            if interruption.is_wanted and not _is_told(error):
                _end_interrupted()  # HDF5 and other libraries make an error of their own of it
            if isinstance(error, HilError | OSError | MemoryError):
                _end_with(error)
            raise

    return command


def _end_interrupted() -> NoReturn:
    click.echo("interrupted", err=True)
    raise SystemExit(ExitCode.INTERRUPTED) from None


def _is_told(error: BaseException | None) -> bool:
    """Say whether an error came up while a command cleaned up after an interruption."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _end_with(error: HilError | OSError | MemoryError) -> NoReturn:
    """Say what was wrong and end."""
    code = ExitCode.CONFIG
    match error:
        case HilError():
            click.echo(f"error: {_legible(str(error))}", err=True)
            code = exit_code_of(error)
        case BrokenPipeError():
            # Whoever read the output has had enough; nothing more can be said to them.
            _silence_stdout()
            code = ExitCode.DONE
        case OSError():
            click.echo(f"error: cannot write the output: {error.strerror or error}", err=True)
            _silence_stdout()
        case _:
            click.echo(
                "error: not enough memory; lower vectors.calibration, vectors.verification or the "
                "number of cores",
                err=True,
            )
    raise SystemExit(code) from None


def _legible(message: str) -> str:
    """Return a message of some lines with nothing in it that a terminal would obey."""
    return "\n".join(printable(line) for line in message.split("\n"))


def _silence_stdout() -> None:
    # Otherwise the interpreter flushes what is left at its end, and fails again.
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def exit_code_of(error: HilError) -> ExitCode:
    """Return the exit code for an error."""
    for kind, code in _EXIT_CODES.items():
        if isinstance(error, kind):
            return code
    return ExitCode.SOME_FAILED
