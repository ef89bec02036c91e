"""Putting a finished file in its place, without ever destroying another one."""

import stat
from pathlib import Path

from hil.core.errors import ConfigError, Problem
from hil_datasets.file_beside import file_beside

_PACKED = b"hil-pack "
"""What a packed run begins with: no other file takes its place."""


def publish(content: bytes, path: Path, *, may_replace: bool) -> None:
    """Write a file whole, or not at all.

    Parameters
    ----------
    content
        What to write.
    path
        Where; never a device, a pipe or a link, and never inside a folder that holds a run.
    may_replace
        Whether a regular file of that name may be replaced.

    Raises
    ------
    ConfigError
        If the file exists and may not be replaced, or cannot be written. Nothing was changed.
    """
    try:
        _check_target(path, may_replace=may_replace)
        with file_beside(path, may_replace=may_replace) as part:
            part.write_bytes(content)
    except FileExistsError:
        raise _refusal(path, "exists; use --force to replace it") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL byte
        reason = getattr(error, "strerror", None) or str(error)
        raise _refusal(path, f"cannot be written: {reason}") from error


def refuse_inside_run(path: Path) -> None:
    """Raise ConfigError if a path lies inside a folder that holds a run."""
    for folder in path.absolute().parents:
        if (folder / "journal.jsonl").exists():
            raise _refusal(path, f"lies inside the run {folder}; choose another place")


def _check_target(path: Path, *, may_replace: bool) -> None:
    refuse_inside_run(path)
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise _refusal(path, "exists and is no regular file; choose another name")
    if not may_replace:
        raise FileExistsError
    with path.open("rb") as file:
        is_packed = file.read(len(_PACKED)) == _PACKED
    if is_packed:
        raise _refusal(path, "is a packed run, which --force does not replace: remove it first")


def _refusal(path: Path, message: str) -> ConfigError:
    shown = str(path) if len(str(path)) <= 120 else f"{str(path)[:120]}..."
    return ConfigError(shown, [Problem("", message)])
