"""What a board's text answers mean; each that makes no sense is a `FrameFault` (WRONG_ANSWER)."""

import math
import re
from dataclasses import dataclass

import google_crc32c
import numpy as np
import numpy.typing as npt

from hil.core.legible import printable, quoted
from hil.core.readout import ChipGeometry, ChipIdentity
from hil_drivers.link_fault import FaultKind, FrameFault
from hil_drivers.message_bytes import HIGHEST_TAG
from hil_drivers.stream_window import MOST_VECTORS

_MOST_CORES = 1 << 16
"""A frame has 16 bits for the core number."""
_LONGEST_SIDE = 1 << 16
_MOST_CELLS = 1 << 26
_MOST_VECTORS = 1 << 20
"""Far beyond any chip; a device that claims more would exhaust the host's memory."""

_HIGHEST_CRC = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Programmings:
    """What a core remembers of being programmed."""

    times: int
    """How often programming was begun in the core's life."""
    weights_crc: int
    """CRC-32C of the weights it holds; 0 where the last programming did not end."""

    @classmethod
    def parse(cls, answer: str) -> "Programmings":
        """Read an answer to ``CORE:PROGram?``."""
        times, weights_crc = _numbers("CORE:PROGram?", answer, 2)
        if weights_crc > _HIGHEST_CRC:
            raise _senseless("CORE:PROGram?", answer, "must be a count and a CRC of 32 bits")
        return cls(times, weights_crc)


@dataclass(frozen=True, slots=True)
class StreamState:
    """How far a device is with its stream."""

    tag: int
    """Tag of the ``STReam:STARt``; 0 where there is no stream."""
    vectors: int
    """Length of the stream."""
    acknowledged: int
    """All vectors below are done with."""
    sent_to: int
    """All vectors below were sent."""

    @classmethod
    def parse(cls, answer: str) -> "StreamState":
        """Read an answer to ``STReam:STATe?``."""
        tag, vectors, acknowledged, sent_to = _numbers("STReam:STATe?", answer, 4)
        if tag > HIGHEST_TAG or not acknowledged <= sent_to <= vectors <= MOST_VECTORS:
            raise _senseless("STReam:STATe?", answer, "describes no stream")
        return cls(tag, vectors, acknowledged, sent_to)


def crc_of_weights(weights: npt.NDArray[np.int8]) -> int:
    """Return the CRC-32C of weights (row, column), one byte each, last axis fastest."""
    crc: int = google_crc32c.value(weights.tobytes())
    return crc


def parse_identity(answer: str) -> ChipIdentity:
    """Read an answer to ``*IDN?``."""
    fields = [printable(field.strip()) for field in answer.split(",")]
    if len(fields) != 4:
        raise _senseless("*IDN?", answer, f"has {len(fields)} fields: IEEE 488.2 says 4")
    manufacturer, model, serial, firmware = fields
    return ChipIdentity(manufacturer=manufacturer, model=model, serial=serial, firmware=firmware)


def parse_geometry(answer: str) -> ChipGeometry:
    """Read an answer to ``CHIP:GEOMetry?``."""
    query = "CHIP:GEOMetry?"
    cores, rows, columns, counter_bits, max_vectors = _numbers(query, answer, 5)
    if min(cores, rows, columns, max_vectors) < 1 or not 1 <= counter_bits <= 16:
        raise _senseless(query, answer, "describes no chip")
    if (
        cores > _MOST_CORES
        or max(rows, columns) > _LONGEST_SIDE
        or rows * columns > _MOST_CELLS
        or max_vectors > _MOST_VECTORS
    ):
        raise _senseless(
            query,
            answer,
            f"is too large: must be at most {_MOST_CORES} cores, {_LONGEST_SIDE} rows, "
            f"{_LONGEST_SIDE} columns, {_MOST_CELLS} cells a core and {_MOST_VECTORS} vectors",
        )
    return ChipGeometry(
        cores=cores,
        rows=rows,
        columns=columns,
        counter_bits=counter_bits,
        max_vectors=max_vectors,
    )


def parse_temperature(answer: str) -> float:
    """Read an answer to ``TEMPerature?``, degrees Celsius."""
    try:
        temperature = float(answer)
    except ValueError as error:
        raise _senseless("TEMPerature?", answer, "is no number") from error
    if not math.isfinite(temperature):
        raise _senseless("TEMPerature?", answer, "is no temperature")
    return temperature


def parse_latched(answer: str) -> int:
    """Read an answer to ``READ:LATChed?``: the tag of a ``READ?``, 0 for none."""
    (tag,) = _numbers("READ:LATChed?", answer, 1)
    if tag > HIGHEST_TAG:
        raise _senseless("READ:LATChed?", answer, "is no tag")
    return tag


def _numbers(query: str, answer: str, count: int) -> list[int]:
    numbers = [number.strip() for number in answer.split(",")]
    if len(numbers) != count or not all(re.fullmatch("[0-9]{1,20}", text) for text in numbers):
        raise _senseless(query, answer, f"must be {count} whole numbers")
    return [int(number) for number in numbers]


def _senseless(query: str, answer: str, why: str) -> FrameFault:
    return FrameFault(FaultKind.WRONG_ANSWER, f"{query}: {quoted(answer)} {why}")
