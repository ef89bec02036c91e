from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil_calibration.moments import ColumnMoments


def one_column(p: list[int], n: list[int], y: list[float]) -> ColumnMoments:
    counts = np.array([p, n], np.uint16).T[:, :, None]
    return ColumnMoments.of(counts, np.array(y)[:, None])


def test_sums_of_three_vectors_are_the_hand_worked_ones() -> None:
    moments = one_column([1, 2, 6], [4, 4, 1], [10.0, 0.0, -1.0])
    # Deviations: P -2 -1 3; N 1 1 -2; y 7 -3 -4
    assert moments.vectors == 3
    assert moments.mean[:, 0].tolist() == [3, 3, 3]
    assert moments.products[:, :, 0].tolist() == [[14, -9, -23], [-9, 6, 12], [-23, 12, 74]]


def test_large_offsets_lose_no_digits() -> None:
    moments = one_column(
        [65534, 65535, 65535, 65534], [4095] * 4, [1e12, 1e12 + 1, 1e12 + 2, 1e12 + 3]
    )
    assert moments.products[0, 0, 0] == 1.0
    assert moments.products[2, 2, 0] == 5.0
    assert moments.products[0, 2, 0] == 0.0


@pytest.mark.parametrize("split", [1, 50, 99])
def test_a_column_that_never_moves_has_sums_of_exactly_zero(split: int) -> None:
    parts = [one_column([7] * size, [4095] * size, [0.1] * size) for size in (split, 100 - split)]
    assert not parts[0].merge(parts[1]).products.any()


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    vectors=st.integers(1, 60),
    cuts=st.lists(st.integers(0, 60), max_size=6),
)
def test_merging_any_split_gives_the_sums_of_the_whole(
    seed: int, vectors: int, cuts: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(4000, 4096, (vectors, 2, 3)).astype(np.uint16)
    expected = rng.integers(-500, 500, (vectors, 3)) + 100_000
    merged = ColumnMoments.empty(3)
    bounds = sorted({0, vectors, *(min(cut, vectors) for cut in cuts)})
    for first, stop in pairwise(bounds):
        merged = merged.merge(ColumnMoments.of(counts[first:stop], expected[first:stop]))
    samples = np.stack([counts[:, 0], counts[:, 1], expected]).astype(np.int64)
    # n * sum(xy) - sum(x) * sum(y) in whole numbers: exact.
    sums = samples.sum(axis=1)
    exact = vectors * np.einsum("avc,bvc->abc", samples, samples) - sums[:, None] * sums[None]
    assert merged.vectors == vectors
    np.testing.assert_allclose(merged.mean, sums / vectors, rtol=1e-14)
    np.testing.assert_allclose(merged.products, exact / vectors, rtol=1e-10, atol=1e-6)


def test_merging_is_symmetric() -> None:
    left = one_column([1, 2, 6], [4, 4, 1], [10, 0, -1])
    right = one_column([9, 3], [0, 2], [4, 4])
    np.testing.assert_allclose(left.merge(right).products, right.merge(left).products, rtol=1e-14)


def test_no_vectors_are_the_neutral_element() -> None:
    whole = one_column([1, 2, 6], [4, 4, 1], [10, 0, -1])
    for merged in (whole.merge(ColumnMoments.empty(1)), ColumnMoments.empty(1).merge(whole)):
        assert merged.vectors == 3
        assert np.array_equal(merged.mean, whole.mean)
        assert np.array_equal(merged.products, whole.products)


def test_an_empty_block_counts_nothing() -> None:
    moments = ColumnMoments.of(np.zeros((0, 2, 4), np.uint16), np.zeros((0, 4)))
    assert (moments.vectors, moments.mean.shape) == (0, (3, 4))
    assert moments.merge(ColumnMoments.empty(4)).vectors == 0


@pytest.mark.parametrize(
    ("counts_shape", "expected_shape"),
    [((5, 2, 3), (5, 2)), ((5, 3, 3), (5, 3)), ((5, 2, 3), (4, 3))],
    ids=["columns", "polarities", "vectors"],
)
def test_shapes_that_do_not_match_are_refused(
    counts_shape: tuple[int, ...], expected_shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match=r"counts must be \(vector, 2, column\)"):
        ColumnMoments.of(np.zeros(counts_shape, np.uint16), np.zeros(expected_shape))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_expected_outputs_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        one_column([1], [1], [value])


def test_a_thousand_million_vectors_near_the_top_lose_nothing() -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(4090, 4096, (1000, 2, 2)).astype(np.uint16)
    expected = rng.integers(-300, 300, (1000, 2)) + 4_000_000
    one = ColumnMoments.of(counts, expected)
    merged, double = ColumnMoments.empty(2), one
    for bit in range(20):  # 10**6 copies, by doubling
        if 1_000_000 >> bit & 1:
            merged = merged.merge(double)
        double = double.merge(double)
    samples = np.stack([counts[:, 0], counts[:, 1], expected]).astype(np.int64)
    sums = samples.sum(axis=1)
    exact = 1000 * np.einsum("avc,bvc->abc", samples, samples) - sums[:, None] * sums[None]
    assert merged.vectors == 10**9
    assert merged.samples.tolist() == [10**9] * 2
    np.testing.assert_allclose(merged.mean, sums / 1000, rtol=1e-15)
    np.testing.assert_allclose(merged.products, exact / 1000 * 1e6, rtol=1e-9, atol=1e-3)


def test_counts_of_a_thousand_million_vectors_that_differ_once_still_move() -> None:
    still, moved = one_column([4095] * 4, [7] * 4, [1.0] * 4), one_column([4094], [7], [1.0])
    for _ in range(28):
        still = still.merge(still)
    # One deviation of 1 among n: n / (n + 1)
    assert still.merge(moved).products[0, 0, 0] == pytest.approx(1.0, rel=1e-8)
    assert still.merge(moved).products[1, 1, 0] == 0


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), vectors=st.integers(1, 40), cut=st.integers(0, 40))
def test_whole_number_weights_are_repeated_samples(seed: int, vectors: int, cut: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(4000, 4096, (vectors, 2, 1)).astype(np.uint16)
    expected = rng.normal(1e5, 100, (vectors, 1))
    weights = rng.integers(0, 4, (vectors, 1))
    parts = [
        ColumnMoments.of(counts[part], expected[part], weights=weights[part].astype(float))
        for part in (slice(None, cut), slice(cut, None))
    ]
    weighted = parts[0].merge(parts[1])
    times = weights[:, 0]
    repeated = ColumnMoments.of(
        np.repeat(counts, times, axis=0), np.repeat(expected, times, axis=0)
    )
    assert weighted.weight.tolist() == [times.sum()]
    assert weighted.samples.tolist() == [(times > 0).sum()]
    if times.any():
        np.testing.assert_allclose(weighted.mean, repeated.mean, rtol=1e-13)
    np.testing.assert_allclose(weighted.products, repeated.products, rtol=1e-10, atol=1e-6)


def test_weights_per_vector_hold_for_every_column() -> None:
    rng = np.random.default_rng(2)
    counts, expected = rng.integers(0, 400, (9, 2, 3)), rng.normal(size=(9, 3))
    weights = rng.uniform(0, 2, 9)
    columnwise = np.repeat(weights[:, None], 3, axis=1)
    one, other = (ColumnMoments.of(counts, expected, weights=w) for w in (weights, columnwise))
    assert np.array_equal(one.products, other.products)


def test_a_counter_that_moves_only_where_the_weight_is_0_does_not_move() -> None:
    counts = np.array([[9, 7, 7, 7], [1, 2, 3, 4]], np.uint16).T[:, :, None]
    weights = np.array([0, 0.1, 0.7, 1.3])
    moments = ColumnMoments.of(counts, np.zeros((4, 1)), weights=weights)
    assert moments.products[0, 0, 0] == 0
    assert moments.mean[0, 0] == 7


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(4), r"weights must be \(vector,\) or \(vector, column\)"),
        (np.array([1, -1, 1.0]), "negative or not finite"),
        (np.array([1, np.nan, 1.0]), "negative or not finite"),
    ],
    ids=["shape", "negative", "nan"],
)
def test_weights_that_are_none_are_refused(weights: npt.NDArray[np.float64], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ColumnMoments.of(np.zeros((3, 2, 1), np.uint16), np.zeros((3, 1)), weights=weights)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (np.zeros((3, 2, 1)), "counts must be integers, got float64"),
        (np.full((3, 2, 1), -1), "a count is -1: counters are unsigned"),
    ],
    ids=["float", "negative"],
)
def test_counts_that_no_counter_gives_are_refused(
    counts: npt.NDArray[np.int64], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ColumnMoments.of(counts, np.zeros((3, 1)))


def test_sums_of_other_columns_do_not_merge() -> None:
    with pytest.raises(ValueError, match="moments of 2 and of 3 columns"):
        ColumnMoments.empty(2).merge(ColumnMoments.empty(3))


def test_columns_are_taken_out_and_put_back() -> None:
    rng = np.random.default_rng(3)
    counts, expected = rng.integers(0, 400, (9, 2, 3)), rng.normal(size=(9, 3))
    whole = ColumnMoments.of(counts, expected)
    few = ColumnMoments.of(counts[:5], expected[:5])
    mixed = whole.with_columns(np.array([2, 0]), few.select(np.array([2, 0])))
    assert mixed.samples.tolist() == [5, 9, 5]
    assert np.array_equal(mixed.mean[:, 0], few.mean[:, 0])
    assert np.array_equal(mixed.products[:, :, 1], whole.products[:, :, 1])
    assert np.array_equal(mixed.products[:, :, 2], few.products[:, :, 2])
