"""CRC-32C over arrays as they lie in memory."""

from functools import lru_cache
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt

_BITS = np.arange(32, dtype=np.uint32)


def extended_crc(crc: int, array: npt.NDArray[Any]) -> int:
    """Return a CRC-32C over what it was of, and the bytes of an array after that."""
    stored = np.ascontiguousarray(array)
    if google_crc32c.implementation != "c":  # that one takes nothing but bytes
        return int(google_crc32c.extend(crc, stored.tobytes()))
    return int(google_crc32c.extend(crc, stored))


def joined_crc(crc: int, of_rest: int, rest_bytes: int) -> int:
    """Return the CRC-32C of bytes and of what follows them, from the checksum of each.

    Parameters
    ----------
    crc
        Of the bytes in front.
    of_rest
        Of those that follow, by themselves.
    rest_bytes
        How many follow.

    References
    ----------
    M. Adler, ``crc32_combine`` of zlib: a checksum is linear in its bits, so that what follows
    changes it like as many zeros, and adds its own.
    """
    lowest, low, high, highest = _after_zeros(rest_bytes)
    moved = lowest[crc & 255] ^ low[crc >> 8 & 255] ^ high[crc >> 16 & 255] ^ highest[crc >> 24]
    return moved ^ of_rest


@lru_cache(maxsize=16)
def _after_zeros(count: int) -> tuple[list[int], ...]:
    """Return what so many zeros make of each byte of a checksum, from the lowest."""
    zero = np.zeros(1, np.uint8)
    of_zero = extended_crc(0, zero)
    doubled = np.array([extended_crc(1 << bit, zero) ^ of_zero for bit in range(32)], np.uint32)
    made = np.uint32(1) << _BITS
    while count:
        if count & 1:
            made = _applied(doubled, made)
        doubled = _applied(doubled, doubled)
        count >>= 1
    every_byte = np.arange(256, dtype=np.uint32)
    return tuple(_applied(made, every_byte << np.uint32(8 * n)).tolist() for n in range(4))


def _applied(
    columns: npt.NDArray[np.uint32], values: npt.NDArray[np.uint32]
) -> npt.NDArray[np.uint32]:
    """Return the product of a matrix of bits, each column a word, with vectors of bits."""
    is_set = (values[:, np.newaxis] >> _BITS & np.uint32(1)).astype(np.bool_)
    product: npt.NDArray[np.uint32] = np.bitwise_xor.reduce(
        np.where(is_set, columns, np.uint32(0)), axis=1
    )
    return product
