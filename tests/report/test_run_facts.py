"""Conditions and link faults of a run, in a line each."""

import io
import math
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

import example_steps as example
from hil.report.run_facts import LinkSummary, summarize_conditions, summarize_link
from hil.report.summary import summarize_run
from hil.report.table import print_summary


def fault(kind: str, recovered_s: float) -> dict[str, object]:
    return {"event": "fault", "kind": kind, "recovered_s": recovered_s}


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        ([], "no faults"),
        ([("timeout", 0.5)], "1 fault, all recovered: 1 timeout"),
        (
            [("timeout", 0.5), ("wrong_crc", 0.0), ("timeout", 2.0)],
            "3 faults, all recovered: 2 timeout, 1 wrong_crc",
        ),
        (
            [("timeout", 0.5), ("link_lost", math.nan)],
            "2 faults, 1 not recovered: 1 link_lost, 1 timeout",
        ),
    ],
)
def test_faults_are_counted_by_kind(faults: list[tuple[str, float]], words: str) -> None:
    events: list[dict[str, object]] = [
        {"event": "start"},
        *(fault(*each) for each in faults),
        {"event": "stop"},
    ]
    assert str(summarize_link(events)) == words


def test_conditions_span_all_steps() -> None:
    later = tuple(
        replace(each, at_start=each.at_start + 1, at_end=each.at_end - 1)
        for each in example.CONDITIONS
    )
    temperature, current = summarize_conditions([example.CONDITIONS, later])
    assert (temperature.lowest, temperature.highest) == (44.25, 45.5)
    assert str(temperature) == "chamber.temperature set to 45, read 44.25 to 45.5 degC"
    assert current.setpoints == ()
    assert str(current) == "supply.current read -0.998 to 1.002 A"


def test_steps_without_instruments_have_no_conditions() -> None:
    assert summarize_conditions([(), ()]) == ()


def test_table_has_a_line_for_conditions_and_one_for_the_link(tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run", example.ONE)
    run.journal.append(
        "fault", utc="2026-01-02T03:04:07+00:00", step="", kind="timeout", recovered_s=0.5
    )
    summary = summarize_run(run)
    assert summary.link == LinkSummary(faults={"timeout": 1}, not_recovered=0)
    console = Console(file=io.StringIO(), width=200)
    print_summary(summary, console)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [line.rstrip() for line in lines if line.startswith(("conditions", "link"))] == [
        (
            "conditions: chamber.temperature set to 45, read 44.5 to 45.25 degC; "
            "supply.current read 0.002 to 0.0025 A"
        ),
        "link: 1 fault, all recovered: 1 timeout",
    ]


def test_run_without_instruments_and_faults_has_neither_line(tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run", example.ONE, conditions=())
    console = Console(file=io.StringIO(), width=200)
    print_summary(summarize_run(run), console)
    words = console.file.getvalue()  # type: ignore[attr-defined]
    assert "conditions:" not in words
    assert "link:" not in words
