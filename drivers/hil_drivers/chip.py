"""What a campaign asks of a chip: the seam between experiments and devices."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ChipGeometry, ChipIdentity, ReadMode

HARDWARE_MISSING = -241
"""With this number a chip refuses what needs an NMPU, if it has none (SCPI-99, chapter 21)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectedReadout:
    """One multiplication: what the NMPU made of it, and what it made it from."""

    outputs: npt.NDArray[np.int8] | None
    """Outputs of the NMPU (vector, column); None where a recording does not know them."""
    counts: npt.NDArray[np.uint16]
    """Counts (vector, polarity, column) that the outputs come from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountBlock:
    """Some vectors of a stream, one after the other."""

    first_vector: int
    """Place of the first one in the stream, from 0."""
    counts: npt.NDArray[np.uint16]
    """Counts (vector, polarity, column), read-only. Valid until the next block is asked for or the
    stream is left; then the memory is used again. Copy what is needed longer."""


class Chip(Protocol):
    """An analog in-memory-computing chip that programs weights and multiplies vectors.

    ``tests/contracts/test_chip.py`` says what implementing it means. Methods raise `DeviceError`
    where the device refuses, `TransportError` where the link fails, `FrameError` where the answer
    is none. Each is carried out once, or fails: a result is never that of another request, and what
    changes the chip is not repeated unless the chip says that it did not happen.
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

    def read_corrected_with_counts(
        self, core: int, read_mode: ReadMode, inputs: npt.NDArray[np.int8]
    ) -> CorrectedReadout:
        """Multiply input vectors (vector, row) once; return outputs and counts of that.

        What `read_corrected` and `latched_counts` do in turn, but as one operation: a device that
        starts again between the two does not lose the counts.
        """
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


class ChipThatTells(Chip, Protocol):
    """A chip that tells what became of its weights; each method may be missing.

    Without `holds` a campaign that goes on programs again, and begins its step anew.
    """

    def holds(self, core: int, weights: npt.NDArray[np.int8]) -> bool:
        """Tell whether a core still has its last programming, and that was of these weights.

        The weights have the shape (row, column). False where programming did not end, or the device
        has lost them; it asks the device, and does not remember.
        """
        ...

    def times_programmed(self, core: int) -> int:
        """Return how often programming of a core was begun in its life, by whomever.

        The same weights that somebody else has programmed meanwhile are another programming.
        """
        ...


class StreamingChip(Chip, Protocol):
    """A chip that measures without being asked for each readout."""

    def stream_counts(
        self,
        core: int,
        read_mode: ReadMode,
        inputs: npt.NDArray[np.int8],
        *,
        vectors: int,
        frame_vectors: int | None = None,
        window: int = 8,
    ) -> AbstractContextManager[Iterator[CountBlock]]:
        """Multiply input vectors (vector, row) round and round; hand out counts as they come.

        Every vector of the stream comes once and in order, or an error says which did not.

        Parameters
        ----------
        core, read_mode
            What to read, and how.
        inputs
            Input vectors (vector, row).
        vectors
            Length of the stream, which may be more than `inputs` has.
        frame_vectors
            Vectors of one block; as many as fit 1 MiB where None.
        window
            Blocks that may be on their way to a consumer that does not take them, 0 to 16.
        """
        ...
