"""Readouts of a made-up chip: the sizes of a real core, no physics."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.core.nmpu_format import NmpuFormat, NmpuRegisters

FORMAT = NmpuFormat(shift=2)
NOISE_LSB = 2.0
"""Standard deviation of the noise of what was expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readouts:
    """Counts, what was expected, and register codes for them."""

    counts: npt.NDArray[np.uint16]
    """Shape (vector, polarity, column)."""
    p_counts: npt.NDArray[np.uint16]
    """P alone, shape (vector, column), in memory of its own."""
    n_counts: npt.NDArray[np.uint16]
    """N alone, shape (vector, column), in memory of its own."""
    expected: npt.NDArray[np.float32]
    """Shape (vector, column), output LSB."""
    registers: NmpuRegisters
    """Codes near the right ones."""


def draw_readouts(vectors: int, columns: int, *, seed: int = 0) -> Readouts:
    """Draw readouts; one seed gives the same ones everywhere."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 840, (vectors, 2, columns), dtype=np.uint16)
    scale_p, scale_n = rng.integers(60, 160, (2, columns))
    offset = rng.integers(-60, 60, columns)
    weight = 2.0 ** -(FORMAT.scale_frac + FORMAT.shift)
    expected = (counts[:, 0] * scale_p - counts[:, 1] * scale_n.astype(np.float64)) * weight
    expected += offset * 0.5 + rng.normal(0, NOISE_LSB, expected.shape)
    return Readouts(
        counts=counts,
        p_counts=np.ascontiguousarray(counts[:, 0]),
        n_counts=np.ascontiguousarray(counts[:, 1]),
        expected=expected.astype(np.float32),
        registers=NmpuRegisters(
            scale_p=scale_p.astype(np.uint8),
            scale_n=scale_n.astype(np.uint8),
            offset=offset.astype(np.int16),
            swap=np.zeros(columns, np.bool_),
        ),
    )
