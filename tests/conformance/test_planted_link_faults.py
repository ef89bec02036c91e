"""Drivers that handle their link carelessly, one way each, over real sockets: the kit says which.

They are made of the example driver, whose protocol is small enough to get wrong on purpose.
"""

import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance_bench import failed_claims, run_kit
from hil.core.errors import DeviceError, HilError
from hil_drivers.chip import Chip
from hil_drivers.chip_driver import ChipOptions
from hil_drivers.conformance.link_checks import LINK_CHECKS

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_chip"
sys.path.insert(0, str(EXAMPLE))

from toychip.driver import ToyChip, ToyDriver  # noqa: E402 - the example is not installed
from toychip.mock import Server, Silicon  # noqa: E402
from toychip.wire import HEADER, Message, Operation, Status, decode_header  # noqa: E402

PIECES = "answers that arrive in pieces are read"
SILENT = "a silent device is a TransportTimeoutError in time"
SILENT_AT_FIRST = "so is one that is silent from the start"
LATE = "a late answer is not taken for the next one's"
BREAKS = "a link that breaks is made good, or an error"
HALF = "half an answer is made good, or an error"
RUBBISH = "rubbish for an answer is made good, or an error"
FLOOD = "endless rubbish ends in time"


@pytest.fixture(scope="module")
def resource() -> Iterator[str]:
    with Server(0, Silicon(0)) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"toychip://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class TakesLateAnswers(ToyChip):
    """Goes on with the same connection, and looks at no number."""

    def _hang_up(self) -> None:
        if self._is_closed:
            super()._hang_up()

    def _request(self, operation: Operation, payload: bytes, deadline: float) -> bytes:
        link = self._connected(deadline)
        link.settimeout(max(0.01, deadline - time.monotonic()))
        link.sendall(Message(operation, Status.OK, self._number, payload).encode())
        _, status, _, length = decode_header(_read(link, HEADER.size))
        words = _read(link, length)
        if status != Status.OK:
            raise DeviceError(status, words.decode(), request=operation.name)
        return words


class WaitsTenTimesAsLong(ToyChip):
    def __init__(self, resource: str, *, timeout_s: float) -> None:
        super().__init__(resource, timeout_s=10 * timeout_s)


class LetsSocketErrorsThrough(ToyChip):
    def _exchange(self, operation: Operation, payload: bytes = b"") -> bytes:
        try:
            return super()._exchange(operation, payload)
        except HilError as error:
            if isinstance(error.__cause__, ConnectionError):
                raise error.__cause__ from None
            raise


class LetsValueErrorsThrough(ToyChip):
    def _exchange(self, operation: Operation, payload: bytes = b"") -> bytes:
        try:
            return super()._exchange(operation, payload)
        except HilError as error:
            if isinstance(error.__cause__, ValueError):
                raise error.__cause__ from None
            raise


class TakesOnePieceForTheAnswer(ToyChip):
    def _request(self, operation: Operation, payload: bytes, deadline: float) -> bytes:
        link = self._connected(deadline)
        link.settimeout(max(0.01, deadline - time.monotonic()))
        link.sendall(Message(operation, Status.OK, self._number, payload).encode())
        time.sleep(0.002)  # an answer comes whole, nearly always
        data = link.recv(1 << 20)
        _, status, _, length = decode_header(data[: HEADER.size].ljust(HEADER.size))
        while len(data) < HEADER.size + length and length > 2000:
            data += link.recv(1 << 20)
        if status != Status.OK:
            raise DeviceError(status, data[HEADER.size :].decode(), request=operation.name)
        return data[HEADER.size :]


def _read(link: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = link.recv(size - len(data))
        if not part:
            raise ConnectionError("closed")
        data += part
    return data


class Careless(ToyDriver):
    def __init__(self, chip: type[ToyChip]) -> None:
        self.chip = chip

    def open_chip(self, resource: str, options: ChipOptions) -> Chip:
        return self.chip(resource, timeout_s=options.timeout_s)


@pytest.mark.parametrize(
    ("chip", "claims"),
    [
        (ToyChip, ()),
        (TakesLateAnswers, (LATE,)),
        (LetsSocketErrorsThrough, (BREAKS, HALF)),
        (LetsValueErrorsThrough, (RUBBISH, FLOOD)),
        (TakesOnePieceForTheAnswer, (PIECES,)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_careless_driver_is_told_what_it_does(
    chip: type[ToyChip], claims: tuple[str, ...], resource: str
) -> None:
    failed = failed_claims(run_kit(Careless(chip), resource, checks=LINK_CHECKS))
    assert tuple(failed) == claims, failed


def test_driver_that_waits_too_long_is_told_so(resource: str) -> None:
    checks = tuple(check for check in LINK_CHECKS if check.claim in {SILENT, SILENT_AT_FIRST})
    failed = failed_claims(run_kit(Careless(WaitsTenTimesAsLong), resource, checks=checks))
    assert tuple(failed) == (SILENT, SILENT_AT_FIRST)
    assert "TransportTimeoutError after " in failed[SILENT]
