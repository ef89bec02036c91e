"""What an export was made from: content hashes, in the words that every format has room for."""

import hashlib
import json
from dataclasses import asdict
from typing import Any

from hil_datasets.coefficients import CoefficientSet, TileCoefficients
from hil_datasets.step import StepKey


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
    """Return one line for the campaign and one for each tile's readouts, with their hashes."""
    return [
        f"campaign_sha256 {coefficients.campaign_sha256}",
        *(f"raw_sha256 {tile_name(tile)} {tile.raw_sha256}" for tile in coefficients.tiles),
    ]


def origin_sha256(coefficients: CoefficientSet) -> str:
    """Return the SHA-256 of `origin_lines`, each ended by a line feed: one name for all of them."""
    text = "".join(f"{line}\n" for line in origin_lines(coefficients))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def provenance_lines(coefficients: CoefficientSet) -> list[str]:
    """Return what the comment of a source file says: ASCII that no comment can end on."""
    return [
        f"NMPU coefficients of {_harmless(str(coefficients.chip))}",
        f"written by {_harmless(coefficients.software)}; do not edit",
        f"origin_sha256 {origin_sha256(coefficients)}",
        *origin_lines(coefficients),
    ]


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
