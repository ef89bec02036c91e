"""What a campaign asks of a chip: the seam between experiments and devices."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ChipGeometry, ChipIdentity, ReadMode


class Chip(Protocol):
    """An analog in-memory-computing chip that programs weights and multiplies vectors.

    ``tests/contracts/test_chip.py`` says what implementing it means. Methods raise `DeviceError`
    where the device refuses, `TransportError` where the link fails, `FrameError` where the answer
    is none.
    """

    def identify(self) -> ChipIdentity:
        """Return who the device says it is."""
        ...

    def geometry(self) -> ChipGeometry:
        """Return how large it is."""
        ...

    def reset(self) -> None:
        """Return to the power-on settings; programmed weights stay."""
        ...

    def program(self, core: int, weights: npt.NDArray[np.int8]) -> None:
        """Program a core's weights, shape (row, column). This wears the devices."""
        ...

    def read_counts(
        self, core: int, read_mode: ReadMode, inputs: npt.NDArray[np.int8]
    ) -> npt.NDArray[np.uint16]:
        """Multiply input vectors (vector, row); return counts (vector, polarity, column)."""
        ...

    def read_corrected(
        self, core: int, read_mode: ReadMode, inputs: npt.NDArray[np.int8]
    ) -> npt.NDArray[np.int8]:
        """Multiply input vectors (vector, row); return the NMPU's outputs (vector, column)."""
        ...

    def latched_counts(
        self, core: int, read_mode: ReadMode, vectors: int
    ) -> npt.NDArray[np.uint16]:
        """Return the counts (vector, polarity, column) behind the last multiplication.

        They are those that the NMPU has corrected, not a new measurement.
        """
        ...

    def write_nmpu(
        self, core: int, read_mode: ReadMode, fmt: NmpuFormat, registers: NmpuRegisters
    ) -> None:
        """Load NMPU registers and format for a core in a read mode."""
        ...

    def read_nmpu(self, core: int, read_mode: ReadMode) -> tuple[NmpuFormat, NmpuRegisters]:
        """Return what `write_nmpu` loaded."""
        ...

    def temperature_c(self, core: int, read_mode: ReadMode) -> float:
        """Return the chip's temperature near a core, in degrees Celsius."""
        ...

    def safe(self) -> None:
        """Leave the chip with no input driven and the NMPU off."""
        ...

    def close(self) -> None:
        """Close the link."""
        ...
