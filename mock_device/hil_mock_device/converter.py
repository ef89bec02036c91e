"""The converters: from currents to counts, one transfer curve per column and polarity.

``count = clip(round(A*i / (1 + B*i) + C + noise), 0, 2**bits - 1)``, where i is the current in
units of the full-scale current of one phase (docs/explanation/mock-chip.md).
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hil_mock_device.profile import MockProfile, load_measured

CurveArray = npt.NDArray[np.float64]

_SMALLEST_DENOMINATOR = np.float32(2.0**-20)
"""A negative B has a pole at ``i = -1/B``: from there on the counter overflows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Converters:
    """The true transfer curves of a chip, each array of shape (polarity, core, column)."""

    gain: CurveArray
    """A, relative to the nominal gain; 0 for a dead column."""
    curvature: CurveArray
    """B."""
    offset: CurveArray
    """C, counts."""

    def curve(self, core: int, profile: MockProfile) -> tuple[CurveArray, CurveArray, CurveArray]:
        """Return A (counts), B and C (counts) of one core, each of shape (polarity, column)."""
        counts_at_full_scale = profile.counter.counts_at_full_scale
        return (
            self.gain[:, core] * counts_at_full_scale,
            self.curvature[:, core],
            self.offset[:, core],
        )

    def warmed(self, coefficients: "TemperatureCoefficients", kelvin: float) -> "Converters":
        """Return the curves that many kelvin above the temperature of these."""
        factor = np.maximum(1 + coefficients.gain_per_k * kelvin, 0.0)
        return replace(
            self,
            gain=self.gain * factor,
            offset=self.offset + coefficients.offset_counts_per_k * kelvin,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TemperatureCoefficients:
    """How the curves follow the temperature, each array of shape (polarity, core, column)."""

    gain_per_k: CurveArray
    """Relative change of A per kelvin."""
    offset_counts_per_k: CurveArray
    """Change of C, counts per kelvin."""


def draw_temperature_coefficients(
    profile: MockProfile, rng: np.random.Generator
) -> TemperatureCoefficients:
    """Draw the temperature coefficients of a chip; those of the gain are clipped at 3 sigma."""
    temperature = profile.temperature
    shape = (2, profile.array.cores, profile.array.columns)
    deviation = np.clip(rng.standard_normal(shape), -3.0, 3.0)
    return TemperatureCoefficients(
        gain_per_k=temperature.gain_per_k + temperature.gain_sigma_per_k * deviation,
        offset_counts_per_k=rng.normal(0.0, temperature.offset_sigma_counts_per_k, shape),
    )


def draw_converters(profile: MockProfile, rng: np.random.Generator) -> Converters:
    """Draw the transfer curves of a chip, or take those of the profile's measured chip."""
    counter, array = profile.counter, profile.array
    shape = (2, array.cores, array.columns)
    deviation = np.clip(
        rng.normal(0.0, counter.gain_sigma, shape), -counter.gain_limit, counter.gain_limit
    )
    gain = 1 + deviation
    curvature = rng.normal(0.0, counter.curvature_sigma, shape)
    limit = 2 * counter.curvature_sigma
    curvature = np.clip(curvature, -limit, limit)
    offset = rng.normal(counter.offset_mean_counts, counter.offset_sigma_counts, shape)
    has_dead = rng.random(array.cores) < array.dead_column_chance
    dead_column = rng.integers(0, array.columns, array.cores)
    if profile.measured is not None:
        measured = load_measured(profile.measured, profile)
        gain = np.stack([measured["gain_p"], measured["gain_n"]])
        offset = np.stack([measured["offset_p"], measured["offset_n"]])
        zeros = np.zeros_like(gain[0])
        curvature = np.stack([measured.get(f"curvature_{side}", zeros) for side in "pn"])
    else:
        gain[:, has_dead, dead_column[has_dead]] = 0.0
    return Converters(gain=gain, curvature=curvature, offset=offset)


def convert(
    currents: npt.NDArray[np.float32],
    curve: tuple[CurveArray, CurveArray, CurveArray],
    *,
    noise_counts: npt.NDArray[np.float32],
    bits: int,
) -> npt.NDArray[np.uint16]:
    """Convert currents to counts.

    Parameters
    ----------
    currents
        Shape (vector, polarity, column), units of the full-scale current of one phase.
    curve
        A (counts), B, C (counts), each of shape (polarity, column).
    noise_counts
        Noise to add, shape of `currents`.
    bits
        Width of the counter.
    """
    slope, curvature, offset = (part.astype(np.float32) for part in curve)
    denominator = np.maximum(1 + curvature * currents, _SMALLEST_DENOMINATOR)
    analog = slope * currents / denominator + offset + noise_counts
    return np.asarray(np.clip(np.rint(analog), 0, (1 << bits) - 1), dtype=np.uint16)
