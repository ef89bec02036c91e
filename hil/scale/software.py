"""What must be the same on every machine of a cluster, so that results are the same bits."""

import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import hil
from hil.core.errors import HilError

_PACKAGES = ("distributed", "h5py", "numpy")


class SoftwareDiffersError(HilError):
    """A worker has other software than whoever gives it work."""


@cache
def software() -> dict[str, str]:
    """Return name and version of what computes here."""
    found = {"aimc-hil": hil.__version__, "python": ".".join(map(str, sys.version_info[:2]))}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def check_software(expected: dict[str, str]) -> None:
    """Raise `SoftwareDiffersError` if this process has other versions than expected."""
    for name, found in software().items():
        if found != expected.get(name):
            raise SoftwareDiffersError(
                f"has {name} {found}, the command has {expected.get(name)}: install the same "
                "version on both"
            )
