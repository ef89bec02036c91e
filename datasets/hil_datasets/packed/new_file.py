"""A file that appears under its name when it is whole, and replaces nothing unasked."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hil.core.errors import ConfigError, DatasetError, Problem
from hil_datasets.durable import sync_file


def check_free(path: Path, *, may_replace: bool) -> None:
    """Raise ConfigError if a file must not get this name.

    Raises
    ------
    ConfigError
        If there is a file of that name and it may not be replaced, or something else, or there is
        no such folder.
    """
    reason = ""
    try:
        if path.exists() or path.is_symlink():
            if not path.is_file() or path.is_symlink():
                reason = "exists and is no regular file; choose another name"
            elif not may_replace:
                reason = "exists; use --force to replace it"
        elif not path.parent.is_dir():
            reason = f"cannot be written: there is no folder {path.parent}"
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL byte
        reason = f"cannot be used: {getattr(error, 'strerror', None) or error}"
    if reason:
        raise ConfigError(str(path), [Problem("", reason)])


@contextmanager
def new_file(path: Path, *, may_replace: bool) -> Iterator[Path]:
    """Give the name of an empty file beside `path`; on success it is synced and renamed.

    If the body raises, nothing of it stays behind.

    Raises
    ------
    ConfigError
        As `check_free`.
    DatasetError
        If it cannot be written.
    """
    check_free(path, may_replace=may_replace)
    try:
        descriptor, name = tempfile.mkstemp(prefix=".hil-", suffix=".part", dir=path.parent)
        os.close(descriptor)
        part = Path(name)
        try:
            yield part
            mask = os.umask(0)
            os.umask(mask)
            part.chmod(0o666 & ~mask)
            sync_file(part)
            if may_replace:
                part.replace(path)
            else:
                os.link(part, path)  # unlike a rename, this never replaces
        finally:
            part.unlink(missing_ok=True)
        sync_file(path.parent)
    except FileExistsError:
        raise ConfigError(str(path), [Problem("", "exists; use --force to replace it")]) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise DatasetError(str(path), [Problem("", f"cannot be written: {reason}")]) from error
