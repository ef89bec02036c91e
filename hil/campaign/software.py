"""Which software a run was made with."""

import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

import h5py
import numpy as np

import hil

_PACKAGES = (
    "cobs",
    "google-crc32c",
    "hdf5plugin",
    "llvmlite",
    "numba",
    "pydantic",
    "pymeasure",
    "pyserial",
    "pyvisa",
    "tomlkit",
)
"""What it works with besides the software of `software_versions`, where it is installed."""
_GIT_S = 10.0


def software_versions() -> dict[str, str]:
    """Return name and version of this software, and of what it computes and stores with."""
    return {
        "aimc-hil": hil.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "h5py": h5py.__version__,
        "hdf5": h5py.version.hdf5_version,
        "pyvisa-py": metadata.version("pyvisa-py"),
    }


@cache
def package_versions() -> dict[str, str]:
    """Return name and version of the packages that this software works with.

    All that are installed, not those that were imported: that would differ with the order of
    things.
    """
    found = dict(software_versions())
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def source_commit() -> str:
    """Return the commit that this software is at, ``+dirty`` after it where files were changed.

    Empty where it is not installed from a git checkout, or git cannot tell.
    """
    source = Path(hil.__file__)
    try:
        # A virtual environment inside another project's checkout is not that project.
        _git(source.parent, "ls-files", "--error-unmatch", source.name)
        commit = _git(source.parent, "rev-parse", "HEAD")
        changed = _git(source.parent, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{commit}+dirty" if changed else commit


def _git(folder: Path, *words: str) -> str:
    # Without optional locks it changes nothing, not even its index.
    command = ["git", "--no-optional-locks", "-C", str(folder), *words]
    done = subprocess.run(  # noqa: S603 - fixed words
        command,
        capture_output=True,
        text=True,
        check=True,
        timeout=_GIT_S,
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # a Ctrl-C is not for it: its answer belongs to what is stored
    )
    return done.stdout.strip()
