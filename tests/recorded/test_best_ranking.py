"""Which calibration fits a probe, against errors worked out by hand and against made-up chips."""

from pathlib import Path

import numpy as np
import pytest

import example_steps as example
from calibrated_steps import FOUR_PHASE, calibration, concluded
from hil.core.correction import ColumnFlag
from hil.core.readout import ReadMode
from hil.recorded.best import Candidate, Probe, rank_all, rank_tile, rank_visits
from hil_datasets.chip_book.chip_key import ChipKey
from hil_datasets.step import StepConclusion, StepKey

CHIP = ChipKey.of(example.CHIP)


def candidate(
    conclusion: StepConclusion,
    run: str = "run",
    *,
    key: StepKey = FOUR_PHASE,
    weights: str = "w",
    raw_sha256: str = "ab" * 32,
) -> Candidate:
    facts = calibration(conclusion, key=key, raw_sha256=raw_sha256)
    return Candidate(run=Path(run), facts=facts, weights=weights)


def probe(
    counts: np.ndarray, expected: np.ndarray, *, key: StepKey = FOUR_PHASE, chip: ChipKey = CHIP
) -> Probe:
    return Probe(
        tile=(key.core, key.read_mode),
        chip=chip,
        weights="w",
        counts=counts.astype(np.uint16),
        expected=expected.astype(np.int32),
        temperature_c=25.0,
        raw_sha256="ef" * 32,
    )


def made_up(
    *, vectors: int = 64, columns: int = 32, noise: float = 200.0, seed: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Return counts, and what columns of the gain 10 products per count expect of them."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 400, (vectors, 2, columns))
    exact = 10.0 * (counts[:, 0] - counts[:, 1])
    return counts, np.rint(exact + noise * rng.standard_normal(exact.shape))


def with_gain(gain: float, columns: int = 32) -> StepConclusion:
    return concluded([gain] * columns, [gain] * columns, [0.0] * columns)


def test_error_is_the_mean_over_vectors() -> None:
    counts = np.array([[[3, 4], [0, 0]], [[6, 8], [0, 0]], [[0, 0], [0, 0]]])
    expected = np.array([[30, 40], [60, 80], [0, 0]])
    one = concluded([11.0, 11.0], [1.0, 1.0], [0.0, 5.0])
    ranking = rank_tile(probe(counts, expected), [candidate(one)], method="float")
    (scored,) = ranking.ranked
    # Off by (3, 9) of (30, 40) and by (6, 13) of (60, 80); the vector that expects 0 is left out.
    errors = [90**0.5 / 50, 205**0.5 / 100]
    assert scored.errors.tolist() == pytest.approx(errors)
    assert scored.error == pytest.approx(sum(errors) / 2)
    assert scored.error_se == pytest.approx(abs(errors[0] - errors[1]) / 2)


def test_the_gain_that_the_chip_has_now_wins() -> None:
    counts, expected = made_up()
    gains = {"cold": 9.0, "now": 10.0, "hot": 11.0}
    candidates = [candidate(with_gain(gain), name) for name, gain in gains.items()]
    ranking = rank_tile(probe(counts, expected), candidates, method="float")
    assert str(ranking.ranked[0].candidate.run) == "now"
    assert [each.is_as_good for each in ranking.ranked] == [True, False, False]


def test_what_the_probe_cannot_tell_apart_is_said_to_be_as_good() -> None:
    counts, expected = made_up(noise=800.0)
    candidates = [candidate(with_gain(gain), str(gain)) for gain in (10.0, 10.02, 12.0)]
    ranking = rank_tile(probe(counts, expected), candidates, method="float")
    assert [each.is_as_good for each in ranking.ranked] == [True, True, False]
    assert str(ranking.ranked[2].candidate.run) == "12.0"


def test_a_difference_is_judged_vector_by_vector() -> None:
    calm, stormy = made_up(vectors=32, noise=100.0), made_up(vectors=32, noise=1500.0)
    counts, expected = (np.concatenate(parts) for parts in zip(calm, stormy, strict=True))
    candidates = [candidate(with_gain(gain), str(gain)) for gain in (10.0, 10.5)]
    best, other = rank_tile(probe(counts, expected), candidates, method="float").ranked
    # The errors scatter too much to tell the two apart, their differences do not.
    assert other.error - best.error < other.error_se
    assert not other.is_as_good


def test_registers_and_real_valued_correction_are_both_to_be_had() -> None:
    counts, expected = made_up()
    one = candidate(with_gain(10.0))
    by = {
        method: rank_tile(probe(counts, expected), [one], method=method).ranked[0].error
        for method in ("float", "nmpu")
    }
    assert by["float"] < 0.2 < by["nmpu"]  # the example's registers are no such gain


def test_no_calibration_gains_by_giving_up_a_column() -> None:
    counts, expected = made_up(columns=4)
    flags = np.array([0, 0, 0, ColumnFlag.DEAD], np.uint16)
    whole = candidate(concluded([10.0] * 4, [10.0] * 4, [0.0] * 4), "whole")
    gave_up = candidate(
        concluded([10.0, 10, 10, 0], [10.0, 10, 10, 0], [0.0] * 4, flags=flags), "gave-up"
    )
    ranking = rank_tile(probe(counts, expected), [gave_up, whole], method="float")
    assert [str(each.candidate.run) for each in ranking.ranked] == ["whole", "gave-up"]


def test_what_does_not_apply_says_why() -> None:
    counts, expected = made_up(columns=3)
    fits = concluded([10.0] * 3, [10.0] * 3, [0.0] * 3)
    other_chip = candidate(fits, "other-chip")
    probed = probe(counts, expected)
    elsewhere = StepKey(5, ReadMode.FOUR_PHASE)
    rankings, unprobed = rank_all(
        [probed],
        [
            candidate(fits, "fits"),
            candidate(fits, "other-weights", weights="v"),
            candidate(fits, "unknown-weights", weights=""),
            candidate(with_gain(10.0), "larger"),
            candidate(fits, "elsewhere", key=elsewhere),
        ],
        method="float",
    )
    assert {str(each.candidate.run): each.reason for each in rankings[0].refused} == {
        "other-weights": "was made with other weights",
        "unknown-weights": "nothing says which weights it was made with",
        "larger": "has 32 columns",
    }
    assert [str(each.candidate.run) for each in unprobed] == ["elsewhere"]
    foreign = ChipKey(manufacturer="Acme", model="AIMC-4x3", serial="43")
    _, unprobed = rank_all(
        [probe(counts, expected, chip=foreign)],
        [candidate(fits, "elsewhere", key=elsewhere)],
        method="float",
    )
    assert unprobed[0].reason == "is of another chip: Acme AIMC-4x3, serial 42"
    ranking = rank_tile(probe(counts, expected, chip=foreign), [other_chip], method="float")
    assert ranking.refused[0].reason == "is of another chip: Acme AIMC-4x3, serial 42"
    assert ranking.ranked == ()


def test_a_probe_that_expects_nothing_ranks_nothing() -> None:
    counts, expected = made_up()
    ranking = rank_tile(probe(counts, 0 * expected), [candidate(with_gain(10.0))], method="float")
    assert ranking.ranked == ()
    assert "expects nothing but 0" in ranking.refused[0].reason


def test_own_readouts_are_marked() -> None:
    counts, expected = made_up()
    own = candidate(with_gain(10.0), raw_sha256="ef" * 32)
    ranking = rank_tile(probe(counts, expected), [own], method="float")
    assert ranking.ranked[0].has_seen_probe


def test_only_whole_sets_are_ranked_for_the_whole_chip() -> None:
    counts, expected = made_up()
    other = StepKey(1, ReadMode.FOUR_PHASE)
    probes = [probe(counts, expected), probe(counts, expected, key=other)]
    candidates = [
        candidate(with_gain(10.0), "half"),
        *(candidate(with_gain(gain), run, key=key)
          for run, gain in (("good", 10.5), ("bad", 12.0))
          for key in (FOUR_PHASE, other)),
    ]  # fmt: skip
    visits = rank_visits(rank_all(probes, candidates, method="float")[0])
    assert [(str(one.run), one.visit) for one in visits] == [("good", 0), ("bad", 0)]
    assert [one.is_as_good for one in visits] == [True, False]
