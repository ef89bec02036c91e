"""What the kit makes of chips that lack something they may lack: an NMPU, a memory of weights."""

from pathlib import Path
from typing import Any

import pytest

from conformance_bench import InProcessDriver, Wrapped, failed_claims, run_kit
from hil.core.errors import DeviceError
from hil_drivers.conformance.check import Result
from hil_drivers.conformance.readout_checks import READOUT_CHECKS
from hil_drivers.conformance.state_checks import STATE_CHECKS

TELLS = "it tells whether a core still holds its weights"
CHECKS = tuple(check for check in (*READOUT_CHECKS, *STATE_CHECKS) if check.claim == TELLS)


class WithoutNmpu(Wrapped):
    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise DeviceError(-241, "Hardware missing")

    read_corrected = read_corrected_with_counts = latched_counts = _refuse
    write_nmpu = read_nmpu = _refuse


class Silent(Wrapped):
    holds = None  # type: ignore[assignment]


class Confirms(Wrapped):
    def holds(self, core: int, weights: object) -> bool:
        return True


class Forgets(Wrapped):
    def holds(self, core: int, weights: object) -> bool:
        return False


class CountsNothing(Wrapped):
    def times_programmed(self, core: int) -> int:
        return 3


def test_chip_without_nmpu_fails_nothing_and_has_what_needs_one_skipped(tmp_path: Path) -> None:
    findings = run_kit(InProcessDriver(tmp_path, wrap=WithoutNmpu), "loopback")
    assert failed_claims(findings) == {}
    skipped = {
        finding.claim for finding in findings
        if finding.result is Result.SKIP and "no NMPU" in finding.evidence
    }  # fmt: skip
    assert skipped == {
        "latched counts are those just read",
        "NMPU settings are read back as written",
        "read modes have NMPU settings of their own",
        "corrected outputs are made of the latched counts, bit for bit",
        "outputs and counts of one operation belong together",
        "the NMPU leaves raw counts alone",
        "registers that the format does not hold are refused",
    }


def test_driver_that_cannot_tell_is_told_what_resume_will_do(tmp_path: Path) -> None:
    finding, _ = run_kit(InProcessDriver(tmp_path, wrap=Silent), "loopback", checks=CHECKS)
    assert (finding.claim, finding.result) == (TELLS, Result.SKIP)
    assert finding.evidence == "the driver has no holds: hil resume will program again"


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (Confirms, "True of weights that differ in one cell, False is due"),
        (Forgets, "False of the weights it was given, True is due"),
        (CountsNothing, "times_programmed is 3 before programming once, 3 after it"),
    ],
)
def test_driver_that_tells_what_is_not_so_fails(
    fault: type[Wrapped], seen: str, tmp_path: Path
) -> None:
    finding, _ = run_kit(InProcessDriver(tmp_path, wrap=fault), "loopback", checks=CHECKS)
    assert finding.result is Result.FAIL
    assert seen in finding.evidence
