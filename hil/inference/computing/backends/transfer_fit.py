"""What a core's own readouts say of it: gains, offsets, curvature, noise, and how weights were off.

Every counter is regressed on the products that it was to count, ``count = c0 + c1 s + c2 s**2``.
What is left has two parts, which act differently on another network: noise of the reading, new with
every vector, and errors of the programmed weights, which stay. With two vectors or more for each
row they are told apart: the errors are a sum over the inputs, the noise is not.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.core.array_types import read_only
from hil.core.readout import ReadMode

FloatMatrix = npt.NDArray[np.float64]

_SIGNIFICANT = 5.0
"""Standard errors from which a curvature is one: among 65,536 counters none by chance."""
_ROUNDING_VARIANCE = 1 / 12
"""Of rounding to whole counts, which the model does again."""
_VECTORS_PER_ROW = 2
"""From how many vectors per row on errors of weights are told from noise."""
_LEVELS = np.linspace(0.0, 127.0, 9)
"""Borders of the magnitudes of weight codes whose errors are pooled."""


@dataclass(frozen=True, kw_only=True)
class WeightErrors:
    """How far programmed weights were from those wanted, by magnitude."""

    magnitudes: npt.NDArray[np.float64]
    """Magnitudes of weight codes, ascending, shape (level,)."""
    rms: npt.NDArray[np.float64]
    """Weight codes, shape (level,)."""

    def rms_of(self, weight_codes: npt.NDArray[np.int8]) -> FloatMatrix:
        """Return the error of each weight, rms, in codes."""
        sizes = np.abs(weight_codes.astype(np.float64))
        return np.asarray(np.interp(sizes, self.magnitudes, self.rms))


@dataclass(frozen=True, kw_only=True)
class CoreTransfer:
    """The transfer of one core, arrays of shape (polarity, column), P then N."""

    offset: FloatMatrix
    """Counts where there is no product."""
    gain: FloatMatrix
    """Counts per product."""
    curvature: FloatMatrix
    """Counts per product squared; 0 where it is not significant."""
    noise: FloatMatrix
    """Noise of a count, rms, the rounding to whole counts left out."""
    weight_errors: WeightErrors | None
    """How far weights are off; None where that could not be told from noise."""

    def __post_init__(self) -> None:
        for name in ("offset", "gain", "curvature", "noise"):
            object.__setattr__(self, name, read_only(getattr(self, name)))


def fit_transfer(
    weights: npt.NDArray[np.int8],
    inputs: npt.NDArray[np.int8],
    counts: npt.NDArray[np.uint16],
    *,
    read_mode: ReadMode,
    counter_bits: int,
    columns_used: int,
) -> CoreTransfer:
    """Fit the transfer of a core to what was sent and read.

    Parameters
    ----------
    weights
        Programmed weight codes, shape (row, column).
    inputs
        Input codes, shape (vector, row).
    counts
        Shape (vector, polarity, column).
    read_mode
        How it was read.
    counter_bits
        Width of the counters; counts at either end are left out.
    columns_used
        Columns that carry weights, from the first; the others get the gain in the middle of theirs.
    """
    products = _signed_products(weights, inputs, read_mode)
    whole = (counts > 0) & (counts < (1 << counter_bits) - 1)
    polynomials, noise = _fit_counters(products, counts.astype(np.float64), whole)
    offset, gain, curvature = polynomials
    for polarity in range(2):
        gain[polarity, columns_used:] = np.median(gain[polarity, :columns_used])
        curvature[polarity, columns_used:] = 0.0
    errors = _weight_errors(weights, inputs, counts, (offset, gain), columns_used)
    if errors is not None:
        levels, reading = errors
        noise[:, :columns_used] = np.minimum(noise[:, :columns_used], reading)
        return CoreTransfer(
            offset=offset, gain=gain, curvature=curvature, noise=noise, weight_errors=levels
        )
    return CoreTransfer(
        offset=offset, gain=gain, curvature=curvature, noise=noise, weight_errors=None
    )


def _signed_products(
    weights: npt.NDArray[np.int8], inputs: npt.NDArray[np.int8], read_mode: ReadMode
) -> FloatMatrix:
    """Return what the counters were to count, shape (vector, polarity, column)."""
    wanted, driven = weights.astype(np.float64), inputs.astype(np.float64)
    net = driven @ wanted
    magnitude = np.abs(net)
    if read_mode is ReadMode.FOUR_PHASE:
        magnitude = np.abs(driven) @ np.abs(wanted)
    return np.stack([magnitude + net, magnitude - net], axis=1) / 2


def _fit_counters(
    products: FloatMatrix, counts: FloatMatrix, whole: npt.NDArray[np.bool_]
) -> tuple[tuple[FloatMatrix, FloatMatrix, FloatMatrix], FloatMatrix]:
    """Return offset, gain and curvature, and the residual rms, each (polarity, column)."""
    used = whole.astype(np.float64)
    number = np.maximum(used.sum(axis=0), 1.0)
    scale = np.maximum(np.abs(products).max(axis=0), 1.0)
    unit = products / scale  # 0 to 1: powers of products in the millions are not summed
    powers = [number, *((used * unit**power).sum(axis=0) for power in range(1, 5))]
    sums = [(used * counts * unit**power).sum(axis=0) for power in range(3)]
    straight, _ = _solve(powers, sums, terms=2)
    bent, inverse = _solve(powers, sums, terms=3)
    residual = used * (counts - (straight[0] + straight[1] * unit))
    bent_residual = used * (counts - (bent[0] + (bent[1] + bent[2] * unit) * unit))
    spread = np.maximum((bent_residual**2).sum(axis=0) / np.maximum(number - 3, 1.0), 1e-12)
    error = np.sqrt(spread * np.maximum(inverse, 0.0))
    is_bent = (inverse > 0) & (np.abs(bent[2]) > _SIGNIFICANT * error)
    chosen = np.where(is_bent, bent_residual, residual)
    variance = (chosen**2).sum(axis=0) / np.maximum(number - 2 - is_bent, 1.0)
    offset, slope = (np.where(is_bent, bent[term], straight[term]) for term in range(2))
    curvature = np.where(is_bent, bent[2], 0.0)
    noise = np.sqrt(np.maximum(variance - _ROUNDING_VARIANCE, 0.0))
    return (offset, slope / scale, curvature / scale**2), noise


def _solve(
    powers: list[FloatMatrix], sums: list[FloatMatrix], *, terms: int
) -> tuple[FloatMatrix, FloatMatrix]:
    """Return the polynomial, shape (term, ...), and the last term's variance per unit variance."""
    moments = np.stack(
        [np.stack([powers[row + column] for column in range(terms)], -1) for row in range(terms)],
        -2,
    )
    inverse = np.asarray(np.linalg.pinv(moments, rcond=1e-12, hermitian=True), dtype=np.float64)
    found = np.einsum("...ij,...j->...i", inverse, np.stack(sums[:terms], -1))
    return np.moveaxis(found, -1, 0), inverse[..., -1, -1]


def _weight_errors(
    weights: npt.NDArray[np.int8],
    inputs: npt.NDArray[np.int8],
    counts: npt.NDArray[np.uint16],
    transfer: tuple[FloatMatrix, FloatMatrix],
    columns_used: int,
) -> tuple[WeightErrors, FloatMatrix] | None:
    """Return errors of weights, and the noise of counts without them; None if too few vectors."""
    offset, gain = transfer
    rows = np.flatnonzero(inputs.any(axis=0))
    if not rows.size or len(inputs) < _VECTORS_PER_ROW * rows.size:
        return None
    alive = np.flatnonzero((np.abs(gain) > 0.05 * np.median(np.abs(gain))).all(axis=0))
    alive = alive[alive < columns_used]
    if not alive.size:
        return None
    read = (counts[:, :, alive].astype(np.float64) - offset[:, alive]) / gain[:, alive]
    driven, wanted = inputs[:, rows].astype(np.float64), weights[np.ix_(rows, alive)]
    missing = read[:, 0] - read[:, 1] - driven @ wanted.astype(np.float64)
    inverse = np.linalg.pinv(driven.T @ driven, rcond=1e-10, hermitian=True)
    errors = inverse @ (driven.T @ missing)
    left = missing - driven @ errors
    variance = (left**2).sum(axis=0) / max(len(inputs) - rows.size, 1)
    levels = _by_magnitude(wanted, errors**2 - np.diag(inverse)[:, None] * variance)
    per_count = variance / (1 / gain[0, alive] ** 2 + 1 / gain[1, alive] ** 2)
    noise = np.full((2, columns_used), np.inf)
    noise[:, alive] = np.sqrt(np.maximum(per_count - _ROUNDING_VARIANCE, 0.0))
    return levels, noise


def _by_magnitude(wanted: npt.NDArray[np.int8], squares: FloatMatrix) -> WeightErrors:
    """Pool squared errors over weights of about the same magnitude."""
    sizes = np.abs(wanted.astype(np.float64)).ravel()
    level = np.clip(np.digitize(sizes, _LEVELS) - 1, 0, len(_LEVELS) - 2)
    number = np.bincount(level, minlength=len(_LEVELS) - 1)
    total = np.bincount(level, weights=squares.ravel(), minlength=len(_LEVELS) - 1)
    middle = np.bincount(level, weights=sizes, minlength=len(_LEVELS) - 1)
    there = number > 0
    return WeightErrors(
        magnitudes=middle[there] / number[there],
        rms=np.sqrt(np.maximum(total[there] / number[there], 0.0)),
    )
