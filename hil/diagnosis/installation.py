"""Whether this computer has what a bench needs, with no device at all."""

import importlib.util
import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

import hil
from hil.diagnosis.finding import Finding, Part, Verdict
from hil.diagnosis.storage import check_folder, check_hdf5
from hil_drivers.discovery.serial_ports import find_serial
from hil_drivers.discovery.visa_resources import installed_backends

_OLDEST_PYTHON = (3, 11)
_PACKAGE = "aimc-hil"
_PACKAGES = ("numpy", "h5py", "pydantic", "click", "rich", "pyvisa", "pyvisa-py", "pyserial")
_FOR_DEVELOPMENT = frozenset({"bench", "clients", "lint", "test"})
"""Extras of those who change this package: nobody else wants them."""
_REQUIREMENT = re.compile(
    r"""(?P<name>[A-Za-z0-9._-]+)[^;]*;\s*extra\s*==\s*["'](?P<extra>[^"']+)["']\s*"""
)
"""A requirement of an extra on every system, as a package's metadata have it."""


def diagnose_installation(folder: Path) -> tuple[Finding, ...]:
    """Check everything but a link.

    Parameters
    ----------
    folder
        Where runs are to be written.
    """
    return (
        check_python(),
        check_packages(_PACKAGES),
        check_extras(extras_of(metadata.requires(_PACKAGE) or ())),
        check_visa_libraries(),
        check_serial_permissions(),
        check_hdf5(),
        *check_folder(folder),
    )


def check_python() -> Finding:
    """Tell which interpreter and system this is."""
    is_new = sys.version_info >= _OLDEST_PYTHON
    return _finding(
        "Python",
        "the interpreter is one that this package supports",
        Verdict.OK if is_new else Verdict.FAIL,
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, aimc-hil "
        f"{hil.__version__}",
        "" if is_new else "use Python 3.11 or newer",
    )


def check_packages(names: Iterable[str]) -> Finding:
    """Look for the packages that must be there."""
    versions, missing = {}, []
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
    shown = ", ".join(f"{name} {version}" for name, version in versions.items())
    return _finding(
        "packages",
        "every package that this one needs is installed",
        Verdict.FAIL if missing else Verdict.OK,
        shown + (f"; missing: {', '.join(missing)}" if missing else ""),
        f"pip install {' '.join(missing)}" if missing else "",
        versions=versions,
    )


def extras_of(requirements: Iterable[str]) -> dict[str, list[str]]:
    """Return the packages that each extra brings, as the metadata of a package say it.

    Examples
    --------
    >>> extras_of(["numpy>=1.26", "numba>=0.60; extra == 'fast'"])
    {'fast': ['numba']}
    """
    extras: dict[str, list[str]] = {}
    for requirement in requirements:
        found = _REQUIREMENT.fullmatch(requirement)
        if found:
            extras.setdefault(found["extra"], []).append(found["name"])
    return dict(sorted(extras.items()))


def check_extras(extras: Mapping[str, Iterable[str]]) -> Finding:
    """Tell which extras are installed; none is needed for a campaign.

    Parameters
    ----------
    extras
        The packages that each brings.
    """
    absent = [extra for extra, names in extras.items() if not all(map(_is_installed, names))]
    wanted = [extra for extra in absent if extra not in _FOR_DEVELOPMENT]
    present = [extra for extra in extras if extra not in absent]
    return _finding(
        "extras",
        "extras are installed as wanted; none is needed for a campaign",
        Verdict.OK,
        f"present: {', '.join(present) or 'none'}; absent: {', '.join(absent) or 'none'}",
        f"if wanted: pip install 'aimc-hil[{','.join(wanted)}]'" if wanted else "",
        present=present,
        absent=absent,
    )


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def check_visa_libraries() -> Finding:
    """Tell which VISA libraries there are, and what pyvisa-py cannot open."""
    claim = "a VISA library is installed"
    try:
        backends = installed_backends()
    except Exception as error:  # noqa: BLE001 - a vendor's library may break its loader
        return _finding("VISA", claim, Verdict.FAIL, str(error), "install pyvisa and pyvisa-py")
    lacks = [
        f"no {kind}: {remedy}"
        for kind, module, remedy in (
            ("USB instruments through pyvisa-py", "usb", "pip install pyusb, and libusb"),
            ("GPIB through pyvisa-py", "gpib", "linux-gpib, or pip install gpib-ctypes"),
        )
        if importlib.util.find_spec(module) is None
    ]
    return _finding(
        "VISA",
        claim,
        Verdict.OK if backends else Verdict.FAIL,
        ", ".join(backends) or "none",
        "; ".join(lacks) if backends else "pip install pyvisa-py",
        backends=backends,
    )


def check_serial_permissions() -> Finding:
    """Look whether this user may open the serial ports there are; none is opened."""
    claim = "this user may open the serial ports"
    paths = [device.also[0].removeprefix("ASRL")[:-7] for device in find_serial().devices]
    closed = [path for path in paths if not os.access(path, os.R_OK | os.W_OK)]
    if not paths:
        return _finding("serial ports", claim, Verdict.SKIPPED, "there are none", "")
    return _finding(
        "serial ports",
        claim,
        Verdict.WARN if closed else Verdict.OK,
        f"{len(paths) - len(closed)} of {len(paths)} may be opened"
        + (f"; not {', '.join(closed)}" if closed else ""),
        "add yourself to the group that owns them (dialout), and log in again" if closed else "",
        ports=paths,
    )


def _finding(
    check: str, claim: str, verdict: Verdict, evidence: str, advice: str, **figures: object
) -> Finding:
    return Finding(
        check=check,
        claim=claim,
        verdict=verdict,
        evidence=evidence,
        advice=advice,
        part=Part.HOST,
        figures=figures,
    )
