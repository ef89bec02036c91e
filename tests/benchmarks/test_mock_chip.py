"""The benchmark of the mock chip runs, and compares each way of counting with the products."""

from benchmarks.mock_chip import mock_contenders, mock_table
from benchmarks.timing import time_in_turns


def test_every_way_of_counting_is_compared_with_the_bare_products() -> None:
    lines = mock_table(time_in_turns(list(mock_contenders(64)), 1))
    assert [line.split(":")[0] for line in lines] == [
        f"mock, all physics, {mode}, {way}"
        for mode in ("one_phase", "four_phase")
        for way in ("numpy", "numba")
    ]
    assert all("of the bare products" in line or "needs numba" in line for line in lines)
