"""Mergeable running sums: all that the least-squares fit needs to know about the readouts.

Per column the sums of P, N and the expected output y, and of their products, are kept about their
means. Two of them merge into the sums of the joint data (Chan, Golub and LeVeque, "Updating
formulae and a pairwise algorithm for computing sample variances", Stanford STAN-CS-79-773, 1979),
so memory does not grow with the number of vectors, and counts near 4095 lose no digits against
their spread. A sample may carry a weight; one with weight 0 is not there.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hil.core.array_types import FloatArray, IntArray, read_only


def _one_per_vector() -> npt.NDArray[np.float64]:
    return np.empty(0)


def _all_vectors() -> npt.NDArray[np.int64]:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnMoments:
    """Number of vectors, and per column the mean and the centred products of (P, N, y)."""

    vectors: int
    """Number of vectors summed."""
    mean: npt.NDArray[np.float64]
    """Weighted means of P, N (counts) and y, shape (variable, column), variable = P, N, y."""
    products: npt.NDArray[np.float64]
    """Weighted sums of products of the deviations, shape (variable, variable, column)."""
    weight: npt.NDArray[np.float64] = field(default_factory=_one_per_vector)
    """Sum of the weights, shape (column,); `vectors` for each column where left out."""
    samples: npt.NDArray[np.int64] = field(default_factory=_all_vectors)
    """Vectors whose weight is not 0, shape (column,); `vectors` for each where left out."""

    def __post_init__(self) -> None:
        columns = self.mean.shape[1]
        for name, given, dtype in (
            ("weight", self.weight, np.float64),
            ("samples", self.samples, np.int64),
        ):
            if given.size == 0 < columns:
                object.__setattr__(self, name, np.full(columns, self.vectors, dtype=dtype))
        for name in ("mean", "products", "weight", "samples"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @classmethod
    def empty(cls, columns: int) -> "ColumnMoments":
        """Return the sums of no vectors: the neutral element of `merge`."""
        return cls(vectors=0, mean=np.zeros((3, columns)), products=np.zeros((3, 3, columns)))

    @classmethod
    def of(
        cls,
        counts: IntArray,
        expected: FloatArray | IntArray,
        *,
        weights: FloatArray | None = None,
    ) -> "ColumnMoments":
        """Sum one block.

        Parameters
        ----------
        counts
            Counter codes, shape (vector, polarity, column), polarity = P, N; any integer dtype.
        expected
            Expected outputs, shape (vector, column), any unit.
        weights
            Weights of the samples, shape (vector,) or (vector, column), 0 <= weight; 1 for each
            where None. The inverse of a sample's noise variance is the weight of least error.

        Raises
        ------
        ValueError
            If the shapes do not match, the counts are no integers or negative, an expected output
            is not finite, or a weight is negative or not finite.
        """
        check_block(counts, expected)
        vectors, _, columns = counts.shape
        if vectors == 0:
            return cls.empty(columns)
        samples = np.stack([counts[:, 0], counts[:, 1], expected]).astype(np.float64)
        if weights is not None:
            return cls.of_samples(samples, _checked_weights(weights, expected.shape))
        # From the first vector, so that a column that never moves deviates by exactly 0.
        first = samples[:, :1].copy()
        samples -= first
        step = samples.mean(axis=1)
        samples -= step[:, None, :]
        products = np.einsum("avc,bvc->abc", samples, samples)
        return cls(vectors=vectors, mean=first[:, 0] + step, products=products)

    @classmethod
    def of_samples(
        cls, samples: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]
    ) -> "ColumnMoments":
        """Sum weighted samples that were checked before, as `of` does.

        Parameters
        ----------
        samples
            P, N and y, shape (variable, vector, column).
        weights
            Shape (vector, column).
        """
        counted = weights > 0
        # From the first sample that counts, for the same reason as without weights.
        first = np.take_along_axis(samples, counted.argmax(axis=0)[None, None], axis=1)
        samples = samples - first
        total = weights.sum(axis=0)
        share = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
        step = np.einsum("vc,avc->ac", share, samples)
        samples -= step[:, None, :]
        products = np.einsum("avc,bvc->abc", samples * weights, samples)
        return cls(
            vectors=samples.shape[1],
            mean=first[:, 0] + step,
            products=products,
            weight=total,
            samples=counted.sum(axis=0, dtype=np.int64),
        )

    def merge(self, other: "ColumnMoments") -> "ColumnMoments":
        """Return the sums of both sets of vectors.

        Raises
        ------
        ValueError
            If the two have different numbers of columns.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> counts, y = rng.integers(0, 4096, (100, 2, 3)), rng.normal(size=(100, 3))
        >>> parts = ColumnMoments.of(counts[:7], y[:7]).merge(ColumnMoments.of(counts[7:], y[7:]))
        >>> whole = ColumnMoments.of(counts, y)
        >>> parts.vectors, np.allclose(parts.products, whole.products, rtol=1e-12)
        (100, True)
        """
        if self.mean.shape != other.mean.shape:
            raise ValueError(
                f"moments of {self.mean.shape[1]} and of {other.mean.shape[1]} columns: "
                "only sums of the same columns merge"
            )
        total = self.weight + other.weight
        share = np.divide(other.weight, total, out=np.zeros_like(total), where=total > 0)
        step = other.mean - self.mean
        weight = self.weight * share
        return ColumnMoments(
            vectors=self.vectors + other.vectors,
            mean=self.mean + step * share,
            products=self.products + other.products + weight * step[:, None, :] * step[None, :, :],
            weight=total,
            samples=self.samples + other.samples,
        )

    def select(self, columns: npt.NDArray[np.intp]) -> "ColumnMoments":
        """Return the sums of some columns, in the order of their numbers, shape (column,)."""
        return ColumnMoments(
            vectors=self.vectors,
            mean=self.mean[:, columns],
            products=self.products[:, :, columns],
            weight=self.weight[columns],
            samples=self.samples[columns],
        )

    def with_columns(
        self, columns: npt.NDArray[np.intp], other: "ColumnMoments"
    ) -> "ColumnMoments":
        """Return these sums with those of some columns replaced by `other`, in its order."""
        replaced = {
            name: getattr(self, name).copy() for name in ("mean", "products", "weight", "samples")
        }
        for name, array in replaced.items():
            array[..., columns] = getattr(other, name)
        return ColumnMoments(vectors=self.vectors, **replaced)


def check_block(counts: IntArray, expected: FloatArray | IntArray) -> None:
    """Raise ValueError unless counts (vector, 2, column) and expected (vector, column) are whole.

    Counts must be integers, 0 or more; expected outputs finite.
    """
    if counts.ndim != 3 or counts.shape[1] != 2 or expected.shape != (len(counts), counts.shape[2]):
        raise ValueError(
            "counts must be (vector, 2, column) and expected (vector, column), got "
            f"{counts.shape} and {expected.shape}"
        )
    if not np.issubdtype(counts.dtype, np.integer):
        raise ValueError(f"counts must be integers, got {counts.dtype}")
    if np.issubdtype(counts.dtype, np.signedinteger) and counts.min(initial=0) < 0:
        raise ValueError(f"a count is {counts.min()}: counters are unsigned")
    if not np.isfinite(expected).all():
        raise ValueError("an expected output is not finite")


def _checked_weights(weights: FloatArray, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    if weights.shape not in (shape, shape[:1]):
        raise ValueError(
            f"weights must be (vector,) or (vector, column) = {shape}, got {weights.shape}"
        )
    if not (np.isfinite(weights).all() and weights.min(initial=0) >= 0):
        raise ValueError("a weight is negative or not finite: must be 0 or more")
    columnwise = weights if weights.ndim == 2 else weights[:, None]
    return np.broadcast_to(columnwise, shape).astype(np.float64)
