"""How quickly a link answers, and how much it carries each way."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hil.core.errors import DeviceError
from hil.diagnosis.finding import Finding, Verdict
from hil.diagnosis.latencies import Latencies, shown_rate, shown_time
from hil.diagnosis.tested_link import TestedLink
from hil_drivers.frames import FrameKind

_FEWEST, _MOST = 20, 20_000
"""Requests: fewer tell little of the longest, more tell no more."""
_DELAYED_ACK_S = (0.035, 0.06)
"""Linux delays an acknowledgement by at least 40 ms (TCP_DELACK_MIN in include/net/tcp.h)."""
_USB_TIMER_S = (0.012, 0.02)
"""FTDI's adapters hold back what is short for 16 ms unless told otherwise (AN232B-04, 2006)."""
_UNEVEN = 10
"""How many times the median the slowest of a hundred may take."""
_UNEVEN_FROM_S = 0.02
_SLOW_BULK = 1e6
"""A tenth of what 100 Mbit/s Ethernet carries, bytes per second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What a device said meanwhile."""

    latencies: Latencies
    """Times of its answers."""
    measures: bool
    """Whether counts were latched in that time, by another client."""


def check_latency(link: TestedLink, *, limit_s: float) -> tuple[Finding, Watched]:
    """Ask which counts are latched, again and again: the shortest question that tells of others."""
    times_s: list[float] = []
    answers: set[str] = set()
    deadline = time.monotonic() + limit_s
    while len(times_s) < _MOST and (time.monotonic() < deadline or len(times_s) < 2):
        start = time.perf_counter()
        answers.add(link.session.ask("READ:LATChed?"))
        times_s.append(time.perf_counter() - start)
    latencies = Latencies.of(times_s)
    advice = latency_advice(latencies, is_tcp=link.resource.upper().endswith("::SOCKET"))
    finding = Finding(
        check="latency",
        claim="short answers come evenly",
        verdict=Verdict.WARN if advice else Verdict.OK,
        evidence=(
            f"{latencies.count} answers: min {shown_time(latencies.min_s)}, median "
            f"{shown_time(latencies.median_s)}, p99 {shown_time(latencies.p99_s)}, max "
            f"{shown_time(latencies.max_s)}"
        ),
        advice=advice,
        figures={
            "count": latencies.count,
            "min_s": latencies.min_s,
            "median_s": latencies.median_s,
            "p99_s": latencies.p99_s,
            "max_s": latencies.max_s,
            "histogram_edges_s": list(latencies.edges_s),
            "histogram_counts": list(latencies.counts),
        },
    )
    return finding, Watched(latencies=latencies, measures=len(answers) > 1)


def latency_advice(latencies: Latencies, *, is_tcp: bool) -> str:
    """Return what to do about times that look like a known fault, empty where they do not."""
    median_s = latencies.median_s
    if is_tcp and _DELAYED_ACK_S[0] <= median_s <= _DELAYED_ACK_S[1]:
        return (
            "about 40 ms are a delayed acknowledgement: the device sends an answer in pieces with "
            "Nagle's algorithm on; set TCP_NODELAY there, or send each answer at once"
        )
    if not is_tcp and _USB_TIMER_S[0] <= median_s <= _USB_TIMER_S[1]:
        return "about 16 ms are the latency timer of a USB serial adapter; set it to 1 ms"
    if latencies.count < _FEWEST:
        return "too few answers to tell of the longest: give the test longer by --seconds"
    if latencies.p99_s > max(_UNEVEN * median_s, _UNEVEN_FROM_S):
        return (
            "one answer in a hundred takes far longer than most: look for another client, a busy "
            "computer, Wi-Fi, or packets that are lost and sent again"
        )
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """The best of several transfers of one size."""

    size: int
    """Bytes of one transfer."""
    best_s: float
    """Shortest time."""
    median_s: float
    """Middle time."""
    times: int
    """How many transfers."""

    @property
    def rate(self) -> float:
        """Bytes per second, of the middle time."""
        return self.size / self.median_s


def check_throughput_there(link: TestedLink, *, limit_s: float) -> tuple[Finding, Carried]:
    """Hand over input vectors, more and more of them, then the most that time allows."""
    size = link.requests.geometry
    rng = np.random.default_rng(1)

    def transfer(vectors: int) -> float:
        inputs = rng.integers(-127, 128, (vectors, size.rows), dtype=np.int8)
        start = time.perf_counter()
        link.write_inputs(inputs)
        return time.perf_counter() - start

    vectors = _largest_in_time(transfer, size.max_vectors, limit_s)
    carried = _repeat(lambda: transfer(vectors), vectors * size.rows, limit_s)
    return _carried_finding("throughput to the device", carried, "input vectors", link), carried


def check_throughput_back(link: TestedLink, *, limit_s: float) -> tuple[Finding, Carried | None]:
    """Fetch counts that are latched; where there are none, measure once with nothing driven.

    A core that was never programmed cannot be read: its small registers are fetched instead.
    """
    check = "throughput from the device"
    ask, what = _largest_answer(link)
    if ask is None:
        return _skipped(check), None
    size = ask()

    def transfer() -> float:
        start = time.perf_counter()
        ask()
        return time.perf_counter() - start

    carried = _repeat(transfer, size, limit_s)
    return _carried_finding(check, carried, what, link), carried


def _largest_answer(link: TestedLink) -> tuple[Callable[[], int] | None, str]:
    def fetch_counts() -> int:
        return link.session.ask_frame("FETCh:COUNts?", FrameKind.COUNTS).payload.nbytes

    before = link.before
    if before is not None and before.latched:
        return fetch_counts, "latched counts"
    if not link.requests.plays_recording() and link.session.ask("CORE:PROGram?")[:2] != "0,":
        size = link.requests.geometry
        link.session.tell("NMPU:STATe OFF")
        link.write_inputs(np.zeros((min(size.max_vectors, 256), size.rows), dtype=np.int8))
        try:
            link.has_measured = True
            link.session.ask_frame("READ?", FrameKind.COUNTS)
        except DeviceError:
            link.has_measured = False
        else:
            return fetch_counts, "counts of vectors of zeros"

    def fetch_registers() -> int:
        return link.read_codes().nbytes

    try:
        fetch_registers()
    except DeviceError:
        return None, ""
    return fetch_registers, "NMPU registers, the largest answer before a core is programmed"


def _largest_in_time(transfer: Callable[[int], float], most: int, limit_s: float) -> int:
    """Double the size until one transfer takes a fifth of the time."""
    vectors = 1
    spent_s = transfer(vectors)
    while vectors < most and 2 * spent_s < limit_s / 5:
        vectors = min(2 * vectors, most)
        spent_s = transfer(vectors)
    return vectors


def _repeat(transfer: Callable[[], float], size: int, limit_s: float) -> Carried:
    times_s: list[float] = []
    deadline = time.monotonic() + limit_s / 2
    while not times_s or time.monotonic() < deadline:
        times_s.append(transfer())
    return Carried(size=size, best_s=min(times_s), median_s=_middle(times_s), times=len(times_s))


def _middle(times_s: Sequence[float]) -> float:
    return float(np.median(times_s))


def _carried_finding(check: str, carried: Carried, what: str, link: TestedLink) -> Finding:
    is_tcp = link.resource.upper().startswith("TCPIP")
    is_slow = is_tcp and carried.size > 1e5 and carried.rate < _SLOW_BULK
    advice = (
        "less than a tenth of 100 Mbit/s Ethernet: look at the speed the port has negotiated, at "
        "Wi-Fi, and at the device's own handling of blocks"
    )
    return Finding(
        check=check,
        claim="blocks are carried at the speed of the link",
        verdict=Verdict.WARN if is_slow else Verdict.OK,
        evidence=(
            f"{shown_rate(carried.rate)} in blocks of {carried.size} bytes ({what}; "
            f"{carried.times} times)"
        ),
        advice=advice if is_slow else "",
        figures={
            "bytes_per_s": carried.rate,
            "best_bytes_per_s": carried.size / carried.best_s,
            "block_bytes": carried.size,
            "transfers": carried.times,
        },
    )


def _skipped(check: str) -> Finding:
    return Finding(
        check=check,
        claim="blocks are carried at the speed of the link",
        verdict=Verdict.SKIPPED,
        evidence="nothing is latched or loaded that could be fetched",
    )
