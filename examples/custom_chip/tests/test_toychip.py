import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil_calibration.nmpu import apply_nmpu
from hil_drivers.chip_driver import ChipOptions, find_chip_driver
from hil_drivers.conformance.check import Result
from hil_drivers.conformance.kit import run_checks
from hil_drivers.conformance.workbench import Programming, TestPlan

from toychip.driver import DRIVER


@pytest.fixture(scope="module")
def resource() -> Iterator[str]:
    command = [sys.executable, "-m", "toychip.mock", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.terminate()


def correct(
    counts: npt.NDArray[np.uint16], fmt: NmpuFormat, registers: NmpuRegisters
) -> npt.NDArray[np.int8]:
    return apply_nmpu(counts[:, 0], counts[:, 1], registers, fmt)


def test_hil_finds_the_driver_by_its_name() -> None:
    assert find_chip_driver("toychip") is DRIVER


def test_chip_says_who_it_is(resource: str) -> None:
    chip = DRIVER.open_chip(resource, ChipOptions(timeout_s=5))
    assert str(chip.identify()) == "Toy lab toychip, serial T-1, firmware 1.0"
    chip.close()


def test_driver_and_mock_keep_every_promise_of_a_chip(resource: str) -> None:
    plan = TestPlan(
        driver=DRIVER,
        resource=resource,
        correct=correct,
        timeout_s=5,
        programming=Programming.EVERY_CORE,
    )
    findings = list(run_checks(plan))
    assert [finding for finding in findings if finding.result is not Result.PASS] == []


@pytest.mark.parametrize("wrong", ["toychip://", "toychip://host", "tcp://host:7777", "T::1"])
def test_strings_that_are_no_toychip_are_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="use toychip://HOST:PORT"):
        DRIVER.check_resource(wrong)
