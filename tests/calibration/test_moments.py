from itertools import pairwise

import numpy as np
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
