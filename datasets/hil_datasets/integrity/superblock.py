"""The first bytes of an HDF5 file, mended so that the library opens what is left of it.

A file that was cut short still claims the bytes that it has lost, and HDF5 refuses it; one whose
writer was killed, in SWMR mode above all, may stay marked as being written, and is refused as well.
Both are a number in the superblock.

References
----------
HDF5 File Format Specification 3.0, section II.A "Disk Format: Level 0A - Format Signature and
Superblock", The HDF Group; Bob Jenkins, lookup3.c, 2006 (public domain), for its checksum.
"""

import struct
from dataclasses import dataclass

SIGNATURE = b"\x89HDF\r\n\x1a\n"
HEAD_BYTES = 1 << 16
"""How much of a file holds its superblock, wherever it may begin here: user blocks are small."""
_MASK = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class MendedHead:
    """The first bytes of a file, mended."""

    content: bytes
    """The bytes, as many as were given."""
    was_marked: bool
    """Whether it was marked as being written."""


def mend_head(head: bytes, *, file_bytes: int) -> MendedHead:
    """Clear the marks of a writer, and have the file claim no more than its bytes.

    Parameters
    ----------
    head
        The first bytes of the file.
    file_bytes
        How many it has.

    Raises
    ------
    ValueError
        If there is no superblock of version 0 to 3 with addresses of 8 bytes.
    """
    start = _start_of(head)
    version = head[start + 8]
    if version in {0, 1}:
        sizes_at, end_at, flags_at, flags_bytes = 13, 40 + 4 * version, 20, 4
    elif version in {2, 3}:
        sizes_at, end_at, flags_at, flags_bytes = 9, 28, 11, 1
    else:
        raise ValueError(f"has a superblock of version {version}: 0 to 3 are known")
    if head[start + sizes_at] != 8:
        raise ValueError(f"has addresses of {head[start + sizes_at]} bytes: must be 8")
    content = bytearray(head)
    flags = slice(start + flags_at, start + flags_at + flags_bytes)
    was_marked = any(content[flags])
    content[flags] = bytes(flags_bytes)
    (claimed,) = struct.unpack_from("<Q", content, start + end_at)
    if claimed > file_bytes:
        struct.pack_into("<Q", content, start + end_at, file_bytes)
    if version >= 2:
        checked = bytes(content[start : start + 44])
        struct.pack_into("<I", content, start + 44, lookup3(checked))
    return MendedHead(content=bytes(content), was_marked=was_marked)


def _start_of(head: bytes) -> int:
    """Return where the superblock begins: at 0, 512, 1024 and so on, doubling."""
    start = 0
    while start + 96 <= len(head):
        if head.startswith(SIGNATURE, start):
            return start
        start = 2 * start or 512
    raise ValueError("has no superblock of HDF5")


def lookup3(content: bytes) -> int:
    """Return the checksum that HDF5 protects its newer metadata with.

    Examples
    --------
    >>> hex(lookup3(b"Four score and seven years ago"))
    '0x17770551'
    """
    a = b = c = (0xDEADBEEF + len(content)) & _MASK
    if not content:
        return c
    whole = (len(content) - 1) // 12 * 12
    for at in range(0, whole, 12):
        x, y, z = struct.unpack_from("<3I", content, at)
        a, b, c = _mixed((a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK)
    x, y, z = struct.unpack("<3I", content[whole:].ljust(12, b"\0"))
    return _ended((a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK)


def _turned(value: int, by: int) -> int:
    return ((value << by) | (value >> (32 - by))) & _MASK


def _mixed(a: int, b: int, c: int) -> tuple[int, int, int]:
    for by in (4, 6, 8, 16, 19, 4):
        a = ((a - c) & _MASK) ^ _turned(c, by)
        c = (c + b) & _MASK
        a, b, c = b, c, a
    return a, b, c


def _ended(a: int, b: int, c: int) -> int:
    for by in (14, 11, 25, 16, 4, 14, 24):
        c = ((c ^ b) - _turned(b, by)) & _MASK
        a, b, c = b, c, a
    # After seven turns the last one written stands in the middle.
    return b
