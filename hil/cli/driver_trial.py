"""What ``hil drivers test`` does: every promise of a chip driver, tried on its device."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from rich.console import Console

from hil.campaign.mock_resource import MockResource
from hil.core.errors import ConfigError, Problem
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.report.conformance import conformance_document, finding_line, verdict
from hil_calibration.nmpu import apply_nmpu
from hil_drivers.chip_driver import DEFAULT_DRIVER, ChipDriver, find_chip_driver
from hil_drivers.conformance.check import Finding
from hil_drivers.conformance.kit import run_checks
from hil_drivers.conformance.workbench import Programming, TestPlan
from hil_mock_device.launch import MockProcess

_MOCK = "mock://"
_NARROWEST_PIPE = 160
"""Evidence is one line in a pipe, however long."""
_PROGRAMMING = {
    None: Programming.ONE_CORE,
    True: Programming.EVERY_CORE,
    False: Programming.NOTHING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is tested, and how."""

    name: str
    """Name of the chip driver."""
    resource: str
    """Where the device is; ``mock://PROFILE`` starts one."""
    may_program: bool | None
    """Whether every core may be programmed, or none; None for one core, a few times."""
    core: int
    """That core."""
    timeout_s: float
    """How long an answer may take."""


def try_driver(subject: Subject, *, to_stderr: bool = False) -> dict[str, Any]:
    """Test a chip driver, printing what is found as it is found; return the report.

    Parameters
    ----------
    subject
        What is tested.
    to_stderr
        Whether it is printed on stderr, because stdout is for the report.

    Raises
    ------
    ConfigError
        If there is no such driver, or it can do nothing with the resource.
    TransportError
        If the device cannot be reached.
    """
    driver = find_chip_driver(subject.name)
    programming = _PROGRAMMING[subject.may_program]
    with _address(subject.resource, driver, subject.name) as address:
        plan = TestPlan(
            driver=driver,
            resource=address,
            correct=_correct,
            timeout_s=subject.timeout_s,
            core=subject.core,
            programming=programming,
        )
        words = f"testing {subject.name} at {address}; may program {programming.value}"
        click.echo(words, err=True)
        findings = _make_checks(plan, to_stderr=to_stderr)
    click.echo(verdict(findings), err=to_stderr)
    return conformance_document(
        findings, driver=subject.name, resource=subject.resource, programming=programming.value
    )


def _make_checks(plan: TestPlan, *, to_stderr: bool) -> list[Finding]:
    console = Console(highlight=False, markup=False, stderr=to_stderr)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=_NARROWEST_PIPE, stderr=to_stderr)
    findings = []
    for finding in run_checks(plan):
        console.print(finding_line(finding), soft_wrap=not console.is_terminal)
        findings.append(finding)
    return findings


@contextmanager
def _address(resource: str, driver: ChipDriver, name: str) -> Iterator[str]:
    """Give the address of a device; a mock is served for the length of the block."""
    with ExitStack() as stack:
        try:
            if resource.startswith(_MOCK) and name == DEFAULT_DRIVER:
                mock = MockResource.parse(resource)
                arguments = ["--profile", mock.profile]
                if mock.seed is not None:
                    arguments += ["--seed", str(mock.seed)]
                if mock.truth is not None:
                    arguments += ["--truth", mock.truth]
                resource = stack.enter_context(MockProcess(arguments)).resource
            driver.check_resource(resource)
        except ValueError as error:
            raise ConfigError("--resource", [Problem("", str(error))]) from error
        yield resource


def _correct(
    counts: npt.NDArray[np.uint16], fmt: NmpuFormat, registers: NmpuRegisters
) -> npt.NDArray[np.int8]:
    return apply_nmpu(counts[:, 0], counts[:, 1], registers, fmt)
