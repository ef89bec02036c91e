"""What a chip is asked for and what it answers: read modes, geometry, identity."""

from dataclasses import dataclass
from enum import StrEnum


class ReadMode(StrEnum):
    """How one matrix-vector multiplication is read from the array.

    Source: Le Gallo et al., arXiv 2212.02872 (HERMES Project Chip), one-phase and four-phase MVM.
    """

    ONE_PHASE = "one_phase"
    """Fast: the net current of a column is converted once, so P or N is (nearly) zero."""
    FOUR_PHASE = "four_phase"
    """Accurate: positive and negative products are converted apart, and summed in P and N."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipIdentity:
    """Who the device says it is: the four fields of IEEE 488.2 ``*IDN?``."""

    manufacturer: str
    model: str
    serial: str
    firmware: str

    def __str__(self) -> str:
        return f"{self.manufacturer} {self.model}, serial {self.serial}, firmware {self.firmware}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipGeometry:
    """How large a chip is, and how much it takes at once."""

    cores: int
    """Number of cores (tiles), numbered from 0."""
    rows: int
    """Inputs of one core."""
    columns: int
    """Outputs of one core; each has two counters, P and N."""
    counter_bits: int
    """Width of one counter; its highest code means overflow."""
    max_vectors: int
    """Most input vectors the device takes in one block."""
