"""Opening a run, whether it is a folder or one packed file."""

from pathlib import Path

from hil_datasets.packed.layout import PACK_FORMAT
from hil_datasets.run_directory import RunSnapshot, open_directory
from hil_datasets.run_source import RunSource

_OPENING = f"{PACK_FORMAT} ".encode()


def begins_packed(path: Path) -> bool:
    """Say whether a file begins like a packed file; it may be damaged, or hold no run."""
    try:
        with path.open("rb") as file:
            return file.read(len(_OPENING)) == _OPENING
    except OSError:
        return False


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
