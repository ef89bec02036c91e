"""From errors to exit codes and one line for the user."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from functools import wraps
from typing import Any, ParamSpec

import click

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
        try:
            with _ends_in_order_on_signals():
                function(*args, **kwargs)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            raise SystemExit(ExitCode.INTERRUPTED) from None
        except HilError as error:
            click.echo(f"error: {error}", err=True)
            raise SystemExit(exit_code_of(error)) from None
        except BrokenPipeError:
            # Whoever read the output has had enough; nothing more can be said to them.
            _silence_stdout()
            raise SystemExit(ExitCode.DONE) from None
        except OSError as error:
            click.echo(f"error: cannot write the output: {error.strerror or error}", err=True)
            _silence_stdout()
            raise SystemExit(ExitCode.CONFIG) from None
        except MemoryError:
            click.echo(
                "error: not enough memory; lower vectors.calibration, vectors.verification or the "
                "number of cores",
                err=True,
            )
            raise SystemExit(ExitCode.CONFIG) from None

    return command


def _silence_stdout() -> None:
    # Otherwise the interpreter flushes what is left at its end, and fails again.
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def _ends_in_order_on_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the body like Ctrl-C does, so that the chip is left safe."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    before = {
        number: signal.signal(number, signal.default_int_handler)
        for number in _ENDING_SIGNALS
        if signal.getsignal(number) is not signal.SIG_IGN  # nohup, or a script's background
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_code_of(error: HilError) -> ExitCode:
    """Return the exit code for an error."""
    for kind, code in _EXIT_CODES.items():
        if isinstance(error, kind):
            return code
    return ExitCode.SOME_FAILED
