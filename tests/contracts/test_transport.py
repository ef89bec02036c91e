"""What implementing `hil_drivers.transport.Transport` means: every carrier passes the same.

Every test talks to a mock device at the far end, in plain protocol bytes.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import contract_chip
from golden_frames import with_crc
from hil.core.errors import LinkLostError, TransportError, TransportTimeoutError
from hil_drivers.frames import decode_frame
from hil_drivers.link import encode_request
from hil_drivers.transport import Transport
from hil_mock_device.launch import MockProcess

Opener = Callable[[], Transport]

IDENTITY = b"@1 aimc-hil,mock-chip,S-1,1.0\n"


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return contract_chip.write_profile(tmp_path_factory.mktemp("profile"))


@pytest.fixture(scope="module")
def process(profile: Path) -> Iterator[MockProcess]:
    with contract_chip.start_process(profile) as process:
        yield process


@pytest.fixture(params=contract_chip.CARRIERS)
def carrier(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def _needs_stream(carrier: str) -> None:
    if carrier == "hislip":
        pytest.skip("HiSLIP carries messages: one request, whole, then its answer")


streams = pytest.mark.usefixtures("_needs_stream")
"""Tests of carriers that know bytes only, not where a message ends."""


@pytest.fixture
def transport(carrier: str, request: pytest.FixtureRequest, profile: Path) -> Iterator[Transport]:
    """A fresh link."""
    if carrier == "loopback":
        transport = contract_chip.open_loopback(profile)
    else:
        transport = contract_chip.open_carrier(carrier, request.getfixturevalue("process"), 5)
    yield transport
    transport.close()


def receive(transport: Transport, size: int, *, is_whole: bool = False, at_once: int = 0) -> bytes:
    """Receive exactly so many bytes."""
    data = bytearray(size)
    have = 0
    while have < size:
        end = min(size, have + at_once) if at_once else size
        with memoryview(data)[have:end] as buffer:
            count = transport.receive_into(buffer, is_whole=is_whole, timeout_s=5)
            assert 1 <= count <= len(buffer)
        have += count
    return bytes(data)


def receive_until_it_fails(
    transport: Transport, *, is_whole: bool, timeout_s: float
) -> tuple[bytes, TransportError]:
    """Receive into a large buffer until an error comes; return both."""
    heard = bytearray()
    buffer = bytearray(1024)
    while True:
        with memoryview(buffer) as view:
            try:
                count = transport.receive_into(view, is_whole=is_whole, timeout_s=timeout_s)
            except TransportError as error:
                return bytes(heard), error
        heard += buffer[:count]


def test_it_knows_the_resource_it_was_opened_with(
    carrier: str, transport: Transport, process: MockProcess
) -> None:
    tcp, hislip, serial = process.resources
    resources = {"loopback": "loopback", "tcp": tcp, "visa": tcp, "hislip": hislip}
    assert transport.resource == resources.get(carrier, serial)


def test_answer_comes_back_as_it_was_sent(transport: Transport) -> None:
    transport.send(b"@1 *IDN?\n", timeout_s=5)
    assert receive(transport, len(IDENTITY)) == IDENTITY


@pytest.mark.parametrize("at_once", [1, 3])
def test_what_does_not_fit_the_buffer_comes_next(transport: Transport, at_once: int) -> None:
    transport.send(b"@1 *IDN?\n", timeout_s=5)
    assert receive(transport, len(IDENTITY), at_once=at_once) == IDENTITY


def test_nothing_is_written_behind_what_was_received(transport: Transport) -> None:
    transport.send(b"@1 *OPC?\n", timeout_s=5)
    data = bytearray(b"\xaa" * 64)
    have = 0
    while not data[:have].endswith(b"\n"):
        with memoryview(data)[have:] as buffer:
            have += transport.receive_into(buffer, is_whole=False, timeout_s=5)
    assert data == b"@1 1\n" + b"\xaa" * 59


@streams
def test_message_may_be_sent_in_pieces(transport: Transport) -> None:
    for piece in (b"@1 *I", b"D", b"N?\n"):
        transport.send(piece, timeout_s=5)
    assert receive(transport, len(IDENTITY)) == IDENTITY


@streams
def test_two_answers_keep_their_order(transport: Transport) -> None:
    transport.send(b"@1 *OPC?\n@2 *OPC?\n", timeout_s=5)
    assert receive(transport, 10) == b"@1 1\n@2 1\n"


def test_large_block_of_every_byte_value_passes_both_ways(transport: Transport) -> None:
    inputs = np.resize(np.arange(-127, 128, dtype=np.int8), (4096, 16))
    header = bytes.fromhex(
        "48494c46 01 02 00 01 00000000 0000 02 00 00100000 10000000 01000000 00000000"
    )
    weights = bytes.fromhex(
        "48494c46 01 01 00 01 00000000 0000 02 00 10000000 08000000 01000000 00000000"
    )
    transport.send(
        encode_request(None, "CORE:PROG", with_crc(weights + bytes([100] * 128)))
        + encode_request(None, "INP:DATA", with_crc(header + inputs.tobytes()))
        + b"READ?\n",
        timeout_s=5,
    )
    start = b"#6131108"  # 32 + 4096 * 2 * 8 * 2 + 4
    assert receive(transport, len(start)) == start
    frame = decode_frame(receive(transport, 131108, is_whole=True))
    assert frame.payload.shape == (4096, 2, 8)
    assert receive(transport, 1) == b"\n"


def test_silence_is_a_timeout(transport: Transport) -> None:
    start = time.monotonic()
    with memoryview(bytearray(10)) as buffer, pytest.raises(TransportTimeoutError):
        transport.receive_into(buffer, is_whole=False, timeout_s=0.1)
    assert time.monotonic() - start < 3


@streams
def test_after_a_timeout_no_byte_is_lost_or_the_link_says_so(transport: Transport) -> None:
    transport.send(b"@1 *OPC?\n@2 *ID", timeout_s=5)
    assert receive(transport, 5) == b"@1 1\n"
    with memoryview(bytearray(10)) as buffer, pytest.raises(TransportTimeoutError):
        transport.receive_into(buffer, is_whole=False, timeout_s=0.05)
    try:
        transport.send(b"N?\n", timeout_s=5)
    except LinkLostError:
        return
    assert receive(transport, len(IDENTITY)) == b"@2" + IDENTITY[2:]


def test_half_of_what_is_due_is_not_dropped_at_a_timeout(transport: Transport) -> None:
    transport.send(b"@1 *OPC?\n", timeout_s=5)
    heard, end = receive_until_it_fails(transport, is_whole=True, timeout_s=0.1)
    assert isinstance(end, TransportTimeoutError)
    assert heard == b"@1 1\n"


@streams
def test_device_that_disconnects_is_a_lost_link(transport: Transport) -> None:
    transport.send(b"#0\n", timeout_s=5)
    heard, end = receive_until_it_fails(transport, is_whole=False, timeout_s=5)
    assert isinstance(end, LinkLostError)
    assert heard.startswith(b'@0 !-160,"Block data error')
    assert heard.endswith(b"\n")


def test_link_closed_twice_stays_closed(transport: Transport) -> None:
    transport.close()
    transport.close()
    with pytest.raises(LinkLostError):
        transport.send(b"@1 *IDN?\n", timeout_s=1)


def test_closed_link_is_lost(transport: Transport) -> None:
    transport.close()
    with pytest.raises(LinkLostError):
        transport.send(b"@1 *IDN?\n", timeout_s=1)
    with memoryview(bytearray(10)) as buffer, pytest.raises(LinkLostError):
        transport.receive_into(buffer, is_whole=False, timeout_s=1)


@pytest.mark.parametrize(
    "before",
    [b"", b"@1 *IDN?\n", b"@1 *ID", b"@1 INP:DATA #41000xxx", b"#0\n"],
    ids=["nothing", "answer_under_way", "half_a_line", "half_a_block", "lost_link"],
)
def test_after_clear_nothing_before_has_any_effect(transport: Transport, before: bytes) -> None:
    if before:
        transport.send(before, timeout_s=5)
    transport.clear(timeout_s=5)
    transport.send(b"@2 *OPC?\n", timeout_s=5)
    assert receive(transport, 5) == b"@2 1\n"
    with memoryview(bytearray(10)) as buffer, pytest.raises(TransportTimeoutError):
        transport.receive_into(buffer, is_whole=False, timeout_s=0.05)


def test_link_may_be_cleared_again_and_again(transport: Transport) -> None:
    for _ in range(3):
        transport.clear(timeout_s=5)
    transport.send(b"@1 *IDN?\n", timeout_s=5)
    assert receive(transport, len(IDENTITY)) == IDENTITY


def test_settings_outlive_a_clear(transport: Transport) -> None:
    transport.send(b"@1 CORE:SEL 2\n", timeout_s=5)
    assert receive(transport, 6) == b"@1 OK\n"
    transport.clear(timeout_s=5)
    transport.send(b"@2 CORE:SEL?\n", timeout_s=5)
    assert receive(transport, 5) == b"@2 2\n"


def test_closed_link_cannot_be_cleared(transport: Transport) -> None:
    transport.close()
    with pytest.raises(LinkLostError):
        transport.clear(timeout_s=1)
