"""Ramps: never a step beyond the largest, never outside, always there in the end."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil_drivers.instruments.ramp import ramp_values

VALUES = st.floats(-1000, 1000)


@given(start=VALUES, target=VALUES, largest_step=st.floats(0.5, 500))
def test_no_step_of_a_ramp_is_larger_than_allowed_and_none_leaves_its_range(
    start: float, target: float, largest_step: float
) -> None:
    values = [start, *ramp_values(start, target, largest_step=largest_step)]
    assert values[-1] == target
    assert min(values) == min(start, target)
    assert max(values) == max(start, target)
    for before, after in itertools.pairwise(values):
        assert abs(after - before) <= largest_step * (1 + 1e-9)
        assert (after - before) * (target - start) >= 0


@pytest.mark.parametrize(
    ("start", "target", "largest_step", "values"),
    [
        (0.0, 4.0, 1.0, [1.0, 2.0, 3.0, 4.0]),
        (4.0, 0.0, 2.0, [2.0, 0.0]),
        (0.0, 3.0, 2.0, [1.5, 3.0]),
        (0.0, 1.0, 2.0, [1.0]),
        (5.0, 5.0, 1.0, [5.0]),
    ],
    ids=["up", "down", "equal steps", "one step", "nowhere"],
)
def test_ramp_takes_the_fewest_equal_steps(
    start: float, target: float, largest_step: float, values: list[float]
) -> None:
    assert list(ramp_values(start, target, largest_step=largest_step)) == values
