"""Bad configurations, each with its exact message, and no device hears of any."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from command_line import HIL
from hil.campaign.config.files import check_files
from hil.campaign.config.load import load_campaign
from hil.core.errors import ConfigError

CORPUS = Path(__file__).with_name("bad_configs")
NAMES = sorted(path.stem for path in CORPUS.glob("*.toml"))
TOUCHES = frozenset({"socket.connect", "socket.sendto", "subprocess.Popen", "os.posix_spawn"})
"""What Python tells its audit hooks when a device is connected to or a mock's process started."""
_listening: list[list[str]] = []


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    """Take note of what may touch a device; a hook stays until the process ends."""
    if event in TOUCHES or (event == "open" and str(arguments[0]).startswith("/dev/tty")):
        for heard in _listening:
            heard.append(f"{event} {arguments[:2]}")


sys.addaudithook(_hear)


@contextmanager
def touches() -> Iterator[list[str]]:
    """Give a list of what touches a device, or may, while the block runs."""
    heard: list[str] = []
    _listening.append(heard)
    try:
        yield heard
    finally:
        _listening.remove(heard)


def expected(name: str) -> str:
    return (CORPUS / f"{name}.txt").read_text().rstrip("\n")


def check(name: str, *assignments: str) -> None:
    path = Path(f"{name}.toml")
    check_files(load_campaign(path, assignments=assignments, environment={}))


def ended(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if "HIL_SET" not in key}
    return subprocess.run(
        [str(HIL), *arguments],
        cwd=CORPUS,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_corpus_is_no_smaller_than_it_shall_be() -> None:
    assert len(NAMES) >= 60
    assert [name for name in NAMES if not (CORPUS / f"{name}.txt").exists()] == []


@pytest.mark.parametrize("name", NAMES)
def test_bad_configuration_gives_its_message(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CORPUS)
    with touches() as heard, pytest.raises(ConfigError) as caught:
        check(name)
    assert str(caught.value) == expected(name)
    assert heard == []


def test_touch_of_a_device_would_be_heard() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, touches() as heard:
        socket.create_connection(listener.getsockname()).close()
        subprocess.run([sys.executable, "-c", ""], check=True)
    assert [words.split()[0] for words in heard] == ["socket.connect", "subprocess.Popen"]


@pytest.mark.parametrize("name", ["several_problems", "include_wider_limit", "broken_not_utf8"])
def test_process_says_so_and_ends_with_the_code_of_configurations(name: str) -> None:
    done = ended("config", "check", f"{name}.toml")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"error: {expected(name)}\n"


@pytest.mark.parametrize("name", ["unknown_key", "limits_value_beyond", "workload_missing"])
def test_run_with_a_bad_configuration_connects_to_no_device(name: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        resource = f"TCPIP0::127.0.0.1::{port}::SOCKET"
        done = ended(
            "run",
            f"{name}.toml",
            "--set",
            f"device.resource={resource}",
            "--out",
            str(tmp_path / "run"),
        )
        assert done.returncode == 3, done.stderr
        assert done.stderr.startswith(f"error: {name}.toml:")
        listener.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            listener.accept()
            pytest.fail("the device was connected to")
    assert not (tmp_path / "run").exists()
