"""Coefficients as a C99 header: constant tables, and the NMPU's datapath to try them with."""

import re
from collections.abc import Iterable

from hil.core.nmpu_format import NmpuRegisters
from hil.core.readout import ReadMode
from hil_datasets.coefficients import CoefficientSet, TileCoefficients
from hil_datasets.export.c_datapath import datapath_text
from hil_datasets.export.exported import (
    ExportedSet,
    ExportedTile,
    format_of,
    nmpu_from_text,
    nmpu_text,
    registers_of,
)
from hil_datasets.export.origin import provenance_lines, read_ids
from hil_datasets.step import StepKey

_MODES = tuple(ReadMode)
_HEAD = """\
/*
{provenance}
 */
#ifndef {upper}_COEFFICIENTS_H
#define {upper}_COEFFICIENTS_H

#include <stddef.h>
#include <stdint.h>

#define {upper}_COEFFICIENTS_ID "{coefficients_id}"
#define {upper}_NMPU "{nmpu}"
#define {upper}_TILES {tiles}
#define {upper}_COLUMNS {columns}

#ifdef __cplusplus
extern "C" {{
#endif

{modes}

/* The registers of one core in one read mode. */
typedef struct {{
    uint16_t core;
    uint8_t read_mode;
    uint8_t shift;          /* right shift of the product */
    double output_lsb;      /* size of one output code, in product units */
    const uint8_t *scale_p; /* each of {upper}_COLUMNS codes */
    const uint8_t *scale_n;
    const int16_t *offset;
    const uint8_t *swap;
}} {name}_tile;
"""
_TAIL = """\
/* Return the registers of a core in a read mode; NULL if there are none. */
static inline const {name}_tile *{name}_find(uint32_t core, uint32_t read_mode)
{{
    size_t tile;
    for (tile = 0; tile < {upper}_TILES; tile++) {{
        if ({name}_tiles[tile].core == core && {name}_tiles[tile].read_mode == read_mode) {{
            return &{name}_tiles[tile];
        }}
    }}
    return NULL;
}}

{datapath}
#ifdef __cplusplus
}}
#endif

#endif /* {upper}_COEFFICIENTS_H */
"""
_TABLES = (
    ("scale_p", "uint8_t"),
    ("scale_n", "uint8_t"),
    ("offset", "int16_t"),
    ("swap", "uint8_t"),
)
"""Registers, and what C type holds each."""


def export_c_header(coefficients: CoefficientSet, *, name: str = "hil") -> bytes:
    """Return the coefficients as a C header.

    Parameters
    ----------
    coefficients
        What to write.
    name
        What every name in it begins with: a C identifier in small letters.
    """
    upper = name.upper()
    fmt = format_of(coefficients.nmpu, coefficients.tiles[0].shift)
    head = _HEAD.format(
        name=name,
        upper=upper,
        provenance="\n".join(f" * {line}" for line in provenance_lines(coefficients)),
        coefficients_id=coefficients.coefficients_id,
        nmpu=nmpu_text(fmt),
        tiles=len(coefficients.tiles),
        columns=len(coefficients.tiles[0].flags),
        modes="\n".join(
            f"#define {upper}_{str(mode).upper()} {number}" for number, mode in enumerate(_MODES)
        ),
    )
    tables = [_table(coefficients.tiles, *table, name=name) for table in _TABLES]
    tail = _TAIL.format(name=name, upper=upper, datapath=datapath_text(fmt, name=name))
    return "\n".join((head, *tables, _tiles(coefficients.tiles, name), tail)).encode("ascii")


def read_c_header(content: bytes) -> ExportedSet:
    """Read what `export_c_header` wrote.

    Raises
    ------
    ValueError
        If it is no such header, or something in it is wrong.
    """
    text = content.decode("ascii")
    nmpu = nmpu_from_text(_only(r'#define \w+_NMPU "([^"]*)"', text)).to_dict()
    tables = {name: _read_table(name, text) for name, _ in _TABLES}
    _, ids = read_ids(text)
    rows = re.findall(r"^    \{(\d+), (\d+), (\d+), (\S+), \w+\[(\d+)\]", text, re.MULTILINE)
    tiles = []
    for core, mode, shift, output_lsb, at in rows:
        key = StepKey(int(core), _MODES[int(mode)])
        tile = ExportedTile(
            core=key.core,
            read_mode=key.read_mode,
            shift=int(shift),
            registers=_registers(tables, int(at)),
            output_lsb=float(output_lsb),
            **{"raw_sha256": "", **ids.get(key.name, {})},
        )
        tiles.append(tile)
    return ExportedSet(
        tiles=tuple(tiles),
        nmpu=nmpu | {"shift": None},
        chip=None,
        coefficients_id=_only(r'#define \w+_COEFFICIENTS_ID "([0-9a-f]{64})"', text),
    )


def _registers(tables: dict[str, list[list[int]]], at: int) -> NmpuRegisters:
    return registers_of({name: rows[at] for name, rows in tables.items()}, where=f"tile {at}")


def _table(tiles: Iterable[TileCoefficients], what: str, kind: str, *, name: str) -> str:
    upper = name.upper()
    rows = []
    for tile in tiles:
        codes = [str(int(code)) for code in getattr(tile.registers, what)]
        lines = [", ".join(codes[first : first + 20]) for first in range(0, len(codes), 20)]
        rows.append("    {" + ",\n     ".join(lines) + "}")
    body = ",\n".join(rows)
    return f"static const {kind} {name}_{what}[{upper}_TILES][{upper}_COLUMNS] = {{\n{body}\n}};\n"


def _tiles(tiles: tuple[TileCoefficients, ...], name: str) -> str:
    rows = ",\n".join(
        f"    {{{tile.key.core}, {_MODES.index(tile.key.read_mode)}, {tile.shift}, "
        f"{tile.output_lsb!r}, "
        + ", ".join(f"{name}_{what}[{number}]" for what, _ in _TABLES)
        + "}"
        for number, tile in enumerate(tiles)
    )
    return f"static const {name}_tile {name}_tiles[{name.upper()}_TILES] = {{\n{rows}\n}};\n"


def _read_table(name: str, text: str) -> list[list[int]]:
    body = _only(rf"static const \w+ \w+_{name}\[\w+\]\[\w+\] = \{{(.*?)\n\}};", text)
    return [
        [int(code) for code in row.replace("\n", " ").split(",")]
        for row in re.findall(r"\{([^}]*)\}", body)
    ]


def _only(pattern: str, text: str) -> str:
    found = re.findall(pattern, text, re.DOTALL)
    if len(found) != 1:
        raise ValueError(f"has {len(found)} places like {pattern}: must be one")
    return str(found[0])
