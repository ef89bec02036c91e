"""Coefficients for Verilog: packed words for ``$readmemh``, and a file of parameters beside them.

A word holds the registers of one column: from the lowest bit up scale_p, scale_n, offset (two's
complement), swap. Words come tile after tile, column after column; ``@`` names the address of each
tile's first one.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hil.core.nmpu_format import NmpuFormat
from hil.core.readout import ReadMode
from hil_datasets.coefficients import CoefficientSet, TileCoefficients
from hil_datasets.export.exported import (
    ExportedSet,
    ExportedTile,
    format_of,
    nmpu_from_text,
    nmpu_text,
    registers_of,
)
from hil_datasets.export.origin import provenance_lines, read_ids, tile_name
from hil_datasets.step import StepKey


def parameters_name(file_name: str) -> str:
    """Return the name of the file of parameters that belongs to an image."""
    return Path(file_name).with_suffix(".svh").name


def export_readmemh(coefficients: CoefficientSet) -> bytes:
    """Return the image alone."""
    fmt = _format(coefficients)
    lines = [f"// {line}" for line in provenance_lines(coefficients)]
    digits = (_word_bits(fmt) + 3) // 4
    for number, tile in enumerate(coefficients.tiles):
        first = number * len(tile.flags)
        lines += [f"// {tile_name(tile)}: shift {tile.shift}", f"@{first:x}"]
        lines += [f"{word:0{digits}x}" for word in _words(tile, fmt).tolist()]
    return ("\n".join(lines) + "\n").encode("ascii")


def export_parameters(coefficients: CoefficientSet, *, name: str) -> bytes:
    """Return the parameters as SystemVerilog, to be included inside of a module.

    Parameters
    ----------
    coefficients
        What the image holds.
    name
        What every name begins with, an identifier.
    """
    fmt, upper = _format(coefficients), name.upper()
    tiles = coefficients.tiles
    numbers = {
        "TILES": len(tiles),
        "COLUMNS": len(tiles[0].flags),
        "WORDS": len(tiles) * len(tiles[0].flags),
        "WORD_BITS": _word_bits(fmt),
        **{f"{field.upper()}_LSB": low for field, (low, _) in _fields(fmt).items()},
        **{f"{field.upper()}_BITS": bits for field, (_, bits) in _fields(fmt).items()},
    }
    per_tile = {
        "CORES": (16, [tile.key.core for tile in tiles]),
        "FOUR_PHASE": (1, [int(tile.key.read_mode is ReadMode.FOUR_PHASE) for tile in tiles]),
        "SHIFTS": (4, [tile.shift for tile in tiles]),
    }
    lines = [
        *(f"// {line}" for line in provenance_lines(coefficients)),
        "// Include it inside of a module: `include needs no guard there.",
        f"// NMPU: {nmpu_text(fmt)}; the shift is each tile's own.",
        f"localparam [255:0] {upper}_COEFFICIENTS_ID = 256'h{coefficients.coefficients_id};",
        *(f"localparam integer {upper}_{key} = {value};" for key, value in numbers.items()),
        "// One field for each tile, that of tile 0 in the lowest bits.",
    ]
    for key, (bits, values) in per_tile.items():
        fields = ", ".join(f"{bits}'d{value}" for value in reversed(values))
        lines.append(f"localparam [{bits * len(values) - 1}:0] {upper}_{key} = {{{fields}}};")
    return ("\n".join(lines) + "\n").encode("ascii")


def read_readmemh(image: bytes, parameters: bytes) -> ExportedSet:
    """Read an image by its file of parameters.

    Raises
    ------
    ValueError
        If the two do not belong together, or something in them is wrong.
    """
    words, text = _read_words(image), parameters.decode("ascii")
    numbers = {
        key: int(value) for key, value in re.findall(r"integer \w+?_(\w+) = (\d+);", text)
    } or {"TILES": 0}
    found = re.search(r"^// NMPU: ([^;]+);", text, re.MULTILINE)
    tiles, columns = numbers.get("TILES", 0), numbers.get("COLUMNS", 0)
    if found is None or tiles * columns != len(words) or not len(words):
        raise ValueError("image and parameters do not belong together")
    nmpu = nmpu_from_text(found[1])
    coefficients_id, ids = read_ids(image.decode("ascii"))
    if coefficients_id != read_ids(text)[0]:
        raise ValueError("image and parameters have different ids: they do not belong together")
    per_tile = {key: _read_fields(key, text) for key in ("CORES", "FOUR_PHASE", "SHIFTS")}
    return ExportedSet(
        tiles=tuple(
            _read_tile(
                words[number * columns : (number + 1) * columns],
                nmpu,
                {key: fields[number] for key, fields in per_tile.items()},
                ids,
            )
            for number in range(tiles)
        ),
        nmpu=nmpu.to_dict() | {"shift": None},
        chip=None,
        coefficients_id=coefficients_id,
    )


def _read_tile(
    words: list[int],
    nmpu: NmpuFormat,
    told: Mapping[str, int],
    ids: Mapping[str, Mapping[str, str]],
) -> ExportedTile:
    fields = _fields(nmpu)
    codes = {
        name: [(word >> low) & ((1 << bits) - 1) for word in words]
        for name, (low, bits) in fields.items()
    }
    half = 1 << (nmpu.off_bits - 1)
    codes["offset"] = [(code ^ half) - half for code in codes["offset"]]
    mode = ReadMode.FOUR_PHASE if told["FOUR_PHASE"] else ReadMode.ONE_PHASE
    name = StepKey(told["CORES"], mode).name
    return ExportedTile(
        core=told["CORES"],
        read_mode=mode,
        shift=told["SHIFTS"],
        registers=registers_of(codes, where=name),
        output_lsb=None,
        **{"raw_sha256": "", **ids.get(name, {})},
    )


def _read_words(image: bytes) -> list[int]:
    words: dict[int, int] = {}
    at = 0
    for part in re.sub(rb"//[^\n]*", b"", image).split():
        if part.startswith(b"@"):
            at = int(part[1:], 16)
        else:
            words[at] = int(part, 16)
            at += 1
    if sorted(words) != list(range(len(words))):
        raise ValueError("the image has gaps")
    return [words[at] for at in range(len(words))]


def _read_fields(key: str, text: str) -> list[int]:
    found = re.search(rf"_{key} = \{{([^}}]*)\}};", text)
    if found is None:
        raise ValueError(f"{key} is missing in the parameters")
    return [int(value) for value in reversed(re.findall(r"'d(\d+)", found[1]))]


def _format(coefficients: CoefficientSet) -> NmpuFormat:
    return format_of(coefficients.nmpu, coefficients.tiles[0].shift)


def _fields(fmt: NmpuFormat) -> dict[str, tuple[int, int]]:
    """Return lowest bit and width of each register in a word."""
    widths = {
        "scale_p": fmt.scale_format.bits,
        "scale_n": fmt.scale_format.bits,
        "offset": fmt.off_bits,
        "swap": 1,
    }
    lows = np.cumsum([0, *widths.values()]).tolist()
    return {name: (low, bits) for (name, bits), low in zip(widths.items(), lows, strict=False)}


def _word_bits(fmt: NmpuFormat) -> int:
    return sum(bits for _, bits in _fields(fmt).values())


def _words(tile: TileCoefficients, fmt: NmpuFormat) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    words = np.zeros(len(tile.flags), np.int64)
    for name, (low, bits) in _fields(fmt).items():
        codes = getattr(tile.registers, name).astype(np.int64)
        words |= (codes & ((1 << bits) - 1)) << low
    return words
