"""Looking for serial ports. None is opened: opening one raises DTR, which restarts many boards."""

import os
from dataclasses import dataclass
from pathlib import Path

from hil.core.legible import printable
from hil_drivers.discovery.found_device import Finds, FoundDevice, Outcome, Search, State
from hil_drivers.serial_address import DEFAULT_BAUD, SerialAddress

SERIAL_SEARCH = "serial ports"
_PROCESSES = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class PortHolder:
    """A process that has a port open."""

    pid: int
    """Its number."""
    name: str
    """Its name."""


def find_serial(*, baud: int = DEFAULT_BAUD) -> Finds:
    """List the serial ports with what the system knows of them.

    Parameters
    ----------
    baud
        Bits per second, for the resource string.
    """
    from serial.tools import list_ports  # noqa: PLC0415 - 20 ms, for who searches only

    devices = tuple(
        describe_port(port.device, _words(port), baud=baud)
        for port in sorted(list_ports.comports(), key=lambda port: port.device)
    )
    return Finds(search=Search(name=SERIAL_SEARCH, outcome=Outcome.DONE), devices=devices)


def describe_port(path: str, words: str, *, baud: int) -> FoundDevice:
    """Return what can be told of a port without opening it.

    Parameters
    ----------
    path
        Device file.
    words
        What is at its end.
    baud
        Bits per second, for the resource string.
    """
    state, detail = State.NOT_ASKED, f"asked only with --identify-serial {path}"
    holders = holders_of(path)
    if holders:
        state = State.BUSY
        detail = "open in " + ", ".join(f"{each.name} (process {each.pid})" for each in holders)
    elif Path(path).exists() and not os.access(path, os.R_OK | os.W_OK):
        state = State.UNREACHABLE
        detail = "no permission; add yourself to the group that owns it (dialout)"
    return FoundDevice(
        resource=SerialAddress(path, baud).resource,
        found_by=(SERIAL_SEARCH,),
        description=words,
        state=state,
        detail=detail,
        also=(f"ASRL{path}::INSTR",),
    )


def holders_of(path: str, *, processes: Path = _PROCESSES) -> list[PortHolder]:
    """Return the processes that have a device file open, as far as this user may know.

    Parameters
    ----------
    path
        The device file, or a link to it.
    processes
        Where the kernel lists processes.
    """
    real = os.path.realpath(path)
    found = []
    for folder in processes.glob("[0-9]*"):
        try:
            if any(os.path.realpath(link) == real for link in (folder / "fd").iterdir()):
                name = printable((folder / "comm").read_text("utf-8", "replace").strip())
                found.append(PortHolder(pid=int(folder.name), name=name))
        except OSError:  # another user's, or it has just ended
            continue
    return sorted(found, key=lambda holder: holder.pid)


def _words(port: object) -> str:
    """Return maker, product, USB numbers and serial number of pyserial's port, where known."""

    def known(name: str) -> str:
        value = getattr(port, name, None)
        return "" if value is None or value == "n/a" else printable(str(value))

    vendor, product = getattr(port, "vid", None), getattr(port, "pid", None)
    numbers = f"USB {vendor:04x}:{product:04x}" if vendor is not None and product else ""
    named = known("product") or known("description")
    serial_number = known("serial_number")
    parts = [
        " ".join(filter(None, [known("manufacturer"), named])),
        numbers,
        f"serial number {serial_number}" if serial_number else "",
    ]
    return ", ".join(filter(None, parts))
