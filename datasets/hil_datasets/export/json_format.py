"""Coefficients as JSON, ``hil-coefficients`` version 1: see ``docs/reference/exports.md``."""

import json
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from hil.core.correction import ColumnFlag
from hil.core.readout import ReadMode
from hil.core.toml_file import key_path
from hil_datasets.coefficients import CoefficientSet, TileCoefficients
from hil_datasets.export.exported import (
    ExportedSet,
    ExportedTile,
    format_of,
    identity_of,
    registers_of,
)
from hil_datasets.export.origin import ids_of, source_of
from hil_datasets.export.quality_fields import circumstance_of, quality_by_field


def export_json(coefficients: CoefficientSet) -> bytes:
    """Return the coefficients as JSON; only `output_lsb` and `quality` are no register codes."""
    document = coefficients_document(coefficients)
    return json.dumps(document, indent=1, allow_nan=False).encode() + b"\n"


def coefficients_document(coefficients: CoefficientSet) -> dict[str, Any]:
    """Return the coefficients as tables, lists, texts and numbers."""
    return {
        "format": "hil-coefficients",
        "version": 1,
        "coefficients_id": coefficients.coefficients_id,
        "source": source_of(coefficients),
        "nmpu": dict(coefficients.nmpu),
        "cores": [_tile(tile) for tile in coefficients.tiles],
    }


def read_json(content: bytes) -> ExportedSet:
    """Read what `export_json` wrote.

    Raises
    ------
    ValueError
        If it is no such file, or something in it is wrong; the message names the place.
    """
    try:
        document = json.loads(content)
    except RecursionError as error:
        raise ValueError("is nested too deep") from error
    except ValueError as error:
        raise ValueError(f"is no JSON: {error}") from error
    return read_document(document)


def read_document(document: Any) -> ExportedSet:
    """Read what `coefficients_document` returned.

    Raises
    ------
    ValueError
        As `read_json`.
    """
    try:
        found = _Document.model_validate_json(json.dumps(document), strict=True)
    except RecursionError as error:
        raise ValueError("is nested too deep") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{key_path(first['loc'])}: {first['msg']}") from error
    tiles = []
    for number, tile in enumerate(found.cores):
        where = f"cores[{number}]"
        registers = registers_of(tile.model_dump(), where=where)
        registers.check_fits(format_of(found.nmpu, tile.shift))
        tiles.append(
            ExportedTile(
                core=tile.core,
                read_mode=tile.read_mode,
                shift=tile.shift,
                registers=registers,
                raw_sha256=tile.raw_sha256,
                correction_id=tile.correction_id,
                coefficients_id=tile.coefficients_id,
                output_lsb=tile.output_lsb,
            )
        )
    chip = identity_of(found.source.chip)
    return ExportedSet(
        tiles=tuple(tiles), nmpu=found.nmpu, chip=chip, coefficients_id=found.coefficients_id
    )


class _Tile(BaseModel):
    core: int
    read_mode: ReadMode
    shift: int
    output_lsb: float
    raw_sha256: str
    correction_id: str = ""
    coefficients_id: str = ""
    scale_p: list[int]
    scale_n: list[int]
    offset: list[int]
    swap: list[int]


class _Source(BaseModel):
    chip: dict[str, str]


class _Document(BaseModel):
    # Keys that are not listed may be added within a version: they are left alone.
    format: Literal["hil-coefficients"]
    version: Literal[1]
    coefficients_id: str = ""
    source: _Source
    nmpu: dict[str, int | bool | str | None]
    cores: list[_Tile]


def _tile(tile: TileCoefficients) -> dict[str, Any]:
    return {
        "core": tile.key.core,
        "read_mode": str(tile.key.read_mode),
        "shift": tile.shift,
        "output_lsb": tile.output_lsb,
        **ids_of(tile),
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
