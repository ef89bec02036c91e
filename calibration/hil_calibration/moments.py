"""Mergeable running sums: all that the least-squares fit needs to know about the readouts.

Per column the sums of P, N and the expected output y, and of their products, are kept about their
means. Two of them merge into the sums of the joint data (Chan, Golub and LeVeque, "Updating
formulae and a pairwise algorithm for computing sample variances", Stanford STAN-CS-79-773, 1979),
so memory does not grow with the number of vectors, and counts near 4095 lose no digits against
their spread.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.core.array_types import FloatArray, IntArray, read_only


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnMoments:
    """Number of vectors, and per column the mean and the centred products of (P, N, y)."""

    vectors: int
    """Number of vectors summed."""
    mean: npt.NDArray[np.float64]
    """Means of P, N (counts) and y, shape (variable, column), variable = P, N, y."""
    products: npt.NDArray[np.float64]
    """Sums of products of the deviations, shape (variable, variable, column)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", read_only(self.mean))
        object.__setattr__(self, "products", read_only(self.products))

    @classmethod
    def empty(cls, columns: int) -> "ColumnMoments":
        """Return the sums of no vectors: the neutral element of `merge`."""
        return cls(vectors=0, mean=np.zeros((3, columns)), products=np.zeros((3, 3, columns)))

    @classmethod
    def of(cls, counts: IntArray, expected: FloatArray | IntArray) -> "ColumnMoments":
        """Sum one block.

        Parameters
        ----------
        counts
            Counter codes, shape (vector, polarity, column), polarity = P, N.
        expected
            Expected outputs, shape (vector, column), any unit.

        Raises
        ------
        ValueError
            If the shapes do not match, or an expected output is not finite.
        """
        vectors, polarities, columns = counts.shape
        if polarities != 2 or expected.shape != (vectors, columns):
            raise ValueError(
                "counts must be (vector, 2, column) and expected (vector, column), got "
                f"{counts.shape} and {expected.shape}"
            )
        if not np.isfinite(expected).all():
            raise ValueError("an expected output is not finite")
        if vectors == 0:
            return cls.empty(columns)
        samples = np.stack([counts[:, 0], counts[:, 1], expected]).astype(np.float64)
        # From the first vector, so that a column that never moves deviates by exactly 0.
        first = samples[:, :1].copy()
        samples -= first
        step = samples.mean(axis=1)
        samples -= step[:, None, :]
        products = np.einsum("avc,bvc->abc", samples, samples)
        return cls(vectors=vectors, mean=first[:, 0] + step, products=products)

    def merge(self, other: "ColumnMoments") -> "ColumnMoments":
        """Return the sums of both sets of vectors.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> counts, y = rng.integers(0, 4096, (100, 2, 3)), rng.normal(size=(100, 3))
        >>> parts = ColumnMoments.of(counts[:7], y[:7]).merge(ColumnMoments.of(counts[7:], y[7:]))
        >>> whole = ColumnMoments.of(counts, y)
        >>> parts.vectors, np.allclose(parts.products, whole.products, rtol=1e-12)
        (100, True)
        """
        total = self.vectors + other.vectors
        if total == 0:
            return self
        step = other.mean - self.mean
        weight = self.vectors * other.vectors / total
        return ColumnMoments(
            vectors=total,
            mean=self.mean + step * (other.vectors / total),
            products=self.products + other.products + weight * step[:, None, :] * step[None, :, :],
        )
