"""The files of a run, with what its journal says of them."""

from dataclasses import dataclass
from pathlib import Path

from hil_datasets.packed.layout import FILES_GROUP, STEPS_GROUP
from hil_datasets.run_directory import open_directory

_FOLDERS = ("", "steps", "suspect")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFile:
    """One file of a run."""

    name: str
    """Relative to the run's folder; in a packed file its path."""
    size_bytes: int | None
    """Its size, of a packed step what its arrays take; None if it is missing."""
    state: str
    """What the journal says of a step's file; nothing of others."""


def list_run(path: Path) -> list[ListedFile]:
    """List the files of a run, steps first in the order they were finished.

    Parameters
    ----------
    path
        Folder of a run, or packed file, whose checksum is compared.

    Raises
    ------
    DatasetError
        If it is no run, or its journal cannot be read.
    """
    if path.is_file():
        return _list_packed(path)
    run = open_directory(path)
    found = [
        ListedFile(
            name=f"steps/{key.name}.h5", size_bytes=_size(run.step_path(key)), state="finished"
        )
        for key in run.finished_steps()
    ]
    named = {file.name for file in found}
    for folder in _FOLDERS:
        place = run.path / folder
        for file in sorted(place.iterdir()) if place.is_dir() else ():
            name = str(file.relative_to(run.path))
            if file.is_file() and name not in named:
                state = ""
                if folder == "steps":
                    state = "not finished" if name.endswith(".h5.part") else "not in the journal"
                found.append(ListedFile(name=name, size_bytes=_size(file), state=state))
    found += [
        ListedFile(name=f"steps/{key.name}.h5", size_bytes=None, state=f"skipped: {reason}")
        for key, reason in run.skipped_steps().items()
    ]
    return found


def _list_packed(path: Path) -> list[ListedFile]:
    from hil_datasets.packed.packed_run import open_packed  # noqa: PLC0415 - folders need none

    run = open_packed(path)
    steps, files = run.stored_bytes()
    finished = [key.name for key in run.finished_steps()]
    found = [
        ListedFile(name=f"{STEPS_GROUP}/{name}", size_bytes=steps.get(name), state="finished")
        for name in finished
    ]
    found += [
        ListedFile(name=f"{STEPS_GROUP}/{name}", size_bytes=size, state="not in the journal")
        for name, size in steps.items()
        if name not in finished
    ]
    found += [
        ListedFile(name=f"{FILES_GROUP}/{name}", size_bytes=size, state="")
        for name, size in files.items()
    ]
    found += [
        ListedFile(name=f"{STEPS_GROUP}/{key.name}", size_bytes=None, state=f"skipped: {reason}")
        for key, reason in run.skipped_steps().items()
    ]
    return found


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
