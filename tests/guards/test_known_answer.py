"""Known answers: which vectors, what is their reference, how far off a check is."""

import numpy as np
import pytest

from hil.campaign.guards.known_answer import (
    REPEATS,
    KnownAnswer,
    known_vectors,
    reference_inputs,
)


def test_vectors_that_drive_the_most_are_taken_in_their_order() -> None:
    inputs = np.array([[1, 1], [-127, 127], [0, 0], [5, -100], [100, 100]], np.int8)
    assert known_vectors(inputs, 3).tolist() == [[-127, 127], [5, -100], [100, 100]]


def test_all_vectors_are_taken_where_there_are_fewer() -> None:
    assert known_vectors(np.ones((2, 3), np.int8), 8).shape == (2, 3)


def test_reference_reads_the_vectors_eight_times_and_then_no_input() -> None:
    read = reference_inputs(np.array([[7, -7]], np.int8))
    assert read.tolist() == [[7, -7]] * 8 + [[0, 0]]


def reference_counts(levels: list[int], dark: int) -> np.ndarray:
    """Counts of one known vector and two columns: a level for each repeat, then without input."""
    return np.array([[[level] * 2] * 2 for level in [*levels, dark]], np.uint16)


def test_reference_is_mean_noise_and_signal_worked_out_by_hand() -> None:
    assert REPEATS == 8
    answer = KnownAnswer.of(reference_counts([98, 102] * 4, 20), columns_used=2)
    # Sample variance of +-2 eight times: 32 / 7; rounding: 1/12 over 4 counts.
    assert answer.mean == 100.0
    assert answer.noise == pytest.approx((32 / 7 + 1 / 48) ** 0.5)
    assert answer.signal == 80.0


def test_score_is_the_deviation_over_noise_and_resolution_together() -> None:
    answer = KnownAnswer(mean=100.0, noise=3.0, signal=400.0)
    counts = np.full((1, 2, 4), 115, np.uint16)
    # hypot(3, 0.01 * 400) = 5
    assert answer.score(counts, columns_used=4, resolution=0.01) == pytest.approx(3.0)
    assert answer.score(counts, columns_used=4, resolution=0.0) == pytest.approx(5.0)


def test_columns_without_weights_do_not_count() -> None:
    answer = KnownAnswer(mean=100.0, noise=1.0, signal=50.0)
    counts = np.full((1, 2, 4), 100, np.uint16)
    counts[:, :, 2:] = 4000
    assert answer.score(counts, columns_used=2, resolution=0.0) == 0.0


def test_chip_without_any_noise_still_has_a_finite_score() -> None:
    answer = KnownAnswer.of(reference_counts([100] * 8, 100), columns_used=2)
    score = answer.score(np.full((1, 2, 2), 101, np.uint16), columns_used=2, resolution=0.0)
    assert score == pytest.approx(48**0.5)
