"""Coefficients as CSV: one row a column, names in the first row."""

import csv
import io
from itertools import groupby
from typing import Any

from hil.core.correction import ColumnFlag
from hil.core.readout import ReadMode
from hil_datasets.coefficients import CoefficientSet
from hil_datasets.content_id import set_id
from hil_datasets.export.exported import ExportedSet, ExportedTile, registers_of
from hil_datasets.export.origin import TILE_IDS, ids_of
from hil_datasets.export.quality_fields import (
    CIRCUMSTANCE_FIELDS,
    QUALITY_FIELDS,
    circumstance_of,
    quality_by_field,
    setpoint_words,
)
from hil_datasets.step import StepKey

FIELDS = (
    "core", "read_mode", "column", "shift", "output_lsb",
    "scale_p", "scale_n", "offset", "swap", "flags", *TILE_IDS,
    *QUALITY_FIELDS, *CIRCUMSTANCE_FIELDS,
)  # fmt: skip
"""Names of the fields, in order; new ones come at the end."""
_FIRST_FIELDS = FIELDS[: FIELDS.index(CIRCUMSTANCE_FIELDS[0])]
"""Those of files from before a file said under what its tiles were calibrated."""


def export_csv(coefficients: CoefficientSet) -> bytes:
    """Return the coefficients as CSV; flags are joined by ``+``, what is not known is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    for tile in coefficients.tiles:
        quality = list(zip(*quality_by_field(tile).values(), strict=True))
        ids = ids_of(tile).values()
        circumstance = circumstance_of(tile) | {"setpoints": ";".join(setpoint_words(tile))}
        codes = tile.registers.to_codes().tolist()
        for column, (scale_p, scale_n, offset, swap) in enumerate(zip(*codes, strict=True)):
            flags = "+".join(ColumnFlag(int(tile.flags[column])).names())
            writer.writerow(
                [
                    tile.key.core, str(tile.key.read_mode), column, tile.shift,
                    repr(tile.output_lsb), scale_p, scale_n, offset, swap, flags, *ids,
                    *("" if value is None else repr(value) for value in quality[column]),
                    *("" if value is None else value for value in circumstance.values()),
                ]
            )  # fmt: skip
    return text.getvalue().encode()


def read_csv(content: bytes) -> ExportedSet:
    """Read what `export_csv` wrote.

    Raises
    ------
    ValueError
        If it is no such file, or something in it is wrong.
    """
    reader = csv.DictReader(io.StringIO(content.decode(), newline=""))
    if reader.fieldnames not in (list(FIELDS), list(_FIRST_FIELDS)):
        raise ValueError(f"the first line must be {','.join(FIELDS)}")
    tiles = []
    for (core, mode), group in groupby(reader, lambda row: (row["core"], row["read_mode"])):
        tiles.append(_tile(int(core), ReadMode(mode), list(group)))
    return ExportedSet(
        tiles=tuple(tiles),
        nmpu=None,
        chip=None,
        coefficients_id=set_id(
            (StepKey(tile.core, ReadMode(tile.read_mode)), tile.coefficients_id) for tile in tiles
        ),
    )


def _tile(core: int, mode: ReadMode, rows: list[dict[str, Any]]) -> ExportedTile:
    first = rows[0]
    codes = {
        name: [int(row[name]) for row in rows] for name in ("scale_p", "scale_n", "offset", "swap")
    }
    if [int(row["column"]) for row in rows] != list(range(len(rows))):
        raise ValueError(f"core {core} {mode}: columns must be numbered from 0, in order")
    for name in ("shift", "output_lsb", *TILE_IDS):
        if any(row[name] != first[name] for row in rows):
            raise ValueError(f"core {core} {mode}: rows differ in {name}")
    return ExportedTile(
        core=core,
        read_mode=mode,
        shift=int(first["shift"]),
        registers=registers_of(codes, where=f"core {core} {mode}"),
        output_lsb=float(first["output_lsb"]),
        **{name: first[name] for name in TILE_IDS},
    )
