"""What a source gives for one step, or for several: codes, and where they are from."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.recorded.convert.codes import CodeRange
from hil.recorded.convert.mapping import CountsSection, Mapping, Rule, SourceSection
from hil.recorded.convert.source_file import PartialKey, SourceFile, match_name

SECTIONS = ("counts", "inputs", "weights", "expected")
"""Sources of raw recordings, in the order of their checks."""
_LARGEST_CODE = 127
"""Inputs and weights have a sign and seven bits."""
_LARGEST_EXPECTED = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What a source says for the steps of a key."""

    codes: npt.NDArray[np.signedinteger | np.unsignedinteger]
    """Counts (vector, polarity, column), inputs (vector, row), weights (row, column), or expected
    outputs (vector, column)."""
    vectors: npt.NDArray[np.int64] | None
    """Numbers of the vectors, ascending, if the source has them."""
    where: str
    """File and array, for messages."""


def code_range(section: SourceSection, name: str, says: Mapping) -> tuple[CodeRange, type]:
    """Return which codes a source may have, and the type that holds them."""
    top = (1 << says.chip.counter_bits) - 1
    dtype: type = np.int8
    if isinstance(section, CountsSection):
        lowest = -top if section.rule is Rule.DIFFERENCE else 0
        highest, dtype = top, np.int32 if lowest else np.uint16
    elif name == "expected":
        lowest, highest, dtype = -_LARGEST_EXPECTED, _LARGEST_EXPECTED, np.int32
    else:
        lowest, highest = -_LARGEST_CODE, _LARGEST_CODE
    codes = CodeRange(lowest=lowest, highest=highest, scale=section.scale, offset=section.offset)
    return codes, dtype


def file_key(file: SourceFile, pattern: str, says: Mapping) -> PartialKey | None:
    """Return what a file's name says of its steps; None if it is none of the source's.

    Raises
    ------
    ValueError
        If it stands for no read mode.
    """
    return match_name(file.name, pattern, says.read_modes)
