"""Arrays in a file of an evaluation's folder, with what they belong to and a hash of them.

A file that is edited, renamed, or copied from the folder of another evaluation is none of this one.
"""

import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.core.errors import ConfigError, DatasetError, Problem
from hil.core.regular_file import open_regular_file
from hil_datasets.content_id import content_hash
from hil_datasets.durable import finished_file, names_failed_writes

Arrays = dict[str, npt.NDArray[Any]]
"""Numbers or truth values, by name."""
_SEAL = ("subject_sha256", "name", "content_sha256")
"""What a file says of itself besides."""
_NUMBERS = "biuf"
"""Kinds of arrays that it holds."""


def write_sealed(
    path: Path, arrays: Mapping[str, npt.ArrayLike], *, subject_sha256: str, name: str
) -> None:
    """Write arrays; an older file of this name is replaced as a whole.

    Parameters
    ----------
    path
        Where to; its folder is made if it is not there.
    arrays
        What to write.
    subject_sha256
        Hash of what is evaluated.
    name
        What these arrays are of that.

    Raises
    ------
    DatasetError
        If they cannot be written.
    """
    plain = {key: np.asarray(values) for key, values in arrays.items()}
    said = (subject_sha256, name, _content_sha256(plain, subject_sha256, name))
    everything: dict[str, Any] = plain | dict(zip(_SEAL, map(np.array, said), strict=True))
    with names_failed_writes(path):
        path.parent.mkdir(exist_ok=True)
        with finished_file(path) as part, part.open("wb") as file:
            np.savez(file, **everything)


def read_sealed(path: Path, *, subject_sha256: str, name: str) -> Arrays | None:
    """Return the arrays of a file; None if there is none.

    Raises
    ------
    DatasetError
        If it is damaged, or belongs to something else.
    """
    if not path.exists():
        return None
    try:
        # numpy leaves a file open that it cannot read, if it opened it itself.
        with open_regular_file(path) as file, np.load(file, allow_pickle=False) as stored:
            arrays: Arrays = {key: stored[key] for key in stored.files}
    except ConfigError as error:
        raise DatasetError(error.source, error.problems) from error
    except UNREADABLE as error:
        raise damaged(path, str(error)) from error
    seal = [str(arrays.pop(key, "")) for key in _SEAL]
    strange = [key for key, values in arrays.items() if values.dtype.kind not in _NUMBERS]
    if strange:
        raise damaged(path, f"{strange[0]} holds {arrays[strange[0]].dtype}, must hold numbers")
    if seal[0] != subject_sha256:
        raise damaged(path, "it is of another evaluation, or of an older version")
    if seal[1] != name:
        raise damaged(path, f"it is {seal[1]} under another name")
    if seal[2] != _content_sha256(arrays, subject_sha256, name):
        raise damaged(path, "what it holds is not what its hash says")
    return arrays


UNREADABLE = (
    OSError, ValueError, KeyError, EOFError, AttributeError, TypeError, SyntaxError,
    MemoryError, NotImplementedError, RuntimeError, tokenize.TokenError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What numpy and zipfile raise for damaged archives."""


def damaged(path: Path, reason: str) -> DatasetError:
    """Return the error that a file cannot be used."""
    message = f"is damaged: {reason}; delete it, and it is computed again"
    return DatasetError(str(path), [Problem("", message)])


def _content_sha256(arrays: Arrays, subject_sha256: str, name: str) -> str:
    types = {key: values.dtype.newbyteorder("<").str for key, values in arrays.items()}
    return content_hash(
        "evaluation part",
        [subject_sha256],
        values={"name": name},
        arrays={key: (arrays[key], types[key]) for key in sorted(arrays)},
    )
