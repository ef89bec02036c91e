"""`hil doctor` as a user runs it: real processes, real servers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hil_mock_device.launch import MockProcess
from unruly_listener import Listener, keep_silent, unused_port


def doctor(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    program = "from hil.cli.doctor import command; command(prog_name='hil doctor')"
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        cwd=cwd,
    )


def test_private_mock_is_well_and_the_report_is_printed(tmp_path: Path) -> None:
    done = doctor("mock://quickstart?seed=2", "--seconds", "0.5", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mock-chip, serial quickstart-2" in done.stdout
    assert "ok      byte values: 256 values" in done.stdout
    assert "ok      left as it was" in done.stdout
    assert " 0 fail," in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_json_report_has_every_check_with_its_evidence(tmp_path: Path) -> None:
    with MockProcess(["--profile", "quickstart"]) as mock:
        done = doctor(mock.resource, "--seconds", "0.5", "--json", tmp_path / "report.json")
        assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["resource"] == mock.resource
    checks = {finding["check"]: finding for finding in report["findings"]}
    assert checks["throughput to the device"]["figures"]["bytes_per_s"] > 0
    assert (
        sum(checks["latency"]["figures"]["histogram_counts"])
        == (checks["latency"]["figures"]["count"])
    )
    assert all(finding["claim"] and finding["evidence"] for finding in report["findings"])


def test_silent_device_ends_with_code_4_and_says_what_to_do() -> None:
    with Listener(keep_silent) as device:
        done = doctor(device.resource, "--timeout", "0.5", "--json", "-")
    assert done.returncode == 4
    checks = {finding["check"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert checks["opens"]["verdict"] == "ok"
    assert checks["protocol"]["verdict"] == "fail"
    assert "check address, port, rate and power" in checks["protocol"]["advice"]


def test_absent_device_ends_with_code_4() -> None:
    done = doctor(f"TCPIP0::127.0.0.1::{unused_port()}::SOCKET")
    assert done.returncode == 4
    assert "fail    opens: " in done.stdout
    assert "Connection refused\n" in done.stdout
    assert "to do: the host is there, and nothing listens on that port" in done.stdout


def test_without_resource_the_installation_is_tested(tmp_path: Path) -> None:
    done = doctor("--out", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for check in ("Python", "packages", "extras", "VISA", "serial ports", "HDF5", "disk speed"):
        assert f"{check}: " in done.stdout
    assert "protocol" not in done.stdout


def test_report_is_never_written_over_a_file(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("mine")
    done = doctor("--json", path)
    assert done.returncode == 3
    assert path.read_text() == "mine"


def test_mock_that_does_not_exist_is_a_configuration_error() -> None:
    assert doctor("mock://nonsense").returncode == 3


@pytest.mark.parametrize(
    ("resource", "message"),
    [
        ("nonsense", "'nonsense' is no resource: use TCPIP0::HOST::PORT::SOCKET"),
        ("127.0.0.1:5025", "did you mean TCPIP0::127.0.0.1::5025::SOCKET?"),
        ("replay://run", "nothing to test, it is a recording"),
    ],
)
def test_what_is_no_link_is_a_configuration_error(resource: str, message: str) -> None:
    done = doctor(resource)
    assert done.returncode == 3
    assert message in done.stderr
