"""Which formats are worth their bits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.core.nmpu_format import NmpuFormat
from hil.explore.pareto import pareto_set, register_bits


@pytest.mark.parametrize(
    ("fmt", "bits"),
    [
        (NmpuFormat(), 24),
        (NmpuFormat(shared_scale=True), 16),
        (NmpuFormat(scale_frac=4, off_bits=6, off_int=5), 16),
        (NmpuFormat(in_bits=12, acc_bits=20, cut_pre=2), 24),
    ],
    ids=["two of 8 and 8", "one of 8 and 8", "two of 5 and 6", "no register changes"],
)
def test_cost_is_the_register_bits_of_a_column(fmt: NmpuFormat, bits: int) -> None:
    assert register_bits(fmt) == bits


def test_pareto_set_of_a_worked_example() -> None:
    points = [(24, 3.0), (20, 3.0), (16, 9.0), (18, 4.0), (18, 5.0), (22, 2.0), (16, 8.0)]
    # (24, 3) and (20, 3): the cheaper stays. 9 and 5 are beaten at the same cost.
    assert [points[at] for at in pareto_set(points)] == [(16, 8.0), (18, 4.0), (20, 3.0), (22, 2.0)]


def test_of_equal_points_the_first_stays() -> None:
    assert pareto_set([(8, 1.0), (9, 1.0), (8, 1.0)]) == [0]


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6).map(float)), max_size=12))
def test_point_is_kept_if_and_only_if_no_point_beats_it(points: list[tuple[int, float]]) -> None:
    unbeaten = [
        point
        for point in points
        if not any(
            other[0] <= point[0] and other[1] <= point[1] and other != point for other in points
        )
    ]
    kept = [points[at] for at in pareto_set(points)]
    assert kept == sorted(set(unbeaten))
