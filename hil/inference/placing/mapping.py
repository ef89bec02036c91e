"""Which core holds which part of which layer.

A layer's matrix has one row for every input that an output is a sum over, in the order of
``unfold``, and one column for every output; each group of a layer has a matrix of its own. What is
larger than a core is cut into parts of equal size, so that no core is driven much harder than its
neighbour. Two parts never share a core: each core has one correction and one output step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from hil.core.errors import ConfigError, Problem
from hil.inference.networks.layers import AnalogLayer
from hil.inference.placing.tiles import Tile

TAKE_LARGER_CHIP = "take a smaller network or a chip with more cores"
"""What to do about too few cores."""
_LAYERS_TOLD = 3
"""How many layers are named where there are too few cores: those with the most."""
_HEADINGS = ("layer", "matrix", "groups", "tiles", "cores", "in use")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPlacement:
    """Where a layer is, and how much of its cores it uses."""

    name: str
    """Path of the module."""
    rows: int
    """Rows of a group's matrix."""
    columns: int
    """Columns of a group's matrix."""
    groups: int
    """Groups, each with a matrix of its own."""
    row_tiles: int
    """Parts that a matrix is cut into along its rows; their products are summed digitally."""
    column_tiles: int
    """Parts that it is cut into along its columns."""
    cores: tuple[int, ...]
    """Cores that hold it, ascending."""
    utilisation: float
    """Share of the cells of these cores that hold a weight."""


def map_layers(
    layers: Sequence[AnalogLayer],
    *,
    rows: int = 256,
    columns: int = 256,
    cores: int | Sequence[int] = 64,
    remedy: str = TAKE_LARGER_CHIP,
) -> tuple[Tile, ...]:
    """Place every layer on cores.

    Parameters
    ----------
    layers
        In the order of execution.
    rows, columns
        Size of a core.
    cores
        Number of cores, or the numbers of those that may be used.
    remedy
        What to do if there are too few.

    Returns
    -------
    One tile for every core in use, in the order of layers, groups, columns and rows.

    Raises
    ------
    ConfigError
        If there are too few cores: with how many are needed, and for which layers.
    """
    usable = tuple(range(cores)) if isinstance(cores, int) else tuple(cores)
    places = [
        (place, group, row_part, column_part)
        for place, layer in enumerate(layers)
        for group in range(layer.groups)
        for column_part in split_evenly(layer.columns, columns)
        for row_part in split_evenly(layer.rows, rows)
    ]
    if len(places) > len(usable):
        limit = f"cores of {rows} x {columns}, and there are {len(usable)}"
        raise _too_few(layers, [place for place, *_ in places], limit, remedy)
    return tuple(
        Tile(core=core, layer=place, group=group, rows=row_part, columns=column_part)
        for core, (place, group, row_part, column_part) in zip(usable, places, strict=False)
    )


def split_evenly(length: int, most: int) -> tuple[slice, ...]:
    """Cut a length into as few parts as needed, no two of which differ by more than 1.

    Examples
    --------
    >>> split_evenly(576, 256)
    (slice(0, 192, None), slice(192, 384, None), slice(384, 576, None))
    >>> split_evenly(5, 2)
    (slice(0, 2, None), slice(2, 4, None), slice(4, 5, None))
    """
    parts = -(-length // most)
    size, longer = divmod(length, parts)
    ends = [size * part + min(part, longer) for part in range(parts + 1)]
    return tuple(slice(first, stop) for first, stop in pairwise(ends))


def placements(
    layers: Sequence[AnalogLayer], tiles: Sequence[Tile], *, rows: int = 256, columns: int = 256
) -> tuple[LayerPlacement, ...]:
    """Return where each layer is; parameters as for `map_layers`."""
    found = []
    for place, layer in enumerate(layers):
        own = [tile for tile in tiles if tile.layer == place]
        cells = sum(tile.row_count * tile.column_count for tile in own)
        found.append(
            LayerPlacement(
                name=layer.name,
                rows=layer.rows,
                columns=layer.columns,
                groups=layer.groups,
                row_tiles=len({(tile.rows.start, tile.rows.stop) for tile in own}),
                column_tiles=len({(tile.columns.start, tile.columns.stop) for tile in own}),
                cores=tuple(sorted(tile.core for tile in own)),
                utilisation=cells / (len(own) * rows * columns),
            )
        )
    return tuple(found)


def describe_mapping(
    layers: Sequence[AnalogLayer], tiles: Sequence[Tile], *, rows: int = 256, columns: int = 256
) -> str:
    """Return the mapping as a table to print, one line per layer; parameters as for `placements`.

    ``tiles`` reads parts along the rows x parts along the columns; ``in use`` is the share of the
    cells of the layer's cores that hold a weight.
    """
    found = placements(layers, tiles, rows=rows, columns=columns)
    lines = [
        (
            place.name,
            f"{place.rows} x {place.columns}",
            str(place.groups),
            f"{place.row_tiles} x {place.column_tiles}",
            spans(place.cores),
            f"{place.utilisation:.1%}",
        )
        for place in found
    ]
    cells = sum(tile.row_count * tile.column_count for tile in tiles)
    share = f"{cells / (len(tiles) * rows * columns):.1%}" if tiles else ""
    lines.append(("all", "", "", "", f"{len(tiles)} cores", share))
    widths = [max(len(line[place]) for line in (_HEADINGS, *lines)) for place in range(6)]
    return "\n".join(
        "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip()
        for line in (_HEADINGS, *lines)
    )


def spans(numbers: Sequence[int]) -> str:
    """Write ascending numbers briefly.

    Examples
    --------
    >>> spans((0, 1, 2, 5, 7, 8))
    '0-2, 5, 7-8'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] + 1 == number:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def _too_few(
    layers: Sequence[AnalogLayer], needed: Sequence[int], limit: str, remedy: str
) -> ConfigError:
    by_layer = [(needed.count(place), layer.name) for place, layer in enumerate(layers)]
    dearest = sorted(by_layer, key=lambda entry: -entry[0])[:_LAYERS_TOLD]
    told = [f"layer {name}: {count} core{'s' * (count != 1)}" for count, name in dearest]
    others = len(layers) - len(told)
    if others:
        told.append(f"{others} more layer{'s' * (others != 1)}")
    message = f"the network needs {len(needed)} {limit}: {', '.join(told)}; {remedy}"
    return ConfigError("mapping", [Problem("", message)])
