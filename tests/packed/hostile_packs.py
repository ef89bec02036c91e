"""Packed files as somebody makes them who can seal one: each breaks its readers in another way."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from damaged_files import HOSTILE as HOSTILE_STEPS
from hil_datasets.seal import seal_file

FORM = "hil-pack"
Edit = Callable[[h5py.File, str], None]


def _in_step(edit: Callable[[h5py.Group], None]) -> Edit:
    return lambda file, step: edit(file[step])


def _other_filter(file: h5py.File, step: str) -> None:
    values = file[step]["raw"][...]
    del file[step]["raw"]
    file[step].create_dataset("raw", data=values, chunks=values.shape, compression="lzf")


def _bomb(file: h5py.File, step: str) -> None:
    """A chunk of 4 MiB in 4 KiB: deflate can claim a thousand times its size."""
    del file[step]["inputs"]
    zeros = np.zeros((1 << 20, 4), np.int8)
    file[step].create_dataset("inputs", data=zeros, chunks=zeros.shape, compression="gzip")


def _lost_chunk(file: h5py.File, step: str) -> None:
    shape = file[step]["raw"].shape
    del file[step]["raw"]
    file[step].create_dataset("raw", shape, "u2", chunks=(1, *shape[1:]))


def _cut_chunk(file: h5py.File, step: str) -> None:
    raw = file[step]["raw"]
    raw.id.write_direct_chunk((0, 0, 0), b"\1\2\3", filter_mask=0)


def _wide_chunk(file: h5py.File, step: str) -> None:
    del file[step]["raw"]
    file[step].create_dataset(
        "raw", shape=(1, 2, 3), maxshape=(None, 2, 3), dtype="u2", chunks=(1 << 28, 2, 3)
    )


def _step_elsewhere(file: h5py.File, step: str) -> None:
    del file[step]
    file[step] = h5py.ExternalLink("/etc/passwd", "/")


def _step_is_all(file: h5py.File, step: str) -> None:
    del file[step]
    file[step] = file["/"]


def _steps_loop(file: h5py.File, _step: str) -> None:
    del file["entry/steps"]
    file["entry/steps"] = h5py.SoftLink("/entry/steps")


def _journal_elsewhere(file: h5py.File, _step: str) -> None:
    size = file["entry/files/journal.jsonl"].shape
    del file["entry/files/journal.jsonl"]
    file["entry/files"].create_dataset(
        "journal.jsonl", size, "u1", external=[("/etc/passwd", 0, size[0])]
    )


def _endless_journal(file: h5py.File, _step: str) -> None:
    del file["entry/files/journal.jsonl"]
    file["entry/files"].create_dataset("journal.jsonl", (1 << 40,), "u1", chunks=(1 << 20,))


def _foreign_file(file: h5py.File, _step: str) -> None:
    file["entry/files"]["lock.json"] = np.zeros(3, np.uint8)


def _file_above(file: h5py.File, _step: str) -> None:
    file["entry/files"]["suspect"] = file["entry"]


def _other_version(file: h5py.File, _step: str) -> None:
    file.attrs["format_version"] = 3


def _says_no_readouts(file: h5py.File, _step: str) -> None:
    file.attrs["has_readouts"] = 2


def _no_journal(file: h5py.File, _step: str) -> None:
    del file["entry/files/journal.jsonl"]


def _second_name(file: h5py.File, step: str) -> None:
    file["entry/steps/core09_one_phase"] = file[step]


HOSTILE: tuple[Edit, ...] = (
    *map(_in_step, HOSTILE_STEPS),
    _other_filter,
    _bomb,
    _lost_chunk,
    _cut_chunk,
    _wide_chunk,
    _step_elsewhere,
    _step_is_all,
    _steps_loop,
    _journal_elsewhere,
    _endless_journal,
    _foreign_file,
    _file_above,
    _other_version,
    _says_no_readouts,
    _no_journal,
    _second_name,
)
"""What a packed file can be made to be that its seal does not tell of."""


def hostile_packs(folder: Path, whole: bytes, step: str) -> list[bytes]:
    """Return a sealed file for each of `HOSTILE`; `step` is the path of a step's group."""
    contents = []
    path = folder / "hostile.h5"
    for edit in HOSTILE:
        path.write_bytes(whole)
        with h5py.File(path, "r+") as file:
            edit(file, step)
        seal_file(path, form=FORM)
        contents.append(path.read_bytes())
    path.unlink()
    return contents
