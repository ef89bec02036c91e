"""What is particular to serial lines and VISA libraries."""

from pathlib import Path

import pytest

from hil.diagnosis.finding import Verdict
from hil.diagnosis.line_checks import latency_timer, line_findings, mended, pacing
from hil.diagnosis.speed import Carried


def carried(rate: float) -> Carried:
    """Carry a second's worth."""
    return Carried(size=round(rate), best_s=1.0, median_s=1.0, times=1)


@pytest.mark.parametrize(
    ("rate", "verdict", "word"),
    [
        (11_000, Verdict.OK, ""),
        (6_000, Verdict.OK, ""),
        (5_000, Verdict.WARN, "flow control"),
        (1_000_000, Verdict.WARN, "the baud means nothing"),
    ],
)
def test_rate_is_compared_with_what_115200_baud_carry(
    rate: float, verdict: Verdict, word: str
) -> None:
    (finding,) = pacing(115_200, carried(rate))
    assert finding.verdict is verdict
    assert word in finding.advice


def test_rate_of_a_pseudo_terminal_is_compared_with_nothing() -> None:
    (finding,) = pacing(115_200, carried(14_500_000), is_terminal=True)
    assert (finding.verdict, finding.evidence) == (Verdict.SKIPPED, "14.5 MB/s of payload")
    assert "pseudo-terminal" in finding.advice


def test_latency_timer_of_16_ms_is_to_be_shortened(tmp_path: Path) -> None:
    folder = tmp_path / "ttyUSB7" / "device"
    folder.mkdir(parents=True)
    (folder / "latency_timer").write_text("16\n")
    finding = latency_timer("/dev/ttyUSB7", ttys=tmp_path)
    assert (finding.verdict, finding.evidence) == (Verdict.WARN, "16 ms")
    assert f"echo 1 > {folder}/latency_timer" in finding.advice


def test_latency_timer_of_1_ms_is_well(tmp_path: Path) -> None:
    folder = tmp_path / "ttyUSB7" / "device"
    folder.mkdir(parents=True)
    (folder / "latency_timer").write_text("1\n")
    assert latency_timer("/dev/ttyUSB7", ttys=tmp_path).verdict is Verdict.OK


def test_port_without_latency_timer_is_skipped(tmp_path: Path) -> None:
    finding = latency_timer("/dev/ttyS0", ttys=tmp_path)
    assert finding.verdict is Verdict.SKIPPED
    assert finding.evidence == "the kernel tells of no latency timer for /dev/ttyS0"


def test_faults_that_were_mended_are_told() -> None:
    finding = mended({"wrong CRC": 3, "missing": 0, "other epoch": 5})
    assert (finding.verdict, finding.evidence) == (Verdict.WARN, "wrong CRC 3")


@pytest.mark.parametrize(
    ("resource", "checks"),
    [
        ("TCPIP0::10.0.0.2::5025::SOCKET", []),
        ("TCPIP0::10.0.0.2::hislip0::INSTR", ["VISA"]),
        ("ASRL/dev/ttyUSB0::INSTR", ["latency timer", "VISA"]),
        ("serial:///dev/ttyUSB0", ["pacing", "line faults", "latency timer"]),
    ],
)
def test_each_kind_of_link_has_checks_of_its_own(
    resource: str, checks: list[str], tmp_path: Path
) -> None:
    findings = line_findings(resource, carried(11_000), ttys=tmp_path)
    assert [finding.check for finding in findings] == checks
