"""Starting a private mock server process, and ending it for certain."""

import json
import selectors
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import IO, Any, Self

from hil.core.errors import ConfigError, Problem, TransportError

# -P: a signal.py in the user's folder must not become the standard library's.
SERVER = (sys.executable, "-P", "-m", "hil_mock_device")
"""Words that start a server process."""
_START_S = 60.0
"""How long the process may take to listen; importing on a cold disk takes seconds."""


class MockProcess:
    """A mock server in a process of its own, on a free loopback port if `arguments` name none.

    It ends with the ``with`` block, and also when this process dies, however that happens: its
    standard input then comes to its end.

    Parameters
    ----------
    arguments
        Arguments of ``python -m hil_mock_device``.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - this very interpreter, our own module
            [*SERVER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C at the terminal reaches this process only, which then ends the mock in order.
            start_new_session=True,
        )
        try:
            announcement = self._await_announcement()
            self.resources = tuple(map(str, announcement["resources"]))
            """Resource strings of the chip, in the order TCP, HiSLIP, serial line."""
            self.instruments: Mapping[str, str] = announcement["instruments"]
            """Bench instrument to its resource string, of those that `arguments` ask for."""
        except BaseException:
            self.close()
            raise

    @property
    def resource(self) -> str:
        """The first resource string of the chip."""
        return self.resources[0]

    def close(self, *, wait_s: float = 5.0) -> None:
        """End the process and wait for it; kill it if it takes longer than `wait_s`."""
        process = self._process
        if process.stdin:
            process.stdin.close()
        try:
            # The end of its output is noticed at once; `wait` with a timeout looks every 50 ms.
            stdout = process.stdout
            if not stdout or stdout.closed or _await_readable(stdout, wait_s):
                process.wait(timeout=wait_s)
        except subprocess.TimeoutExpired:
            pass
        finally:  # after Ctrl-C in the wait, too
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _await_announcement(self) -> dict[str, Any]:
        stdout = self._process.stdout
        if stdout is None:
            raise TransportError("the mock server has no standard output")
        if not _await_readable(stdout, _START_S):
            raise TransportError(f"the mock server did not start within {_START_S:g} s")
        line = stdout.readline()
        if not line:
            raise TransportError("the mock server ended before it listened")
        announcement: dict[str, Any] = json.loads(line)
        if "error" in announcement:
            raise ConfigError("mock device", [Problem("", announcement["error"])])
        return announcement


def _await_readable(stream: IO[bytes], timeout_s: float) -> bool:
    """Wait until there is something to read, or its end; tell whether that came in time."""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        return bool(selector.select(timeout_s))
