"""A private mock process: it serves, and it is gone when its owner is, however that ended."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hil.core.errors import ConfigError, TransportError
from hil_mock_device import launch
from hil_mock_device.launch import SERVER, MockProcess

WAIT_S = 20.0


@pytest.fixture(autouse=True)
def real_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start what users start, and not the quick mock of the other tests."""
    monkeypatch.setattr(launch, "SERVER", SERVER)


def port_of(resource: str) -> int:
    return int(resource.split("::")[2])


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)


def assert_gone(port: int) -> None:
    with pytest.raises(ConnectionRefusedError):
        connect(port).close()


def children() -> set[int]:
    """Return the processes that this one has started and not yet waited for."""
    return {int(pid) for pid in Path("/proc/thread-self/children").read_text().split()}


def test_process_serves_inside_the_with_block_and_is_gone_after_it() -> None:
    with MockProcess(["--profile", "quickstart"]) as mock:
        port = port_of(mock.resource)
        with connect(port) as client:
            client.sendall(b"*IDN?\n")
            assert client.recv(100) == b"aimc-hil,mock-chip,quickstart-0,1.0\n"
    assert_gone(port)


def test_process_serves_every_way_in_that_it_is_told(tmp_path: Path) -> None:
    ways = ["--tcp", "127.0.0.1:0", "--hislip", "127.0.0.1:0", "--pty", str(tmp_path / "line")]
    with MockProcess(["--profile", "quickstart", *ways]) as mock:
        tcp, hislip, serial = mock.resources
    assert tcp == mock.resource
    assert tcp.endswith("::SOCKET")
    assert "::hislip0," in hislip
    assert serial == f"serial://{tmp_path / 'line'}"


def test_process_serves_the_bench_instruments_that_it_is_told() -> None:
    with MockProcess(["--profile", "quickstart", "--supply", "127.0.0.1:0"]) as mock:
        assert list(mock.instruments) == ["supply"]
        assert len(mock.resources) == 1
        with connect(port_of(mock.instruments["supply"])) as client:
            client.sendall(b"*IDN?;OUTP?\n")
            assert client.recv(100) == b"aimc-hil,mock-supply,0,1.0;1\n"


def test_process_ends_with_a_client_still_connected() -> None:
    with MockProcess(["--profile", "quickstart", "--seed", "5"]) as mock:
        client = connect(port_of(mock.resource))
        client.sendall(b"*OPC?\n")
        assert client.recv(10) == b"1\n"
    with client:
        assert client.recv(10) == b""


def test_process_ends_where_the_with_block_raises() -> None:
    seen = []

    def fail_at_work() -> None:
        with MockProcess(["--profile", "quickstart"]) as mock:
            seen.append(port_of(mock.resource))
            raise KeyError

    with pytest.raises(KeyError):
        fail_at_work()
    assert_gone(seen[0])


def test_process_closed_twice_is_gone() -> None:
    mock = MockProcess(["--profile", "quickstart"])
    mock.close()
    mock.close()
    assert_gone(port_of(mock.resource))


def test_stopped_process_is_killed(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text("[array]\ncores = 1\n")
    mock = MockProcess(["--profile", str(tmp_path / "p.toml")])
    (pid,) = (pid for pid in children() if b"p.toml" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(pid, signal.SIGSTOP)
    mock.close(wait_s=0.1)
    assert_gone(port_of(mock.resource))


OWNER = """
import sys
from hil_mock_device.launch import MockProcess
mock = MockProcess(["--profile", "quickstart"])
print(mock.resource, flush=True)
sys.stdin.read()
"""


def test_process_ends_when_its_owner_is_killed() -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    port = port_of(owner.stdout.readline())
    with connect(port) as client:
        owner.kill()
        owner.communicate(timeout=WAIT_S)
        # The mock closes its listener first, then its clients: their end is the event to await.
        assert client.recv(1) == b""
    assert_gone(port)


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ("[array]\nrows = 0\n", "array.rows: Input should be greater than or equal to 1"),
        ("[array]\nrow = 8\n", "array.row: unknown key; did you mean 'rows'?"),
        ('measured = "gone.npz"\n', "gone.npz: no such file"),
        ("= 3", "is no TOML"),
    ],
    ids=["range", "unknown key", "measured file", "no TOML"],
)
def test_wrong_profile_is_told_as_the_process_said_it(
    profile: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "p.toml").write_text(profile)
    before = children()
    with pytest.raises(ConfigError) as caught:
        MockProcess(["--profile", str(tmp_path / "p.toml")])
    assert words in str(caught.value)
    assert children() == before


def test_missing_profile_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml: no such file"):
        MockProcess(["--profile", str(tmp_path / "gone.toml")])


def test_truth_file_that_exists_is_told(tmp_path: Path) -> None:
    (tmp_path / "truth.npz").write_text("mine")
    with pytest.raises(ConfigError, match="cannot be written as truth file: File exists"):
        MockProcess(["--profile", "quickstart", "--truth", str(tmp_path / "truth.npz")])


def test_start_that_fails_leaves_no_truth_file(tmp_path: Path) -> None:
    path = tmp_path / "truth.npz"
    process = subprocess.run(
        [sys.executable, "-m", "hil_mock_device", "--profile", "quickstart", "--truth", str(path)],
        stdin=subprocess.DEVNULL,  # which cannot end: the server refuses it
        capture_output=True,
        timeout=WAIT_S,
        check=False,
    )
    assert process.returncode == 1
    assert not path.exists()


def test_process_whose_owner_is_gone_before_it_listens_ends_without_a_word() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "hil_mock_device", "--profile", "quickstart"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()  # long before the interpreter has imported anything
    _, stderr = process.communicate(timeout=WAIT_S)
    assert (process.returncode, stderr) == (1, b"")


def test_truth_file_is_there_once_the_process_serves(tmp_path: Path) -> None:
    path = tmp_path / "truth.npz"
    with (
        MockProcess(["--profile", "quickstart", "--seed", "3", "--truth", str(path)]),
        np.load(path) as truth,
    ):
        assert truth["gain_p"].shape == (4, 256)


def test_process_that_dies_at_once_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TransportError, match="ended before it listened"):
        MockProcess(["--profile", "quickstart", "--seed", "-1"])
    assert "seed '-1' must be a number, 0 to 2^63 - 1" in capfd.readouterr().err


def test_module_in_the_working_folder_does_not_shadow_the_standard_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "signal.py").write_text("raise RuntimeError('the wrong signal')")
    monkeypatch.chdir(tmp_path)
    with MockProcess(["--profile", "quickstart"]) as mock:
        assert mock.resource.startswith("TCPIP0::127.0.0.1::")
