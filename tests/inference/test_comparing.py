"""Accuracies, paired differences and their intervals, against scipy."""

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize_scalar
from scipy.special import xlogy

from hil.core.errors import ConfigError
from hil.inference.conditions.comparing import (
    accuracy,
    compare_paired,
    mcnemar_exact,
)


@pytest.mark.parametrize("lost", [0, 1, 4, 11, 40, 700])
@pytest.mark.parametrize("gained", [0, 1, 6, 11, 35, 650])
def test_mcnemar_is_the_two_sided_binomial_test_at_one_half(lost: int, gained: int) -> None:
    if lost + gained == 0:
        assert mcnemar_exact(0, 0) == 1.0
        return
    expected = stats.binomtest(lost, lost + gained, 0.5).pvalue
    assert mcnemar_exact(lost, gained) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_of_five_losses_alone_is_one_in_sixteen() -> None:
    assert mcnemar_exact(5, 0) == mcnemar_exact(0, 5) == 0.0625


@pytest.mark.parametrize(("right", "images"), [(0, 7), (7, 7), (1, 3), (932, 1017), (50, 100)])
def test_interval_of_an_accuracy_is_wilsons(right: int, images: int) -> None:
    labels = np.zeros(images, dtype=np.int64)
    predictions = np.where(np.arange(images) < right, 0, 1)
    share = accuracy(predictions, labels)
    oracle = stats.binomtest(right, images).proportion_ci(0.95, method="wilson")
    assert share.value == pytest.approx(right / images)
    assert share.low == pytest.approx(oracle.low, abs=1e-12)
    assert share.high == pytest.approx(oracle.high, abs=1e-12)
    assert share.images == images


def test_counts_of_a_paired_difference_are_those_of_the_images() -> None:
    labels = np.array([0, 1, 2, 3, 4, 5, 6, 7])
    reference = np.array([0, 1, 2, 3, 4, 5, 9, 9])  # six right
    candidate = np.array([0, 1, 2, 9, 9, 8, 6, 8])  # four right: three lost, one gained
    found = compare_paired(candidate, reference, labels, seed=0)
    assert (found.lost, found.gained, found.drop) == (3, 1, 0.25)
    assert found.agreement == 3 / 8
    assert found.p_value == 0.625
    assert found.low < 0.25 < found.high


def test_bootstrap_interval_is_that_of_resampled_images() -> None:
    rng = np.random.default_rng(5)
    labels = np.zeros(800, dtype=np.int64)
    reference = (rng.random(800) < 0.08).astype(np.int64)
    candidate = np.where(rng.random(800) < 0.05, 1 - reference, reference)
    found = compare_paired(candidate, reference, labels, seed=1)
    differences = (reference == 0).astype(float) - (candidate == 0)
    oracle = stats.bootstrap(
        (differences,), np.mean, n_resamples=20_000, method="percentile", rng=rng
    ).confidence_interval
    assert found.low == pytest.approx(oracle.low, abs=0.002)  # an image in 800 is 0.00125
    assert found.high == pytest.approx(oracle.high, abs=0.002)


def test_bootstrap_repeats_with_its_seed() -> None:
    rng = np.random.default_rng(2)
    labels, one, other = rng.integers(0, 3, (3, 500))
    first, again, another = (compare_paired(one, other, labels, seed=seed) for seed in (7, 7, 8))
    assert first == again
    assert (first.low, first.high) != (another.low, another.high) or first.drop == another.drop


def test_same_predictions_do_not_differ() -> None:
    labels = np.array([0, 1, 1])
    found = compare_paired(labels, labels, labels, seed=0)
    assert (found.drop, found.p_value) == (0.0, 1.0)
    assert found.agreement == 1.0


@pytest.mark.parametrize(
    ("lost", "gained", "images"), [(0, 0, 40), (1, 0, 40), (0, 3, 100), (4, 5, 1000), (9, 0, 9)]
)
def test_interval_of_few_differing_images_is_where_the_score_test_rejects(
    lost: int, gained: int, images: int
) -> None:
    labels = np.zeros(images, dtype=np.int64)
    number = np.arange(images)
    candidate = (number < lost).astype(np.int64)
    reference = ((number >= lost) & (number < lost + gained)).astype(np.int64)
    found = compare_paired(candidate, reference, labels, seed=0)
    assert found.low < found.drop < found.high or (lost == images and found.high == 1.0)
    for end in {found.low, found.high} - {1.0}:
        assert abs(_score(lost, gained, images, end)) == pytest.approx(1.959964, rel=1e-4)


def _score(lost: int, gained: int, images: int, drop: float) -> float:
    """Tango's statistic, its nuisance share found by maximising the likelihood numerically."""

    def unlikely(share: float) -> float:
        shares = np.array([share + drop, share, 1 - 2 * share - drop])
        counts = np.array([lost, gained, images - lost - gained])
        return float(-xlogy(counts, np.maximum(shares, 1e-300)).sum())

    low, high = max(0.0, -drop), (1 - drop) / 2
    # Where nothing is gained the likelihood may be largest at the end of what is possible.
    share = min(
        (low, high, minimize_scalar(unlikely, bounds=(low, high), method="bounded",
                                    options={"xatol": 1e-12}).x), key=unlikely,
    )  # fmt: skip
    return float((lost - gained - images * drop) / np.sqrt(images * (2 * share + drop - drop**2)))


def test_forty_images_alike_leave_nine_points_open() -> None:
    labels = np.zeros(40, dtype=np.int64)
    found = compare_paired(labels, labels, labels, seed=0)
    # Tango's equation without any difference: z squared over n plus z squared.
    assert [found.low, found.high] == pytest.approx([-0.087622, 0.087622], abs=1e-6)


def test_no_images_or_unequal_numbers_are_refused() -> None:
    empty, two, three = (np.zeros(images, dtype=np.int64) for images in (0, 2, 3))
    for predictions, labels in ((empty, empty), (two, three)):
        with pytest.raises(ConfigError, match="one of each for every image"):
            accuracy(predictions, labels)
