"""pyvisa with pyvisa-py, over a raw socket, HiSLIP and a serial line."""

from collections.abc import Iterator
from typing import Any

import pytest
import pyvisa

from golden_frames import with_crc

IDENTITY = "aimc-hil,mock-chip,S-1,1.0"
NO_ERROR = '0,"No error"'


def opened(resource: str) -> Any:
    manager = pyvisa.ResourceManager("@py")
    return manager.open_resource(
        resource, read_termination="\n", write_termination="\n", timeout=10_000
    )


@pytest.fixture
def device(resource: str) -> Iterator[Any]:
    instrument = opened(resource)
    instrument.write("*RST;*CLS;*ESE 0;*SRE 0")
    instrument.query("*ESR?")
    yield instrument
    instrument.close()


def test_identity_is_told(device: Any) -> None:
    assert device.query("*IDN?") == IDENTITY


def test_compound_query_is_one_answer(device: Any) -> None:
    assert device.query("*OPC?;SYST:VERS?;ERR?") == f"1;1999.0;{NO_ERROR}"


def test_errors_are_queued_and_summed_up(device: Any) -> None:
    device.write("*ESE 60;*SRE 32")
    device.write("CORE:SEL 99")
    assert device.query("*STB?") == str(4 + 32 + 64)
    assert device.query("SYST:ERR?").startswith('-222,"Data out of range')
    assert device.query("*ESR?") == "16"
    assert device.query("*STB?") == "0"


def test_message_may_end_in_carriage_return_and_newline(device: Any) -> None:
    device.write_termination = "\r\n"
    assert device.query("*IDN?") == IDENTITY


def block(header: str, content: bytes) -> bytes:
    frame = with_crc(bytes.fromhex(header) + content)
    length = str(len(frame)).encode()
    return b"#%d%s%s\n" % (len(length), length, frame)


def test_blocks_pass_both_ways_with_newlines_in_them(device: Any) -> None:
    weights = "48494c46 01 01 00 01 00000000 0000 02 00 10000000 08000000 01000000 00000000"
    inputs = "48494c46 01 02 00 01 00000000 0000 02 00 0a000000 10000000 01000000 00000000"
    device.write_raw(b"CORE:PROG " + block(weights, b"\n" * 128))
    device.write_raw(b"INP:DATA " + block(inputs, b"\n" * 160))
    assert device.query("SYST:ERR?") == NO_ERROR
    frame = device.query_binary_values("READ?", datatype="B", container=bytes)
    assert len(frame) == 32 + 10 * 2 * 8 * 2 + 4
    assert b"\n" in frame
    assert frame == with_crc(frame[:-4])
    assert device.query("SYST:ERR?") == NO_ERROR


@pytest.mark.parametrize("way", ["socket", "hislip"])  # pyvisa-py cannot clear a serial line
def test_device_clear_leaves_a_link_that_answers(board: Any, way: str) -> None:
    device = opened(getattr(board, way))
    assert device.query("*OPC?") == "1"
    device.clear()
    assert device.query("*IDN?") == IDENTITY
    device.close()


def test_status_byte_is_read_over_hislip_beside_the_answers(board: Any) -> None:
    device = opened(board.hislip)
    device.write("*CLS;*SRE 4;BAD")
    assert device.query("*OPC?") == "1"
    assert device.stb == 4 + 64
    device.write("*SRE 0;*CLS")
    device.close()


def test_three_clients_at_once_share_one_instrument_and_its_lock(board: Any) -> None:
    devices = [opened(resource) for resource in (board.socket, board.hislip, board.serial)]
    for number, device in enumerate(devices):
        assert device.query(f"*CLS;CORE:SEL {number};*OPC?") == "1"
        assert [other.query("CORE:SEL?") for other in devices] == [str(number)] * 3
        assert device.query("SYST:LOCK:REQ?") == "1"
        for other in devices:
            if other is not device:
                assert other.query("SYST:LOCK:REQ?") == "0"
                assert other.query("CORE:SEL 0;SEL?;:SYST:ERR?").startswith(f"{number};-203,")
        device.write("SYST:LOCK:REL")
        assert device.query("SYST:LOCK:OWN?") == "NONE"
    for device in devices:
        device.close()
