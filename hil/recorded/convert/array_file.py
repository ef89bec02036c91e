"""Reading arrays out of a ``.npz`` or ``.npy`` of somebody's, no larger than they may be.

A zip archive can claim, and hold, a thousand times its own size. So every header is read before its
array is: type, shape and size must be such as a recording can have.
"""

import math
import os
import zipfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from hil.core.errors import ConfigError, DatasetError, Problem
from hil.core.legible import cut_short, printable, quoted
from hil.core.regular_file import open_regular_file

_HARMLESS_BYTES = 64 << 20
"""An array of 64 MiB is read whatever the file has of it."""
_MOST_FOLD = 100
"""A larger one may be so many times what the file has of it: counts shrink by no more."""
_LONGEST_HEADER = 10_000
_LONGEST_REASON = 200
_NUMBERS = "biuf"

FloatOrInt = npt.NDArray[Any]


class _ArrayError(Exception):
    """Something is wrong with one array; the message says what."""


def read_arrays(
    path: Path, names: Iterable[str], *, truth: Collection[str] = ()
) -> dict[str, FloatOrInt]:
    """Read the named arrays of a file, all of them.

    Parameters
    ----------
    path
        An ``.npz``, or an ``.npy``, whose one array goes by every name.
    names
        Which arrays.
    truth
        Those of them that may hold truth values.

    Raises
    ------
    DatasetError
        If the file is missing, damaged or none of both, lacks an array, or has one that holds no
        numbers, or that is larger than the file can honestly hold; every problem is listed.
    """
    wanted = list(dict.fromkeys(names))
    found: dict[str, FloatOrInt] = {}
    problems = []
    with _opened(path) as (stream, size):
        try:
            is_archive = zipfile.is_zipfile(stream)
        except OSError as error:
            raise _unreadable(path, error) from error
        stream.seek(0)
        archive = _archive(path, stream) if is_archive else None
        for name in wanted:
            try:
                if archive is None:
                    found[name] = _read_single(stream, size)
                else:
                    found[name] = _read_member(archive, name)
                if name not in truth:
                    _require_numbers(found[name])
            except _ArrayError as error:
                problems.append(Problem(printable(name), str(error)))
    if problems:
        raise DatasetError(str(path), problems)
    return found


def _require_numbers(array: FloatOrInt) -> None:
    if array.dtype.kind == "b":
        raise _ArrayError(
            "is of the type bool, which holds True and False: must be integers or real numbers"
        )


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    try:
        stream = open_regular_file(path)
    except ConfigError as error:
        raise DatasetError(error.source, error.problems) from error
    with stream:
        yield stream, os.fstat(stream.fileno()).st_size


def _unreadable(path: Path, error: Exception) -> DatasetError:
    reason = printable(cut_short(str(error), longest=_LONGEST_REASON))
    return DatasetError(str(path), [Problem("", f"cannot be read as .npz or .npy: {reason}")])


def _archive(path: Path, stream: IO[bytes]) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(stream)
    except Exception as error:  # zipfile raises half a dozen kinds for damaged files
        raise _unreadable(path, error) from error


def _read_single(stream: IO[bytes], size: int) -> FloatOrInt:
    stream.seek(0)
    return _read(stream, length=size, stored=size)


def _read_member(archive: zipfile.ZipFile, name: str) -> FloatOrInt:
    names = archive.namelist()
    for member in (f"{name}.npy", name):
        if member in names:
            break
    else:
        known = ", ".join(each.removesuffix(".npy") for each in names)
        raise _ArrayError(f"this array is missing; the file has {printable(cut_short(known))}")
    if names.count(member) > 1:
        raise _ArrayError("is in the file twice")
    info = archive.getinfo(member)
    try:
        with archive.open(info) as stream:
            return _read(stream, length=info.file_size, stored=info.compress_size)
    except _ArrayError:
        raise
    except Exception as error:  # likewise: damaged, encrypted, of an unknown compression
        reason = printable(cut_short(str(error), longest=_LONGEST_REASON))
        raise _ArrayError(f"cannot be read: {reason}") from error


def _read(stream: IO[bytes], *, length: int, stored: int) -> FloatOrInt:
    """Read an array from where its header begins.

    Parameters
    ----------
    stream
        The file, or a member of it.
    length
        Bytes that it has, header included.
    stored
        Bytes that it takes in the file.
    """
    shape, is_fortran, dtype = _header(stream)
    if dtype.hasobject:
        raise _ArrayError(
            "holds pickled objects, which can run code when they are read: store it as numbers"
        )
    if dtype.kind not in _NUMBERS or dtype.itemsize > 8:
        raise _ArrayError(f"is of the type {quoted(dtype.str)}: must be integers or real numbers")
    size = math.prod(shape) * dtype.itemsize
    header = stream.tell()
    if size != length - header:
        raise _ArrayError(
            f"is {dtype} of shape {shape}, {size} bytes: the file has {length - header} of it"
        )
    if size > max(_HARMLESS_BYTES, _MOST_FOLD * stored):
        raise _ArrayError(
            f"unpacks to {size} bytes from {stored}: must be at most {_MOST_FOLD} times as many"
        )
    if 0 in shape or not shape:
        raise _ArrayError(f"is of shape {shape}: must have at least one axis and one element")
    content = bytearray(size)
    if _fill(stream, content) != size:
        raise _ArrayError("is cut short")
    array = np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            return np.lib.format.read_array_header_1_0(stream, max_header_size=_LONGEST_HEADER)
        if version == (2, 0):
            return np.lib.format.read_array_header_2_0(stream, max_header_size=_LONGEST_HEADER)
    except Exception as error:  # numpy hands on what its parsers of Python and of struct raise
        reason = printable(cut_short(str(error), longest=_LONGEST_REASON))
        raise _ArrayError(f"is no array in .npy form: {reason}") from error
    raise _ArrayError(f"is an array of .npy version {version}: must be 1.0 or 2.0")


def _fill(stream: IO[bytes], content: bytearray) -> int:
    view, filled = memoryview(content), 0
    while filled < len(view):
        piece = stream.read(min(len(view) - filled, 1 << 20))
        if not piece:
            break
        view[filled : filled + len(piece)] = piece
        filled += len(piece)
    return filled
