"""Who multiplies: the seam between a network and a chip, a model of one, or exact arithmetic."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ChipIdentity, ReadMode
from hil.inference.placing.tiles import ProgrammedTile

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipFacts:
    """What is known of the cores that multiply."""

    name: str
    """Which chip, run, or profile."""
    cores: tuple[int, ...]
    """Numbers of the cores that may hold a tile: `hil.inference.placing.mapping.map_layers`."""
    rows: int
    """Inputs of one core."""
    columns: int
    """Outputs of one core."""
    counter_bits: int
    """Width of the counters; the highest code is overflow."""
    read_mode: ReadMode
    """How it reads."""
    nominal_gain: float | None = None
    """Products that one count stands for by its data sheet; None where nobody says."""
    identity: ChipIdentity | None = None
    """Who the chip says it is; None of exact arithmetic."""


class CoreReadings(Protocol):
    """Cores that hold tiles and multiply input vectors by them.

    Vectors of a tile are numbered: the same number has the same noise, whatever else was asked
    before, so that corrections are compared on the same noise. Tensors are on `device`.
    """

    @property
    def device(self) -> "torch.device":
        """Where its tensors are."""
        ...

    @property
    def facts(self) -> ChipFacts:
        """What is known of the cores."""
        ...

    def program(self, tiles: Sequence[ProgrammedTile]) -> None:
        """Program tiles, each onto its own core; what was there before is gone."""
        ...

    def counts(self, core: int, input_codes: "torch.Tensor", *, first: int) -> "torch.Tensor":
        """Multiply input vectors by the tile of a core.

        Parameters
        ----------
        core
            Which core.
        input_codes
            int8 (vector, row), the rows in use.
        first
            Number of the first vector among those of this tile.

        Returns
        -------
            int32 (vector, polarity, column), P then N, the columns in use.
        """
        ...

    def load(self, core: int, fmt: NmpuFormat, registers: NmpuRegisters) -> None:
        """Load a correction into the core's own NMPU, if it has one."""
        ...

    def corrected(
        self, core: int, input_codes: "torch.Tensor", *, first: int
    ) -> "torch.Tensor | None":
        """Multiply, and return what the core's own NMPU makes of it.

        Returns
        -------
            int8 (vector, column) of the columns in use; None if there is no such unit.
        """
        ...

    def advance_time(self, seconds: float) -> None:
        """Let the programmed cores become older."""
        ...

    def close(self) -> None:
        """Leave the chip safe and close the link."""
        ...
