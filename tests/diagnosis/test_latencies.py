"""Many times in few numbers."""

import pytest

from hil.diagnosis.latencies import Latencies, histogram_lines
from hil.diagnosis.speed import latency_advice


def test_numbers_are_times_that_were_measured() -> None:
    latencies = Latencies.of([0.001] * 98 + [0.002, 0.5])
    assert (latencies.count, latencies.min_s, latencies.median_s) == (100, 0.001, 0.001)
    assert (latencies.p99_s, latencies.max_s) == (0.002, 0.5)


@pytest.mark.parametrize("times_s", [[0.001], [0.001, 0.001], [1e-5, 1e-3, 1.0]])
def test_every_time_is_in_the_histogram(times_s: list[float]) -> None:
    latencies = Latencies.of(times_s)
    assert sum(latencies.counts) == len(times_s)
    assert len(latencies.edges_s) == len(latencies.counts) + 1


def test_histogram_has_a_line_for_each_bin_and_its_longest_bar_is_40_long() -> None:
    lines = histogram_lines([0.001, 0.01, 0.1, 1.0], [80, 0, 1])
    assert lines == [f"     1 ms {'#' * 40} 80", "    10 ms", "   100 ms # 1"]


@pytest.mark.parametrize(
    ("times_s", "is_tcp", "word"),
    [
        ([0.041] * 30, True, "TCP_NODELAY"),
        ([0.016] * 30, False, "latency timer"),
        ([0.0002] * 98 + [0.1, 0.1], True, "takes far longer"),
        ([0.0002] * 5, True, "too few"),
    ],
    ids=["delayed acknowledgement", "USB adapter", "uneven", "few"],
)
def test_times_that_look_like_a_known_fault_get_advice(
    times_s: list[float], is_tcp: bool, word: str
) -> None:
    assert word in latency_advice(Latencies.of(times_s), is_tcp=is_tcp)


@pytest.mark.parametrize("median_s", [0.0002, 0.005, 0.1])
def test_even_times_get_no_advice(median_s: float) -> None:
    assert latency_advice(Latencies.of([median_s] * 50), is_tcp=True) == ""
