"""The fault campaign, in short: every kind of fault over every link, each result its twin's.

In full: ``python -m benchmarks.faults``.
"""

import gc
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.fault_bench import LINKS
from benchmarks.faults import main
from benchmarks.faults_kinds import TROUBLES, does_harm
from benchmarks.faults_part import RECOVERY, FaultAccount, Outcome, run_part
from hil_mock_device.faults.fault_script import FaultRule

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
    assert one.wrong == one.doubled == one.missing == 0
    assert one.failed == 0
    assert sum(one.injected.values()) >= (2 if one.trouble in RARE else 7)
    assert one.longest_s <= RECOVERY.deadline_s
    assert_told(one)


def assert_told(one: Outcome) -> None:
    if one.trouble in HARMLESS:
        # A busy machine may be late by itself, but nothing else may be told.
        assert set(one.told) <= {"timeout", "truncation", "locked", "stale_tag"}
    else:
        assert one.untold == 0, one


@pytest.mark.parametrize("link", ["tcp", "visa", "serial"])
def test_stale_answer_is_never_taken_for_the_next_one(link: str) -> None:
    one = run_part("stale answer", link, 20, seldom=10)
    assert one.wrong == one.doubled == one.missing == one.failed == 0
    assert one.told["timeout"] >= one.injected["stale"] >= 5
    assert one.told["stale_tag"] >= one.injected["stale"]


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("seed", [1, 2])
def test_dense_mixtures_are_survived(link: str, seed: int) -> None:
    one = run_part("mixture", link, 30, seldom=25, seed=seed)
    assert one.is_well, one
    assert len(one.injected) >= 3


@pytest.mark.parametrize(
    ("operations", "untold", "shared"),
    [
        ([(1, 1), (0, 0), (2, 3)], 0, 0),
        ([(1, 0), (0, 1), (0, 0)], 0, 0),  # an answer that comes twice is seen by the next request
        ([(1, 0), (0, 0), (0, 1)], 1, 0),
        ([(0, 5), (1, 0), (0, 0)], 1, 0),  # reports too many do not make up for it
        ([(2, 1), (0, 0)], 0, 1),
        ([(2, 1), (0, 1)], 0, 0),
        ([(1, 0), (1, 1), (0, 0)], 1, 0),
        ([(1, 0), (1, 0), (1, 1), (0, 0)], 2, 0),
    ],
)
def test_report_of_one_fault_does_not_stand_for_a_far_one(
    operations: list[tuple[int, int]], untold: int, shared: int
) -> None:
    account = FaultAccount()
    for harmful, told in operations:
        account.take(harmful=harmful, told=told)
    assert (account.untold, account.shared) == (untold, shared)


@pytest.mark.parametrize(
    ("rule", "links_with_harm"),
    [
        ("kind=drop,every=2", ["tcp", "hislip"]),
        ("kind=double,every=2", ["tcp"]),
        ("kind=double,direction=request,every=2", []),
        ("kind=latency,seconds=0.05,every=2", []),
        ("kind=latency,seconds=0.2,every=2", ["tcp", "hislip"]),
        ("kind=error_queue,every=2", []),
    ],
)
def test_harmless_faults_need_no_report(rule: str, links_with_harm: list[str]) -> None:
    harmed = [
        link
        for link in ("tcp", "hislip")
        if does_harm(FaultRule.from_text(rule), link=link, timeout_s=0.1)
    ]
    assert harmed == links_with_harm


SHORT = ["--requests", "20", "--seldom", "20", "--links", "tcp"]


def parts_of(lines: list[str]) -> list[list[str]]:
    return [line.split()[:3] for line in lines if line.split()[1:3] == ["tcp", "20"]]


def test_program_prints_a_line_for_each_part(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SHORT, "--kinds", "disconnect", "reboot", "--workers", "1"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == [
        "faults", "link", "requests", "messages", "injected", "told", "shared", "wrong", "doubled",
        "missing", "failed", "untold", "longest", "took",
    ]  # fmt: skip
    assert parts_of(lines) == [["disconnect", "tcp", "20"], ["reboot", "tcp", "20"]]
    assert lines[2].startswith("tcp: 2 parts, 40 requests, ")
    assert lines[3] == "deadline of a recovery: 20 s"


def test_parts_at_the_same_time_do_what_they_do_alone(tmp_path: Path) -> None:
    alone, together = tmp_path / "alone.jsonl", tmp_path / "together.jsonl"
    kinds = ["--kinds", "disconnect", "bit flipped in counts"]
    for path, workers in ((alone, "1"), (together, "2")):
        assert main([*SHORT, *kinds, "--workers", workers, "--json", str(path)]) == 0

    def injected(path: Path) -> dict[str, object]:
        parts = [json.loads(line)["part"] for line in path.read_text().splitlines()]
        return {part["trouble"]: (part["vectors"], part["injected"]) for part in parts}

    assert len(injected(alone)) == 2
    assert injected(together) == injected(alone)


def test_campaign_goes_on_after_the_parts_that_its_file_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "parts.jsonl"
    arguments = [*SHORT, "--workers", "1", "--json", str(path), "--kinds", "disconnect"]
    assert main(arguments) == 0
    path.write_bytes(path.read_bytes() + b'{"settings": {"requ')  # killed while it wrote
    assert main([*arguments, "reboot"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("1 parts in ")
    assert main([*arguments, "reboot"]) == 0
    last = capsys.readouterr().out.splitlines()
    assert sorted(parts_of(last)) == [["disconnect", "tcp", "20"], ["reboot", "tcp", "20"]]
    assert last[-1].startswith("0 parts in ")
    assert main([*arguments, "--seed", "8"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("1 parts in ")
