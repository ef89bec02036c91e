"""Looking for VISA resources, through every VISA library that is installed."""

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

from hil.core.legible import cut_short, printable
from hil_drivers.discovery.found_device import Finds, FoundDevice, Outcome, Search

_USABLE = re.compile(r"(TCPIP|USB|GPIB|ASRL|VXI|PXI)\w*\S*::(INSTR|SOCKET|RAW)", re.IGNORECASE)
"""What a session can be opened to. pyvisa-py lists a GPIB adapter behind every serial port, too."""
_ASRL = re.compile(r"ASRL(?P<port>.+)::INSTR", re.IGNORECASE)
_UNUSUAL = ("VICP", "INTFC")
"""Kinds of resource that no driver of this project opens: that they cannot be listed is no news."""

PY_BACKEND = "@py"


def installed_backends() -> list[str]:
    """Return pyvisa's names of the VISA libraries that are installed, pyvisa-py first.

    pyvisa-sim is left out: its devices do not exist.
    """
    from pyvisa.ctwrapper.highlevel import IVIVisaLibrary  # noqa: PLC0415 - 250 ms
    from pyvisa.highlevel import list_backends  # noqa: PLC0415

    found = {f"@{name}" for name in list_backends()} - {"@sim", "@ivi"}
    if IVIVisaLibrary.get_library_paths():
        found.add("@ivi")
    return sorted(found, key=lambda name: (name != PY_BACKEND, name))


def serial_path(resource: str) -> str | None:
    """Return the device file of a VISA resource for a serial port, None for all else.

    Examples
    --------
    >>> serial_path("ASRL/dev/ttyUSB0::INSTR")
    '/dev/ttyUSB0'
    """
    match = _ASRL.fullmatch(resource)
    return match["port"] if match else None


def find_visa(backend: str, *, limit_s: float) -> Finds:
    """List the resources that one VISA library knows; that may send broadcasts, nothing else.

    Parameters
    ----------
    backend
        pyvisa's name of the library, such as ``@py``.
    limit_s
        When the library is given up.
    """
    name = f"VISA ({backend})"
    try:
        done = subprocess.run(  # noqa: S603 - this very interpreter, our own module
            [sys.executable, "-P", "-m", "hil_drivers.discovery.visa_listing", backend],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        detail = f"the library did not finish within {limit_s:g} s; allow it more by --timeout"
        return Finds(search=Search(name=name, outcome=Outcome.LATE, detail=detail))
    document = _document(done.stdout)
    if document is None:
        detail = f"the library ended its process with {done.returncode}"
        return Finds(search=Search(name=name, outcome=Outcome.FAILED, detail=detail))
    if "error" in document:
        detail = printable(cut_short(str(document["error"]), longest=200))
        return Finds(search=Search(name=name, outcome=Outcome.FAILED, detail=detail))
    found = _devices(document["resources"], name)
    detail = _left_out(document["cannot"])
    return Finds(
        search=Search(name=name, outcome=Outcome.DONE, detail=detail), devices=tuple(found)
    )


def _document(stdout: bytes) -> dict[str, Any] | None:
    lines = stdout.decode("utf-8", "replace").splitlines()
    try:
        document = json.loads(lines[-1]) if lines else None
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _devices(names: Iterable[str], search: str) -> list[FoundDevice]:
    return [
        FoundDevice(resource=resource, found_by=(search,), description=_describe(resource))
        for resource in map(printable, names)
        if _USABLE.fullmatch(resource)
    ]


def _describe(resource: str) -> str:
    kind = resource.split("::", 1)[0].rstrip("0123456789").upper()
    fields = resource.split("::")
    if kind == "USB" and len(fields) >= 4:
        return f"USB {fields[1]}:{fields[2]}, serial number {fields[3]}"
    return {"TCPIP": "network", "GPIB": "GPIB"}.get(kind, "")


def _left_out(cannot: dict[str, str]) -> str:
    kinds = sorted({kind.split()[0] for kind in cannot if not any(u in kind for u in _UNUSUAL)})
    wants = {"USB": "pip install pyusb, and libusb"}
    return "; ".join(f"no {kind}: {wants.get(kind, 'see pyvisa-info')}" for kind in kinds)
