"""Whether every byte reaches the device and comes back as it was.

What a device gives back as it got it are its NMPU registers. Two bytes side by side are an offset
of 16 bits, a byte by itself is a scale of 8. Loading registers wears nothing; they are put back.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.core.errors import DeviceError, FrameError, HilError, TransportError
from hil.core.nmpu_format import NmpuFormat
from hil.diagnosis.finding import Finding, Verdict
from hil.diagnosis.tested_link import TestedLink
from hil_drivers.scpi import ScpiError

ALL_BYTES = bytes(range(256))
TEXTS = {
    "newlines": b"\n\r\n\n\n\r\r",
    "an answer": b"\n@1 OK\n@2 !-113,\n",
    "blocks": b"#15hello\n#0#9999999999#2",
    "tags": b"@4294967295 @0 @@@1\n",
    "NUL": b"\0\0\0\0\0\0\0\0",
    "ones": b"\xff\xff\xff\xff\xff\xff\xff\xff",
    "flow control": b"\x11\x13\x11\x13\x03\x04\x1a\x1b",
    "escapes": b"\x1b[2J\x7f\x08\x10\x14\xff\xfd\x18",
    "semicolons and quotes": b";*IDN?;\"'\"';:;",
}
"""Bytes that mean something to a terminal, a modem, Telnet or SCPI, by what they look like."""

_SUSPECTS = {
    0x00: "NUL",
    0x03: "Ctrl-C",
    0x04: "Ctrl-D",
    0x0A: "newline",
    0x0D: "carriage return",
    0x11: "XON",
    0x13: "XOFF",
    0x1A: "Ctrl-Z",
    0x1B: "escape",
    0x23: "#",
    0x40: "@",
    0x7F: "delete",
    0x80: "eighth bit",
    0xFF: "Telnet's IAC",
}
_ADVICE = (
    "set the line to raw mode, 8 data bits, no parity, no XON/XOFF flow control, no translation of "
    "newlines; look for a Telnet server where a raw socket is meant"
)
_CHECK, _TEXT_CHECK = "byte values", "payloads"
_CLAIM = "all 256 byte values reach the device and come back"
_TEXT_CLAIM = "payloads that look like newlines, #, @, NUL and flow control survive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registers:
    """How many bytes of a stream the registers take, and how."""

    columns: int
    """Columns of a core."""
    is_wide: bool
    """Whether the offset has 16 bits: then bytes stand side by side."""

    @property
    def size(self) -> int:
        """Bytes at once."""
        return 2 * self.columns if self.is_wide else self.columns

    def codes(self, stream: bytes) -> npt.NDArray[np.int16]:
        """Return registers (register, column) that hold the bytes, repeated as often as needed."""
        several = (stream * (self.size // max(len(stream), 1) + 1))[: self.size]
        codes = np.zeros((4, self.columns), dtype=np.int16)
        single = np.frombuffer(several[: self.columns], np.uint8)
        codes[0] = codes[1] = single
        if self.is_wide:
            codes[2] = np.frombuffer(several, "<i2")
        return codes


def prepare_registers(link: TestedLink) -> Registers | None:
    """Make the registers hold any byte; None where the device has none that do."""
    columns = link.requests.geometry.columns
    wide = NmpuFormat(scale_int=1, scale_frac=7, off_int=16, off_frac=0, off_bits=16)
    try:
        link.session.tell(f'NMPU:FORMat "{wide.to_text()}"')
    except DeviceError as error:
        if error.code != ScpiError.ILLEGAL_PARAMETER:
            raise
    else:
        return Registers(columns=columns, is_wide=True)
    own = link.nmpu_format()
    if own.scale_format.highest_code < 255:
        return None
    return Registers(columns=columns, is_wide=False)


def check_byte_values(link: TestedLink, registers: Registers | None, *, limit_s: float) -> Finding:
    """Send every byte value and have it sent back."""
    if registers is None:
        return _no_way(_CHECK, _CLAIM)
    deadline = time.monotonic() + limit_s
    pieces = [ALL_BYTES[start : start + registers.size] for start in range(0, 256, registers.size)]
    tried = b""
    for piece in pieces:
        if time.monotonic() > deadline:
            break
        tried += piece
        trouble = _trouble_with(link, registers, piece)
        if trouble is not None:
            changed = _changed_values(link, registers, deadline)
            return _failed(_CHECK, _CLAIM, trouble, changed)
    if len(tried) < 256:
        return Finding(
            check=_CHECK,
            claim=_CLAIM,
            verdict=Verdict.WARN,
            evidence=f"{len(tried)} of 256 values came back as they were; no time for the others",
            advice="give the test longer by --seconds",
            figures={"values": len(tried)},
        )
    side = "side by side and alone" if registers.is_wide else "alone"
    return Finding(
        check=_CHECK,
        claim=_CLAIM,
        verdict=Verdict.OK,
        evidence=f"256 values, {side}, there and back, {registers.size} at once",
        figures={"values": 256, "blocks": len(pieces)},
    )


def check_payloads(link: TestedLink, registers: Registers | None, *, limit_s: float) -> Finding:
    """Send what looks like something else, to and fro in registers and there in input vectors."""
    deadline = time.monotonic() + limit_s
    size = min(link.requests.geometry.rows, registers.size if registers is not None else 256)
    done: list[str] = []
    for names, text in text_pieces(size):
        if done and time.monotonic() > deadline:
            break
        trouble = _trouble_both_ways(link, registers, text)
        if trouble is not None:
            culprits = _troublesome(link, registers, names, deadline) or names
            changed = _changed_values(link, registers, deadline)
            words = f"{', '.join(culprits)}: {trouble}"
            return _failed(_TEXT_CHECK, _TEXT_CLAIM, words, changed)
        done += names
    has_all = set(done) == set(TEXTS)
    return Finding(
        check=_TEXT_CHECK,
        claim=_TEXT_CLAIM,
        verdict=Verdict.OK if has_all else Verdict.WARN,
        evidence=f"unchanged: {', '.join(dict.fromkeys(done))}",
        advice="" if has_all else "no time for the others: give the test longer by --seconds",
        figures={"payloads": list(dict.fromkeys(done))},
    )


def text_pieces(size: int) -> Iterator[tuple[list[str], bytes]]:
    """Return the texts in few pieces of at most `size` bytes, each with the names of its texts."""
    names: list[str] = []
    piece = b""
    for name, text in TEXTS.items():
        for start in range(0, len(text), size):
            part = text[start : start + size]
            if len(piece) + len(part) > size:
                yield names, piece
                names, piece = [], b""
            names, piece = [*names, name], piece + part
    yield names, piece


def _troublesome(
    link: TestedLink, registers: Registers | None, names: Sequence[str], deadline: float
) -> list[str]:
    """Return those of some texts that do not survive by themselves."""
    found = []
    for name in dict.fromkeys(names):
        if time.monotonic() > deadline or not link.come_back():
            break
        if _trouble_both_ways(link, registers, TEXTS[name]) is not None:
            found.append(name)
    return found


def _trouble_both_ways(link: TestedLink, registers: Registers | None, text: bytes) -> str | None:
    trouble = _trouble_with_inputs(link, text)
    if trouble is None and registers is not None:
        trouble = _trouble_with(link, registers, text)
    return trouble


def _trouble_with(link: TestedLink, registers: Registers, stream: bytes) -> str | None:
    sent = registers.codes(stream)
    try:
        link.write_codes(sent)
        got = link.read_codes()
    except DeviceError as error:
        return f"the device refused: {error}"
    except (TransportError, FrameError) as error:
        return str(error)
    if got.shape != sent.shape:
        return f"came back with shape {got.shape}, not {sent.shape}"
    wrong = np.argwhere(got != sent)
    if not len(wrong):
        return None
    register, column = (int(number) for number in wrong[0])
    was, is_now = int(sent[register, column]), int(got[register, column])
    return (
        f"{len(wrong)} of {sent.size} codes came back changed with a right checksum, first "
        f"{was & 0xFFFF:#06x} as {is_now & 0xFFFF:#06x}"
    )


def _trouble_with_inputs(link: TestedLink, text: bytes) -> str | None:
    rows = link.requests.geometry.rows
    several = text.replace(b"\x80", b"\x81") * (rows // len(text) + 1)
    try:
        link.write_inputs(np.frombuffer(several[:rows], np.int8).reshape(1, rows))
    except DeviceError as error:
        return f"the device refused: {error}"
    except (TransportError, FrameError) as error:
        return str(error)
    return None


def _failed(check: str, claim: str, trouble: str, changed: list[int]) -> Finding:
    named = ", ".join(f"{value:#04x} ({_SUSPECTS[value]})" for value in changed)
    more = f"; values that do not survive: {named}" if changed else ""
    advice = _ADVICE
    if "changed with a right checksum" in trouble:
        advice = "the firmware stores registers wrongly, or another client writes them, too"
    return Finding(
        check=check,
        claim=claim,
        verdict=Verdict.FAIL,
        evidence=trouble + more,
        advice=advice,
        figures={"changed_values": changed},
    )


def _changed_values(link: TestedLink, registers: Registers | None, deadline: float) -> list[int]:
    """Return the suspicious byte values that do not survive by themselves."""
    found: list[int] = []
    if registers is None:
        return found
    for value in _SUSPECTS:
        if time.monotonic() > deadline or not link.come_back():
            break
        try:
            if _trouble_with(link, registers, b"A" + bytes([value])) is not None:
                found.append(value)
        except HilError:
            break
    link.come_back()
    return found


def _no_way(check: str, claim: str) -> Finding:
    return Finding(
        check=check,
        claim=claim,
        verdict=Verdict.SKIPPED,
        evidence="this device has no register that holds all byte values",
    )
