"""Files damaged by seed: as disks and links do it, and as somebody does who can seal a file."""

import random
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from hil_datasets.seal import SEAL_BYTES, seal_file

Edit = Callable[[h5py.File], None]


def damage(content: bytes, rng: random.Random) -> bytes:
    """Damage a file as disks, links and editors do; never leave it as it is."""
    damaged = bytearray(content)
    place, other = rng.randrange(SEAL_BYTES, len(content)), rng.randrange(len(content))
    length = rng.choice([1, 2, 8, 64, 512, 4096])
    match rng.randrange(6):
        case 0:
            for _ in range(rng.choice([1, 1, 1, 2, 8])):
                damaged[rng.randrange(SEAL_BYTES, len(content))] ^= 1 << rng.randrange(8)
        case 1:  # where the structure is: the first pages, and the groups at the end
            span = rng.choice([(512, 6000), (len(content) - 20_000, len(content))])
            damaged[rng.randrange(max(512, span[0]), span[1])] ^= 1 << rng.randrange(8)
        case 2:
            del damaged[place:]
        case 3:
            damaged[place : place + length] = bytes(min(length, len(content) - place))
        case 4:
            damaged[place : place + length] = content[other : other + length]
        case _:
            damaged[place : place + 8] = rng.choice(
                [b"\xff" * 8, b"\0\0\0\0\0\0\0\x80", bytes(7) + b"\x01", b"\xfe\xff\xff\x7f" * 2]
            )
    if damaged == content:
        damaged[place] ^= 0xFF
    return bytes(damaged)


def _claims(name: str, shape: tuple[int, ...]) -> Edit:
    def edit(file: h5py.File) -> None:
        dtype = file[name].dtype
        del file[name]
        file.create_dataset(name, shape=shape, dtype=dtype)  # early values are never written

    return edit


def _external(file: h5py.File) -> None:
    shape = file["raw"].shape
    del file["raw"]
    nbytes = int(np.prod(shape)) * 2
    file.create_dataset("raw", shape, "u2", external=[("/etc/passwd", 0, nbytes)])


def _external_link(file: h5py.File) -> None:
    del file["raw"]
    file["raw"] = h5py.ExternalLink("/etc/passwd", "/raw")


def _soft_loop(file: h5py.File) -> None:
    del file["raw"]
    file["raw"] = h5py.SoftLink("/raw")


def _hard_loop(file: h5py.File) -> None:
    file["correction/loop"] = file["/"]
    del file["quality"]
    file["quality"] = file["/"]


def _virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout(file["raw"].shape, "u2")
    layout[...] = h5py.VirtualSource("/etc/passwd", "raw", file["raw"].shape)
    del file["raw"]
    file.create_virtual_dataset("raw", layout)


def _filtered(file: h5py.File) -> None:
    values = file["raw"][...]
    del file["raw"]
    file.create_dataset("raw", data=values, chunks=values.shape, compression="gzip")


def _chunked_zeros(file: h5py.File) -> None:
    del file["raw"]
    file.create_dataset("raw", shape=(1 << 40, 2, 3), dtype="u2", chunks=(1 << 20, 2, 3))


def _huge_text(file: h5py.File) -> None:
    space, kind = h5py.h5s.create(h5py.h5s.SCALAR), h5py.h5t.C_S1.copy()
    kind.set_size(60_000)
    del file.attrs["title"]
    h5py.h5a.create(file.id, b"title", kind, space)


def _many_titles(file: h5py.File) -> None:
    del file.attrs["title"]
    file.attrs["title"] = np.array(["a"] * 1000, dtype=h5py.string_dtype())


def _compound(file: h5py.File) -> None:
    del file["weights"]
    file["weights"] = np.zeros((4, 3), dtype=[("a", "i1"), ("b", "f8")])


def _reference(file: h5py.File) -> None:
    file.attrs["host"] = file["raw"].ref


def _vectors(file: h5py.File) -> None:
    file.attrs["calibration_vectors"] = 2**62
    file.attrs["verification_vectors"] = 2**62


def _named_type(file: h5py.File) -> None:
    del file["raw"]
    file["raw"] = np.dtype("u2")


HOSTILE: tuple[Edit, ...] = (
    _claims("raw", (2**40, 2, 3)),
    _claims("inputs", (2**58, 4)),
    _claims("weights", (0, 0)),
    _claims("correction/a_p", (2**33,)),
    _external,
    _external_link,
    _soft_loop,
    _hard_loop,
    _virtual,
    _filtered,
    _chunked_zeros,
    _huge_text,
    _many_titles,
    _compound,
    _reference,
    _vectors,
    _named_type,
)
"""What a file can be made to be that its seal does not tell of."""


def hostile_files(folder: Path, whole: bytes) -> list[bytes]:
    """Return a sealed file for each of `HOSTILE`."""
    contents = []
    for edit in HOSTILE:
        path = folder / "hostile.h5"
        path.write_bytes(whole)
        with h5py.File(path, "r+") as file:
            edit(file)
        seal_file(path)
        contents.append(path.read_bytes())
    path.unlink()
    return contents


def mutated(whole: bytes, hostile: list[bytes], seed: int) -> tuple[bytes, bool]:
    """Return a damaged file, and whether it is to be sealed again.

    By turns: damaged; damaged and sealed again; hostile; hostile, damaged and sealed again.
    """
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    made = hostile[(seed // 4) % len(hostile)]
    match seed % 4:
        case 0:
            return damage(whole, rng), False
        case 1:
            return damage(whole, rng), True
        case 2:
            return (made, False) if seed < 4 * len(hostile) else (damage(made, rng), False)
        case _:
            return damage(made, rng), True
