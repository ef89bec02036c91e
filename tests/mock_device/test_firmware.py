"""The firmware: every command of the protocol, byte for byte, and every way to get one wrong.

Blocks are packed and unpacked here by hand, with a CRC of their own: a shared codec proves nothing.
"""

import logging
import struct
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from hil.core.errors import DeviceError
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ChipGeometry, ChipIdentity, ReadMode
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.device import MockDevice
from hil_mock_device.firmware.dispatch import Firmware
from hil_mock_device.silicon import Silicon
from small_profiles import ideal_profile

WEIGHTS = b"\x1e\xec" + b"\xfa\x01" + b"\x00\x00"
"""30 -20; -6 1; 0 0: three rows of two columns."""
INPUTS = b"\x01\x02\x03"
"""One vector, 1 2 3: products P 30 and 2, N 12 and 20."""

NO_ERROR = b'0,"No error"\n'


def crc32c(data: bytes) -> int:
    """Return the CRC-32C, bit by bit (RFC 3720: polynomial 0x82F63B78 reflected)."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def test_crc_used_here_has_the_published_check_value() -> None:
    assert crc32c(b"123456789") == 0xE3069283


KINDS = {"weights": (1, 1), "inputs": (2, 1), "counts": (3, 4), "outputs": (4, 1), "regs": (5, 3)}
"""Kind to its code and its dtype's code."""


def frame(
    kind: str,
    shape: tuple[int, ...],
    payload: bytes,
    *,
    tag: int = 0,
    core: int = 0,
    mode: int = 0,
    version: int = 1,
) -> bytes:
    code, dtype = KINDS[kind]
    sizes = (*shape, 1, 1)[:3]
    body = b"HILF" + struct.pack(
        "<BBBBIHBBIIII", version, code, mode, dtype, tag, core, len(shape), 0, *sizes, 0
    )
    return body + payload + struct.pack("<I", crc32c(body + payload))


def block(content: bytes) -> bytes:
    length = b"%d" % len(content)
    return b"#%d%s%s" % (len(length), length, content)


def program(*, tag: int = 0, core: int = 0, payload: bytes = WEIGHTS) -> bytes:
    start = b"@%d " % tag if tag else b""
    content = frame("weights", (3, 2), payload, tag=tag, core=core)
    return start + b"CORE:PROG " + block(content) + b"\n"


def drive(*, tag: int = 0, core: int = 0, mode: int = 4, payload: bytes = INPUTS) -> bytes:
    start = b"@%d " % tag if tag else b""
    vectors = len(payload) // 3
    content = frame("inputs", (vectors, 3), payload, tag=tag, core=core, mode=mode)
    return start + b"INP:DATA " + block(content) + b"\n"


def registers(codes: list[int], *, tag: int = 0, core: int = 0, mode: int = 4) -> bytes:
    start = b"@%d " % tag if tag else b""
    content = frame("regs", (4, 2), struct.pack("<8h", *codes), tag=tag, core=core, mode=mode)
    return start + b"NMPU:REG " + block(content) + b"\n"


def counts_answer(counts: list[int], *, tag: int = 0, core: int = 0, mode: int = 4) -> bytes:
    """Return the bytes that answer a readout, counts in the order vector, polarity, column."""
    payload = struct.pack(f"<{len(counts)}H", *counts)
    content = frame("counts", (len(counts) // 4, 2, 2), payload, tag=tag, core=core, mode=mode)
    return (b"@%d " % tag if tag else b"") + block(content) + b"\n"


UNIT_REGISTERS = [128, 64, 64, 128, -3, 4, 0, 0]
"""Scales P 1.0, 0.5; N 0.5, 1.0; offsets -1.5, 2; nothing swapped."""


class Instrument:
    """A mock device that one client talks to in bytes."""

    def __init__(self, silicon: Silicon | None = None) -> None:
        self.firmware = Firmware(silicon or ChipModel(ideal_profile()))
        self._device = MockDevice(self.firmware)

    def __call__(self, data: bytes) -> bytes:
        return self._device.receive(data)

    @property
    def next_error(self) -> bytes:
        return self(b"SYST:ERR?\n")

    @property
    def error_code(self) -> int:
        return int(self.next_error.split(b",")[0])


@pytest.fixture
def device() -> Instrument:
    return Instrument()


@pytest.fixture
def ready(device: Instrument) -> Instrument:
    """Return a device with weights and one input vector."""
    assert device(program() + drive()) == b""
    assert device.next_error == NO_ERROR
    return device


# --- text commands -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        (b"*IDN?", b"aimc-hil,mock-chip,ideal-0,1.0"),
        (b"*OPC?", b"1"),
        (b"*TST?", b"0"),
        (b"SYSTem:ERRor?", b'0,"No error"'),
        (b"SYSTem:VERSion?", b"1999.0"),
        (b"CHIP:PROTocol?", b"2,CRC32C"),
        (b"CHIP:GEOMetry?", b"2,3,2,12,4096"),
        (b"CORE:SELect?", b"0"),
        (b"READ:MODE?", b"FOUR"),
        (b"NMPU:STATe?", b"0"),
        (
            b"NMPU:FORMat?",
            (
                b'"in_bits=10,scale_int=1,scale_frac=7,off_int=7,off_frac=1,off_bits=8,shift=0,'
                b"cut_pre=0,rounding=half_up,acc_bits=12,out_bits=8,saturate=1,symmetric=0,"
                b'merge=after_subtract,offset_at=after_shift,shared_scale=0"'
            ),
        ),
        (b"TEMPerature?", b"25.000"),
    ],
    ids=lambda part: part.decode()[:16],
)
def test_query_at_power_on_answers(device: Instrument, query: bytes, answer: bytes) -> None:
    assert device(query + b"\n") == answer + b"\n"
    assert device(b"@41 " + query + b"\n") == b"@41 " + answer + b"\n"


@pytest.mark.parametrize(
    ("command", "query", "answer"),
    [
        (b"CORE:SELect 1", b"CORE:SEL?", b"1"),
        (b"READ:MODE ONEPhase", b"READ:MODE?", b"ONEP"),
        (b"READ:MODE fourphase", b"READ:MODE?", b"FOUR"),
        (b"NMPU:STATe ON", b"NMPU:STAT?", b"1"),
        (b"NMPU:STATe 1", b"NMPU:STAT?", b"1"),
        (b"NMPU:STATe off", b"NMPU:STAT?", b"0"),
        (b"NMPU:STATe 0", b"NMPU:STAT?", b"0"),
    ],
    ids=lambda part: part.decode(),
)
def test_setting_is_kept_and_told(
    device: Instrument, command: bytes, query: bytes, answer: bytes
) -> None:
    assert device(b"@1 " + command + b"\n") == b"@1 OK\n"
    assert device(query + b"\n") == answer + b"\n"


@pytest.mark.parametrize(
    "spelling",
    [
        b"SYSTem:ERRor:NEXT?",
        b"SYST:ERR:NEXT?",
        b"SYSTEM:ERROR?",
        b"system:error:next?",
        b"SySt:ErR?",
        b":SYST:ERR?",
        b"  SYST:ERR?  ",
    ],
    ids=lambda spelling: spelling.decode(),
)
def test_every_spelling_of_a_header_is_understood(device: Instrument, spelling: bytes) -> None:
    assert device(spelling + b"\n") == NO_ERROR


@pytest.mark.parametrize(
    "spelling",
    [b"SYSTE:ERR?", b"SYST:ERR", b"SYST:?", b"ERR?", b"TEMP", b"*IDN", b"IDN?", b"CORE:SELE 0"],
    ids=lambda spelling: spelling.decode(),
)
def test_every_other_spelling_is_an_undefined_header(device: Instrument, spelling: bytes) -> None:
    header = spelling.split()[0]
    assert device(spelling + b"\n") == b""
    assert device.next_error == b'-113,"Undefined header; ' + header + b'"\n'


@pytest.mark.parametrize("command", [b"*OPC", b"*WAI", b"*CLS", b"*RST", b"SAFE"])
def test_command_without_effect_to_see_is_acknowledged_only_where_tagged(
    device: Instrument, command: bytes
) -> None:
    assert device(command + b"\n") == b""
    assert device(b"@3 " + command + b"\n") == b"@3 OK\n"
    assert device.next_error == NO_ERROR


def test_compound_message_is_carried_out_in_order(device: Instrument) -> None:
    assert device(b"CORE:SEL 1;CORE:SEL?; :CORE:SEL 0 ;CORE:SEL?\n") == b"1;0\n"


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (b"SYST:VERS?;ERR?", b'1999.0;0,"No error"'),
        (b"SYSTEM:VERSION?;ERROR:NEXT?;NEXT?", b'1999.0;0,"No error";0,"No error"'),
        (b"SYST:VERS?;*OPC?;ERR?", b'1999.0;1;0,"No error"'),
        (b"SYST:VERS?;:CORE:SEL?;SEL?", b"1999.0;0;0"),
        (b"SYST:VERS?;CORE:SEL?;SEL?", b"1999.0;0;0"),
        (b"CORE:SEL 1;READ:MODE?;CORE:SEL?", b"FOUR;1"),
    ],
    ids=["relative", "relative twice", "past a common command", "root", "from root", "our own"],
)
def test_header_after_a_semicolon_is_relative_or_from_the_root(
    device: Instrument, message: bytes, answer: bytes
) -> None:
    assert device(message + b"\n") == answer + b"\n"
    assert device.next_error == NO_ERROR


@pytest.mark.parametrize("message", [b"SYST:VERS?;:ERR?", b"CORE:SEL?;VERS?", b"*OPC?;ERR?"])
def test_header_that_is_none_at_either_place_is_undefined(
    device: Instrument, message: bytes
) -> None:
    assert device(message + b"\n").count(b";") == 0
    assert device.error_code == -113


def test_path_ends_with_its_message(device: Instrument) -> None:
    assert device(b"SYST:VERS?\nERR?\n") == b"1999.0\n"
    assert device.error_code == -113


def test_answers_of_a_compound_that_nobody_could_hold_are_a_deadlock() -> None:
    chip = ChipModel(ideal_profile(array={"rows": 1, "columns": 4096}))
    instrument = Instrument(chip)
    weights = frame("weights", (1, 4096), bytes(4096))
    inputs = frame("inputs", (2048, 1), bytes(2048), mode=4)
    instrument(b"CORE:PROG " + block(weights) + b"\nINP:DATA " + block(inputs) + b"\n")
    # Each answer has 2048 * 2 * 4096 * 2 bytes, 32 MiB; 64 MiB may be held.
    assert instrument(b"READ?;FETC:COUN?;*OPC?\n") == b"1\n"
    assert instrument.error_code == -430


def test_compound_message_goes_on_after_an_error(device: Instrument) -> None:
    assert device(b"CORE:SEL 7;*OPC?\n") == b"1\n"
    assert device.error_code == -222


def test_semicolon_in_quotes_does_not_split(device: Instrument) -> None:
    assert device(b'NMPU:FORM "shift=1;in_bits=9";*OPC?\n') == b"1\n"
    assert device.error_code == -224


def test_block_belongs_to_the_last_command_of_a_compound(device: Instrument) -> None:
    frame_bytes = frame("weights", (3, 2), WEIGHTS, core=1)
    assert device(b"CORE:SEL 1;CORE:PROG " + block(frame_bytes) + b"\n") == b""
    assert device.next_error == NO_ERROR


def test_empty_parts_and_messages_are_nothing(device: Instrument) -> None:
    assert device(b"\n;;*OPC?;\n  \n") == b"1\n"
    assert device.next_error == NO_ERROR


def test_message_may_end_in_carriage_return_and_newline(device: Instrument) -> None:
    assert device(b"*OPC?\r\n@5 CORE:SEL 1\r\n") == b"1\n@5 OK\n"


def test_header_and_parameter_may_be_parted_by_a_tab(device: Instrument) -> None:
    assert device(b"@1 CORE:SEL\t 1\n") == b"@1 OK\n"


# --- errors --------------------------------------------------------------------------------------


def test_errors_are_queued_in_order(device: Instrument) -> None:
    device(b"BAD\nCORE:SEL 9\nNMPU:STAT MAYBE\n")
    assert [device.error_code for _ in range(4)] == [-113, -222, -224, 0]


def test_full_error_queue_ends_in_an_overflow(device: Instrument) -> None:
    device(b"BAD\n" * 40)
    codes = [device.error_code for _ in range(17)]
    assert codes == [-113] * 15 + [-350, 0]


def test_queue_takes_errors_again_after_one_was_read(device: Instrument) -> None:
    device(b"BAD\n" * 17)
    assert device.error_code == -113
    device(b"CORE:SEL 9\n")
    assert [device.error_code for _ in range(16)] == [-113] * 14 + [-350, -222]


def test_clear_status_empties_the_queue(device: Instrument) -> None:
    device(b"BAD\nBAD\n*CLS\n")
    assert device.next_error == NO_ERROR


def test_tagged_error_comes_in_band_and_is_not_queued(device: Instrument) -> None:
    assert device(b"@8 BAD\n") == b'@8 !-113,"Undefined header; BAD"\n'
    assert device.next_error == NO_ERROR


def test_tagged_message_holds_one_command(device: Instrument) -> None:
    assert device(b"@8 *OPC?;*OPC?\n").startswith(b"@8 !-113,")


@pytest.mark.parametrize(
    ("request_bytes", "code"),
    [
        (b"CORE:SEL 2", -222),
        (b"CORE:SEL -1", -222),
        (b"CORE:SEL one", -222),
        (b"CORE:SEL 99999999999999999999", -222),
        (b"CORE:SEL", -109),
        (b"CORE:SEL 0,1", -108),
        (b"READ:MODE TWOPhase", -224),
        (b"READ:MODE", -109),
        (b"NMPU:STAT 2", -224),
        (b'NMPU:FORM "shift=16"', -224),
        (b'NMPU:FORM "shift=one"', -224),
        (b'NMPU:FORM "shifts=1"', -224),
        (b'NMPU:FORM "rounding=up"', -224),
        (b"NMPU:FORM shift=1,in_bits=9", -108),
        (b"READ? 1", -108),
        (b"READ?", -221),
        (b"FETC:COUN?", -230),
        (b"FETC:COUN? 1", -108),
        (b"NMPU:REG?", -221),
        (b"CORE:PROG", -109),
        (b"CORE:PROG 1", -108),
        (b"INP:DATA", -109),
        (b"NMPU:REG", -109),
        (b"CORE:SEL #11x", -108),
    ],
    ids=lambda part: part.decode() if isinstance(part, bytes) else str(part),
)
def test_wrong_request_is_refused_with_its_number(
    device: Instrument, request_bytes: bytes, code: int
) -> None:
    assert device(b"@6 " + request_bytes + b"\n").startswith(b"@6 !%d," % code)


def corrupt(content: bytes) -> bytes:
    return content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]


@pytest.mark.parametrize(
    ("header", "content", "code"),
    [
        ("CORE:PROG", b"", -160),
        ("CORE:PROG", b"x" * 60, -160),
        ("CORE:PROG", corrupt(frame("weights", (3, 2), WEIGHTS, tag=6)), -160),
        ("CORE:PROG", frame("weights", (3, 2), WEIGHTS, tag=6)[:-1], -160),
        ("CORE:PROG", frame("weights", (3, 2), WEIGHTS, tag=6, version=2), -160),
        ("CORE:PROG", frame("weights", (3, 2), WEIGHTS, tag=5), -160),
        ("CORE:PROG", frame("weights", (3, 2), WEIGHTS, tag=6, core=1), -160),
        ("CORE:PROG", frame("inputs", (2, 3), WEIGHTS, tag=6, mode=4), -160),
        ("CORE:PROG", frame("weights", (2, 3), WEIGHTS, tag=6), -222),
        ("CORE:PROG", frame("weights", (3, 2), b"\x80" + WEIGHTS[1:], tag=6), -222),
        ("INP:DATA", frame("inputs", (1, 3), INPUTS, tag=6, mode=1), -160),
        ("INP:DATA", frame("inputs", (1, 2), b"\x01\x02", tag=6, mode=4), -222),
        ("INP:DATA", frame("inputs", (0, 3), b"", tag=6, mode=4), -222),
        ("INP:DATA", frame("inputs", (4097, 3), bytes(3 * 4097), tag=6, mode=4), -222),
        ("INP:DATA", frame("inputs", (1, 3), b"\x01\x80\x01", tag=6, mode=4), -222),
        ("NMPU:REG", frame("regs", (4, 1), bytes(8), tag=6, mode=4), -222),
        ("NMPU:REG", frame("regs", (4, 2), bytes(16), tag=6, mode=1), -160),
    ],
    ids=[
        "empty", "no frame", "crc", "truncated", "version", "sequence", "core", "kind",
        "shape", "weight -128", "mode", "rows", "no vectors", "too many vectors", "input -128",
        "registers of one column", "registers of other mode",
    ],
)  # fmt: skip
def test_wrong_block_is_refused_with_its_number(
    device: Instrument, header: str, content: bytes, code: int
) -> None:
    answer = device(b"@6 " + header.encode() + b" " + block(content) + b"\n")
    assert answer.startswith(b"@6 !%d," % code)


def test_error_words_stay_one_quoted_line_of_bounded_length(device: Instrument) -> None:
    answer = device(b"@6 NMPU:FORM '" + b'"' * 3000 + b"=1'\n")
    assert answer.startswith(b'@6 !-224,"')
    assert answer.endswith(b'"\n')
    assert answer.count(b'"') == 2
    assert len(answer) <= len(b'@6 !-224,"') + 255 + 2


# --- readouts ------------------------------------------------------------------------------------


def test_read_answers_the_counts_of_the_worked_example(ready: Instrument) -> None:
    assert ready(b"READ?\n") == counts_answer([30, 2, 12, 20])


def test_one_phase_read_answers_the_net_sums(device: Instrument) -> None:
    device(b"READ:MODE ONEP\n" + program() + drive(mode=1))
    assert device(b"@9 READ?\n") == counts_answer([18, 0, 0, 18], tag=9, mode=1)


def test_tagged_readout_carries_the_tag_in_the_frame(device: Instrument) -> None:
    assert device(program(tag=1) + drive(tag=2)) == b"@1 OK\n@2 OK\n"
    assert device(b"@70000 READ?\n") == counts_answer([30, 2, 12, 20], tag=70000)


def test_selected_core_is_the_one_read(device: Instrument) -> None:
    device(b"CORE:SEL 1\n" + program(core=1) + drive(core=1))
    assert device(b"READ?\n") == counts_answer([30, 2, 12, 20], core=1)


def test_several_vectors_are_read_in_order(ready: Instrument) -> None:
    ready(drive(payload=b"\x00\x01\x00" + b"\x01\x00\x00"))
    # -6 and 1, then 30 and -20.
    assert ready(b"READ?\n") == counts_answer([0, 1, 6, 0, 30, 0, 0, 20])


def test_fetch_repeats_the_last_counts(ready: Instrument) -> None:
    ready(b"READ?\n")
    assert ready(b"FETC:COUN?\n") == counts_answer([30, 2, 12, 20])


def test_fetch_names_the_core_and_mode_that_were_read(ready: Instrument) -> None:
    ready(b"READ?\nCORE:SEL 1\nREAD:MODE ONEP\n")
    assert ready(b"FETC:COUN?\n") == counts_answer([30, 2, 12, 20], core=0, mode=4)


def test_core_that_is_not_programmed_is_refused(device: Instrument) -> None:
    device(drive())
    assert device(b"@1 READ?\n").startswith(b'@1 !-221,"Settings conflict; core 0 is not programm')


def test_programming_drops_the_latched_counts(ready: Instrument) -> None:
    ready(b"READ?\n" + program())
    assert ready(b"@1 FETC:COUN?\n").startswith(b"@1 !-230,")


def test_refused_read_leaves_no_older_counts_to_be_fetched(ready: Instrument) -> None:
    ready(b"READ?\nCORE:SEL 1\n")
    assert ready(b"@1 READ?\n").startswith(b"@1 !-221,")
    assert ready(b"@2 FETC:COUN?\n").startswith(b"@2 !-230,")


# --- the NMPU ------------------------------------------------------------------------------------


def outputs_answer(codes: list[int], *, tag: int = 0) -> bytes:
    content = frame("outputs", (1, 2), struct.pack("<2b", *codes), tag=tag, mode=4)
    return (b"@%d " % tag if tag else b"") + block(content) + b"\n"


def test_nmpu_outputs_are_the_worked_example(ready: Instrument) -> None:
    # 30 * 1.0 - 12 * 0.5 - 1.5 = 22.5, rounded half up 23; 2 * 0.5 - 20 * 1.0 + 2 = -17.
    ready(registers(UNIT_REGISTERS) + b"NMPU:STAT ON\n")
    assert ready(b"@4 READ?\n") == outputs_answer([23, -17], tag=4)


def test_swapped_column_subtracts_the_other_way(ready: Instrument) -> None:
    # 12 * 1.0 - 30 * 0.5 - 1.5 = -4.5, rounded half up -4; column 1 as above.
    ready(registers([*UNIT_REGISTERS[:6], 1, 0]) + b"NMPU:STAT ON\n")
    assert ready(b"READ?\n") == outputs_answer([-4, -17])


def test_shift_of_the_format_halves_the_outputs(ready: Instrument) -> None:
    # (30 - 6) / 2 - 1.5 = 10.5, up to 11; (1 - 20) / 2 + 2 = -7.5, up to -7.
    ready(b'NMPU:FORM "shift=1"\n' + registers(UNIT_REGISTERS) + b"NMPU:STAT ON\n")
    assert ready(b"READ?\n") == outputs_answer([11, -7])


def test_counts_behind_the_nmpu_outputs_can_be_fetched(ready: Instrument) -> None:
    ready(registers(UNIT_REGISTERS) + b"NMPU:STAT ON\nREAD?\n")
    assert ready(b"FETC:COUN?\n") == counts_answer([30, 2, 12, 20])


def test_nmpu_without_registers_is_refused(ready: Instrument) -> None:
    ready(b"NMPU:STAT ON\n")
    assert ready(b"@1 READ?\n").startswith(b'@1 !-221,"Settings conflict; no NMPU registers')


def test_registers_are_given_back(device: Instrument) -> None:
    device(registers(UNIT_REGISTERS))
    content = frame("regs", (4, 2), struct.pack("<8h", *UNIT_REGISTERS), tag=9, mode=4)
    assert device(b"@9 NMPU:REG?\n") == b"@9 " + block(content) + b"\n"


@pytest.mark.parametrize(
    "codes",
    [
        [256, 64, 64, 128, -3, 4, 0, 0],
        [128, 64, -1, 128, -3, 4, 0, 0],
        [128, 64, 64, 128, 128, 4, 0, 0],
        [128, 64, 64, 128, -3, -129, 0, 0],
        [128, 64, 64, 128, -3, 4, 2, 0],
    ],
    ids=["scale 256", "scale -1", "offset 128", "offset -129", "swap 2"],
)
def test_register_code_out_of_range_is_refused(device: Instrument, codes: list[int]) -> None:
    assert device(registers(codes, tag=5)).startswith(b"@5 !-222,")
    assert device(b"@6 NMPU:REG?\n").startswith(b"@6 !-221,")


def test_new_format_drops_the_registers(device: Instrument) -> None:
    device(registers(UNIT_REGISTERS) + b'NMPU:FORM "shift=1"\n')
    assert device(b"@6 NMPU:REG?\n").startswith(b"@6 !-221,")


def test_refused_format_keeps_the_registers(device: Instrument) -> None:
    device(registers(UNIT_REGISTERS) + b'NMPU:FORM "shift=99"\n')
    assert device(b"NMPU:REG?\n").startswith(b"#")


def test_wider_offset_register_takes_wider_codes(device: Instrument) -> None:
    device(b'NMPU:FORM "off_bits=9"\n')
    assert device(registers([128, 64, 64, 128, -256, 255, 0, 0], tag=5)) == b"@5 OK\n"


def test_registers_belong_to_a_core_and_read_mode(device: Instrument) -> None:
    device(registers(UNIT_REGISTERS) + b"READ:MODE ONEP\n")
    assert device(b"@6 NMPU:REG?\n").startswith(b"@6 !-221,")
    device(b"READ:MODE FOUR;CORE:SEL 1\n")
    assert device(b"@7 NMPU:REG?\n").startswith(b"@7 !-221,")


# --- leaving -------------------------------------------------------------------------------------


def test_reset_returns_to_the_power_on_settings(ready: Instrument) -> None:
    ready(b"CORE:SEL 1;READ:MODE ONEP;NMPU:STAT ON;*RST\n")
    assert ready(b"CORE:SEL?;READ:MODE?;NMPU:STAT?\n") == b"0;FOUR;0\n"
    assert ready(b"@1 READ?\n").startswith(b"@1 !-221,")
    assert ready(b"@2 FETC:COUN?\n").startswith(b"@2 !-230,")


def test_reset_keeps_the_weights(ready: Instrument) -> None:
    ready(b"*RST\n" + drive())
    assert ready(b"READ?\n") == counts_answer([30, 2, 12, 20])


def test_reset_keeps_nmpu_format_and_registers(device: Instrument) -> None:
    device(b'NMPU:FORM "shift=3"\n' + registers(UNIT_REGISTERS) + b"*RST\n")
    assert b",shift=3," in device(b"NMPU:FORM?\n")
    assert struct.pack("<8h", *UNIT_REGISTERS) in device(b"NMPU:REG?\n")


def test_reset_begins_the_noise_again() -> None:
    noisy = ideal_profile(counter={"offset_mean_counts": 100.0, "read_noise_counts": 20.0})
    device = Instrument(ChipModel(noisy))
    device(program() + drive())
    first, second = device(b"READ?\n"), device(b"READ?\n")
    assert first != second
    assert device(b"*RST\n" + drive() + b"READ?\n") == first


def test_safe_drives_nothing_and_switches_the_nmpu_off(ready: Instrument) -> None:
    ready(registers(UNIT_REGISTERS) + b"NMPU:STAT ON\nSAFE\n")
    assert ready(b"NMPU:STAT?\n") == b"0\n"
    assert ready(b"@1 READ?\n").startswith(b'@1 !-221,"Settings conflict; no input vectors')


def test_safe_keeps_weights_and_registers(ready: Instrument) -> None:
    ready(registers(UNIT_REGISTERS) + b"SAFE\n" + drive() + b"NMPU:STAT ON\n")
    assert ready(b"READ?\n") == outputs_answer([23, -17])


# --- what must never happen, and does ------------------------------------------------------------


class BrokenSilicon:
    """A chip whose simulation has a bug."""

    def __init__(self, failure: Callable[[], Exception]) -> None:
        self._failure = failure
        self.identity = ChipIdentity(manufacturer="a", model="b", serial="c", firmware="d")
        self.geometry = ChipGeometry(cores=2, rows=3, columns=2, counter_bits=12, max_vectors=8)

    def reset(self) -> None:
        raise self._failure()

    def program(self, core: int, weights: npt.NDArray[np.int8]) -> None:
        raise self._failure()

    def convert(
        self, core: int, read_mode: ReadMode, inputs: npt.NDArray[np.int8]
    ) -> npt.NDArray[np.uint16]:
        raise self._failure()

    def correct(
        self,
        core: int,
        read_mode: ReadMode,
        counts: npt.NDArray[np.uint16],
        fmt: NmpuFormat,
        registers: NmpuRegisters,
    ) -> npt.NDArray[np.int8]:
        raise self._failure()

    def temperature_c(self, core: int, read_mode: ReadMode) -> float:
        raise self._failure()


def test_bug_in_the_mock_is_answered_as_hardware_error_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    device = Instrument(BrokenSilicon(lambda: RuntimeError('a "bad"\nsimulation')))
    with caplog.at_level(logging.ERROR):
        answer = device(b"@5 TEMP?\n")
    assert answer == b"@5 !-240,\"Hardware error; RuntimeError: a 'bad' simulation\"\n"
    assert "RuntimeError" in caplog.text
    assert device(b"@6 *OPC?\n") == b"@6 1\n"


def test_bug_behind_a_plain_message_is_queued(caplog: pytest.LogCaptureFixture) -> None:
    device = Instrument(BrokenSilicon(lambda: RuntimeError("bad")))
    with caplog.at_level(logging.ERROR):
        assert device(b"*RST;*OPC?\n") == b"1\n"
    assert device.error_code == -240


def test_refusal_of_the_silicon_is_no_bug(caplog: pytest.LogCaptureFixture) -> None:
    device = Instrument(BrokenSilicon(lambda: DeviceError(-241, "Hardware missing")))
    assert device(b"@5 TEMP?\n") == b'@5 !-241,"Hardware missing"\n'
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("rows", "columns", "largest"),
    # What is largest: inputs of 4096 vectors, registers, weights.
    [(3, 2, 2 * (36 + 4096 * 3)), (1, 4096, 2 * (36 + 32768)), (16, 4096, 2 * (36 + 65536))],
)
def test_blocks_are_taken_up_to_twice_the_largest_legal_one(
    rows: int, columns: int, largest: int
) -> None:
    chip = ChipModel(ideal_profile(array={"rows": rows, "columns": columns}))
    assert Instrument(chip).firmware.largest_block == largest
