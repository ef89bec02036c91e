"""Coefficients as bytes at addresses, by a register map; and back."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from hil.core.readout import ReadMode
from hil_datasets.coefficients import TileCoefficients
from hil_datasets.export.register_map import (
    ADDRESS_SPACE,
    Held,
    MapFile,
    RegisterMap,
    RegisterSection,
)

LARGEST_SPAN = 1 << 28
"""Most bytes from the first to the last of a binary image, 256 MiB."""
_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryImage:
    """Bytes at addresses."""

    addresses: npt.NDArray[np.int64]
    """Address of each byte, ascending, none twice."""
    values: npt.NDArray[np.uint8]
    """The bytes."""

    @property
    def span(self) -> int:
        """Bytes from the first address to the last, both included."""
        return int(self.addresses[-1] - self.addresses[0]) + 1

    def runs(self) -> Iterator[tuple[int, bytes]]:
        """Yield each stretch without a gap: its first address and its bytes."""
        breaks = np.flatnonzero(np.diff(self.addresses) > 1) + 1
        for first, stop in pairwise([0, *breaks.tolist(), len(self.addresses)]):
            yield int(self.addresses[first]), self.values[first:stop].tobytes()

    def at(self, addresses: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Return the bytes at addresses of any shape; ValueError if one has none."""
        places = np.searchsorted(self.addresses, addresses)
        found = self.addresses[np.minimum(places, len(self.addresses) - 1)] == addresses
        if not found.all():
            raise ValueError(f"has no byte at address {addresses[~found][0]:#010x}")
        return np.asarray(self.values[places])

    def filled(self, fill: int) -> bytes:
        """Return the bytes from the first address to the last, gaps filled."""
        content = np.full(self.span, fill, np.uint8)
        content[self.addresses - self.addresses[0]] = self.values
        return content.tobytes()


def pack_image(
    tiles: Iterable[TileCoefficients], map_file: MapFile, *, digest: bytes
) -> MemoryImage:
    """Place the registers of tiles at their addresses.

    Parameters
    ----------
    tiles
        The tiles.
    map_file
        Where their registers are.
    digest
        32 bytes that tell what they were made from.

    Raises
    ------
    ConfigError
        If a code does not fit its field, a tile has no place, two registers overlap, or an address
        is beyond 32 bits.
    """
    parts: list[_Part] = []
    register_map = map_file.map
    if register_map.digest_address is not None:
        addresses = register_map.digest_address + np.arange(_DIGEST_BYTES)
        parts.append(_Part("the digest", addresses, np.frombuffer(digest, np.uint8)))
    for tile in tiles:
        base = _base(tile, map_file)
        for number, register in enumerate(register_map.register_):
            words = _words(tile, number, map_file)
            parts.append(
                _Part(
                    f"{register.name} of core {tile.key.core} {tile.key.read_mode}",
                    _addresses(register, base, len(words)).ravel(),
                    _bytes_of(words, register, register_map).ravel(),
                )
            )
    return _joined(parts, map_file)


def unpack_tile(
    image: MemoryImage, register_map: RegisterMap, *, base: int, columns: int
) -> dict[Held, npt.NDArray[np.int64]]:
    """Read the registers of a tile from an image.

    Parameters
    ----------
    image
        Bytes at addresses.
    register_map
        Where registers are.
    base
        Where those of the tile begin.
    columns
        How many columns it has.

    Returns
    -------
    Codes by what they are, shape (column,), or (1,) for the shift.

    Raises
    ------
    ValueError
        If the image has no byte at an address.
    """
    codes = {}
    for register in register_map.register_:
        count = columns if register.per == "column" else 1
        content = image.at(_addresses(register, base, count)).astype(np.uint64)
        order = np.arange(register.bytes, dtype=np.uint64) * np.uint64(8)
        shifts = order if register_map.endianness == "little" else order[::-1]
        words = np.bitwise_or.reduce(content << shifts, axis=1)
        for field in register.fields:
            mask = np.uint64((1 << field.bits) - 1)
            code = (words >> np.uint64(field.lowest_bit) & mask).astype(np.int64)
            if field.holds is Held.OFFSET and field.bits < 64:
                half = 1 << (field.bits - 1)
                code = (code ^ half) - half
            codes[field.holds] = code
    codes.setdefault(Held.SCALE_N, codes[Held.SCALE_P])
    codes.setdefault(Held.SWAP, np.zeros(columns, np.int64))
    return codes


def tile_base(register_map: RegisterMap, core: int, read_mode: ReadMode) -> int:
    """Return where the registers of a tile begin; ValueError if its read mode has none."""
    tile = register_map.tile
    return (
        tile.base
        + core * tile.core_stride
        + tile.read_modes.index(read_mode) * tile.read_mode_stride
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """Bytes that belong together."""

    what: str
    addresses: npt.NDArray[np.int64]
    values: npt.NDArray[np.uint8]


def _base(tile: TileCoefficients, map_file: MapFile) -> int:
    try:
        return tile_base(map_file.map, tile.key.core, tile.key.read_mode)
    except ValueError:
        map_file.refuse(
            ("tile", "read_modes"), f"names no {tile.key.read_mode}, which core {tile.key.core} has"
        )


def _words(tile: TileCoefficients, number: int, map_file: MapFile) -> npt.NDArray[np.uint64]:
    register = map_file.map.register_[number]
    words = np.zeros(len(tile.flags) if register.per == "column" else 1, np.uint64)
    for place, field in enumerate(register.fields):
        if field.constant is not None:
            codes = np.array([field.constant], dtype=object)
        else:
            codes = _codes(tile, field.holds).astype(object)
        half = 1 << (field.bits - 1)
        lowest, highest = (
            (-half, half - 1) if field.holds is Held.OFFSET else (0, (1 << field.bits) - 1)
        )
        for column, code in enumerate(codes):
            if not lowest <= code <= highest:
                map_file.refuse(
                    ("register", number, "fields", place),
                    f"{field.holds} of core {tile.key.core} {tile.key.read_mode} column {column} "
                    f"is {code}: {field.bits} bits hold {lowest} to {highest}",
                )
        masked = np.array([int(code) & (1 << field.bits) - 1 for code in codes], np.uint64)
        words = words | (masked << np.uint64(field.lowest_bit))
    return words


def _codes(tile: TileCoefficients, held: Held) -> npt.NDArray[np.int64]:
    if held is Held.SHIFT:
        return np.array([tile.shift])
    if held is Held.FLAGS:
        return tile.flags.astype(np.int64)
    return np.asarray(getattr(tile.registers, held).astype(np.int64))


def check_left_out(tile: TileCoefficients, map_file: MapFile) -> None:
    """Refuse a tile that needs a register which the map does not have.

    Raises
    ------
    ConfigError
        If a column swaps P and N, or has two scales, and the map has no place for it.
    """
    registers = tile.registers
    for held, is_needed, why in (
        (Held.SWAP, registers.swap, "swaps P and N"),
        (Held.SCALE_N, registers.scale_n != registers.scale_p, "has another scale for N"),
    ):
        if map_file.map.register_of(held) is None and is_needed.any():
            map_file.refuse(
                ("register",),
                f"no field holds {held}, but column {int(np.argmax(is_needed))} of core "
                f"{tile.key.core} {tile.key.read_mode} {why}",
            )


def _addresses(register: RegisterSection, base: int, count: int) -> npt.NDArray[np.int64]:
    """Return the address of each byte, shape (word, byte)."""
    first = base + register.offset + np.arange(count, dtype=np.int64) * (register.stride or 0)
    return np.asarray(first[:, None] + np.arange(register.bytes))


def _bytes_of(
    words: npt.NDArray[np.uint64], register: RegisterSection, register_map: RegisterMap
) -> npt.NDArray[np.uint8]:
    order = "<u8" if register_map.endianness == "little" else ">u8"
    whole = words.astype(order).view(np.uint8).reshape(len(words), 8)
    is_little = register_map.endianness == "little"
    return whole[:, : register.bytes] if is_little else whole[:, 8 - register.bytes :]


def _joined(parts: list[_Part], map_file: MapFile) -> MemoryImage:
    addresses = np.concatenate([part.addresses for part in parts])
    owners = np.repeat(np.arange(len(parts)), [len(part.addresses) for part in parts])
    order = np.argsort(addresses, kind="stable")
    addresses, owners = addresses[order], owners[order]
    doubled = np.flatnonzero(np.diff(addresses) == 0)
    if len(doubled):
        first = int(doubled[0])
        one, other = (parts[int(owners[at])].what for at in (first, first + 1))
        map_file.refuse((), f"{one} and {other} share address {addresses[first]:#010x}")
    if addresses[-1] >= ADDRESS_SPACE:
        what = parts[int(owners[-1])].what
        map_file.refuse((), f"{what} ends at address {addresses[-1]:#x}: must be below 2^32")
    values = np.concatenate([part.values for part in parts])[order]
    return MemoryImage(addresses=addresses, values=values)
