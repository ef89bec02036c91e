"""A check, and what it found."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from hil.core.errors import DeviceError, HilError
from hil_drivers.conformance.workbench import Workbench


class Result(StrEnum):
    """How a check ended."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    SKIP = "skip"


class FailedError(Exception):
    """What a check saw that breaks its claim."""


class SkippedError(Exception):
    """Why a check does not apply here."""


@dataclass(frozen=True, slots=True)
class Check:
    """One claim, and how to try it."""

    claim: str
    """What a chip must keep, as a sentence."""
    try_it: Callable[[Workbench], str]
    """Tries it; returns the evidence. Raises `FailedError` or `SkippedError`, or anything else:
    that is a failure too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check found."""

    claim: str
    """What was tried."""
    result: Result
    """How it ended."""
    evidence: str
    """What was seen, or why it was skipped."""
    seconds: float
    """How long it took."""


def expect(*, holds: bool, otherwise: str) -> None:
    """Raise `FailedError` with what was seen otherwise."""
    if not holds:
        raise FailedError(otherwise)


def refusal(what: str, ask: Callable[[], object], *, by_driver: bool) -> str:
    """Return how a request was refused.

    Parameters
    ----------
    what
        What was asked, for the evidence.
    ask
        Asks it.
    by_driver
        Whether the driver may refuse it by itself, with a `ValueError`, without asking the device.

    Raises
    ------
    FailedError
        If it was not refused, or not in the promised way.
    """
    try:
        ask()
    except DeviceError as error:
        expect(holds=error.code != 0, otherwise=f"{what}: refused with number 0: {error}")
        return str(error.code)
    except HilError as error:
        raise FailedError(f"{what}: must be a DeviceError, got {shown(error)}") from error
    except ValueError as error:
        expect(holds=by_driver, otherwise=f"{what}: must be a DeviceError, got {shown(error)}")
        return "by the driver"
    except Exception as error:
        raise FailedError(f"{what}: must be a DeviceError, got {shown(error)}") from error
    raise FailedError(f"{what}: was not refused")


def shown(error: BaseException) -> str:
    """Return an error as evidence."""
    return f"{type(error).__name__}: {error}".rstrip(": ")
