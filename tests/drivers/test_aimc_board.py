"""The chip driver against a device that answers wrongly."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hil.core.errors import DeviceError, FrameError, LinkLostError
from hil.core.nmpu_format import NmpuFormat
from hil.core.readout import ChipGeometry, ReadMode
from hil_drivers.aimc_board import AimcBoard
from hil_drivers.connect import board_over
from hil_drivers.frames import Frame, FrameKind, encode_frame
from hil_drivers.link import Request
from hil_drivers.recovery import NO_RECOVERY
from hil_drivers.session import Session
from scripted_transport import AnsweringTransport

FOUR = ReadMode.FOUR_PHASE
INPUTS = np.array([[3, -3]], dtype=np.int8)

Reply = str | bytes | Callable[[int], bytes]


def connect(**replies: Reply) -> tuple[AimcBoard, AnsweringTransport]:
    """Connect to a device of one 2 x 2 core that answers some headers as told, and OK otherwise."""
    answers: dict[str, Reply] = {
        "CHIP:PROTocol?": "2",
        "CHIP:GEOMetry?": "1,2,2,12,16",
        "*IDN?": "Example,Board,7,1.0",
        "SYSTem:BOOT?": "first",
        "CORE:PROGram?": "0,0",
        **{_HEADERS.get(name, name): reply for name, reply in replies.items()},
    }

    def answer(request: Request) -> str | bytes:
        reply = answers.get(request.text.split(" ")[0], "OK")
        return reply(request.tag or 0) if callable(reply) else reply

    transport = AnsweringTransport(answer)
    return AimcBoard(Session(transport, timeout_s=1), recovery=NO_RECOVERY), transport


HANDSHAKE = ["CHIP:PROTocol?", "CHIP:GEOMetry?", "*IDN?", "SYSTem:BOOT?"]

_HEADERS = {
    "version": "CHIP:PROTocol?",
    "size": "CHIP:GEOMetry?",
    "identity": "*IDN?",
    "readout": "READ?",
    "latched": "FETCh:COUNts?",
    "fmt": "NMPU:FORMat?",
    "registers": "NMPU:REGisters?",
    "temperature": "TEMPerature?",
}


def frame(**fields: Any) -> Callable[[int], bytes]:
    """Return a reply of four-phase counts 1 of core 0, shape (1, 2, 2), with other fields."""

    def encode(tag: int) -> bytes:
        counts = np.ones((1, 2, 2), dtype=np.uint16)
        settled: dict[str, Any] = {
            "kind": FrameKind.COUNTS,
            "sequence": tag,
            "core": 0,
            "read_mode": FOUR,
            "payload": counts,
            **fields,
        }
        return encode_frame(Frame(**settled))

    return encode


def test_geometry_is_read_once_at_the_start() -> None:
    board, transport = connect()
    assert board.geometry() == ChipGeometry(
        cores=1, rows=2, columns=2, counter_bits=12, max_vectors=16
    )
    assert transport.texts == HANDSHAKE


@pytest.mark.parametrize("answer", ["1", "3", "2.0", "", "one"])
def test_other_protocol_version_is_refused(answer: str) -> None:
    with pytest.raises(FrameError, match="speaks protocol version"):
        connect(version=answer)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "1,2,2,12",
        "1,2,2,12,16,1",
        "1,2,-2,12,16",
        "1,2,2.0,12,16",
        "a,b,c,d,e",
        "0,2,2,12,16",
        "1,0,2,12,16",
        "1,2,2,17,16",
        "1,2,2,0,16",
        "1,2,2,12,0",
        "1,2,2,12," + "9" * 5000,
    ],
)
def test_impossible_geometry_is_refused(answer: str) -> None:
    with pytest.raises(FrameError, match="CHIP:GEOMetry"):
        connect(size=answer)


@pytest.mark.parametrize(
    "answer",
    [
        "4294967295,2,2,12,16",
        "65537,2,2,12,16",
        "1,1000000,2,12,16",
        "1,2,65537,12,16",
        "1,8192,8193,12,16",
        "1,2,2,12,1048577",
    ],
)
def test_geometry_that_would_exhaust_the_host_is_refused_with_the_limits(answer: str) -> None:
    words = "65536 cores, 65536 rows, 65536 columns, 67108864 cells a core and 1048576 vectors"
    with pytest.raises(FrameError, match=words):
        connect(size=answer)


@pytest.mark.parametrize("answer", ["65536,8192,8192,16,1048576", "1,65536,1024,1,1"])
def test_largest_geometry_is_taken(answer: str) -> None:
    board, _ = connect(size=answer)
    size = board.geometry()
    sizes = (size.cores, size.rows, size.columns, size.counter_bits, size.max_vectors)
    assert ",".join(map(str, sizes)) == answer


def test_failed_handshake_closes_the_link() -> None:
    transport = AnsweringTransport(lambda _: "1")
    with pytest.raises(FrameError):
        board_over(transport, 1.0)
    assert transport.is_closed


@pytest.mark.parametrize("answer", ["", "Example", "a,b,c", "a,b,c,d,e"])
def test_identity_without_four_fields_is_refused(answer: str) -> None:
    with pytest.raises(FrameError, match=r"IEEE 488\.2 says 4"):
        connect(identity=answer)


def test_control_characters_of_the_identity_do_not_reach_a_terminal() -> None:
    board, _ = connect(identity="Ac\x1b[31mme,A\x071,\x7f7,1.0")
    assert str(board.identify()) == "Ac?[31mme A?1, serial ?7, firmware 1.0"


def test_control_characters_of_a_refusal_do_not_reach_a_terminal() -> None:
    board, _ = connect(temperature='!-200,"Hot\x1b]0;x\x07"')
    with pytest.raises(DeviceError) as caught:
        board.temperature_c(0, FOUR)
    assert caught.value.words == "Hot?]0;x?"


def test_identity_is_taken_apart() -> None:
    board, _ = connect(identity="Acme, A1 ,7,1.0")
    assert str(board.identify()) == "Acme A1, serial 7, firmware 1.0"


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (frame(core=1), "core 1 where 0 is due"),
        (frame(read_mode=ReadMode.ONE_PHASE), "read mode one_phase where four_phase is due"),
        (frame(read_mode=None), "read mode None where four_phase is due"),
        (frame(first_vector=1), "first vector 1 where 0 is due"),
        (frame(payload=np.ones((2, 2, 2), np.uint16)), r"shape \(2, 2, 2\) where \(1, 2, 2\)"),
        (frame(payload=np.ones((1, 1, 2), np.uint16)), r"shape \(1, 1, 2\) where \(1, 2, 2\)"),
        (frame(payload=np.ones((1, 2, 3), np.uint16)), r"shape \(1, 2, 3\) where \(1, 2, 2\)"),
        (frame(payload=np.ones((0, 2, 2), np.uint16)), r"shape \(0, 2, 2\) where \(1, 2, 2\)"),
        (
            frame(kind=FrameKind.OUTPUTS, payload=np.ones((1, 2), np.int8)),
            "a frame of outputs, counts are due",
        ),
        (frame(sequence=1), "sequence number 1, the request"),
        ("25.0", "where a block is due"),
    ],
    ids=[
        "core",
        "other_mode",
        "no_mode",
        "first_vector",
        "vectors",
        "polarities",
        "columns",
        "empty",
        "kind",
        "sequence",
        "text",
    ],
)
@pytest.mark.parametrize("query", ["readout", "latched"])
def test_counts_of_something_else_are_refused(query: str, reply: Reply, words: str) -> None:
    board, _ = connect(**{query: reply})
    ask = {
        "readout": lambda: board.read_counts(0, FOUR, INPUTS),
        "latched": lambda: board.latched_counts(0, FOUR, 1),
    }
    with pytest.raises(FrameError, match=words):
        ask[query]()


@pytest.mark.parametrize("count", [4096, 65535])
def test_count_above_the_counter_is_refused(count: int) -> None:
    board, _ = connect(readout=frame(payload=np.full((1, 2, 2), count, np.uint16)))
    with pytest.raises(FrameError, match=f"a count of {count}: the device's counters hold 4095"):
        board.read_counts(0, FOUR, INPUTS)


def test_highest_count_of_the_counter_is_taken() -> None:
    board, _ = connect(readout=frame(payload=np.full((1, 2, 2), 4095, np.uint16)))
    assert board.read_counts(0, FOUR, INPUTS).max() == 4095


def test_outputs_of_another_shape_are_refused() -> None:
    reply = frame(kind=FrameKind.OUTPUTS, payload=np.ones((1, 3), np.int8))
    board, _ = connect(readout=reply)
    with pytest.raises(FrameError, match=r"shape \(1, 3\) where \(1, 2\) is due"):
        board.read_corrected(0, FOUR, INPUTS)


@pytest.mark.parametrize("text", ['"in_bits=ten"', '"depth=3"', '"shift=99"', '"merge=never"'])
def test_impossible_nmpu_format_is_refused(text: str) -> None:
    codes = np.zeros((4, 2), np.int16)
    board, _ = connect(fmt=text, registers=frame(kind=FrameKind.REGISTERS, payload=codes))
    with pytest.raises(FrameError, match="NMPU settings make no sense"):
        board.read_nmpu(0, FOUR)


@pytest.mark.parametrize(
    ("row", "code"), [(0, -1), (1, 256), (3, 2)], ids=["scale_p", "scale_n", "swap"]
)
def test_impossible_nmpu_registers_are_refused(row: int, code: int) -> None:
    codes = np.zeros((4, 2), np.int16)
    codes[row, 1] = code
    board, _ = connect(fmt='"shift=1"', registers=frame(kind=FrameKind.REGISTERS, payload=codes))
    with pytest.raises(FrameError, match="NMPU settings make no sense"):
        board.read_nmpu(0, FOUR)


def test_nmpu_settings_are_read() -> None:
    codes = np.array([[128, 255], [64, 192], [-118, 127], [0, 1]], dtype=np.int16)
    board, _ = connect(fmt='"shift=2"', registers=frame(kind=FrameKind.REGISTERS, payload=codes))
    fmt, registers = board.read_nmpu(0, FOUR)
    assert fmt == NmpuFormat(shift=2)
    np.testing.assert_array_equal(registers.to_codes(), codes)


@pytest.mark.parametrize("answer", ["warm", "", "nan", "inf", "25 C"])
def test_temperature_that_is_none_is_refused(answer: str) -> None:
    board, _ = connect(temperature=answer)
    with pytest.raises(FrameError, match="TEMPerature"):
        board.temperature_c(0, FOUR)


def test_temperature_is_read_for_its_core_and_mode() -> None:
    board, transport = connect(temperature="25.125")
    assert board.temperature_c(0, ReadMode.ONE_PHASE) == 25.125
    assert transport.texts[-3:] == ["CORE:SELect 0", "READ:MODE ONEPhase", "TEMPerature?"]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (np.zeros((1, 3), np.int8), r"must be int8 \(1, 2\), got int8 \(1, 3\)"),
        (np.zeros((1, 2), np.int16), r"got int16 \(1, 2\)"),
        (np.zeros(2, np.int8), r"got int8 \(2,\)"),
        (np.zeros((0, 2), np.int8), "0 input vectors: must be 1 to 16"),
        (np.zeros((17, 2), np.int8), "17 input vectors: must be 1 to 16"),
    ],
    ids=["rows", "dtype", "axes", "none", "too_many"],
)
def test_impossible_inputs_are_refused_before_anything_is_sent(inputs: Any, words: str) -> None:
    board, transport = connect()
    with pytest.raises(ValueError, match=words):
        board.read_counts(0, FOUR, inputs)
    assert transport.texts == HANDSHAKE


def test_weights_of_another_shape_are_refused_before_anything_is_sent() -> None:
    board, transport = connect()
    with pytest.raises(ValueError, match=r"weights: must be int8 \(2, 2\), got int8 \(2, 3\)"):
        board.program(0, np.zeros((2, 3), np.int8))
    assert transport.texts == HANDSHAKE


def test_weights_are_not_programmed_where_the_core_was_not_selected() -> None:
    board, transport = connect(**{"CORE:SELect": "NO"})
    with pytest.raises(FrameError, match="where OK is due"):
        board.program(0, np.zeros((2, 2), np.int8))
    assert transport.texts[-1] == "CORE:SELect 0"


def test_device_that_gives_up_is_a_lost_link() -> None:
    class GivesUp(AnsweringTransport):
        def send(self, data: bytes, *, timeout_s: float) -> None:
            self._arrived += b'@0 !-160,"Block data error"\n'

    with pytest.raises(LinkLostError, match="Block data error"):
        board_over(GivesUp(lambda _: ""), 1.0)
