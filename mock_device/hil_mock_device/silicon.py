"""What the mock's firmware drives: a simulated chip, or a recorded one."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ChipGeometry, ChipIdentity, ReadMode


class Silicon(Protocol):
    """The analog part. Its methods raise `DeviceError` with the SCPI number to answer with."""

    @property
    def identity(self) -> ChipIdentity:
        """The fields of ``*IDN?``."""
        ...

    @property
    def geometry(self) -> ChipGeometry:
        """How large it is."""
        ...

    def reset(self) -> None:
        """Begin the sequence of readouts again; programmed weights stay."""
        ...

    def program(self, core: int, weights: npt.NDArray[np.int8]) -> None:
        """Program weights, shape (row, column)."""
        ...

    def convert(
        self, core: int, read_mode: ReadMode, inputs: npt.NDArray[np.int8]
    ) -> npt.NDArray[np.uint16]:
        """Return counts (vector, polarity, column) for inputs (vector, row)."""
        ...

    def correct(
        self,
        core: int,
        read_mode: ReadMode,
        counts: npt.NDArray[np.uint16],
        fmt: NmpuFormat,
        registers: NmpuRegisters,
    ) -> npt.NDArray[np.int8]:
        """Return the NMPU's outputs (vector, column) for the counts converted last."""
        ...

    def temperature_c(self, core: int, read_mode: ReadMode) -> float:
        """Return the temperature, degrees Celsius."""
        ...
