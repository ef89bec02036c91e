"""Register images as Intel HEX and as raw bytes, each with a manifest beside it."""

import hashlib
import io
import json
from typing import Any

import numpy as np

from hil.core.extras import load_extra
from hil.core.readout import ReadMode
from hil_datasets.coefficients import CoefficientSet
from hil_datasets.export.exported import (
    MOST_COLUMNS,
    ExportedSet,
    ExportedTile,
    identity_of,
    registers_of,
)
from hil_datasets.export.origin import TILE_IDS, ids_of, source_of
from hil_datasets.export.quality_fields import circumstance_of
from hil_datasets.export.register_image import (
    LARGEST_SPAN,
    MemoryImage,
    check_left_out,
    pack_image,
    tile_base,
    unpack_tile,
)
from hil_datasets.export.register_map import Held, MapFile, RegisterMap
from hil_datasets.step import StepKey

_FORMAT = "hil-register-image"


def manifest_name(file_name: str) -> str:
    """Return the name of the manifest that belongs to an image."""
    return f"{file_name}.json"


def make_image(coefficients: CoefficientSet, map_file: MapFile) -> MemoryImage:
    """Return the image of all tiles.

    Raises
    ------
    ConfigError
        If the map has no place for something, or places overlap.
    """
    for tile in coefficients.tiles:
        check_left_out(tile, map_file)
    digest = bytes.fromhex(coefficients.coefficients_id)
    return pack_image(coefficients.tiles, map_file, digest=digest)


def to_hex(image: MemoryImage) -> bytes:
    """Return an image as Intel HEX.

    Raises
    ------
    MissingExtraError
        If intelhex is not installed.
    """
    whole, text = _intelhex().IntelHex(), io.StringIO()
    for address, content in image.runs():
        whole.frombytes(content, offset=address)
    whole.write_hex_file(text)
    return text.getvalue().encode("ascii")


def to_binary(image: MemoryImage, map_file: MapFile) -> bytes:
    """Return an image as bytes from its first address on.

    Raises
    ------
    ConfigError
        If it is larger than `LARGEST_SPAN`.
    """
    if image.span > LARGEST_SPAN:
        map_file.refuse(
            ("tile",),
            f"the image would have {image.span} bytes: must be at most {LARGEST_SPAN}; "
            "use the format hex, which leaves gaps out",
        )
    return image.filled(map_file.map.fill)


def make_manifest(
    coefficients: CoefficientSet, map_file: MapFile, image: MemoryImage, content: bytes
) -> bytes:
    """Return what an image cannot say of itself, as JSON."""
    document = {
        "format": _FORMAT,
        "version": 1,
        "coefficients_id": coefficients.coefficients_id,
        "source": source_of(coefficients),
        "nmpu": dict(coefficients.nmpu),
        "register_map_sha256": map_file.sha256,
        "image_sha256": hashlib.sha256(content).hexdigest(),
        "first_address": int(image.addresses[0]),
        "last_address": int(image.addresses[-1]),
        "columns": len(coefficients.tiles[0].flags),
        "tiles": [
            {
                "core": tile.key.core,
                "read_mode": str(tile.key.read_mode),
                "output_lsb": tile.output_lsb,
                **ids_of(tile),
                **circumstance_of(tile),
            }
            for tile in coefficients.tiles
        ],
    }
    return json.dumps(document, indent=1, allow_nan=False).encode() + b"\n"


def read_hex(content: bytes, manifest: bytes, map_file: MapFile) -> ExportedSet:
    """Read an Intel HEX image.

    Raises
    ------
    MissingExtraError
        If intelhex is not installed.
    ValueError
        If image, manifest and map do not belong together, or the image is damaged.
    """
    module = _intelhex()
    try:
        whole = module.IntelHex(io.StringIO(content.decode("ascii")))
    except module.IntelHexError as error:
        raise ValueError(f"is no Intel HEX: {error}") from error
    found = sorted((at, byte) for at, byte in whole.todict().items() if isinstance(at, int))
    if not found:
        raise ValueError("holds no byte")
    addresses, values = zip(*found, strict=True)
    image = MemoryImage(addresses=np.array(addresses, np.int64), values=np.array(values, np.uint8))
    return _read(image, content, manifest, map_file)


def read_binary(content: bytes, manifest: bytes, map_file: MapFile) -> ExportedSet:
    """Read a binary image.

    Raises
    ------
    ValueError
        If image, manifest and map do not belong together.
    """
    first = json.loads(manifest)["first_address"]
    image = MemoryImage(
        addresses=np.arange(first, first + len(content)), values=np.frombuffer(content, np.uint8)
    )
    return _read(image, content, manifest, map_file)


def _read(image: MemoryImage, content: bytes, manifest: bytes, map_file: MapFile) -> ExportedSet:
    told: dict[str, Any] = json.loads(manifest)
    for name, found in (
        ("register_map_sha256", map_file.sha256),
        ("image_sha256", hashlib.sha256(content).hexdigest()),
    ):
        if told[name] != found:
            raise ValueError(f"{name} is {found}, in the manifest {told[name]}")
    at = map_file.map.digest_address
    if at is not None:
        digest = image.at(at + np.arange(32)).tobytes().hex()
        if digest != told["coefficients_id"]:
            raise ValueError(f"its digest is {digest}, in the manifest {told['coefficients_id']}")
    if not 1 <= told["columns"] <= MOST_COLUMNS:
        raise ValueError(f"columns is {told['columns']}")
    return ExportedSet(
        tiles=tuple(_tile(image, map_file.map, told, tile) for tile in told["tiles"]),
        nmpu=told["nmpu"],
        chip=identity_of(told["source"]["chip"]),
        coefficients_id=told["coefficients_id"],
    )


def _intelhex() -> Any:
    return load_extra("intelhex", purpose="format hex", library="intelhex", extra="exporters")


def _tile(
    image: MemoryImage, register_map: RegisterMap, told: dict[str, Any], tile: dict[str, Any]
) -> ExportedTile:
    core, mode = tile["core"], ReadMode(tile["read_mode"])
    base = tile_base(register_map, core, mode)
    codes = unpack_tile(image, register_map, base=base, columns=told["columns"])
    named = {
        str(held): np.broadcast_to(codes[held], (told["columns"],))
        for held in (Held.SCALE_P, Held.SCALE_N, Held.OFFSET, Held.SWAP)
    }
    return ExportedTile(
        core=core,
        read_mode=mode,
        shift=int(codes[Held.SHIFT][0]),
        registers=registers_of(named, where=StepKey(core, mode).name),
        **{name: tile[name] for name in TILE_IDS},
        output_lsb=tile["output_lsb"],
    )
