"""Coefficients for aihwkit's simulator: one real scale and one bias per column, and what is lost.

An analog tile of aihwkit multiplies each output by ``mapping_scales`` and adds a digital bias, so
it takes ``y = scale * (P - N) + bias``. The two scales of a column become their mean.
aihwkit is not imported: what it takes are lists of numbers.
"""

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ReadMode
from hil_datasets.coefficients import CoefficientSet, TileCoefficients
from hil_datasets.export.exported import AffineTile, ExportedSet, format_of, identity_of
from hil_datasets.export.origin import TILE_IDS, ids_of, source_of
from hil_datasets.export.quality_fields import circumstance_of

_FORMAT = "hil-aihwkit"
LEFT_OUT = (
    "separate scales for P and N: here one scale per output, their mean or the only one not 0",
    "fixed point: scale and bias are real numbers; no rounding, no width, no saturation",
    "the clipping of counts at the NMPU's input",
    "quality, flags and noise: the tile's own noise models are not set",
)
"""What of the coefficients a tile of aihwkit has no place for."""


def affine_of(
    registers: NmpuRegisters, fmt: NmpuFormat, output_lsb: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return scale of P, scale of N and offset in product units, a swap as negative scales."""
    step = output_lsb * 2.0 ** -(fmt.scale_frac + fmt.shift)
    sign = np.where(registers.swap, -1.0, 1.0)
    of_p = np.where(registers.swap, registers.scale_n, registers.scale_p)
    of_n = np.where(registers.swap, registers.scale_p, registers.scale_n)
    offset = registers.offset.astype(np.float64) * (output_lsb * 2.0**-fmt.offset_format.frac_bits)
    return step * sign * of_p, step * sign * of_n, offset


def one_scale(
    of_p: npt.NDArray[np.float64], of_n: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the scale for both polarities: their mean, or that of the only one in use."""
    is_single = (of_p == 0) | (of_n == 0)
    return np.where(is_single, of_p + of_n, (of_p + of_n) / 2)


def export_aihwkit(coefficients: CoefficientSet) -> bytes:
    """Return what aihwkit's tiles can take, as JSON."""
    document = {
        "format": _FORMAT,
        "version": 1,
        "coefficients_id": coefficients.coefficients_id,
        "source": source_of(coefficients),
        "left_out": list(LEFT_OUT),
        "tiles": [_tile(tile, coefficients) for tile in coefficients.tiles],
    }
    return json.dumps(document, indent=1, allow_nan=False).encode() + b"\n"


def read_aihwkit(content: bytes) -> ExportedSet:
    """Read what `export_aihwkit` wrote.

    Raises
    ------
    ValueError
        If it is no such file.
    """
    document = json.loads(content)
    if document["format"] != _FORMAT or document["version"] != 1:
        raise ValueError(f"is no {_FORMAT} of version 1")
    return ExportedSet(
        tiles=tuple(
            AffineTile(
                core=tile["core"],
                read_mode=ReadMode(tile["read_mode"]),
                scale=np.array(tile["mapping_scales"], np.float64),
                offset=np.array(tile["bias"], np.float64),
                **{name: tile.get(name, "") for name in TILE_IDS},
            )
            for tile in document["tiles"]
        ),
        nmpu=None,
        chip=identity_of(document["source"]["chip"]),
        coefficients_id=document.get("coefficients_id", ""),
    )


def _tile(tile: TileCoefficients, coefficients: CoefficientSet) -> dict[str, Any]:
    fmt = format_of(coefficients.nmpu, tile.shift)
    of_p, of_n, offset = affine_of(tile.registers, fmt, tile.output_lsb)
    scale = one_scale(of_p, of_n)
    used = (of_p != 0) & (of_n != 0)
    spread = np.abs(of_p - of_n)[used] / np.abs(scale[used])
    return {
        "core": tile.key.core,
        "read_mode": str(tile.key.read_mode),
        **ids_of(tile),
        **circumstance_of(tile),
        "columns_used": tile.columns_used,
        "mapping_scales": scale.tolist(),
        "bias": offset.tolist(),
        "largest_scale_difference": float(spread.max()) if len(spread) else 0.0,
    }
