"""What is done about a chip that has become older."""

from enum import StrEnum


class Treatment(StrEnum):
    """What is done about a chip that has become older."""

    KEPT = "kept"
    """Nothing: the corrections are those of its youth."""
    RECALIBRATED = "recalibrated"
    """It is calibrated again."""
    ADABS = "adabs"
    """Corrections are kept; batch normalisation is estimated again, through the chip as it is."""
