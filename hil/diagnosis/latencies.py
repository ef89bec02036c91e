"""Many times of one thing, in few numbers and a picture of characters."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_BARS = 12
_BAR_LENGTH = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """Times from request to answer, in seconds."""

    count: int
    """How many."""
    min_s: float
    """Shortest."""
    median_s: float
    """Middle one."""
    p99_s: float
    """99 of 100 are at most this long."""
    max_s: float
    """Longest."""
    edges_s: tuple[float, ...]
    """Edges of the histogram's bins, equal in ratio, one more than there are bins."""
    counts: tuple[int, ...]
    """How many in each bin."""

    @classmethod
    def of(cls, times_s: Sequence[float]) -> "Latencies":
        """Sum up times, at least one, all above 0."""
        times = np.asarray(times_s, dtype=float)
        lowest, highest = float(times.min()), float(times.max())
        top = max(highest, lowest * 1.01)
        edges = np.geomspace(lowest, top, _BARS + 1)
        # Rounding must not leave the outermost times outside.
        edges[0], edges[-1] = lowest, top
        counts, _ = np.histogram(times, edges)
        return cls(
            count=len(times),
            min_s=lowest,
            median_s=float(np.median(times)),
            # A time that was measured, not one between two.
            p99_s=float(np.percentile(times, 99, method="inverted_cdf")),
            max_s=highest,
            edges_s=tuple(float(edge) for edge in edges),
            counts=tuple(int(count) for count in counts),
        )


def histogram_lines(edges_s: Sequence[float], counts: Sequence[int]) -> list[str]:
    """Return a histogram as lines of characters, one for each bin, with its lower edge."""
    most = max(counts, default=0)
    return [
        f"{shown_time(low):>9} {'#' * math.ceil(_BAR_LENGTH * count / most)} {count}"
        if count
        else f"{shown_time(low):>9}"
        for low, count in zip(edges_s, counts, strict=False)
    ]


def shown_time(seconds: float) -> str:
    """Return a time with three digits and a unit that suits it.

    Examples
    --------
    >>> shown_time(0.000213), shown_time(0.0162), shown_time(2)
    ('213 us', '16.2 ms', '2 s')
    """
    for factor, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= factor:
            return f"{three_digits(seconds / factor)} {unit}"
    return f"{three_digits(seconds / 1e-6)} us"


def shown_rate(bytes_per_s: float) -> str:
    """Return a rate with three digits.

    Examples
    --------
    >>> shown_rate(11_520), shown_rate(9e7), shown_rate(1.27e9)
    ('11.5 kB/s', '90 MB/s', '1.27 GB/s')
    """
    for factor, unit in ((1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s")):
        if bytes_per_s >= factor:
            return f"{three_digits(bytes_per_s / factor)} {unit}"
    return f"{three_digits(bytes_per_s)} B/s"


def three_digits(number: float) -> str:
    """Return a number with three digits, or all before the point, and never with an exponent.

    Examples
    --------
    >>> three_digits(1.2345), three_digits(999.7), three_digits(1270)
    ('1.23', '1000', '1270')
    """
    return f"{number:.3g}" if abs(number) < 999.5 else f"{number:.0f}"
