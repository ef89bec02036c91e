"""Opening a run, whether it is a folder or one packed file."""

from pathlib import Path

from hil_datasets.run_directory import RunSnapshot, open_directory
from hil_datasets.run_source import RunSource


def open_source(path: Path) -> RunSource:
    """Open a run for reading, as it is now: what is written later is not seen.

    Parameters
    ----------
    path
        Folder of a run, or packed file.

    Raises
    ------
    DatasetError
        If it is neither.
    """
    if path.is_file():
        from hil_datasets.packed.packed_run import open_packed  # noqa: PLC0415 - folders need none

        return open_packed(path)
    return RunSnapshot(open_directory(path).path)
