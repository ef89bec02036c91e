"""The simulated chip: crossbars, converters and NMPUs, repeatable from a seed.

Every random number comes from a stream of its own, named by the chip's seed, what it is for, and
the core: so what one core does never changes what another one draws.

- The chip itself (gains, offsets, stuck cells) depends on the seed, and on the profile's array size
  and magnitudes.
- Programming noise and drift exponents depend on the seed, the core and the weights: the same
  weights give the same array, and it ages in the same way. So does the noise of the cells, which
  depends on the age, too.
- Counter noise is one sequence per core and read mode, which begins again at a reset and when the
  core is programmed. How vectors are grouped into blocks does not matter.

There is no clock. A core is as old as `ChipModel.advance_time` has made it since it was programmed,
the chip is as warm as `ChipModel.set_temperature` says, and `ChipModel.set_read_voltage` says what
it is read with.
"""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hil.core.errors import ConfigError, DeviceError, Problem
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ChipGeometry, ChipIdentity, ReadMode
from hil_calibration.nmpu import apply_nmpu
from hil_drivers.frames import CRC_BYTES, HEADER_BYTES
from hil_drivers.link import DEFAULT_LARGEST_BLOCK
from hil_drivers.scpi import ScpiError
from hil_mock_device.converter import (
    Converters,
    ReadoutCurve,
    draw_converters,
    draw_temperature_coefficients,
)
from hil_mock_device.counter_noise import NoiseSequence
from hil_mock_device.counting import CoreReadout
from hil_mock_device.crossbar import FloatMatrix
from hil_mock_device.profile import MockProfile
from hil_mock_device.programmed_core import ProgrammedCore, Stream

MAX_VECTORS = 4096
"""Most input vectors of one block, where their counts fit the largest block of the link."""

_PHASES = {ReadMode.ONE_PHASE: 1, ReadMode.FOUR_PHASE: 2}
"""Phases that one counter adds up: its noise grows with their square root."""


def largest_request(columns: int) -> int:
    """Return how many vectors a core of so many columns takes at once.

    Examples
    --------
    >>> largest_request(256), largest_request(4096)
    (4096, 4095)
    """
    frame_bytes = DEFAULT_LARGEST_BLOCK - HEADER_BYTES - CRC_BYTES
    bytes_per_vector = 2 * columns * np.dtype(np.uint16).itemsize
    return min(MAX_VECTORS, frame_bytes // bytes_per_vector)


class ChipModel:
    """A simulated chip, as `Silicon`.

    Parameters
    ----------
    profile
        What kind of chip, and which one of the kind (its seed).
    """

    def __init__(self, profile: MockProfile) -> None:
        self._profile = profile
        self._converters = draw_converters(
            profile, self._rng(Stream.CONVERTERS), wave_rng=self._rng(Stream.LINEARITY)
        )
        self._coefficients = draw_temperature_coefficients(profile, self._rng(Stream.TEMPERATURE))
        self._cores: dict[int, ProgrammedCore] = {}
        self._noise: dict[tuple[int, ReadMode], NoiseSequence] = {}
        self._curves: dict[tuple[int, ReadMode], ReadoutCurve] = {}
        self._elapsed_s = 0.0
        self._read_voltage_v = profile.read_voltage.reference_v
        self.set_temperature(profile.temperature_c)
        identity, array = profile.identity, profile.array
        self.identity = ChipIdentity(
            manufacturer=identity.manufacturer,
            model=identity.model,
            serial=identity.serial or f"{profile.name}-{profile.seed}",
            firmware=identity.firmware,
        )
        self.geometry = ChipGeometry(
            cores=array.cores,
            rows=array.rows,
            columns=array.columns,
            counter_bits=profile.counter.bits,
            max_vectors=largest_request(array.columns),
        )

    @property
    def ambient_c(self) -> float:
        """Temperature of the chip, degrees Celsius."""
        return self._temperature_c

    @property
    def read_voltage_v(self) -> float:
        """Voltage that the array is read with."""
        return self._read_voltage_v

    @property
    def read_voltages_v(self) -> tuple[float, float]:
        """Least and largest read voltage of the profile."""
        allowed = self._profile.read_voltage
        return allowed.lowest_v, allowed.highest_v

    @property
    def elapsed_s(self) -> float:
        """Simulated time since the chip was made, seconds."""
        return self._elapsed_s

    @property
    def converters(self) -> Converters:
        """The transfer curves at the present temperature, for judging; a calibration sees none."""
        return self._converters_now

    def shown_weights(self, core: int) -> FloatMatrix:
        """Return what the lines of a core show of its cells now, weight codes (row, column).

        Raises
        ------
        DeviceError
            If the core was never programmed.
        """
        return self._programmed(core).shown_weights()

    def reset(self) -> None:
        """Begin every sequence of counter noise again; ages, temperature and voltage stay."""
        self._noise.clear()

    def continue_at(self, core: int, read_mode: ReadMode, vector: int) -> None:
        """Give the next vector the counter noise of a place in its sequence, from 0."""
        self._noise_of(core, read_mode).next_vector = vector

    def program(self, core: int, weights: npt.NDArray[np.int8]) -> None:
        """Program weights, shape (row, column): the core has the reference age again."""
        self._cores[core] = ProgrammedCore(core, weights, self._profile, self._rng)
        for read_mode in ReadMode:
            self._noise.pop((core, read_mode), None)

    def advance_time(self, seconds: float) -> None:
        """Let every programmed core age.

        Parameters
        ----------
        seconds
            Time that passes, 0 <= seconds.

        Raises
        ------
        ValueError
            If the time is negative or not finite.
        """
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"{seconds} s: time must be finite and cannot go back")
        self._elapsed_s += seconds
        for core in self._cores.values():
            core.advance_time(seconds)

    def age_s(self, core: int) -> float:
        """Return the time since a core was programmed, in seconds.

        Raises
        ------
        DeviceError
            If it never was.
        """
        return self._programmed(core).age_s

    def set_temperature(self, celsius: float) -> None:
        """Bring the chip to a temperature; gains and offsets follow.

        Raises
        ------
        ValueError
            If the temperature lies outside -100 ... 300 degrees.
        """
        if not -100 <= celsius <= 300:
            raise ValueError(f"{celsius} degrees Celsius: must be -100 to 300")
        self._temperature_c = celsius
        kelvin = celsius - self._profile.temperature.reference_c
        self._converters_now = self._converters.warmed(self._coefficients, kelvin)
        self._curves.clear()

    def set_read_voltage(self, volts: float) -> None:
        """Read the array with another voltage; its currents follow.

        Raises
        ------
        ValueError
            If the voltage lies outside the range of the profile.
        """
        allowed = self._profile.read_voltage
        if not allowed.lowest_v <= volts <= allowed.highest_v:
            raise ValueError(f"{volts} V: must be {allowed.lowest_v:g} to {allowed.highest_v:g}")
        self._read_voltage_v = volts
        self._curves.clear()

    def convert(
        self, core: int, read_mode: ReadMode, inputs: npt.NDArray[np.int8]
    ) -> npt.NDArray[np.uint16]:
        """Return counts (vector, polarity, column) for inputs (vector, row).

        Raises
        ------
        DeviceError
            If the core was never programmed.
        """
        return self.readout(core, read_mode).count(inputs)

    def readout(self, core: int, read_mode: ReadMode) -> CoreReadout:
        """Return how a core is read at its present age, temperature and voltage.

        Raises
        ------
        DeviceError
            If the core was never programmed.
        """
        counter = self._profile.counter
        return CoreReadout(
            groups=self._programmed(core).groups(),
            curve=self._curve_of(core, read_mode),
            noise=self._noise_of(core, read_mode),
            asymmetry=self._profile.array.polarity_asymmetry,
            has_magnitude=read_mode is ReadMode.FOUR_PHASE and not counter.single_ended,
            is_single_ended=counter.single_ended,
            bits=counter.bits,
        )

    def correct(
        self,
        core: int,
        read_mode: ReadMode,
        counts: npt.NDArray[np.uint16],
        fmt: NmpuFormat,
        registers: NmpuRegisters,
    ) -> npt.NDArray[np.int8]:
        """Return the NMPU's outputs (vector, column) for counts (vector, polarity, column)."""
        return apply_nmpu(counts[:, 0], counts[:, 1], registers, fmt)

    def temperature_c(self, core: int, read_mode: ReadMode) -> float:
        """Return the temperature: the profile's until `set_temperature`."""
        return self._temperature_c

    def write_truth(self, path: Path) -> None:
        """Write what the chip really is, for judging a fit: never read by the fit itself.

        At the present temperature and read voltage, an ``.npz`` with ``gain_p, gain_n`` (A,
        relative to nominal), ``curvature_p, curvature_n`` (B), ``offset_p, offset_n`` (C, counts),
        ``wave_p, wave_n`` (amplitude of L, counts), each of shape (core, column), and
        ``counts_per_product``, the nominal gain. A profile can name it as its ``measured`` chip.

        Raises
        ------
        ConfigError
            If the file exists or cannot be written.
        """
        counter = self._profile.counter
        curves = self._converters_now
        current = self._profile.read_voltage.drive(self._read_voltage_v)
        arrays = {
            f"{name}_{side}": values[polarity]
            for polarity, side in enumerate("pn")
            for name, values in (
                ("gain", curves.gain * current),
                ("curvature", curves.curvature * current),
                ("offset", curves.offset),
                ("wave", curves.wave),
            )
        }
        nominal = counter.counts_at_full_scale / counter.full_scale_products
        try:
            with path.open("xb") as file:
                np.savez(file, counts_per_product=np.float64(nominal), **arrays)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigError(
                str(path), [Problem("", f"cannot be written as truth file: {reason}")]
            ) from error

    def _programmed(self, core: int) -> ProgrammedCore:
        if core not in self._cores:
            raise DeviceError(
                ScpiError.SETTINGS_CONFLICT, f"Settings conflict; core {core} is not programmed"
            )
        return self._cores[core]

    def _curve_of(self, core: int, read_mode: ReadMode) -> ReadoutCurve:
        key = (core, read_mode)
        if key not in self._curves:
            self._curves[key] = ReadoutCurve.of(
                self._converters_now,
                core,
                self._profile,
                phases=_PHASES[read_mode],
                drive=self._profile.read_voltage.drive(self._read_voltage_v),
            )
        return self._curves[key]

    def _noise_of(self, core: int, read_mode: ReadMode) -> NoiseSequence:
        key = (core, read_mode)
        if key not in self._noise:
            place = list(ReadMode).index(read_mode)
            self._noise[key] = NoiseSequence(
                (self._profile.seed, Stream.COUNTER_NOISE, core, place),
                numbers=2 * self._profile.array.columns,
                rms=self._profile.counter.read_noise_counts * math.sqrt(_PHASES[read_mode]),
            )
        return self._noise[key]

    def _rng(self, stream: Stream, *path: int) -> np.random.Generator:
        return np.random.default_rng([self._profile.seed, stream, *path])
