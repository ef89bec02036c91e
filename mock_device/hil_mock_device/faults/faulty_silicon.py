"""A chip that things happen to."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.core.errors import DeviceError
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ChipGeometry, ChipIdentity, ReadMode
from hil_drivers.scpi import ScpiError
from hil_mock_device.environment import Environment
from hil_mock_device.faults.fault_kinds import Event, MockFault
from hil_mock_device.faults.fault_script import FaultRule
from hil_mock_device.faults.injector import ArmedRule, FaultInjector
from hil_mock_device.firmware.call import refusal
from hil_mock_device.silicon import Silicon

Counts = npt.NDArray[np.uint16]


@dataclass(slots=True)
class _Lasting:
    """A fault that has happened and goes on."""

    rule: FaultRule
    core: int
    left: int | None
    """Multiplications it lasts; None for ever."""
    frozen: dict[ReadMode, Counts]
    """Counts (polarity) at which a column stands still, by read mode."""


class FaultySilicon:
    """A chip with faults, as `Silicon`.

    Parameters
    ----------
    silicon
        The one without.
    injector
        What goes wrong.
    """

    def __init__(self, silicon: Silicon, injector: FaultInjector) -> None:
        self._silicon = silicon
        self._injector = injector
        self._lasting: list[_Lasting] = []
        self._weights: dict[int, npt.NDArray[np.int8]] = {}
        injector.on_clear.append(self._end_all)

    def __getattr__(self, name: str) -> Any:
        """Return what only some chips have: an environment, a recording, the truth."""
        return getattr(self._silicon, name)

    @property
    def identity(self) -> ChipIdentity:
        """The fields of ``*IDN?``."""
        return self._silicon.identity

    @property
    def geometry(self) -> ChipGeometry:
        """How large it is."""
        return self._silicon.geometry

    def reset(self) -> None:
        """Begin the sequence of readouts again; what has broken stays so."""
        self._silicon.reset()

    def program(self, core: int, weights: npt.NDArray[np.int8]) -> None:
        """Program weights, shape (row, column), or half of the rows where power fails."""
        for armed in self._injector.strike_core(Event.PROGRAMMING, core)[:1]:
            self._injector.count(armed)
            half = len(weights) // 2
            mixed = np.array(self._weights.get(core, np.zeros_like(weights)))
            mixed[:half] = weights[:half]
            self._silicon.program(core, mixed)
            self._weights[core] = mixed
            self._injector.brown_out = (armed.rule, core)
            detail = f"power failed while core {core} was programmed"
            raise refusal(ScpiError.HARDWARE_ERROR, detail)
        self._silicon.program(core, weights)
        self._weights[core] = np.array(weights)

    def convert(self, core: int, read_mode: ReadMode, inputs: npt.NDArray[np.int8]) -> Counts:
        """Return counts (vector, polarity, column) for inputs (vector, row), and what became."""
        storms = [
            armed
            for armed in self._injector.strike_core(Event.CONVERSION, core)
            if not self._begin(armed, core)
        ]
        counts = np.array(self._silicon.convert(core, read_mode, inputs))
        for lasting in self._lasting:
            if lasting.rule.core in (None, core) and lasting.core == core:
                self._apply(lasting, read_mode, counts)
        for armed in storms:
            share = armed.rule.share or 0.0
            counts[armed.rng.random(counts.shape) < share] = self._highest()
        self._count_down(core)
        return counts

    def correct(
        self,
        core: int,
        read_mode: ReadMode,
        counts: Counts,
        fmt: NmpuFormat,
        registers: NmpuRegisters,
    ) -> npt.NDArray[np.int8]:
        """Return the NMPU's outputs (vector, column) for the counts converted last."""
        return self._silicon.correct(core, read_mode, counts, fmt, registers)

    def temperature_c(self, core: int, read_mode: ReadMode) -> float:
        """Return the temperature, degrees Celsius."""
        return self._silicon.temperature_c(core, read_mode)

    def _begin(self, armed: ArmedRule, core: int) -> bool:
        """Begin a fault that lasts; tell whether it does."""
        rule = armed.rule
        columns = self.geometry.columns
        if rule.column is not None and rule.column >= columns:
            detail = f"a fault of column {rule.column}: there are {columns}"
            raise DeviceError(ScpiError.DATA_OUT_OF_RANGE, f"Data out of range; {detail}")
        self._injector.count(armed)
        if rule.kind is MockFault.SATURATION:
            return False
        if rule.kind is MockFault.TEMPERATURE:
            self._warm(rule.kelvin or 0.0)
        self._lasting.append(_Lasting(rule, core, rule.conversions, {}))
        return True

    def _apply(self, lasting: _Lasting, read_mode: ReadMode, counts: Counts) -> None:
        column = lasting.rule.column
        if column is None:
            return
        if lasting.rule.kind is MockFault.FROZEN_COLUMN:
            counts[:, :, column] = lasting.frozen.setdefault(read_mode, counts[0, :, column].copy())
        elif lasting.rule.kind is MockFault.GAIN_JUMP:
            jumped = np.rint(counts[:, :, column] * (lasting.rule.factor or 0.0))
            counts[:, :, column] = np.minimum(jumped, self._highest())

    def _count_down(self, core: int) -> None:
        for lasting in [*self._lasting]:
            if lasting.core == core and lasting.left is not None:
                lasting.left -= 1
                if lasting.left == 0:
                    self._lasting.remove(lasting)
                    self._end(lasting)

    def _end_all(self) -> None:
        lasting, self._lasting = self._lasting, []
        for one in lasting:
            self._end(one)

    def _end(self, lasting: _Lasting) -> None:
        if lasting.rule.kind is MockFault.TEMPERATURE:
            self._warm(-(lasting.rule.kelvin or 0.0))

    def _warm(self, kelvin: float) -> None:
        # A recording has no temperature to change.
        if isinstance(self._silicon, Environment):
            celsius = self._silicon.ambient_c + kelvin
            self._silicon.set_temperature(min(300.0, max(-100.0, celsius)))

    def _highest(self) -> int:
        return (1 << self.geometry.counter_bits) - 1
