"""Reading arrays from an ``.npz`` or ``.npy`` file of the user's."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.npyio import NpzFile

from hil.core.errors import ConfigError, Problem
from hil.core.legible import cut_short
from hil.core.regular_file import open_regular_file

_LONGEST_REASON = 200


def read_npz(path: Path, names: Iterable[str]) -> dict[str, npt.NDArray[Any]]:
    """Read those of the named arrays that an archive has.

    Raises
    ------
    ConfigError
        If the file is missing, damaged or no such archive, holds pickled objects, or has a member
        of that name which is no array.
    """
    # A stream of our own: numpy leaves the one it opens behind when the file is damaged.
    with open_regular_file(path) as stream:
        try:
            members = _read_members(stream, names)
        except Exception as error:  # zipfile and numpy raise half a dozen kinds for damaged files
            reason = cut_short(why_unreadable(error), longest=_LONGEST_REASON)
            problem = Problem("", f"cannot be read as .npz: {reason}")
            raise ConfigError(str(path), [problem]) from error
    arrays = {name: member for name, member in members.items() if isinstance(member, np.ndarray)}
    problems = [
        Problem(name, "is no array: must be a member in .npy form, as numpy.savez writes it")
        for name in members
        if name not in arrays
    ]
    if problems:
        raise ConfigError(str(path), problems)
    return arrays


def read_npy(path: Path) -> npt.NDArray[Any]:
    """Read a single array.

    Raises
    ------
    ConfigError
        If the file is missing, damaged, no ``.npy`` or holds pickled objects.
    """
    with open_regular_file(path) as stream:
        try:
            array = np.load(stream, allow_pickle=False)
            if not isinstance(array, np.ndarray):
                raise ValueError("is an .npz archive: name it .npz")  # noqa: TRY004, TRY301
        except Exception as error:  # as many kinds as for archives
            reason = cut_short(why_unreadable(error), longest=_LONGEST_REASON)
            raise ConfigError(
                str(path), [Problem("", f"cannot be read as .npy: {reason}")]
            ) from error
    return array


def why_unreadable(error: Exception) -> str:
    """Return why numpy could not read an archive, without its advice to allow pickled objects."""
    words = str(error)
    if words.startswith("Object arrays"):
        return "it has an array of Python objects, which are never loaded: save arrays of numbers"
    if "pickle" in words:  # what numpy takes everything for that it does not know
        return "it is not what numpy.savez writes"
    return words


def _read_members(stream: Any, names: Iterable[str]) -> dict[str, Any]:
    archive = np.load(stream, allow_pickle=False)
    if not isinstance(archive, NpzFile):
        raise ValueError("must be an .npz archive, is a single array (.npy)")  # noqa: TRY004
    with archive:
        return {name: archive[name] for name in names if name in archive.files}
