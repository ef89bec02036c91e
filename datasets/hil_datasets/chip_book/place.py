"""Where the books of the chips are: the user's data folder."""

import os
from collections.abc import Mapping
from pathlib import Path

from hil.core.errors import ConfigError, Problem

DATA_VARIABLE = "AIMC_HIL_DATA"
"""Environment variable that names another data folder."""

_APPLICATION = "aimc-hil"


def user_data_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder for what belongs to the user and to no run; it need not exist.

    Raises
    ------
    ConfigError
        If the environment names it by a relative path: a book that depends on where a command was
        started would forget the wear of a chip.
    """
    named = environment.get(DATA_VARIABLE, "")
    if not named:
        import platformdirs  # noqa: PLC0415 - not for every command

        return platformdirs.user_data_path(_APPLICATION)
    folder = Path(named)
    if not folder.is_absolute():
        raise ConfigError(DATA_VARIABLE, [Problem("", f"must be an absolute path, got {named!r}")])
    return folder


def books_folder(data_folder: Path) -> Path:
    """Return the folder of the books in a data folder."""
    return data_folder / "chips"
