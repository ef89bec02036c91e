"""Tiles: the part of a layer's matrix that one core holds."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.core.array_types import read_only


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """Where a part of a layer's matrix is."""

    core: int
    """Core that holds it; no other tile is on it."""
    layer: int
    """Place of the layer in the network's list."""
    group: int
    """Group of the layer."""
    rows: slice
    """Rows of the group's matrix; on the core they begin at row 0."""
    columns: slice
    """Columns of the group's matrix; on the core they begin at column 0."""

    @property
    def row_count(self) -> int:
        """Rows in use."""
        return int(self.rows.stop - self.rows.start)

    @property
    def column_count(self) -> int:
        """Columns in use."""
        return int(self.columns.stop - self.columns.start)


@dataclass(frozen=True, kw_only=True)
class ProgrammedTile:
    """A tile with its weights."""

    tile: Tile
    """Where it is."""
    weight_codes: npt.NDArray[np.int8]
    """Shape (row, column), the rows and columns in use."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight_codes", read_only(self.weight_codes))
