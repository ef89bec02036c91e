"""The seal of a file: the hashes of all its bytes, in front of them.

The HDF5 library can hang or crash on a file with a few flipped bits, and stores no checksum of
most of what it writes. So the first 512 bytes of a step file, the HDF5 *user block*, hold lines of
text with the SHA-256 and the CRC-32C of all bytes that follow, then the CRC-32C of each part that
holds readouts, and of the rest::

    hil-step sha256 9f86d081... crc32c 0a1b2c3d
    part raw 8704 786432 4e5f6071
    rest 8293a4b5

A file without it was never finished. The SHA-256 names the file and is what a verification
compares. The CRC-32C finds every accident as well, at the speed of memory: whoever looks at a file
compares that of the rest before HDF5 opens it, and that of a part when the part is used, so that
what was concluded from gigabytes of readouts is read without reading these. Step files of format 1
have the SHA-256 alone.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hil_datasets.check_sum import extended_crc, joined_crc

SEAL_BYTES = 512
"""Size of the user block, the smallest that HDF5 has."""
STEP_FORM = "hil-step"
"""What the seal of a step file begins with."""
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_TEXT = re.compile(
    rb"sha256 ([0-9a-f]{64})(?: crc32c ([0-9a-f]{8}))?\n"
    rb"((?:part [a-z]{1,16} \d{1,15} \d{1,15} [0-9a-f]{8}\n)*)(?:rest ([0-9a-f]{8})\n)?\0*"
)
_PIECE_BYTES = 1 << 18
"""Of what is read at a time: a cache holds it until it is hashed."""


@dataclass(frozen=True, slots=True, order=True)
class SealedPart:
    """Some bytes of a file that have a checksum of their own."""

    offset: int
    """Of the first one, from the beginning of the file."""
    length: int
    """How many."""
    name: str
    """What they are."""
    crc32c: str = ""
    """CRC-32C, in hex."""

    @property
    def stop(self) -> int:
        """Where they end."""
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class Seal:
    """What the bytes of a file hash to."""

    sha256: str
    """SHA-256, in hex; empty if the seal itself is damaged."""
    crc32c: str | None
    """CRC-32C, in hex; None in a file of format 1."""
    parts: tuple[SealedPart, ...] = ()
    """Parts with checksums of their own, in the order they lie in the file."""
    rest: str | None = None
    """CRC-32C of what is in no part, in hex; None where there are no parts."""

    def part(self, name: str) -> SealedPart | None:
        """Return the part of a name, if there is one."""
        return next((part for part in self.parts if part.name == name), None)

    def to_bytes(self, form: str) -> bytes:
        """Return the user block."""
        lines = [f"{form} sha256 {self.sha256} crc32c {self.crc32c}"]
        lines += [
            f"part {part.name} {part.offset} {part.length} {part.crc32c}" for part in self.parts
        ]
        if self.parts:
            lines.append(f"rest {self.rest}")
        return "".join(f"{line}\n" for line in lines).encode().ljust(SEAL_BYTES, b"\0")


def seal_file(
    path: Path, *, form: str = STEP_FORM, parts: Mapping[str, tuple[int, int]] | None = None
) -> None:
    """Write a file's seal into its user block.

    Parameters
    ----------
    path
        The file; its first 512 bytes are replaced.
    form
        What the seal begins with.
    parts
        Offset and length of each part that gets a checksum of its own; they do not overlap.
    """
    named = sorted(SealedPart(*place, name) for name, place in (parts or {}).items())
    sealed = _hashed(path, tuple(part for part in named if part.length))
    with path.open("r+b") as file:
        file.write(sealed.to_bytes(form))


def check_seal(path: Path, *, form: str = STEP_FORM) -> None:
    """Raise ValueError, saying what is wrong, unless every hash of a file's seal fits its bytes."""
    seal = read_seal(path, form=form)
    _between(path, seal)  # no checksum covers the seal, which says where its parts lie
    found = _hashed(path, seal.parts)
    if seal.sha256 != found.sha256:
        raise ValueError(_damage(path, "SHA-256"))
    if seal.crc32c is not None and seal != found:
        raise ValueError(_damage(path, "CRC-32C"))


def check_quickly(path: Path, *, form: str = STEP_FORM) -> None:
    """Raise ValueError unless a file's CRC-32C fits its bytes; of format 1 its SHA-256."""
    seal = read_seal(path, form=form)
    if seal.crc32c is None:
        check_seal(path, form=form)
        return
    if seal.crc32c != _crc_of(path, [(SEAL_BYTES, path.stat().st_size)]):
        raise ValueError(_damage(path, "CRC-32C"))


def check_rest(path: Path, *, form: str = STEP_FORM) -> Seal:
    """Check all of a file that is in no part, and return its seal; without parts, all of it.

    Raises
    ------
    ValueError
        If the checksum does not fit, or a part lies where none can.
    """
    seal = read_seal(path, form=form)
    if seal.rest is None:
        check_quickly(path, form=form)
        return seal
    if seal.rest != _crc_of(path, _between(path, seal)):
        raise ValueError(_damage(path, "CRC-32C"))
    return seal


def _between(path: Path, seal: Seal) -> list[tuple[int, int]]:
    """Return what lies between the parts of a file.

    Raises
    ------
    ValueError
        If a part lies where none can.
    """
    size, spans, at = path.stat().st_size, [], SEAL_BYTES
    for part in seal.parts:
        if not at <= part.offset <= part.stop <= size:
            raise ValueError(_damage(path, "seal"))
        spans.append((at, part.offset))
        at = part.stop
    return [*spans, (at, size)]


def check_part(path: Path, part: SealedPart, content: npt.NDArray[Any]) -> None:
    """Raise ValueError unless the bytes of a part have its checksum.

    Parameters
    ----------
    path
        The file, for the message.
    part
        The part.
    content
        Its bytes, in any shape.
    """
    if content.nbytes != part.length or part.crc32c != f"{extended_crc(0, content):08x}":
        raise ValueError(_damage(path, f"CRC-32C of {part.name}"))


def seal_of(path: Path, *, form: str = STEP_FORM) -> str:
    """Return the SHA-256 that a file is sealed with; empty if the rest of its seal is damaged.

    Raises
    ------
    ValueError
        If it has no seal.
    """
    return read_seal(path, form=form).sha256


def read_seal(path: Path, *, form: str = STEP_FORM) -> Seal:
    """Return the seal of a file; raises what `seal_of` does."""
    opening = f"{form} ".encode()
    with path.open("rb") as file:
        block, signature = file.read(SEAL_BYTES), file.read(len(_HDF5_SIGNATURE))
    if not block.startswith(opening) or signature != _HDF5_SIGNATURE:
        what = {STEP_FORM: "step"}.get(form, "packed")
        raise ValueError(f"is no finished {what} file: its first bytes are not those of one")
    found = _TEXT.fullmatch(block[len(opening) :])
    if found is None or bool(found[3]) != bool(found[4]):
        return Seal("", None)
    words = [line.decode().split() for line in found[3].splitlines()]
    return Seal(
        found[1].decode(),
        None if found[2] is None else found[2].decode(),
        tuple(SealedPart(int(at), int(length), name, crc) for _, name, at, length, crc in words),
        None if found[4] is None else found[4].decode(),
    )


def _damage(path: Path, what: str) -> str:
    return (
        f"is damaged, or was changed since it was written: its {path.stat().st_size} bytes do "
        f"not match their {what}"
    )


def _hashed(path: Path, parts: tuple[SealedPart, ...] = ()) -> Seal:
    """Return the seal of a file's bytes; they are read once."""
    sha256, crc, rest = hashlib.sha256(), 0, 0
    sealed, at, size = [], SEAL_BYTES, path.stat().st_size

    def crc_of(first: int, stop: int) -> int:
        found = 0
        for piece in _pieces(path, first, stop):
            sha256.update(piece.data)
            found = extended_crc(found, piece)
        return found

    for part in (*parts, SealedPart(size, 0, "")):
        between, of_part = crc_of(at, part.offset), crc_of(part.offset, part.stop)
        rest = joined_crc(rest, between, part.offset - at)
        crc = joined_crc(crc, between, part.offset - at)
        crc = joined_crc(crc, of_part, part.length)
        sealed.append(replace(part, crc32c=f"{of_part:08x}"))
        at = part.stop
    rest_crc = f"{rest:08x}" if parts else None
    return Seal(sha256.hexdigest(), f"{crc:08x}", tuple(sealed[:-1]), rest_crc)


def _crc_of(path: Path, spans: Sequence[tuple[int, int]]) -> str:
    crc = 0
    for first, stop in spans:
        for piece in _pieces(path, first, stop):
            crc = extended_crc(crc, piece)
    return f"{crc:08x}"


def _pieces(path: Path, first: int, stop: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the bytes between two places, each piece in the memory of the one before."""
    piece = np.empty(min(_PIECE_BYTES, max(stop - first, 0)), np.uint8)
    with path.open("rb", buffering=0) as file:
        file.seek(first)
        while first < stop and (count := file.readinto(piece[: stop - first].data)):
            yield piece[:count]
            first += count
