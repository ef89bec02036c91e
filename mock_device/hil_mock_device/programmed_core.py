"""A programmed core: what its cells hold, and what its lines show of them at an age."""

import zlib
from collections.abc import Callable
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from hil_mock_device.conductance_drift import draw_exponents, drifted_weights
from hil_mock_device.crossbar import (
    FloatMatrix,
    RowGroup,
    draw_stuck_cells,
    exact_groups,
    input_steps,
    program_weights,
)
from hil_mock_device.ir_drop import dropped_weights
from hil_mock_device.profile import MockProfile
from hil_mock_device.read_noise import amplitudes, relative_noise


class Stream(IntEnum):
    """What random numbers are for; each has streams of its own."""

    CONVERTERS = 0
    STUCK_CELLS = 1
    PROGRAMMING = 2
    COUNTER_NOISE = 3
    DRIFT = 4
    TEMPERATURE = 5
    CELL_NOISE = 6
    LINEARITY = 7


RandomStreams = Callable[..., np.random.Generator]
"""Gives the generator of a stream: what for, and then numbers that say where."""


class ProgrammedCore:
    """The cells of one core since it was programmed.

    Parameters
    ----------
    core
        Number of the core.
    weights
        Wanted weight codes, shape (row, column).
    profile
        Magnitudes.
    rng
        Where randomness comes from.
    """

    def __init__(
        self, core: int, weights: npt.NDArray[np.int8], profile: MockProfile, rng: RandomStreams
    ) -> None:
        array = profile.array
        self._core, self._profile, self._rng = core, profile, rng
        self._digest = zlib.crc32(np.ascontiguousarray(weights).data)
        self._held = program_weights(
            weights,
            array,
            chip_rng=rng(Stream.STUCK_CELLS, core),
            programming_rng=rng(Stream.PROGRAMMING, core, self._digest),
        )
        self._exponents = draw_exponents(
            weights,
            profile.drift,
            devices_per_cell=array.devices_per_cell,
            rng=rng(Stream.DRIFT, core, self._digest),
        )
        is_stuck, _ = draw_stuck_cells(weights.shape, array, rng(Stream.STUCK_CELLS, core))
        self._exponents[is_stuck] = 0.0
        self._noise_amplitudes = amplitudes(weights, devices_per_cell=array.devices_per_cell)
        self.age_s = profile.drift.reference_s
        """Time since programming."""
        self._groups: tuple[RowGroup, ...] | None = None

    def advance_time(self, seconds: float) -> None:
        """Let the cells age."""
        if seconds > 0:
            self.age_s += seconds
            self._groups = None

    def groups(self) -> tuple[RowGroup, ...]:
        """Return what the lines show of the cells now, ready for exact products."""
        if self._groups is None:
            self._groups = exact_groups(
                self.shown_weights(),
                input_steps=input_steps(self._profile.array.polarity_asymmetry),
            )
        return self._groups

    def shown_weights(self) -> FloatMatrix:
        """Return the weight codes at the present age, IR drop included, shape (row, column)."""
        profile, lines = self._profile, self._profile.ir_drop
        ratio = self.age_s / profile.drift.reference_s
        present = drifted_weights(self._held, self._exponents, age_ratio=ratio)
        if profile.read_noise.factor:
            noise = relative_noise(
                present.shape,
                profile.read_noise,
                age_s=self.age_s,
                rng=lambda component, times: self._rng(
                    Stream.CELL_NOISE, self._core, self._digest, component, times
                ),
            )
            present = present * (1 + self._noise_amplitudes * noise)
        resistance = lines.factor / lines.conductance_ratio
        return dropped_weights(present, segment_resistance=resistance)
