"""The server as a real process with real sockets: many clients, rude ones, and the end."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from hil.core.errors import ConfigError
from hil.core.readout import ReadMode
from hil_drivers.connect import connect_chip
from hil_mock_device.listeners.address import TcpAddress

HIL = Path(sys.executable).with_name("hil")
WAIT_S = 20.0


class Served:
    """A running `hil mock serve`."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [str(HIL), "mock", "serve", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.announcement = self.process.stdout.readline()
        found = re.search(r"TCPIP0::(\S+)::(\d+)::SOCKET", self.announcement)
        assert found, self.process.communicate(timeout=WAIT_S)[1]
        self.resource, self.host, self.port = found[0], found[1], int(found[2])

    def connect(self) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout=WAIT_S)

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; return exit code and what was written to standard error."""
        self.process.send_signal(number)
        _, stderr = self.process.communicate(timeout=WAIT_S)
        lines = stderr.splitlines(keepends=True)
        self.words = [line for line in lines if line.startswith("serving ")]
        return self.process.returncode, "".join(lines[len(self.words) :])


@contextmanager
def serving(*arguments: str) -> Iterator[Served]:
    served = Served("--tcp", "127.0.0.1:0", *arguments)
    try:
        yield served
    finally:
        served.process.kill()
        served.process.communicate()


@pytest.fixture(scope="module")
def shared() -> Iterator[Served]:
    """Return a server that the tests of this module share: none of them may hurt it."""
    with serving() as served:
        yield served
        assert served.end() == (0, "")


def ask(client: socket.socket, query: bytes) -> bytes:
    client.sendall(query + b"\n")
    return read_line(client)


def read_line(client: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        piece = client.recv(1)
        assert piece, f"closed after {line!r}"
        line += piece
    return line


def read_to_end(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65536), b""))


def test_announcement_is_the_resource_string_and_nothing_else(shared: Served) -> None:
    assert shared.announcement == f"TCPIP0::127.0.0.1::{shared.port}::SOCKET\n"


def test_announcement_in_json_names_what_is_served_where() -> None:
    with serving("--json", "--chamber", "127.0.0.1:0") as served:
        chip, chamber = json.loads(served.announcement)["served"]
    assert chip["name"] == "aimc-hil mock-chip, serial quickstart-0, firmware 1.0"
    assert chip["resource"] == served.resource
    assert chamber["name"] == "the mock chamber"
    assert re.fullmatch(r"TCPIP0::127\.0\.0\.1::[0-9]+::SOCKET", chamber["resource"])


def test_clients_talk_at_the_same_time_to_one_instrument(shared: Served) -> None:
    with shared.connect() as first, shared.connect() as second, shared.connect() as third:
        assert ask(first, b"@1 CORE:SEL 2") == b"@1 OK\n"
        assert ask(second, b"CORE:SEL?") == b"2\n"
        assert ask(third, b"@1 CORE:SEL 0") == b"@1 OK\n"
        assert ask(first, b"@2 CORE:SEL?") == b"@2 0\n"


def test_driver_reads_counts_over_the_socket(shared: Served) -> None:
    chip = connect_chip(shared.resource, timeout_s=WAIT_S)
    chip.program(3, np.zeros((256, 256), np.int8))
    counts = chip.read_counts(3, ReadMode.ONE_PHASE, np.zeros((4, 256), np.int8))
    chip.close()
    assert counts.shape == (4, 2, 256)


def test_client_that_leaves_inside_a_block_does_no_harm(shared: Served) -> None:
    with shared.connect() as rude:
        rude.sendall(b"@1 CORE:PROG #565572HILF")
    with shared.connect() as client:
        assert ask(client, b"*OPC?") == b"1\n"


def test_client_that_resets_the_connection_does_no_harm(shared: Served) -> None:
    with shared.connect() as rude:
        rude.sendall(b"*IDN?\n" * 1000)
        # Linger 0 s: close() sends a reset, not a farewell.
        rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    with shared.connect() as client:
        assert ask(client, b"*OPC?") == b"1\n"


def test_client_that_stops_sending_still_gets_its_answers(shared: Served) -> None:
    with shared.connect() as client:
        client.sendall(b"*OPC?\n" * 10_000)
        client.shutdown(socket.SHUT_WR)
        assert read_to_end(client) == b"1\n" * 10_000


def test_client_that_sends_garbage_reads_why_before_the_end(shared: Served) -> None:
    with shared.connect() as client:
        # More than the server reads at once: it must not close on bytes still on their way.
        client.sendall(b"@1 CORE:PROG #9999999999" + bytes(2_000_000))
        answer = read_to_end(client)
    assert answer.startswith(b'@0 !-160,"Block data error; block of 999999999 bytes')
    with shared.connect() as client:
        assert ask(client, b"*CLS;*OPC?") == b"1\n"


def peak_memory_mib(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_client_that_never_reads_costs_little_memory_and_holds_up_nobody() -> None:
    with serving() as served:
        chip = connect_chip(served.resource, timeout_s=WAIT_S)
        chip.program(0, np.zeros((256, 256), np.int8))
        chip.read_counts(0, ReadMode.ONE_PHASE, np.zeros((256, 256), np.int8))
        before = peak_memory_mib(served.process.pid)
        with served.connect() as slow, served.connect() as other:
            # 500 answers of 256 KiB are due.
            slow.sendall(b"READ?\n" * 500)
            first = slow.recv(1)
            for _ in range(20):
                assert ask(other, b"*OPC?") == b"1\n"
            assert first == b"#"
            assert peak_memory_mib(served.process.pid) - before < 30
            assert served.end() == (0, "")
        chip.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_signal_ends_the_server_in_order_with_clients_connected(number: signal.Signals) -> None:
    with serving() as served, served.connect() as idle, served.connect() as in_block:
        assert ask(idle, b"*OPC?") == b"1\n"
        in_block.sendall(b"@1 CORE:PROG #565572HILF")
        assert served.end(number) == (0, "")
        assert idle.recv(1) == b""


def test_every_way_in_is_announced_on_a_line_of_its_own(tmp_path: Path) -> None:
    line = tmp_path / "line"
    with serving("--hislip", "127.0.0.1:0", "--pty", str(line), "--baud", "115200") as served:
        assert served.process.stdout is not None
        more = [served.process.stdout.readline() for _ in range(2)]
        announced = [served.announcement, *more]
        with served.connect() as client:
            assert ask(client, b"*OPC?") == b"1\n"
        assert line.is_symlink()
        assert served.end() == (0, "")
    identity = "serving aimc-hil mock-chip, serial quickstart-0, firmware 1.0 (Ctrl-C ends it):\n"
    assert served.words == [identity] * 3
    assert re.fullmatch(r"TCPIP0::127\.0\.0\.1::[0-9]+::SOCKET\n", announced[0])
    assert re.fullmatch(r"TCPIP0::127\.0\.0\.1::hislip0,[0-9]+::INSTR\n", announced[1])
    assert announced[2] == f"serial://{line}?baud=115200\n"
    assert not line.is_symlink()


def test_hislip_alone_opens_no_raw_socket() -> None:
    process = subprocess.Popen(
        [str(HIL), "mock", "serve", "--hislip", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert "::hislip0," in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=WAIT_S)
    assert (process.returncode, rest) == (0, "")


def test_way_in_that_cannot_be_opened_closes_the_others(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = serve_to_its_end("--tcp", "127.0.0.1:0", "--hislip", address)
    assert (ended.returncode, ended.stdout) == (3, "")
    assert f"address {address}: cannot be listened on" in ended.stderr


def test_rate_without_a_serial_line_is_a_configuration_error() -> None:
    ended = serve_to_its_end("--baud", "9600")
    assert ended.returncode == 3
    assert "--baud: is the rate of a serial line: add --pty LINK" in ended.stderr


def serve_to_its_end(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(HIL), "mock", "serve", *arguments],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


def test_port_in_use_is_a_configuration_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = serve_to_its_end("--tcp", f"127.0.0.1:{port}")
    assert ended.returncode == 3
    assert f"address 127.0.0.1:{port}: cannot be listened on" in ended.stderr
    assert "address already in use" in ended.stderr
    assert ended.stdout == ""


def test_server_that_cannot_listen_leaves_no_truth_file(tmp_path: Path) -> None:
    path = tmp_path / "truth.npz"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = serve_to_its_end("--tcp", address, "--truth", str(path))
    assert ended.returncode == 3
    assert not path.exists()


def test_truth_file_is_there_once_the_server_is_announced(tmp_path: Path) -> None:
    path = tmp_path / "truth.npz"
    with serving("--truth", str(path)):
        assert path.stat().st_size > 0


def test_truth_file_that_exists_ends_the_server(tmp_path: Path) -> None:
    path = tmp_path / "truth.npz"
    path.write_text("mine")
    ended = serve_to_its_end("--tcp", "127.0.0.1:0", "--truth", str(path))
    assert (ended.returncode, ended.stdout) == (3, "")
    assert "truth.npz: cannot be written as truth file: File exists" in ended.stderr
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    "option",
    [("--profile", "quickstart"), ("--seed", "0"), ("--truth", "t.npz")],
    ids=lambda option: option[0],
)
def test_recording_takes_no_option_of_a_simulated_chip(
    option: tuple[str, str], tmp_path: Path
) -> None:
    ended = serve_to_its_end("--replay", str(tmp_path), *option)
    assert ended.returncode == 3
    assert "--replay: a recording has no --profile, --seed, --truth, --fault-script" in ended.stderr


@pytest.mark.parametrize("seed", ["9223372036854775808", "-1", "\u00b2"], ids=ascii)
def test_seed_that_is_none_is_a_usage_error(seed: str) -> None:
    ended = serve_to_its_end("--seed", seed)
    assert ended.returncode == 2
    assert "Invalid value for '--seed'" in ended.stderr


# An address of the documentation network, no machine's own; and a label that no name may have.
@pytest.mark.parametrize("host", ["192.0.2.1", "a" * 70 + ".invalid"], ids=["foreign", "no name"])
def test_host_that_cannot_be_listened_on_is_a_configuration_error(host: str) -> None:
    ended = serve_to_its_end("--tcp", f"{host}:0")
    assert ended.returncode == 3
    assert f"address {host}:0: cannot be listened on" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_default_address_is_loopback() -> None:
    ended = serve_to_its_end("--help")
    assert "[default: (127.0.0.1:5025)]" in " ".join(ended.stdout.split())


def test_server_listens_on_the_named_address_only() -> None:
    with serving() as served:
        addresses = {
            line.split()[1]
            for line in Path(f"/proc/{served.process.pid}/net/tcp").read_text().splitlines()
            if line.split()[1].endswith(f":{served.port:04X}") and line.split()[3] == "0A"
        }
    # 127.0.0.1, its bytes in the order of the machine.
    loopback = int.from_bytes(socket.inet_aton("127.0.0.1"), sys.byteorder)
    assert addresses == {f"{loopback:08X}:{served.port:04X}"}


def module_server(stdin: int, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "hil_mock_device", "--profile", "quickstart", *arguments],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_module_server_stops_at_the_end_of_its_standard_input() -> None:
    process = module_server(subprocess.PIPE)
    assert process.stdout is not None
    assert '{"resources": ["TCPIP0::127.0.0.1::' in process.stdout.readline()
    _, stderr = process.communicate(timeout=WAIT_S)
    assert (process.returncode, stderr) == (0, "")


def test_module_server_takes_what_is_written_to_it_for_no_end() -> None:
    process = module_server(subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    found = re.search(r"::(\d+)::SOCKET", process.stdout.readline())
    assert found
    with socket.create_connection(("127.0.0.1", int(found[1])), timeout=WAIT_S) as client:
        process.stdin.write("hello\n")
        process.stdin.flush()
        assert ask(client, b"*OPC?") == b"1\n"
        process.communicate(timeout=WAIT_S)
        assert client.recv(1) == b""


def test_module_server_refuses_a_standard_input_that_cannot_end() -> None:
    with Path(os.devnull).open() as nothing:
        process = module_server(nothing.fileno())
        stdout, stderr = process.communicate(timeout=WAIT_S)
    assert process.returncode == 1
    assert "must be a pipe or a terminal" in stdout
    assert stderr == ""


@pytest.mark.parametrize(
    "text",
    ["5025", ":5025", "host", "host:", "host:x", "host:-1", "host:65536", "host:5 ", "host:²"],
)
def test_text_that_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"must be HOST:PORT, with a port of 0 to 65535"):
        TcpAddress.parse(text)


@pytest.mark.parametrize(
    ("text", "host", "port", "resource"),
    [
        ("127.0.0.1:5025", "127.0.0.1", 5025, "TCPIP0::127.0.0.1::5025::SOCKET"),
        ("[::1]:0", "::1", 0, "TCPIP0::[::1]::0::SOCKET"),
        ("bench.local:65535", "bench.local", 65535, "TCPIP0::bench.local::65535::SOCKET"),
    ],
)
def test_address_is_read_and_becomes_a_resource(
    text: str, host: str, port: int, resource: str
) -> None:
    address = TcpAddress.parse(text)
    assert (address.host, address.port, address.resource) == (host, port, resource)
