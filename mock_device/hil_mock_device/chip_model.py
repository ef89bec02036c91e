"""The simulated chip: crossbars, converters and NMPUs, repeatable from a seed.

Every random number comes from a stream of its own, named by the chip's seed, what it is for, and
the core: so what one core does never changes what another one draws.

- The chip itself (gains, offsets, stuck cells) depends on the seed, and on the profile's array size
  and magnitudes.
- Programming noise and drift exponents depend on the seed, the core and the weights: the same
  weights give the same array, and it ages in the same way.
- Read noise is one sequence per core and read mode, which begins again at a reset and when the core
  is programmed. How vectors are grouped into blocks does not matter.

There is no clock. A core is as old as `ChipModel.advance_time` has made it since it was programmed,
and the chip is as warm as `ChipModel.set_temperature` says.
"""

import math
import zlib
from dataclasses import dataclass
from enum import IntEnum
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
from hil_mock_device.conductance_drift import draw_exponents, drifted_weights
from hil_mock_device.converter import convert, draw_converters, draw_temperature_coefficients
from hil_mock_device.crossbar import FloatMatrix, draw_stuck_cells, multiply, program_weights
from hil_mock_device.profile import MockProfile

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


class _Stream(IntEnum):
    CONVERTERS = 0
    STUCK_CELLS = 1
    PROGRAMMING = 2
    READ_NOISE = 3
    DRIFT = 4
    TEMPERATURE = 5


@dataclass(slots=True, kw_only=True)
class _ProgrammedCore:
    held: FloatMatrix
    """Weights at the reference age, shape (row, column)."""
    exponents: FloatMatrix
    """Drift exponents, shape (row, column)."""
    age_s: float
    """Time since programming."""
    present: FloatMatrix
    """Weights at that age."""


class ChipModel:
    """A simulated chip, as `Silicon`.

    Parameters
    ----------
    profile
        What kind of chip, and which one of the kind (its seed).
    """

    def __init__(self, profile: MockProfile) -> None:
        self._profile = profile
        self._converters = draw_converters(profile, self._rng(_Stream.CONVERTERS))
        self._coefficients = draw_temperature_coefficients(profile, self._rng(_Stream.TEMPERATURE))
        self._cores: dict[int, _ProgrammedCore] = {}
        self._noise: dict[tuple[int, ReadMode], np.random.Generator] = {}
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

    def reset(self) -> None:
        """Begin every sequence of read noise again; ages and temperature stay."""
        self._noise.clear()

    def program(self, core: int, weights: npt.NDArray[np.int8]) -> None:
        """Program weights, shape (row, column): the core has the reference age again."""
        array, drift = self._profile.array, self._profile.drift
        digest = zlib.crc32(np.ascontiguousarray(weights).data)
        held = program_weights(
            weights,
            array,
            chip_rng=self._rng(_Stream.STUCK_CELLS, core),
            programming_rng=self._rng(_Stream.PROGRAMMING, core, digest),
        )
        exponents = draw_exponents(
            weights,
            drift,
            devices_per_cell=array.devices_per_cell,
            rng=self._rng(_Stream.DRIFT, core, digest),
        )
        chip_rng = self._rng(_Stream.STUCK_CELLS, core)
        exponents[draw_stuck_cells(weights.shape, array, chip_rng)[0]] = 0.0
        self._cores[core] = _ProgrammedCore(
            held=held, exponents=exponents, age_s=drift.reference_s, present=held
        )
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
        for core in self._cores.values():
            core.age_s += seconds
            ratio = core.age_s / self._profile.drift.reference_s
            core.present = drifted_weights(core.held, core.exponents, age_ratio=ratio)

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

    def convert(
        self, core: int, read_mode: ReadMode, inputs: npt.NDArray[np.int8]
    ) -> npt.NDArray[np.uint16]:
        """Return counts (vector, polarity, column) for inputs (vector, row)."""
        counter = self._profile.counter
        positive, negative = multiply(inputs, self._programmed(core).present, read_mode)
        products = np.stack([positive, negative], axis=1)
        currents = (products / counter.full_scale_products).astype(np.float32)
        noise = self._noise_of(core, read_mode).standard_normal(currents.shape, dtype=np.float32)
        noise *= np.float32(counter.read_noise_counts * np.sqrt(_PHASES[read_mode]))
        return convert(
            currents,
            self._converters_now.curve(core, self._profile),
            noise_counts=noise,
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

        At the profile's reference temperature, an ``.npz`` with ``gain_p, gain_n`` (A, relative to
        nominal), ``curvature_p, curvature_n``
        (B), ``offset_p, offset_n`` (C, counts), each of shape (core, column), and
        ``counts_per_product``, the nominal gain. A profile can name it as its ``measured`` chip.

        Raises
        ------
        ConfigError
            If the file exists or cannot be written.
        """
        counter = self._profile.counter
        curves = self._converters
        arrays = {
            f"{name}_{side}": values[polarity]
            for polarity, side in enumerate("pn")
            for name, values in (
                ("gain", curves.gain),
                ("curvature", curves.curvature),
                ("offset", curves.offset),
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

    def _programmed(self, core: int) -> _ProgrammedCore:
        if core not in self._cores:
            raise DeviceError(
                ScpiError.SETTINGS_CONFLICT, f"Settings conflict; core {core} is not programmed"
            )
        return self._cores[core]

    def _noise_of(self, core: int, read_mode: ReadMode) -> np.random.Generator:
        key = (core, read_mode)
        if key not in self._noise:
            self._noise[key] = self._rng(_Stream.READ_NOISE, core, list(ReadMode).index(read_mode))
        return self._noise[key]

    def _rng(self, stream: _Stream, *path: int) -> np.random.Generator:
        return np.random.default_rng([self._profile.seed, stream, *path])
