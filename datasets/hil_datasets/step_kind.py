"""What a step does with the readouts of a core."""

from enum import StrEnum


class StepKind(StrEnum):
    """What a step does with the readouts of a core, in the order of one visit."""

    PROGRAM = "program"
    """Writes the weights and reads a few vectors, to see that they are there."""
    CALIBRATE = "calibrate"
    """Fits and quantises a correction, loads it, and verifies it on vectors held out."""
    PROBE = "probe"
    """Reads a few vectors and judges the correction in use by them; loads nothing."""
    VERIFY = "verify"
    """Loads the correction in use and judges it on the vectors held out; fits nothing."""
    CHARACTERISE = "characterise"
    """Reads vectors several times over: INL, noise, repeatability; loads nothing."""

    @property
    def place(self) -> int:
        """Its place in the order of one visit."""
        return list(StepKind).index(self)
