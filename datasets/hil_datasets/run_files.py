"""The files of a run besides its steps, whether it is a folder or one packed file."""

from pathlib import PurePosixPath

from hil.core.errors import DatasetError, Problem
from hil_datasets.regular_file import read_regular
from hil_datasets.run_source import RunSource


def read_run_file(source: RunSource, name: str) -> bytes:
    """Return a file of a run, byte for byte.

    Parameters
    ----------
    source
        The run.
    name
        Name of the file in the run's folder.

    Raises
    ------
    DatasetError
        If there is none, or it cannot be read.
    """
    from hil_datasets.packed.packed_run import PackedRun  # noqa: PLC0415 - folders need none

    if PurePosixPath(name).name != name:
        raise DatasetError(str(source.path), [Problem("", f"{name!r} is no file of a run")])
    if isinstance(source, PackedRun):
        return source.read_file(name)
    return read_regular(source.path / name)
