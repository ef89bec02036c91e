"""Coefficients as CSV: one row a column, names in the first row."""

import csv
import io

from hil.core.correction import ColumnFlag
from hil_datasets.coefficients import CoefficientSet
from hil_datasets.export.quality_fields import QUALITY_FIELDS, quality_by_field

FIELDS = (
    "core", "read_mode", "column", "shift", "output_lsb",
    "scale_p", "scale_n", "offset", "swap", "flags", "raw_sha256",
    *QUALITY_FIELDS,
)  # fmt: skip
"""Names of the fields, in order."""


def export_csv(coefficients: CoefficientSet) -> bytes:
    """Return the coefficients as CSV; flags are joined by ``+``, unknown numbers empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    for tile in coefficients.tiles:
        quality = list(zip(*quality_by_field(tile).values(), strict=True))
        codes = tile.registers.to_codes().tolist()
        for column, (scale_p, scale_n, offset, swap) in enumerate(zip(*codes, strict=True)):
            flags = "+".join(ColumnFlag(int(tile.flags[column])).names())
            writer.writerow(
                [
                    tile.key.core, str(tile.key.read_mode), column, tile.shift,
                    repr(tile.output_lsb), scale_p, scale_n, offset, swap, flags, tile.raw_sha256,
                    *("" if value is None else repr(value) for value in quality[column]),
                ]
            )  # fmt: skip
    return text.getvalue().encode()
