"""The quick `hil` of the tests ends, speaks and heeds signals as the installed one does."""

import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from command_line import HIL
from forked_hil import forked_hil


def ended(script: Path, *words: str, cwd: Path) -> tuple[int, str, str]:
    done = subprocess.run(
        [str(script), *words], cwd=cwd, capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "words",
    [["--version"], ["list", "."], ["status", "nowhere"], ["no-such-command"]],
    ids=" ".join,
)
def test_words_and_exit_code_are_those_of_the_installed_one(
    tmp_path: Path, words: list[str]
) -> None:
    found = ended(forked_hil(), *words, cwd=tmp_path)
    assert found == ended(HIL, *words, cwd=tmp_path)
    assert found[1:] != ("", "")


def serving() -> tuple[subprocess.Popen[str], tuple[str, int]]:
    words = ["mock", "serve", "--tcp", "127.0.0.1:0"]
    server = subprocess.Popen([str(forked_hil()), *words], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    resource = server.stdout.readline().strip()
    _, host, port, _ = resource.split("::")
    return server, (host, int(port))


def test_interrupt_reaches_the_command() -> None:
    server, address = serving()
    server.send_signal(signal.SIGINT)
    server.communicate(timeout=20)
    assert server.returncode == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5)


def test_command_ends_with_whoever_has_asked() -> None:
    server, address = serving()
    server.kill()
    server.communicate(timeout=20)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection(address, timeout=5).close()
        except ConnectionError:
            return
        time.sleep(0.02)
    pytest.fail("it still answers")
