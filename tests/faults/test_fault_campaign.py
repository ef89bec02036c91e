"""The fault campaign, in short: every kind of fault over every link, each result its twin's.

In full: ``python -m benchmarks.faults``.
"""

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.fault_bench import LINKS
from benchmarks.faults import RECOVERY, TROUBLES, Outcome, main, run_part

OPERATIONS = 64
"""Of the driver: more than 300 requests on the link."""
SELDOM = 20
"""One message of so many meets a fault: about 15 faults in each part."""
RARE = {"brown-out", "reboot"}
PARTS = [(name, link) for name in TROUBLES for link in ("tcp", "hislip", "serial")]
HARMLESS = {"latency", "bandwidth", "baud", "message doubled", "full error queue"}


# pyvisa-py leaves the socket of a HiSLIP connection that was refused to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:unclosed <socket:ResourceWarning",
        "ignore::pytest.PytestUnraisableExceptionWarning",
    ),
    pytest.mark.timeout(600),  # all parts are carried out before the first test
]


@pytest.fixture(autouse=True)
def litter() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(scope="module")
def outcomes() -> dict[tuple[str, str], Outcome]:
    """Carry out all parts, several at once: most of the time they wait for lost answers."""

    def run(part: tuple[str, str]) -> Outcome:
        name, link = part
        return run_part(name, link, OPERATIONS, seldom=SELDOM)

    with ThreadPoolExecutor(8) as pool:
        return dict(zip(PARTS, pool.map(run, PARTS), strict=True))


@pytest.mark.parametrize("part", PARTS, ids=" over ".join)
def test_no_vector_is_wrong_doubled_or_missing_and_every_fault_is_told(
    part: tuple[str, str], outcomes: dict[tuple[str, str], Outcome]
) -> None:
    one = outcomes[part]
    assert one.messages >= 300
    assert one.wrong == 0
    assert one.failed == 0
    assert sum(one.injected.values()) >= (2 if one.trouble in RARE else 7)
    assert one.longest_s <= RECOVERY.deadline_s
    assert_told(one)


def assert_told(one: Outcome) -> None:
    if one.trouble in HARMLESS:
        # A busy machine may be late by itself, but nothing else may be told.
        assert set(one.told) <= {"timeout", "truncation", "locked", "stale_tag"}
    elif (one.link, one.trouble) == ("hislip", "answer doubled"):
        return  # HiSLIP's message ids tell pyvisa-py to drop it
    else:
        assert one.untold <= 0, one


@pytest.mark.parametrize("link", ["tcp", "visa", "serial"])
def test_stale_answer_is_never_taken_for_the_next_one(link: str) -> None:
    one = run_part("stale answer", link, 20, seldom=10)
    assert one.wrong == one.failed == 0
    assert one.told["timeout"] >= one.injected["stale"] >= 5
    assert one.told["stale_tag"] >= one.injected["stale"]


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("seed", [1, 2])
def test_dense_mixtures_are_survived(link: str, seed: int) -> None:
    one = run_part("mixture", link, 30, seldom=25, seed=seed)
    assert one.is_well, one
    assert len(one.injected) >= 3


def test_program_prints_a_line_for_each_part(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--requests", "20", "--kinds", "disconnect", "reboot", "--links", "tcp"]
    assert main([*arguments, "--seldom", "20"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == [
        "faults", "link", "requests", "messages", "injected", "told", "wrong", "failed", "longest",
    ]  # fmt: skip
    assert [line.split()[:3] for line in lines] == [
        ["disconnect", "tcp", "20"],
        ["reboot", "tcp", "20"],
    ]
