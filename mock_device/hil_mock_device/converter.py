"""The converters: from sums of products to counts, one transfer curve per column and polarity.

``count = clip(floor((A*i + L) / (1 + B*i) + C + noise + 1/2), 0, 2**bits - 1)``, where i is the
current in units of the full-scale current of one phase and L a wave of it
(docs/explanation/mock-chip.md).
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hil_mock_device.counter_noise import NoiseSource
from hil_mock_device.profile import MockProfile, load_measured

CurveArray = npt.NDArray[np.float64]
Row = npt.NDArray[np.float32]

SMALLEST_DENOMINATOR = 2.0**-20
"""A negative B has a pole at ``i = -1/B``: from there on the counter overflows."""
_WAVE_PEAK = np.sqrt(3.0) / 18
"""Largest value of ``u * (1 - u) * (1 - 2*u)`` between 0 and 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Converters:
    """The true transfer curves of a chip, each array of shape (polarity, core, column)."""

    gain: CurveArray
    """A, relative to the nominal gain; 0 for a dead column."""
    curvature: CurveArray
    """B."""
    offset: CurveArray
    """C, counts."""
    wave: CurveArray
    """Amplitude of L, counts."""

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
    gain = temperature.gain_per_k + temperature.gain_sigma_per_k * deviation
    offset = rng.normal(0.0, temperature.offset_sigma_counts_per_k, shape)
    if profile.counter.single_ended:
        gain[1], offset[1] = gain[0], -offset[0]
    return TemperatureCoefficients(gain_per_k=gain, offset_counts_per_k=offset)


def draw_converters(
    profile: MockProfile, rng: np.random.Generator, *, wave_rng: np.random.Generator
) -> Converters:
    """Draw the transfer curves of a chip, or take those of the profile's measured chip.

    Where a column has one counter, N is what its negative would show: the same gain, the opposite
    offset.
    """
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
    wave = counter.inl_counts * wave_rng.uniform(-1.0, 1.0, shape)
    is_dead = wave_rng.random(shape[1:]) < array.dead_column_share
    if profile.measured is not None:
        measured = load_measured(profile.measured, profile)
        gain = np.stack([measured["gain_p"], measured["gain_n"]])
        offset = np.stack([measured["offset_p"], measured["offset_n"]])
        zeros = np.zeros_like(gain[0])
        curvature = np.stack([measured.get(f"curvature_{side}", zeros) for side in "pn"])
        if "wave_p" in measured:
            wave = np.stack([measured.get(f"wave_{side}", zeros) for side in "pn"])
    else:
        gain[:, has_dead, dead_column[has_dead]] = 0.0
        gain[:, is_dead] = 0.0
        if counter.alternating_slopes:
            gain[:, :, 1::2] *= -1
    if counter.single_ended:
        gain[1], curvature[1], offset[1], wave[1] = gain[0], curvature[0], -offset[0], wave[0]
    return Converters(gain=gain, curvature=curvature, offset=offset, wave=wave)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadoutCurve:
    """The curves of one core in one read mode over sums of products; rows of (P, N) columns.

    ``((c3*s + c2)*s + c1)*S / (1 + bend*S) + offset``, S twice a sum of products, s the smaller one
    of S and `top`. S is twice the sum because ``|net| + net`` is.
    """

    c1: Row
    c2: Row
    c3: Row
    bend: Row
    offset: Row
    """Half a count included, so that cutting the fraction off rounds."""
    top: float
    """Twice the sum at which L ends."""
    has_wave: bool
    """Whether any L differs from 0."""

    @classmethod
    def of(
        cls, chip: Converters, core: int, profile: MockProfile, *, phases: int, drive: float
    ) -> "ReadoutCurve":
        """Return the curve of a core.

        Parameters
        ----------
        chip, core
            Whose curve.
        profile
            Nominal counts.
        phases
            How many phases a counter adds up: L spans so many full-scale currents.
        drive
            Current per product, relative to that at the reference voltage.
        """
        counter = profile.counter
        gain, bend, offset, wave = (
            curve[:, core].ravel() for curve in (chip.gain, chip.curvature, chip.offset, chip.wave)
        )
        current = drive / (2 * counter.full_scale_products)
        span = current / phases
        # L * i = amplitude * u * (1 - u) * (1 - 2*u), whose peak is 1; u reaches 1 at `phases`.
        unit = wave / _WAVE_PEAK * (gain != 0)
        return cls(
            c1=(gain * counter.counts_at_full_scale * current + unit * span).astype(np.float32),
            c2=(-3 * unit * span**2).astype(np.float32),
            c3=(2 * unit * span**3).astype(np.float32),
            bend=(bend * current).astype(np.float32),
            offset=(offset + 0.5).astype(np.float32),
            top=1 / span,
            has_wave=bool(unit.any()),
        )

    def part(self, places: npt.NDArray[np.intp]) -> "ReadoutCurve":
        """Return the curves at some places of the rows."""
        rows = {name: getattr(self, name)[places] for name in ("c1", "c2", "c3", "bend", "offset")}
        return replace(self, **rows)


class Workspace:
    """Memory for converting some vectors at a time; numpy is fastest over arrays of one shape.

    Parameters
    ----------
    curve
        Which curve.
    vectors
        How many vectors at a time.
    """

    def __init__(self, curve: ReadoutCurve, vectors: int) -> None:
        shape = (vectors, len(curve.c1))

        def filled(row: Row | float) -> Row:
            # In C order: a copy of a broadcast row would else have its columns far apart.
            return np.array(np.broadcast_to(np.asarray(row, np.float32), shape), order="C")

        self._c1, self._bend = filled(curve.c1), filled(curve.bend)
        self._offset = filled(curve.offset)
        self._wave = (filled(curve.c2), filled(curve.c3), filled(curve.top))
        self._has_wave = curve.has_wave
        self._smallest = filled(SMALLEST_DENOMINATOR)
        self._sums, self._below, self._factor = (np.empty(shape, np.float32) for _ in range(3))
        self._noise = np.empty(shape, np.float32)
        self._places = np.empty(shape, np.intp)

    def draw_noise(self, source: NoiseSource, values: Row, vectors: int) -> None:
        """Draw what the next conversion adds to so many vectors from values that are as likely."""
        places = self._places[:vectors]
        np.copyto(places, source.codes(vectors))
        # Every place is inside: clipping changes none, and spares the copy that raising needs.
        np.take(values, places, out=self._noise[:vectors], mode="clip")

    def convert(
        self,
        net: npt.NDArray[np.float32],
        magnitude: npt.NDArray[np.float32] | None,
    ) -> npt.NDArray[np.float32]:
        """Return counts before they are clipped and their fraction is cut off.

        Parameters
        ----------
        net, magnitude
            Sums of products and of their magnitudes, shape (vector, column), product units. Without
            the latter a sum goes to one counter whole.

        Returns
        -------
        Shape (vector, P and N columns); the next call overwrites it.
        """
        count, columns = net.shape
        sums, below = self._sums[:count], self._below[:count]
        if magnitude is None:
            magnitude = np.abs(net, out=self._factor[:count, :columns])
        np.add(magnitude, net, out=sums[:, :columns])
        np.subtract(magnitude, net, out=sums[:, columns:])
        factor = self._factor[:count]
        slope = self._c1[:count]
        if self._has_wave:
            c2, c3, top = (part[:count] for part in self._wave)
            np.minimum(sums, top, out=below)
            np.multiply(below, c3, out=factor)
            factor += c2
            factor *= below
            factor += slope
            slope = factor
        np.multiply(sums, self._bend[:count], out=below)
        below += np.float32(1)
        np.maximum(below, self._smallest[:count], out=below)
        sums *= slope
        sums /= below
        sums += self._offset[:count]
        sums += self._noise[:count]
        return sums

    def convert_signed(self, net: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the counts of the one counter of each column, as P and, if negative, as N.

        The second half of the rows of a single-ended curve is that of the negative count, so both
        halves are the same number with opposite signs; rounding must not tell them apart.
        """
        count, columns = net.shape
        current = self._sums[:count, :columns]
        noise = self._noise[:count, :columns].copy()
        self._noise[:count] = 0
        self.convert(np.abs(net), None)
        current -= self._offset[:count, :columns]
        signed = np.copysign(1.0, net, dtype=np.float32) * current + noise
        signed = np.floor(signed + self._offset[:count, :columns])
        self._sums[:count, :columns] = signed
        self._sums[:count, columns:] = -signed
        return self._sums[:count]
