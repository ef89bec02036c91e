"""A link to a pymeasure instrument (extra ``instruments``) that is opened anew after a failure.

pymeasure raises whatever comes from below, keeps a late answer for the next query, creates an
attribute that a class lacks when it is set, and asks an error queue that never empties for ever. So
here each exception gets a name, after each one the instrument is opened anew before it is asked
again, attributes must exist, and the queue is asked a bounded number of times.
"""

import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from hil.core.errors import (
    DeviceError,
    HilError,
    InstrumentError,
    LinkLostError,
    ReadingError,
    TransportError,
    TransportTimeoutError,
)
from hil.core.legible import printable, quoted

_FENCED_ATTEMPTS = 3
"""How often an attribute is read that the identity does not follow."""
_LONGEST_QUEUE = 64
_CLASS = re.compile(r"(?P<module>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*):(?P<name>[A-Za-z_]\w*)")


def check_driver(driver: str) -> None:
    """Raise ValueError for what cannot name a class."""
    if not _CLASS.fullmatch(driver):
        raise ValueError(f"{driver!r}: must be package.module:Class")


@dataclass(frozen=True, slots=True, kw_only=True)
class PymeasureAddress:
    """Which instrument, and how to open it."""

    driver: str
    """``package.module:Class``, a subclass of ``pymeasure.instruments.Instrument``."""
    resource: str
    """VISA resource string."""
    timeout_s: float = 5.0
    """How long an answer may take."""
    backend: str = "@py"
    """pyvisa's name of the VISA library."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of the class."""
    has_error_queue: bool = True
    """Whether to ask for errors after each setting."""

    def __post_init__(self) -> None:
        check_driver(self.driver)


def load_driver(driver: str) -> type[Any]:
    """Import a pymeasure class.

    Raises
    ------
    TransportError
        If pymeasure is not installed, or has no such class.
    """
    try:
        from pymeasure.instruments import Instrument  # noqa: PLC0415 - an extra, and slow
    except ImportError as error:
        raise TransportError(
            f"{driver} needs pymeasure, which cannot be imported ({error}): "
            "pip install 'aimc-hil[instruments]'"
        ) from error
    found = _CLASS.fullmatch(driver)
    try:
        loaded = getattr(importlib.import_module(found["module"]), found["name"]) if found else None
    except (ImportError, AttributeError) as error:
        raise TransportError(f"{driver} cannot be imported: {error}") from error
    if not (inspect.isclass(loaded) and issubclass(loaded, Instrument)):
        raise TransportError(f"{driver} is no subclass of pymeasure.instruments.Instrument")
    return loaded


class PymeasureLink:
    """One pymeasure object, and a fresh one after everything that went wrong.

    Parameters
    ----------
    address
        Which instrument.

    Raises
    ------
    TransportError
        If pymeasure or the class is missing, or the instrument is absent or silent.
    """

    def __init__(self, address: PymeasureAddress) -> None:
        self._address = address
        self._driver = load_driver(address.driver)
        self._is_in_step = True
        self.recoveries = 0
        """How often it was opened anew."""
        self._instrument = self._open()
        try:
            self.identity = self._named("id", lambda: _identity(self._instrument))
            """What the instrument says it is."""
        except BaseException:
            self.close()
            raise

    @property
    def resource(self) -> str:
        """The resource string."""
        return self._address.resource

    def get(self, name: str) -> Any:
        """Return an attribute; its answer is no other one's, for the identity follows it.

        Raises
        ------
        ReadingError
            If it does not, time after time.
        """
        for _ in range(_FENCED_ATTEMPTS):
            self._begin()
            value = self._named(name, lambda: _read(self._instrument, name))
            follows = self._named("id", lambda: _identity(self._instrument))
            if follows == self.identity:
                return value
            self._is_in_step = False
        raise ReadingError(
            f"{name}: gave {quoted(value)}, and then {quoted(follows)} came for the identity: its "
            f"answers are out of step, {_FENCED_ATTEMPTS} times in a row; no reading was taken"
        )

    def put(self, name: str, value: float) -> None:
        """Set an attribute, and ask whether the instrument complains."""
        self._begin()
        self._named(name, lambda: _write(self._instrument, name, value))
        self._complain(f"{name} = {value!r}")

    def tell(self, name: str) -> None:
        """Call a method, and ask whether the instrument complains."""
        self._begin()
        self._named(name, lambda: _call(self._instrument, name))
        self._complain(name)

    def take_errors(self) -> list[Any]:
        """Empty the error queue; return its entries."""
        if not self._address.has_error_queue:
            return []
        self._begin()
        errors: list[Any] = self._named("next_error", lambda: _take_errors(self._instrument))
        return errors

    def close(self) -> None:
        """Close the link."""
        self._named("close", self._instrument.adapter.close)

    def _complain(self, request: str) -> None:
        errors = self.take_errors()
        if errors:
            raise _device_error(errors[0], request)

    def _begin(self) -> None:
        if self._is_in_step:
            return
        with suppress(HilError):  # it may be gone already
            self.close()
        self._instrument = self._open()
        self.recoveries += 1
        identity = self._named("id", lambda: _identity(self._instrument))
        if identity != self.identity:
            raise InstrumentError(
                f"{self._address.resource}: was {quoted(self.identity)} and says now that it is "
                f"{quoted(identity)}"
            )
        self._is_in_step = True
        self.take_errors()  # those of the broken exchange say nothing about the next one

    def _open(self) -> Any:
        address = self._address
        # A raw socket has no other sign that an answer ends.
        ends = (
            {"read_termination": "\n", "write_termination": "\n"}
            if address.resource.upper().endswith("::SOCKET")
            else {}
        )
        options = {
            "visa_library": address.backend,
            "timeout": max(1, int(1000 * address.timeout_s)),
            **ends,
            **address.options,
        }
        try:
            return self._driver(address.resource, **options)
        except Exception as error:  # pyvisa-py raises bare Exception for what it cannot open
            raise TransportError(
                f"{address.resource}: cannot be opened by {address.driver}: {error}"
            ) from error

    def _named(self, what: str, exchange: Callable[[], Any]) -> Any:
        try:
            return exchange()
        except HilError:
            self._is_in_step = False
            raise
        except Exception as error:
            self._is_in_step = False
            raise self._error(what, error) from error
        except BaseException:  # Ctrl-C between request and answer
            self._is_in_step = False
            raise

    def _error(self, what: str, error: Exception) -> HilError:
        import pyvisa  # noqa: PLC0415 - pymeasure has imported it already

        where = f"{self._address.resource}: {what}"
        if isinstance(error, pyvisa.VisaIOError):
            if error.error_code == pyvisa.constants.StatusCode.error_timeout:
                return TransportTimeoutError(
                    f"{where}: no answer within {self._address.timeout_s:g} s "
                    "(through VISA a closed connection looks the same)"
                )
            return LinkLostError(f"{where}: the link is lost: {error}")
        if isinstance(error, OSError):
            return LinkLostError(f"{where}: the link is lost: {error.strerror or error}")
        return InstrumentError(f"{where}: {self._address.driver}: {type(error).__name__}: {error}")


def _parent(instrument: Any, name: str) -> tuple[Any, str]:
    *path, last = name.split(".")
    for part in path:
        instrument = getattr(instrument, part)
    # Python would create what is not there.
    inspect.getattr_static(instrument, last)
    return instrument, last


def _read(instrument: Any, name: str) -> Any:
    parent, last = _parent(instrument, name)
    return getattr(parent, last)


def _call(instrument: Any, name: str) -> None:
    _read(instrument, name)()


def _write(instrument: Any, name: str, value: float) -> None:
    parent, last = _parent(instrument, name)
    setattr(parent, last, value)


def _identity(instrument: Any) -> str:
    try:
        return printable(str(instrument.id).strip())
    except NotImplementedError:  # no SCPI: the class is all that is known
        return str(instrument.name)


def _take_errors(instrument: Any) -> list[Any]:
    from pymeasure.instruments import Instrument, SCPIMixin  # noqa: PLC0415 - an extra, and slow

    try:
        if type(instrument).check_errors not in (Instrument.check_errors, SCPIMixin.check_errors):
            return list(instrument.check_errors() or [])
        errors: list[Any] = []
        while int((error := instrument.next_error)[0]) != 0:
            if len(errors) == _LONGEST_QUEUE:
                raise InstrumentError(f"more than {_LONGEST_QUEUE} errors, the last {error}")
            errors.append(error)
    except NotImplementedError:
        return []
    return errors


def _device_error(entry: Any, request: str) -> DeviceError:
    if isinstance(entry, list | tuple) and len(entry) > 1:
        return DeviceError(int(entry[0]), printable(str(entry[1]).strip(' "')), request=request)
    return DeviceError(0, printable(str(entry)), request=request)
