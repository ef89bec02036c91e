"""The corrections that are compared."""

from enum import StrEnum


class CorrectionKind(StrEnum):
    """What becomes of the counts of a core."""

    NONE = "none"
    """The nominal gain of the chip: nothing was calibrated."""
    GLOBAL = "global"
    """One fitted gain per core."""
    FLOAT = "float"
    """Two gains and an offset per column, not rounded."""
    FP16 = "fp16"
    """The FP16 unit."""
    NMPU = "nmpu"
    """The NMPU: registers and integer arithmetic."""
