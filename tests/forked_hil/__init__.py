"""`hil` for tests, without the second that importing all of it takes each time.

One process for each worker of pytest has imported the command line. It answers at a socket: for
each command it forks a child, which has the arguments, environment, folder and streams of whoever
asked, and ends as the installed `hil` does. The mock server, or the `hil` of each chip, that such a
child starts is forked too, and so is that of a test itself, see `ForkedMock`. A test that looks at
how a process starts, or that limits, stops or kills one, runs the installed script instead.
"""

import atexit
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from hil_mock_device.launch import SERVER

_HERE = Path(__file__).parent
_MOCK = "hil_mock_device"


@cache
def forked_hil() -> Path:
    """Return a script that does what the installed `hil` does; the first call starts the server."""
    folder = tempfile.TemporaryDirectory(prefix="hil-tests-", ignore_cleanup_errors=True)
    place, script, mock = (Path(folder.name) / name for name in ("socket", "hil", _MOCK))
    server = subprocess.Popen(
        [sys.executable, "-P", str(_HERE / "server.py"), str(place), str(script), str(mock)],
        stdin=subprocess.PIPE,  # which ends with this process
        stdout=subprocess.PIPE,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    pipes = (server.stdin, server.stdout)

    def end() -> None:
        for pipe in pipes:
            pipe.close()
        server.wait(timeout=20)
        folder.cleanup()

    atexit.register(end)
    os.environ["HIL_TESTS_SOCKET"] = str(place)
    os.environ["HIL_TESTS_BIN"] = str(Path(sys.executable).parent)
    # Of this interpreter, without its site: what starts at once.
    script.write_text(f"#!{sys.executable} -IS\n{(_HERE / 'asker.py').read_text()}")
    script.chmod(0o755)
    mock.hardlink_to(script)
    server.stdout.readline()  # it answers, or has ended: then the installed one is run
    return script


class ForkedMock:
    """The words that start a mock server the quick way; the first who reads them waits for it."""

    def __iter__(self) -> Iterator[str]:
        # As for `hil` itself: what is installed elsewhere is not known to what has imported all.
        is_real = "PYTHONPATH" in os.environ
        return iter(SERVER if is_real else (str(forked_hil().with_name(_MOCK)),))
