"""The cumulative sum against published run lengths, and what it calls suspect."""

import math

import numpy as np
import pytest

from hil.campaign.config.guards import KnownAnswerSection
from hil.campaign.guards.cusum import Cusum, CusumLimits


def run_lengths(limits: CusumLimits, *, shift: float, runs: int, seed: int) -> list[int]:
    """Feed unit normal scores to sums of their own until each has its alarm."""
    rng = np.random.default_rng(seed)
    lengths = []
    for _ in range(runs):
        sums, length = Cusum(), 0
        while sums.suspect_from(limits) is None:
            for score in rng.normal(shift, 1.0, 32).tolist():
                length += 1
                sums = sums.after(score, at=length, limits=limits)
                if sums.suspect_from(limits) is not None:
                    break
        lengths.append(length)
    return lengths


# D. C. Montgomery, Introduction to Statistical Quality Control, 7th edition, table 9.3:
# average run lengths of the two-sided CUSUM with k = 1/2.
PUBLISHED = [
    (4.0, 0.0, 168.0),
    (4.0, 0.5, 26.6),
    (4.0, 1.0, 8.38),
    (4.0, 2.0, 3.34),
    (4.0, 4.0, 1.71),
    (5.0, 0.5, 38.0),
    (5.0, 1.0, 10.4),
    (5.0, 2.0, 4.01),
]


@pytest.mark.parametrize(("alarm", "shift", "published"), PUBLISHED)
def test_average_run_length_is_the_published_one(
    alarm: float, shift: float, published: float
) -> None:
    limits = CusumLimits(slack=0.5, alarm=alarm)
    lengths = run_lengths(limits, shift=shift, runs=800 if shift else 400, seed=1)
    error = float(np.std(lengths)) / math.sqrt(len(lengths))
    assert abs(float(np.mean(lengths)) - published) < 3.5 * error + 0.005 * published


def brook_evans(slack: float, alarm: float, shift: float, *, states: int = 200) -> float:
    """Average run length of a one-sided CUSUM by Brook and Evans (Biometrika 59, 1972, 539-549)."""
    width = 2 * alarm / (2 * states - 1)
    cdf = np.vectorize(lambda x: 0.5 * (1 + math.erf(x / math.sqrt(2))))
    state = np.arange(states)
    edges = (state[None, :] - state[:, None]) * width + slack - shift
    moves = cdf(edges + width / 2) - cdf(edges - width / 2)
    moves[:, 0] = cdf(edges[:, 0] + width / 2)
    return float(np.linalg.solve(np.eye(states) - moves, np.ones(states))[0])


def test_markov_chain_agrees_with_the_table() -> None:
    assert brook_evans(0.5, 4.0, 0.0) / 2 == pytest.approx(168, rel=0.01)
    assert brook_evans(0.5, 5.0, 0.0) / 2 == pytest.approx(465, rel=0.01)
    assert brook_evans(0.5, 5.0, 1.0) == pytest.approx(10.4, rel=0.01)


def test_default_limits_give_a_false_alarm_in_ten_thousand_checks() -> None:
    default = KnownAnswerSection()
    assert brook_evans(default.slack, default.alarm, 0.0) / 2 == pytest.approx(9_600, rel=0.02)


def sums_after(scores: list[float], limits: CusumLimits) -> Cusum:
    sums = Cusum()
    for check, score in enumerate(scores, start=1):
        sums = sums.after(score, at=100 * check, limits=limits)
    return sums


LIMITS = CusumLimits(slack=0.5, alarm=4.0)


def test_sums_are_those_worked_out_by_hand() -> None:
    sums = sums_after([1.0, 2.0, -0.25, -3.0], LIMITS)
    # upwards 0.5, 2.0, 1.25, 0; downwards 0, 0, 0, 2.5
    assert sums == Cusum(upper=0.0, lower=2.5, upper_from=400, lower_from=300)


def test_change_is_suspect_from_the_last_check_without_a_trace_of_it() -> None:
    assert sums_after([0.0, 0.0, 3.0, 3.0], LIMITS).suspect_from(LIMITS) == 200


def test_change_downwards_is_an_alarm_too() -> None:
    assert sums_after([0.0, -3.0, -3.0], LIMITS).suspect_from(LIMITS) == 100


def test_sum_at_the_limit_is_no_alarm() -> None:
    assert sums_after([4.5], LIMITS).suspect_from(LIMITS) is None
    assert sums_after([4.75], LIMITS).suspect_from(LIMITS) == 0


def test_change_smaller_than_the_slack_is_never_an_alarm() -> None:
    assert sums_after([0.5] * 1000, LIMITS).suspect_from(LIMITS) is None
