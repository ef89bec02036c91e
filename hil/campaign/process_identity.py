"""Which process is meant, beyond its number: numbers are used again, and machines restart."""

import getpass
import hashlib
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

_STATE, _START_TIME = 0, 19
"""Fields of ``/proc/PID/stat`` counted after the command's name; proc(5), fields 3 and 22."""


class Whereabouts(StrEnum):
    """What has become of a process."""

    ALIVE = "alive"
    """It runs on this machine."""
    GONE = "gone"
    """It has ended."""
    REUSED = "reused"
    """It has ended, and another process has its number now."""
    REBOOTED = "rebooted"
    """It has ended, because the machine has started again since."""
    ELSEWHERE = "elsewhere"
    """It is on another machine: nobody can tell from here."""

    @property
    def is_over(self) -> bool:
        """Whether the process has certainly ended."""
        return self in {Whereabouts.GONE, Whereabouts.REUSED, Whereabouts.REBOOTED}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessIdentity:
    """A process, named so that no other one is ever taken for it."""

    host: str
    """Name of the machine."""
    machine: str
    """Hash of the machine's own identifier; empty where it has none."""
    boot_id: str
    """Identifier that changes whenever the machine starts; empty where there is none."""
    pid: int
    """Number of the process."""
    started: int | None
    """When it started, clock ticks since the machine did; None where that is not known."""
    user: str
    """Whose it is."""

    def __str__(self) -> str:
        return f"process {self.pid} of {self.user} on {self.host}"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: object) -> "ProcessIdentity":
        """Read what `to_json` returned.

        Raises
        ------
        ValueError
            If a key is missing or has another type.
        """
        if not isinstance(value, Mapping):
            raise ValueError(f"is {value!r}: must be an object")  # noqa: TRY004 - stored data
        for name in ("host", "machine", "boot_id", "user"):
            if not isinstance(value.get(name), str):
                raise ValueError(f"{name} is {value.get(name)!r}: must be text")  # noqa: TRY004
        pid, started = value.get("pid"), value.get("started")
        if type(pid) is not int or pid <= 0:
            raise ValueError(f"pid is {pid!r}: must be a number above 0")
        if started is not None and (type(started) is not int or started < 0):
            raise ValueError(f"started is {started!r}: must be a number or null")
        return cls(
            host=value["host"],
            machine=value["machine"],
            boot_id=value["boot_id"],
            pid=pid,
            started=started,
            user=value["user"],
        )


class ProcessTable:
    """The processes of this machine.

    Parameters
    ----------
    proc
        Where the system tells of its processes. Where it does not, start times are not known and
        a number that is in use is taken for the same process.
    machine_id
        File with the machine's own identifier.
    host
        Name of this machine; asked of the system where left out.
    """

    def __init__(
        self,
        *,
        proc: Path = Path("/proc"),
        machine_id: Path = Path("/etc/machine-id"),
        host: str | None = None,
    ) -> None:
        self._proc = proc
        self._host = platform.node() if host is None else host
        self._boot_id = _text_of(proc / "sys" / "kernel" / "random" / "boot_id")
        # machine-id(5) asks not to give it away as it is.
        identifier = _text_of(machine_id)
        digest = hashlib.sha256(f"aimc-hil {identifier}".encode()).hexdigest()
        self._machine = digest[:16] if identifier else ""

    def own(self) -> ProcessIdentity:
        """Return the process that asks."""
        return ProcessIdentity(
            host=self._host,
            machine=self._machine,
            boot_id=self._boot_id,
            pid=os.getpid(),
            started=self._start_time(os.getpid()),
            user=_user(),
        )

    def find(self, process: ProcessIdentity) -> Whereabouts:
        """Say what has become of a process."""
        same_boot = bool(self._boot_id) and process.boot_id == self._boot_id
        same_machine = (process.host, process.machine) == (self._host, self._machine)
        if not (same_boot or same_machine):
            return Whereabouts.ELSEWHERE
        if self._boot_id and process.boot_id and not same_boot:
            return Whereabouts.REBOOTED
        if not self._boot_id:
            return Whereabouts.ALIVE if _is_number_in_use(process.pid) else Whereabouts.GONE
        started = self._start_time(process.pid)
        if started is None:
            return Whereabouts.GONE
        if process.started is not None and started != process.started:
            return Whereabouts.REUSED
        return Whereabouts.ALIVE

    def is_certainly(self, process: ProcessIdentity) -> bool:
        """Tell whether it is proven that a process runs here: its number alone proves nothing."""
        return (
            bool(self._boot_id)
            and process.boot_id == self._boot_id
            and process.started is not None
            and process.started == self._start_time(process.pid)
        )

    def _start_time(self, pid: int) -> int | None:
        """Return when a process started, clock ticks since the machine did; None if it is over."""
        # The command's name stands in brackets and may hold any character, brackets too.
        _, _, rest = _text_of(self._proc / str(pid) / "stat").rpartition(")")
        fields = rest.split()
        if len(fields) <= _START_TIME or fields[_STATE] in {"Z", "X"}:
            return None
        return int(fields[_START_TIME])


def _text_of(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a number without a name, as in many containers
        return f"user {os.getuid()}"


def _is_number_in_use(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
