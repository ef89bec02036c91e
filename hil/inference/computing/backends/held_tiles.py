"""Which tile each core holds, and whether the chip has room for all of them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hil.core.errors import ConfigError, Problem
from hil.inference.computing.readings import ChipFacts
from hil.inference.placing.tiles import ProgrammedTile, Tile

_MOST_NAMED = 8


class HeldTiles:
    """The tiles that the cores were programmed with last.

    Parameters
    ----------
    facts
        Size of the cores, and which there are.
    """

    def __init__(self, facts: ChipFacts) -> None:
        self._facts = facts
        self._tiles: dict[int, Tile] = {}

    def place(self, tiles: Sequence[ProgrammedTile]) -> None:
        """Forget what was there, and place tiles.

        Raises
        ------
        ConfigError
            If a core is not there, holds two tiles, or is smaller than its tile.
        """
        check_room(tiles, self._facts)
        self._tiles = {one.tile.core: one.tile for one in tiles}

    def tile(self, core: int) -> Tile:
        """Return the tile of a core.

        Raises
        ------
        ConfigError
            If it holds none.
        """
        if core not in self._tiles:
            message = f"core {core} holds no tile: program it first"
            raise ConfigError(self._facts.name, [Problem("", message)])
        return self._tiles[core]

    def padded_weights(self, one: ProgrammedTile) -> npt.NDArray[np.int8]:
        """Return weight codes (row, column) of a whole core; what is not in use is 0."""
        return self._padded(one.weight_codes, (self._facts.rows, self._facts.columns))

    def padded_inputs(self, input_codes: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
        """Return input codes (vector, row) of a whole core; rows that are not in use are 0."""
        return self._padded(input_codes, (len(input_codes), self._facts.rows))

    @staticmethod
    def _padded(codes: npt.NDArray[np.int8], shape: tuple[int, int]) -> npt.NDArray[np.int8]:
        padded = np.zeros(shape, dtype=np.int8)
        padded[: codes.shape[0], : codes.shape[1]] = codes
        return padded


def check_room(tiles: Sequence[ProgrammedTile], facts: ChipFacts) -> None:
    """Raise ConfigError unless every tile has a core of its own that is large enough."""
    problems = []
    cores = [one.tile.core for one in tiles]
    absent = sorted(set(cores) - set(facts.cores))
    if absent:
        names = ", ".join(map(str, absent[:_MOST_NAMED]))
        more = f" and {len(absent) - _MOST_NAMED} more" if len(absent) > _MOST_NAMED else ""
        message = (
            f"the network needs {len(set(cores))} cores, of which {names}{more} cannot be used; "
            f"there are {len(facts.cores)}"
        )
        problems.append(Problem("", message))
    twice = sorted({core for core in cores if cores.count(core) > 1})
    problems += [Problem("", f"core {core} is to hold two tiles") for core in twice[:_MOST_NAMED]]
    for one in tiles:
        rows, columns = one.weight_codes.shape
        if rows > facts.rows or columns > facts.columns:
            message = (
                f"core {one.tile.core} is to hold {rows} x {columns} weights; it has "
                f"{facts.rows} rows and {facts.columns} columns"
            )
            problems.append(Problem("", message))
            break
    if problems:
        raise ConfigError(facts.name, problems)
