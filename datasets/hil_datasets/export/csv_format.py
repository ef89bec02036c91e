"""Coefficients as CSV: one row a column, names in the first row."""

import csv
import io

from hil.core.correction import ColumnFlag
from hil_datasets.coefficients import CoefficientSet

FIELDS = (
    "core", "read_mode", "column", "shift", "output_lsb",
    "scale_p", "scale_n", "offset", "swap", "flags", "raw_sha256",
)  # fmt: skip
"""Names of the fields, in order."""


def export_csv(coefficients: CoefficientSet) -> bytes:
    """Return the coefficients as CSV; flags are joined by ``+``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    for tile in coefficients.tiles:
        codes = tile.registers.to_codes().tolist()
        for column, (scale_p, scale_n, offset, swap) in enumerate(zip(*codes, strict=True)):
            flags = "+".join(ColumnFlag(int(tile.flags[column])).names())
            writer.writerow(
                [
                    tile.key.core, str(tile.key.read_mode), column, tile.shift,
                    repr(tile.output_lsb), scale_p, scale_n, offset, swap, flags, tile.raw_sha256,
                ]
            )  # fmt: skip
    return text.getvalue().encode()
