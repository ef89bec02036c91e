"""A simulated chip in a process of its own, that can be killed and served again."""

import subprocess
import sys
from pathlib import Path

HIL = Path(sys.executable).with_name("hil")
"""The command beside this interpreter."""


class ServedChip:
    """A simulated chip in a process of its own, always on the same port."""

    def __init__(self, profile: Path) -> None:
        self._profile = profile
        self._port = 0
        self._process = self._start()

    @property
    def resource(self) -> str:
        """Its resource string."""
        return f"TCPIP0::127.0.0.1::{self._port}::SOCKET"

    @property
    def pid(self) -> int:
        """Number of its process."""
        return self._process.pid

    def kill(self) -> None:
        """End it without warning."""
        self._process.kill()
        self._process.communicate()

    def restart(self) -> None:
        """Serve a chip of the same kind again, if there is none; it holds no weights."""
        if self._process.poll() is not None:
            self._process = self._start()

    def _start(self) -> "subprocess.Popen[str]":
        address = f"127.0.0.1:{self._port}"
        process = subprocess.Popen(  # noqa: S603 - our own command
            [str(HIL), "mock", "serve", "--profile", str(self._profile), "--tcp", address],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        line = process.stdout.readline() if process.stdout else ""
        if "::" not in line:
            raise RuntimeError(f"the chip is not served: {process.communicate()[1]}")
        self._port = int(line.split("::")[2])
        return process
