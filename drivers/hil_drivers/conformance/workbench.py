"""What checks work with: one connection at a time, a core with known weights, known inputs."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import numpy as np
import numpy.typing as npt

from hil.core.errors import DeviceError
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ChipGeometry, ReadMode
from hil_drivers.chip import HARDWARE_MISSING, Chip
from hil_drivers.chip_driver import ChipDriver, ChipOptions

_UNDEFINED_HEADER = -113
_LARGEST_CODE = 127
_CODES = np.arange(-_LARGEST_CODE, _LARGEST_CODE + 1, dtype=np.int8)
_MEAN_SUM_SIGMAS = 2.3
"""Mean of a column's sum of weights, in standard deviations of a sum without one: enough for a
constant input to be seen in every column, little enough that no counter is full."""

Correct = Callable[[npt.NDArray[np.uint16], NmpuFormat, NmpuRegisters], npt.NDArray[np.int8]]
"""Computes outputs (vector, column) from counts (vector, polarity, column): the integer model."""


class Programming(Enum):
    """What may be programmed."""

    NOTHING = "nothing"
    """No core; checks that need known weights are skipped."""
    ONE_CORE = "one core"
    """The core under test, a few times."""
    EVERY_CORE = "every core"
    """Every core once, on top."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestPlan:
    """What is tested, and how far."""

    __test__ = False  # no test class, whatever its name makes pytest think

    driver: ChipDriver
    """The driver."""
    resource: str
    """Where its device is."""
    correct: Correct
    """The integer model of the NMPU."""
    timeout_s: float = 10.0
    """How long an answer may take."""
    core: int = 0
    """The core that is programmed."""
    programming: Programming = Programming.ONE_CORE
    """What may be programmed."""


class Workbench:
    """The chip under test.

    Parameters
    ----------
    plan
        What is tested.
    """

    def __init__(self, plan: TestPlan) -> None:
        self.plan = plan
        """What is tested."""
        self.core = plan.core
        """The core that is programmed."""
        self.programmings = 0
        """How often a core was programmed so far."""
        self.largest_count = 0
        """Highest count seen."""
        self.answer_s: float | None = None
        """How long a readout takes, connection included; None until it was measured."""
        self._chip: Chip | None = None
        self._holds: npt.NDArray[np.int8] | None = None

    def open(self, resource: str | None = None, *, options: ChipOptions | None = None) -> Chip:
        """Open a connection of its own; the shared one is closed first, as a board may take one."""
        self.let_go()
        return self.plan.driver.open_chip(
            self.plan.resource if resource is None else resource,
            options or ChipOptions(timeout_s=self.plan.timeout_s),
        )

    @property
    def chip(self) -> Chip:
        """The shared connection, opened when it is first needed."""
        if self._chip is None:
            self._chip = self.open()
        return self._chip

    def let_go(self) -> None:
        """Close the shared connection; the next check gets a new one."""
        chip, self._chip = self._chip, None
        if chip is not None:
            chip.close()

    @cached_property
    def geometry(self) -> ChipGeometry:
        """How large the chip says it is."""
        return self.chip.geometry()

    def inputs(self, vectors: int, *, seed: int = 0) -> npt.NDArray[np.int8]:
        """Return random input vectors (vector, row)."""
        rng = np.random.default_rng(seed)
        return rng.choice(_CODES, (vectors, self.geometry.rows))

    def constant_inputs(self, values: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
        """Return vectors (vector, row) that drive every row with one value each."""
        return np.repeat(values[:, None], self.geometry.rows, axis=1)

    def read(
        self, read_mode: ReadMode, inputs: npt.NDArray[np.int8], *, chip: Chip | None = None
    ) -> npt.NDArray[np.uint16]:
        """Read counts of the core under test."""
        counts = (chip or self.chip).read_counts(self.core, read_mode, inputs)
        self.largest_count = max(self.largest_count, int(np.max(counts, initial=0)))
        return counts

    def program(self, weights: npt.NDArray[np.int8], *, core: int | None = None) -> None:
        """Program a core, the one under test where None, and keep count of it."""
        self.programmings += 1
        if core in {None, self.core}:
            self._holds = None
        self.chip.program(self.core if core is None else core, weights)
        if core in {None, self.core}:
            self._holds = weights

    def may_program(self) -> bool:
        """Tell whether the core under test may be programmed."""
        return self.plan.programming is not Programming.NOTHING

    def known_weights(self) -> npt.NDArray[np.int8] | None:
        """Return the weights (row, column) of the core under test, programming them if need be.

        None where nothing may be programmed.
        """
        if not self.may_program():
            return None
        wanted = self.weights_to_work_with()
        if self._holds is None or not np.array_equal(self._holds, wanted):
            self.program(wanted)
        return wanted

    def weights_to_work_with(self) -> npt.NDArray[np.int8]:
        """Return weights (row, column): even columns add up to more than 0, odd ones to less."""
        rows, columns = self.geometry.rows, self.geometry.columns
        rng = np.random.default_rng(1)
        weights = rng.choice(_CODES, (rows, columns))
        sign = np.where(np.arange(columns) % 2 == 0, 1, -1)
        is_leaning = rng.random((rows, columns)) < min(1.0, _MEAN_SUM_SIGMAS / np.sqrt(rows))
        return np.where(is_leaning, np.abs(weights) * sign, weights).astype(np.int8)

    def has_readable_core(self) -> bool:
        """Tell whether the core under test can be read: it may hold no weights."""
        if self.known_weights() is not None:
            return True
        try:
            self.read(ReadMode.ONE_PHASE, self.inputs(1))
        except DeviceError:
            return False
        return True

    def seconds_of(self, operation: Callable[[], object]) -> float:
        """Return how long an operation takes."""
        start = time.monotonic()
        operation()
        return time.monotonic() - start


def lacks_hardware(error: DeviceError) -> bool:
    """Tell whether a chip refuses because it has not got what was asked for."""
    return error.code in {HARDWARE_MISSING, _UNDEFINED_HEADER}
