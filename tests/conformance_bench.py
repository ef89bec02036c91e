"""A chip in this process for the conformance kit, and a wrapper to break one promise of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

import contract_chip
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ChipGeometry, ChipIdentity, ReadMode
from hil_calibration.nmpu import apply_nmpu
from hil_drivers.chip import Chip, ChipThatTells, CorrectedReadout
from hil_drivers.chip_driver import ChipDriver, ChipOptions
from hil_drivers.conformance.check import Check, Finding, Result
from hil_drivers.conformance.kit import CHECKS, run_checks
from hil_drivers.conformance.workbench import Programming, TestPlan
from hil_drivers.connect import board_over
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.device import MockDevice
from hil_mock_device.firmware.dispatch import Firmware
from hil_mock_device.loopback import LoopbackTransport
from hil_mock_device.profile import MockProfile, load_profile
from hil_mock_device.silicon import Silicon


def correct(
    counts: npt.NDArray[np.uint16], fmt: NmpuFormat, registers: NmpuRegisters
) -> npt.NDArray[np.int8]:
    return apply_nmpu(counts[:, 0], counts[:, 1], registers, fmt)


class Wrapped:
    """A chip that passes everything on to another one."""

    def __init__(self, inner: Chip, shared: dict[str, int]) -> None:
        self.inner = inner
        self.shared = shared
        """What outlives a connection."""

    def identify(self) -> ChipIdentity:
        return self.inner.identify()

    def geometry(self) -> ChipGeometry:
        return self.inner.geometry()

    def reset(self) -> None:
        self.inner.reset()

    def program(self, core: int, weights: npt.NDArray[np.int8]) -> None:
        self.inner.program(core, weights)

    def holds(self, core: int, weights: npt.NDArray[np.int8]) -> bool:
        return cast(ChipThatTells, self.inner).holds(core, weights)

    def times_programmed(self, core: int) -> int:
        return cast(ChipThatTells, self.inner).times_programmed(core)

    def read_counts(
        self, core: int, read_mode: ReadMode, inputs: npt.NDArray[np.int8]
    ) -> npt.NDArray[np.uint16]:
        return self.inner.read_counts(core, read_mode, inputs)

    def read_corrected(
        self, core: int, read_mode: ReadMode, inputs: npt.NDArray[np.int8]
    ) -> npt.NDArray[np.int8]:
        return self.inner.read_corrected(core, read_mode, inputs)

    def read_corrected_with_counts(
        self, core: int, read_mode: ReadMode, inputs: npt.NDArray[np.int8]
    ) -> CorrectedReadout:
        return self.inner.read_corrected_with_counts(core, read_mode, inputs)

    def latched_counts(
        self, core: int, read_mode: ReadMode, vectors: int
    ) -> npt.NDArray[np.uint16]:
        return self.inner.latched_counts(core, read_mode, vectors)

    def write_nmpu(
        self, core: int, read_mode: ReadMode, fmt: NmpuFormat, registers: NmpuRegisters
    ) -> None:
        self.inner.write_nmpu(core, read_mode, fmt, registers)

    def read_nmpu(self, core: int, read_mode: ReadMode) -> tuple[NmpuFormat, NmpuRegisters]:
        return self.inner.read_nmpu(core, read_mode)

    def temperature_c(self, core: int, read_mode: ReadMode) -> float:
        return self.inner.temperature_c(core, read_mode)

    def safe(self) -> None:
        self.inner.safe()

    def close(self) -> None:
        self.inner.close()


@dataclass
class InProcessDriver:
    """Opens the small mock chip in this process, wrapped."""

    folder: Path
    wrap: Callable[[Chip, dict[str, int]], Chip] = Wrapped
    silicon: Callable[[MockProfile], Silicon] = ChipModel
    shared: dict[str, int] = field(default_factory=dict)
    api_version: int = 1
    summary: str = "the small mock chip in this process"
    resource_form: str = "anything"

    def __post_init__(self) -> None:
        profile = contract_chip.write_profile(self.folder)
        settings = load_profile(str(profile), base=Path()).model_copy(update={"seed": 5})
        self._firmware = Firmware(self.silicon(settings))

    def check_resource(self, resource: str) -> None:
        pass

    def open_chip(self, resource: str, options: ChipOptions) -> Chip:
        transport = LoopbackTransport(MockDevice(self._firmware), resource="loopback")
        self.shared["connections"] = self.shared.get("connections", 0) + 1
        return self.wrap(board_over(transport, options.timeout_s), self.shared)


def run_kit(
    driver: ChipDriver,
    resource: str,
    *,
    checks: tuple[Check, ...] = CHECKS,
    limit_s: float | None = None,
) -> list[Finding]:
    """Make checks, with leave to program every core."""
    plan = TestPlan(
        driver=driver,
        resource=resource,
        correct=correct,
        timeout_s=5.0,
        programming=Programming.EVERY_CORE,
    )
    return list(run_checks(plan, checks=checks, limit_s=limit_s))


def failed_claims(findings: list[Finding]) -> dict[str, str]:
    """Return the claims that failed, with their evidence."""
    return {
        finding.claim: finding.evidence for finding in findings if finding.result is Result.FAIL
    }


PROJECT_ENTRIES = "[hil.chips]\naimc-board = hil_drivers.built_in:AIMC_BOARD\n"
"""Entry points for an installation that was made before this project declared its own."""
