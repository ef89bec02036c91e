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


def seal_file(path: Path) -> None:
    """Write a file's seal into its user block."""
    seal = _seal(_hash_after_seal(path))
    with path.open("r+b") as file:
        file.write(seal)


def check_seal(path: Path) -> None:
    """Raise ValueError, saying what is wrong, unless a file's seal fits its bytes."""
    if seal_of(path) != _hash_after_seal(path):
        raise ValueError(
            f"is damaged, or was changed since it was written: its {path.stat().st_size} bytes do "
            "not match their SHA-256"
        )


def seal_of(path: Path) -> str:
    """Return the hash that a file is sealed with; empty if the rest of its seal is damaged.

    Raises
    ------
    ValueError
        If it has no seal.
    """
    with path.open("rb") as file:
        seal, signature = file.read(SEAL_BYTES), file.read(len(_HDF5_SIGNATURE))
    if not seal.startswith(_OPENING) or signature != _HDF5_SIGNATURE:
        raise ValueError("is no finished step file: its first bytes are not those of one")
    sha256 = seal[len(_OPENING) : len(_OPENING) + 64].decode("latin-1")
    return sha256 if seal == _seal(sha256) else ""


def _seal(sha256: str) -> bytes:
    return (_OPENING + sha256.encode("latin-1") + b"\n").ljust(SEAL_BYTES, b"\0")


def _hash_after_seal(path: Path) -> str:
    with path.open("rb", buffering=0) as file:
        file.seek(SEAL_BYTES)
        return hashlib.file_digest(file, "sha256").hexdigest()
