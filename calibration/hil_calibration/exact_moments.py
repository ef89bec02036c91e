"""Running sums of integers, exact: the same to the last bit however the vectors were grouped.

Counts and products are integers, so their plain sums can be kept without any rounding. A block is
summed in the widest machine arithmetic that is exact for it, and added to Python integers, which
never overflow. Only `ExactMoments.to_moments` rounds, once for each number.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.core.array_types import IntArray, read_only
from hil_calibration.moments import ColumnMoments, check_block

_LARGEST_VALUE = 2**31
"""Largest magnitude of a value: its square is a 64-bit integer."""
_EXACT_IN_FLOAT = 2**53
"""Integers up to here are float64 numbers, and so is every partial sum that stays below."""
_EXACT_IN_INT = 2**63 - 1
_FLOAT_VALUE = 2**24
"""Magnitude up to which float64 sums the products of at least 32 vectors exactly."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExactMoments:
    """Number of vectors, and per column the exact sums of (P, N, y) and of their products.

    Examples
    --------
    Grouped in any way, the sums are the same:

    >>> rng = np.random.default_rng(0)
    >>> counts, y = rng.integers(0, 4096, (9, 2, 3)), rng.integers(-70_000, 70_000, (9, 3))
    >>> one, two = ExactMoments.of(counts[:2], y[:2]), ExactMoments.of(counts[2:], y[2:])
    >>> one.merge(two) == two.merge(one) == ExactMoments.of(counts, y)
    True
    """

    vectors: int
    """Number of vectors summed."""
    sums: npt.NDArray[np.object_]
    """Sums of P, N and y, Python integers, shape (variable, column)."""
    products: npt.NDArray[np.object_]
    """Sums of their products, Python integers, shape (variable, variable, column)."""

    def __post_init__(self) -> None:
        for name in ("sums", "products"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @classmethod
    def empty(cls, columns: int) -> "ExactMoments":
        """Return the sums of no vectors: the neutral element of `merge`."""
        return cls(
            vectors=0,
            sums=np.zeros((3, columns), dtype=np.object_),
            products=np.zeros((3, 3, columns), dtype=np.object_),
        )

    @classmethod
    def of(cls, counts: IntArray, expected: IntArray) -> "ExactMoments":
        """Sum one block.

        Parameters
        ----------
        counts
            Counter codes, shape (vector, polarity, column), polarity = P, N; any integer dtype,
            up to 2**31.
        expected
            Expected outputs, shape (vector, column), any integer dtype, -2**31 to 2**31.

        Raises
        ------
        ValueError
            If the shapes do not match, something is no integer, a count is negative, or a value
            is beyond its range.
        """
        check_block(counts, expected)
        if not np.issubdtype(expected.dtype, np.integer):
            raise ValueError(f"expected outputs must be integers, got {expected.dtype}")
        total = cls.empty(counts.shape[2])
        sums, products = total.sums.copy(), total.products.copy()
        for samples in _summable_runs(counts, expected):
            sums += samples.sum(axis=1).astype(np.int64).astype(np.object_)
            products += np.einsum("avc,bvc->abc", samples, samples).astype(np.int64).astype(object)
        return cls(vectors=len(counts), sums=sums, products=products)

    def merge(self, other: "ExactMoments") -> "ExactMoments":
        """Return the sums of both sets of vectors: associative, commutative, exact.

        Raises
        ------
        ValueError
            If the two have different numbers of columns.
        """
        if self.sums.shape != other.sums.shape:
            raise ValueError(
                f"moments of {self.sums.shape[1]} and of {other.sums.shape[1]} columns: "
                "only sums of the same columns merge"
            )
        return ExactMoments(
            vectors=self.vectors + other.vectors,
            sums=self.sums + other.sums,
            products=self.products + other.products,
        )

    def to_moments(self) -> ColumnMoments:
        """Return means and centred products, each the exact one correctly rounded to float64.

        The centred product of a and b is ``(n * sum(a b) - sum(a) * sum(b)) / n``; Python divides
        integers of any size with one rounding.
        """
        if self.vectors == 0:
            return ColumnMoments.empty(self.sums.shape[1])
        centred = self.vectors * self.products - self.sums[:, None] * self.sums[None, :]
        return ColumnMoments(
            vectors=self.vectors,
            mean=(self.sums / self.vectors).astype(np.float64),
            products=(centred / self.vectors).astype(np.float64),
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ExactMoments):
            return NotImplemented
        return (
            self.vectors == other.vectors
            and np.array_equal(self.sums, other.sums)
            and np.array_equal(self.products, other.products)
        )

    __hash__ = None  # type: ignore[assignment]  # arrays inside: compared, never a key


def _summable_runs(counts: IntArray, expected: IntArray) -> Iterator[npt.NDArray[np.number]]:
    """Yield (variable, vector, column) in runs over which sums of products are exact."""
    largest = max(_magnitude(counts), _magnitude(expected), 1)
    if largest > _LARGEST_VALUE:
        raise ValueError(f"a value of magnitude {largest}: must be at most {_LARGEST_VALUE}")
    kind, most = (
        (np.float64, _EXACT_IN_FLOAT) if largest <= _FLOAT_VALUE else (np.int64, _EXACT_IN_INT)
    )
    run = most // largest**2
    for first in range(0, len(counts), run):
        part = slice(first, first + run)
        p_counts, n_counts = counts[part, 0], counts[part, 1]
        yield np.stack([p_counts, n_counts, expected[part]]).astype(kind)


def _magnitude(values: IntArray) -> int:
    return max(int(values.max(initial=0)), -int(values.min(initial=0)))
