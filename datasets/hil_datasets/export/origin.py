"""What an export is and was made from: ids, in the words that every format has room for."""

import json
import re
from dataclasses import asdict
from typing import Any

from hil_datasets.coefficients import CoefficientSet, TileCoefficients
from hil_datasets.export.quality_fields import circumstance_of, setpoint_words
from hil_datasets.step import StepKey

TILE_IDS = ("raw_sha256", "correction_id", "coefficients_id")
"""What names a tile's readouts, its correction and its registers."""


def tile_name(tile: TileCoefficients) -> str:
    """Return a tile's name, the same whenever it was calibrated."""
    return StepKey(tile.key.core, tile.key.read_mode).name


def source_of(coefficients: CoefficientSet) -> dict[str, Any]:
    """Return chip, campaign and software as the formats with names write them."""
    return {
        "chip": asdict(coefficients.chip),
        "campaign_sha256": coefficients.campaign_sha256,
        "software": coefficients.software,
    }


def origin_lines(coefficients: CoefficientSet) -> list[str]:
    """Return one line for the set, one for the campaign, and one for each id of each tile."""
    return [
        f"coefficients_id {coefficients.coefficients_id}",
        f"campaign_sha256 {coefficients.campaign_sha256}",
        *(
            f"{name} {tile_name(tile)} {getattr(tile, name)}"
            for name in TILE_IDS
            for tile in coefficients.tiles
        ),
    ]


def ids_of(tile: TileCoefficients) -> dict[str, str]:
    """Return the ids of a tile by name, each the parent of the next."""
    return {name: getattr(tile, name) for name in TILE_IDS}


def read_ids(lines: str) -> tuple[str, dict[str, dict[str, str]]]:
    """Return the id of the set, and by the name of each tile its ids, out of a comment.

    Parameters
    ----------
    lines
        A text that has, among others, the lines of `origin_lines`, whatever is before them.
    """
    found = re.findall(r"^[ */]*coefficients_id ([0-9a-f]{64})$", lines, re.MULTILINE)
    tiles: dict[str, dict[str, str]] = {}
    named = rf"^[ */]*({'|'.join(TILE_IDS)}) (\w+) ([0-9a-f]{{64}})$"
    for name, tile, tile_id in re.findall(named, lines, re.MULTILINE):
        tiles.setdefault(tile, {})[name] = tile_id
    return (found or [""])[0], tiles


def provenance_lines(coefficients: CoefficientSet) -> list[str]:
    """Return what the comment of a source file says: ASCII that no comment can end on."""
    return [
        f"NMPU coefficients of {_harmless(str(coefficients.chip))}",
        f"written by {_harmless(coefficients.software)}; do not edit",
        *origin_lines(coefficients),
        *(_harmless(circumstance_line(tile)) for tile in coefficients.tiles),
    ]


def circumstance_line(tile: TileCoefficients) -> str:
    """Return under what a tile was calibrated: ``NAME=VALUE`` texts behind its name."""
    known = circumstance_of(tile) | {"setpoints": None}
    words = [f"{name}={value}" for name, value in known.items() if value is not None]
    return " ".join(["calibrated", tile_name(tile), *words, *setpoint_words(tile)])


_HARMLESS = frozenset(" +,-.:;=()")


def _harmless(text: str) -> str:
    # A chip names itself: it could say what ends a comment, or a trigraph that ends its line.
    return "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in _HARMLESS) else "_"
        for letter in text
    )


def json_text(document: Any) -> str:
    """Return a document as the JSON that attributes and archives hold: strict, on one line."""
    return json.dumps(document, allow_nan=False)
