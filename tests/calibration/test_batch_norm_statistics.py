"""Statistics of outputs: those of numpy, in any split, and into a batch normalisation."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.core.errors import CalibrationError
from hil_calibration.batch_norm_statistics import OutputStatistics, update_batch_norm
from hil_calibration.fold import BatchNorm


def norm_of(columns: int) -> BatchNorm:
    ones = np.ones(columns)
    return BatchNorm(gamma=2 * ones, beta=ones, mean=10 * ones, variance=4 * ones, eps=0.0)


def outputs_of(seed: int, vectors: int) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).normal(1e6, 3.0, (vectors, 4))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.lists(st.integers(0, 60), max_size=5))
def test_any_split_gives_the_mean_and_variance_of_numpy(
    seed: int, vectors: int, cuts: list[int]
) -> None:
    outputs = outputs_of(seed, vectors)
    total = OutputStatistics.empty(4)
    for block in np.split(outputs, sorted(min(cut, vectors) for cut in cuts)):
        total = total.merge(OutputStatistics.of(block))
    assert total.vectors == vectors
    np.testing.assert_allclose(total.mean, outputs.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(total.variance, outputs.var(axis=0, ddof=1), rtol=1e-6)


def test_integer_outputs_are_summed_without_overflow() -> None:
    outputs = np.array([[127], [-128], [127], [-128]], np.int8)
    statistics = OutputStatistics.of(outputs)
    assert statistics.mean.tolist() == [-0.5]
    assert statistics.squares.tolist() == [4 * 127.5**2]


def test_updated_normalisation_undoes_a_scale_and_a_shift_of_its_input() -> None:
    outputs = 10 + 2 * np.random.default_rng(1).normal(0, 1, (500, 3))
    before = update_batch_norm(norm_of(3), OutputStatistics.of(outputs))
    drifted = 0.6 * outputs - 4
    after = update_batch_norm(before, OutputStatistics.of(drifted))
    np.testing.assert_allclose(after.apply(drifted), before.apply(outputs), rtol=1e-9, atol=1e-9)
    assert (after.gamma == 2).all()
    assert (after.beta == 1).all()


def test_momentum_mixes_old_and_new_statistics() -> None:
    statistics = OutputStatistics.of(np.array([[20.0], [24.0]]))  # mean 22, variance 8
    updated = update_batch_norm(norm_of(1), statistics, momentum=0.25)
    assert updated.mean.tolist() == [13.0]
    assert updated.variance.tolist() == [5.0]


def test_column_that_never_moves_keeps_its_statistics() -> None:
    outputs = np.array([[0.1, 1.0], [0.1, 3.0], [0.1, 5.0]])
    updated = update_batch_norm(norm_of(2), OutputStatistics.of(outputs))
    assert updated.mean.tolist() == [10.0, 3.0]
    assert updated.variance.tolist() == [4.0, 4.0]


@pytest.mark.parametrize(
    ("outputs", "momentum", "message"),
    [
        (np.ones((1, 2)), 1.0, "statistics of 1 vectors"),
        (np.ones((5, 3)), 1.0, "and 3 columns: a batch normalisation of 2"),
        (np.ones((5, 2)), 0.0, "momentum = 0: must be above 0"),
        (np.ones((5, 2)), 1.5, r"momentum = 1\.5: must be above 0 and at most 1"),
    ],
)
def test_statistics_that_do_not_fit_are_refused(
    outputs: npt.NDArray[np.float64], momentum: float, message: str
) -> None:
    with pytest.raises(CalibrationError, match=message):
        update_batch_norm(norm_of(2), OutputStatistics.of(outputs), momentum=momentum)


@pytest.mark.parametrize("outputs", [np.array([1.0, 2.0]), np.array([[1.0], [np.nan]])])
def test_outputs_of_another_shape_or_not_finite_are_refused(
    outputs: npt.NDArray[np.float64],
) -> None:
    with pytest.raises(ValueError, match="must be finite and"):
        OutputStatistics.of(outputs)
