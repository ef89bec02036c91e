"""Against fractions: however the vectors are grouped, the sums are those of exact arithmetic."""

from fractions import Fraction
from itertools import combinations_with_replacement, pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil_calibration.exact_moments import ExactMoments

Samples = list[tuple[int, int, int]]
COUNT = st.integers(0, 2**16 - 1)
EXPECTED = st.integers(-(2**24), 2**24)
SAMPLES = st.lists(st.tuples(COUNT, COUNT, EXPECTED), min_size=1, max_size=40)
NEAR_4095 = st.lists(
    st.tuples(st.integers(4090, 4095), st.integers(65530, 65535), st.integers(2**24 - 3, 2**24)),
    min_size=1,
    max_size=40,
)


def summed(samples: Samples) -> ExactMoments:
    p, n, y = (np.array(values) for values in zip(*samples, strict=True))
    return ExactMoments.of(np.stack([p, n], axis=1)[:, :, None].astype(np.uint16), y[:, None])


def centred(samples: Samples, a: int, b: int) -> float:
    """Return the sum of products of deviations, from fractions; float() rounds it once."""
    mean_a = Fraction(sum(sample[a] for sample in samples), len(samples))
    mean_b = Fraction(sum(sample[b] for sample in samples), len(samples))
    return float(sum((s[a] - mean_a) * (s[b] - mean_b) for s in samples))


@settings(max_examples=100, deadline=None)
@given(samples=SAMPLES | NEAR_4095)
def test_every_moment_is_the_exact_one_rounded_once(samples: Samples) -> None:
    moments = summed(samples).to_moments()
    assert moments.vectors == len(samples)
    for a, b in combinations_with_replacement(range(3), 2):
        assert moments.products[a, b, 0] == moments.products[b, a, 0] == centred(samples, a, b)
    for a in range(3):
        exact = Fraction(sum(sample[a] for sample in samples), len(samples))
        assert moments.mean[a, 0] == float(exact)


@settings(max_examples=100, deadline=None)
@given(samples=SAMPLES, cuts=st.lists(st.integers(0, 40), max_size=5), data=st.data())
def test_any_split_merged_in_any_order_is_the_whole(
    samples: Samples, cuts: list[int], data: st.DataObject
) -> None:
    edges = [0, *sorted(min(cut, len(samples)) for cut in cuts), len(samples)]
    parts = [
        summed(samples[first:stop]) if stop > first else ExactMoments.empty(1)
        for first, stop in pairwise(edges)
    ]
    while len(parts) > 1:
        one = parts.pop(data.draw(st.integers(0, len(parts) - 1)))
        other = parts.pop(data.draw(st.integers(0, len(parts) - 1)))
        parts.append(one.merge(other))
    assert parts[0] == summed(samples)


def constant_run(
    p: int, n: int, y: int, *, vectors: int, kind: npt.DTypeLike = np.int64
) -> ExactMoments:
    counts = np.empty((vectors, 2, 1), np.uint32)
    counts[:, 0], counts[:, 1] = p, n
    return ExactMoments.of(counts, np.full((vectors, 1), y, kind))


@pytest.mark.parametrize("vectors", [1, 31, 32, 33, 5000])
@pytest.mark.parametrize("y", [2**24, -(2**24), 2**24 + 1, -(2**31)])
def test_sums_beyond_every_machine_number_are_exact(vectors: int, y: int) -> None:
    moments = constant_run(65535, 65533, y, vectors=vectors)
    assert moments.products[0, 1, 0] == 65535 * 65533 * vectors
    assert moments.products[2, 2, 0] == y * y * vectors
    assert moments.products[0, 2, 0] == 65535 * y * vectors
    assert moments.sums[:, 0].tolist() == [65535 * vectors, 65533 * vectors, y * vectors]


def test_a_billion_vectors_and_one_that_differs() -> None:
    # Doubled 30 times: 2**30 vectors without any spread, then one that is 1 off: n / (n + 1).
    many = constant_run(65535, 0, 2**24, vectors=1)
    for _ in range(30):
        many = many.merge(many)
    moments = many.merge(constant_run(65534, 0, 2**24 - 1, vectors=1)).to_moments()
    assert moments.vectors == 2**30 + 1
    share = float(Fraction(2**30, 2**30 + 1))
    assert moments.products[0, 0, 0] == moments.products[2, 2, 0] == share
    assert moments.products[0, 2, 0] == share
    assert moments.products[1, 1, 0] == 0


def test_columns_do_not_mix() -> None:
    counts = np.array([[[1, 10], [2, 20]], [[3, 10], [2, 60]]], np.uint16)
    moments = ExactMoments.of(counts, np.array([[5, -7], [9, -7]], np.int32)).to_moments()
    assert moments.products[:, :, 0].tolist() == [[2, 0, 4], [0, 0, 0], [4, 0, 8]]
    assert moments.products[:, :, 1].tolist() == [[0, 0, 0], [0, 800, 0], [0, 0, 0]]


def test_sums_of_nothing_change_nothing() -> None:
    some = constant_run(3, 4, 5, vectors=2)
    assert some.merge(ExactMoments.empty(1)) == some == ExactMoments.empty(1).merge(some)
    assert ExactMoments.empty(2).to_moments().products.tolist() == np.zeros((3, 3, 2)).tolist()


def test_different_sums_are_not_equal() -> None:
    assert constant_run(3, 4, 5, vectors=2) != constant_run(3, 4, 6, vectors=2)
    assert constant_run(0, 0, 0, vectors=2) != constant_run(0, 0, 0, vectors=3)


@pytest.mark.parametrize(
    ("counts", "expected", "message"),
    [
        (np.zeros((1, 2, 1), np.uint16), np.zeros((1, 1)), "must be integers, got float64"),
        (np.zeros((1, 2, 1), np.uint16), np.zeros((2, 1), np.int32), "counts must be"),
        (np.full((1, 2, 1), -1), np.zeros((1, 1), np.int32), "counters are unsigned"),
        (
            np.zeros((1, 2, 1), np.uint16),
            np.full((1, 1), 2**31 + 1),
            "magnitude 2147483649: must be at most 2147483648",
        ),
    ],
    ids=["float", "shape", "negative", "large"],
)
def test_what_is_no_readout_is_refused(
    counts: npt.NDArray[np.int64], expected: npt.NDArray[np.int64], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ExactMoments.of(counts, expected)


def test_other_columns_do_not_merge() -> None:
    with pytest.raises(ValueError, match="moments of 1 and of 2 columns"):
        ExactMoments.empty(1).merge(ExactMoments.empty(2))
