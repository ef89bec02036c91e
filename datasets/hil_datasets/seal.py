"""The seal of a step file: the hash of all its bytes, in front of them.

The HDF5 library can hang or crash on a file with a few flipped bits, and stores no checksum of
most of what it writes. So the first 512 bytes of a step file, the HDF5 *user block*, hold one line
of text with the SHA-256 of all bytes that follow::

    hil-step sha256 9f86d081...

A file without it was never finished.
"""

import hashlib
from pathlib import Path

SEAL_BYTES = 512
"""Size of the user block, the smallest that HDF5 has."""
_OPENING = b"hil-step sha256 "
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_CHUNK_BYTES = 1 << 20


def seal_file(path: Path) -> None:
    """Write a file's seal into its user block."""
    line = _OPENING + _hash_after_seal(path).encode() + b"\n"
    with path.open("r+b") as file:
        file.write(line.ljust(SEAL_BYTES, b"\0"))


def check_seal(path: Path) -> None:
    """Raise ValueError, saying what is wrong, unless a file's seal fits its bytes."""
    with path.open("rb") as file:
        seal, signature = file.read(SEAL_BYTES), file.read(len(_HDF5_SIGNATURE))
    if not seal.startswith(_OPENING) or signature != _HDF5_SIGNATURE:
        raise ValueError("is no finished step file: its first bytes are not those of one")
    line = _OPENING + _hash_after_seal(path).encode() + b"\n"
    if seal != line.ljust(SEAL_BYTES, b"\0"):
        raise ValueError(
            f"is damaged, or was changed since it was written: its {path.stat().st_size} bytes do "
            "not match their SHA-256"
        )


def _hash_after_seal(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(SEAL_BYTES)
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
