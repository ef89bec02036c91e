"""Coefficients as JSON, ``hil-coefficients`` version 1: see ``docs/reference/exports.md``."""

import json
from dataclasses import asdict
from typing import Any

from hil.core.correction import ColumnFlag
from hil_datasets.coefficients import CoefficientSet, TileCoefficients
from hil_datasets.export.quality_fields import circumstance_of, quality_by_field


def export_json(coefficients: CoefficientSet) -> bytes:
    """Return the coefficients as JSON; only `output_lsb` and `quality` are no register codes."""
    document = {
        "format": "hil-coefficients",
        "version": 1,
        "source": {
            "chip": asdict(coefficients.chip),
            "campaign_sha256": coefficients.campaign_sha256,
            "software": coefficients.software,
        },
        "nmpu": dict(coefficients.nmpu),
        "cores": [_tile(tile) for tile in coefficients.tiles],
    }
    return json.dumps(document, indent=1, allow_nan=False).encode() + b"\n"


def _tile(tile: TileCoefficients) -> dict[str, Any]:
    return {
        "core": tile.key.core,
        "read_mode": str(tile.key.read_mode),
        "shift": tile.shift,
        "output_lsb": tile.output_lsb,
        "raw_sha256": tile.raw_sha256,
        "first_row": tile.first_row,
        "rows_used": tile.rows_used,
        "first_column": tile.first_column,
        "columns_used": tile.columns_used,
        "scale_p": tile.registers.scale_p.tolist(),
        "scale_n": tile.registers.scale_n.tolist(),
        "offset": tile.registers.offset.tolist(),
        "swap": tile.registers.swap.astype(int).tolist(),
        "flags": [ColumnFlag(int(bits)).names() for bits in tile.flags],
        "quality": quality_by_field(tile),
        **circumstance_of(tile),
    }
