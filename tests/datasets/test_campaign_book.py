"""What a campaign writes into its chip's book, and what it does when it cannot."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import example_steps
from book_samples import BEGAN, KEY, Clock
from hil.core.errors import DatasetError, DeviceError, SafetyLimitError, TransportTimeoutError
from hil.core.readout import ReadMode
from hil_datasets.chip_book.book import ChipBook, read_book
from hil_datasets.chip_book.campaign_book import BookKeeper, CampaignBook, UnwrittenBook
from hil_datasets.chip_book.facts import (
    CalibrationFacts,
    CampaignFacts,
    digest_weights,
    summarize_calibration,
)
from hil_datasets.chip_book.totals import CoreTotals, total
from hil_datasets.chip_book.wear import WearLimits

FACTS = CampaignFacts(
    run="/runs/one",
    title="One",
    campaign_sha256="ab",
    resource="TCPIP0::10.0.0.7::5025::SOCKET",
    firmware="1.0",
)
CALIBRATION = CalibrationFacts(
    core=3,
    read_mode=ReadMode.FOUR_PHASE,
    step="core03_four_phase",
    raw_sha256="cd",
    temperature_c=31.5,
    output_lsb=2.0,
    columns=256,
    median_gain_p=0.5,
    median_gain_n=0.25,
    median_offset=1.5,
    errors={"float": 0.01, "nmpu": float("nan")},
)


class Bench:
    """A campaign's book, its clock, and what it complained of."""

    def __init__(self, folder: Path, *, facts: CampaignFacts = FACTS, limit: int | None = None):
        self.path = folder / "chips" / "book.jsonl"
        self.clock = Clock()
        self.failures: list[str] = []
        self.book = CampaignBook(
            ChipBook(self.path, KEY),
            facts,
            limits=WearLimits(programmings_per_core=limit),
            now=self.clock.now,
            monotonic=self.clock.monotonic,
            on_failure=self.failures.append,
        )

    def events(self) -> list[dict[str, Any]]:
        return [
            numbered.entry.model_dump(mode="json", exclude={"utc"})
            for numbered in read_book(self.path).entries
        ]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_campaign_begins_with_what_it_is(bench: Bench) -> None:
    assert bench.events() == [
        {
            "event": "start",
            "run": "/runs/one",
            "title": "One",
            "campaign_sha256": "ab",
            "resource": "TCPIP0::10.0.0.7::5025::SOCKET",
            "firmware": "1.0",
            "source": "device",
            "is_resumed": False,
        }
    ]
    assert read_book(bench.path).entries[0].entry.utc == BEGAN.isoformat()


@pytest.mark.parametrize(
    ("resource", "is_mock", "source"),
    [("mock://quickstart", False, "mock"), ("serial:///dev/ttyS0", True, "mock")],
)
def test_mock_chips_are_marked(tmp_path: Path, resource: str, is_mock: bool, source: str) -> None:
    facts = CampaignFacts(
        run="r", title="t", campaign_sha256="", resource=resource, firmware="", is_mock=is_mock
    )
    assert Bench(tmp_path, facts=facts).events()[0]["source"] == source


def test_programming_is_on_the_disk_before_the_body_runs(bench: Bench) -> None:
    with bench.book.programming(3, "sha256:ee"):
        assert bench.events()[-1] == {
            "event": "programming",
            "campaign": 2,
            "core": 3,
            "digest": "sha256:ee",
        }
        assert total(read_book(bench.path)).cores[3].unknown == 1
    assert bench.events()[-1] == {
        "event": "programmed",
        "programming": 3,
        "outcome": "done",
        "reason": "",
    }


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (
            DeviceError(-222, "Data out of range"),
            "failed",
            "DeviceError: device error -222: Data out of range",
        ),
        (TransportTimeoutError("silence"), "unknown", "TransportTimeoutError: silence"),
        (KeyboardInterrupt(), "unknown", "KeyboardInterrupt"),
    ],
)
def test_programming_that_breaks_off_counts(
    bench: Bench, error: BaseException, outcome: str, reason: str
) -> None:
    with pytest.raises(type(error)), bench.book.programming(3, ""):
        raise error
    last = bench.events()[-1]
    assert (last["outcome"], last["reason"]) == (outcome, reason)
    assert total(read_book(bench.path)).worn(3) == 1


def test_programming_beyond_the_limit_is_never_sent(tmp_path: Path) -> None:
    bench = Bench(tmp_path, limit=1)
    with bench.book.programming(3, ""):
        pass
    sent = False
    with pytest.raises(SafetyLimitError, match="at most 1 in the"), bench.book.programming(3, ""):
        sent = True
    assert not sent
    assert total(read_book(bench.path)).worn(3) == 1


def test_repeat_of_a_programming_counts_and_is_refused_beyond_the_limit(tmp_path: Path) -> None:
    bench = Bench(tmp_path, limit=2)
    with bench.book.programming(3, "") as pulse:
        pulse.again()
        with pytest.raises(SafetyLimitError):
            pulse.again()
    assert total(read_book(bench.path)).cores[3] == CoreTotals(programmings=2, unknown=1)


def test_repeats_that_are_known_late_count_beyond_the_limit(tmp_path: Path) -> None:
    bench = Bench(tmp_path, limit=1)
    with bench.book.programming(3, "") as pulse:
        pulse.repeated(2)
    assert total(read_book(bench.path)).cores[3] == CoreTotals(programmings=3, unknown=2)


def test_exposure_is_gathered_and_written_once_a_minute(bench: Bench) -> None:
    bench.book.vectors(3, 128, seconds=0.5)
    bench.clock.seconds = 59.0
    bench.book.vectors(3, 128, seconds=0.25)
    assert len(bench.events()) == 1
    bench.clock.seconds = 60.0
    bench.book.vectors(0, 64)
    common = {"event": "exposure", "campaign": 2, "hottest_c": None}
    assert bench.events()[1:] == [
        {**common, "core": None, "seconds": 60.0, "vectors": 0},
        {**common, "core": 0, "seconds": 0.0, "vectors": 64},
        {**common, "core": 3, "seconds": 0.75, "vectors": 256},
    ]
    bench.clock.seconds = 119.0
    bench.book.tick()
    assert len(bench.events()) == 4


def test_time_between_two_readings_counts_at_the_hotter_one(bench: Bench) -> None:
    bench.book.temperature(40.0, core=3)
    bench.book.temperature(35.0, core=3)
    bench.clock.seconds = 60.0
    bench.book.temperature(30.0)
    bench.clock.seconds = 180.0
    bench.book.temperature(float("nan"))
    stretches = [(event["seconds"], event["hottest_c"]) for event in bench.events()[1:]]
    assert stretches == [(60.0, 40.0), (120.0, 30.0)]


def test_finished_step_is_a_few_numbers(bench: Bench) -> None:
    bench.clock.seconds = 2.0
    bench.book.calibrated(CALIBRATION)
    exposure, calibration = bench.events()[1:]
    assert exposure["seconds"] == 2.0
    assert calibration == {
        "event": "calibration",
        "campaign": 2,
        "core": 3,
        "read_mode": "four_phase",
        "step": "core03_four_phase",
        "raw_sha256": "cd",
        "temperature_c": 31.5,
        "output_lsb": 2.0,
        "columns": 256,
        "median_gain_p": 0.5,
        "median_gain_n": 0.25,
        "median_offset": 1.5,
        "errors": {"float": 0.01, "nmpu": None},
    }


def test_campaign_ends_with_its_status(bench: Bench) -> None:
    bench.book.stopped("aborted", reason="KeyboardInterrupt")
    assert bench.events()[-1] == {
        "event": "stop",
        "campaign": 2,
        "status": "aborted",
        "reason": "KeyboardInterrupt",
    }
    assert total(read_book(bench.path)).unfinished == 0


def test_book_that_cannot_be_written_stops_programming_and_nothing_else(bench: Bench) -> None:
    bench.path.unlink()
    bench.path.mkdir()
    bench.clock.seconds = 60.0
    bench.book.vectors(3, 128)
    bench.book.calibrated(CALIBRATION)
    bench.book.stopped("complete")
    assert len(bench.failures) == 1
    assert bench.failures[0].startswith(f"{bench.path}: cannot be written: ")
    with pytest.raises(DatasetError), bench.book.programming(3, ""):
        pytest.fail("was sent")


def test_outcome_that_cannot_be_written_leaves_the_programming_unknown(bench: Bench) -> None:
    moved = bench.path.with_name("moved")
    with bench.book.programming(3, ""):
        bench.path.rename(moved)
        bench.path.mkdir()
    assert len(bench.failures) == 1
    assert total(read_book(moved)).cores[3].unknown == 1


def test_recording_is_played_without_a_trace(tmp_path: Path) -> None:
    keeper: BookKeeper = UnwrittenBook()
    with keeper.programming(3, "") as pulse:
        pulse.again()
        pulse.repeated(1)
    keeper.vectors(3, 1)
    keeper.temperature(30.0)
    keeper.tick()
    keeper.calibrated(CALIBRATION)
    keeper.stopped("complete")
    assert list(tmp_path.iterdir()) == []


def test_digest_tells_weights_and_shapes_apart() -> None:
    # printf '(2, 1)\1\377' | sha256sum
    column = digest_weights(np.array([[1], [-1]], np.int8))
    assert column == "sha256:fdbb1ae7456a53819f7bf9cb4e6078f8a81e19b2c44f51d0669761902a3b0215"
    assert digest_weights(np.array([[1, -1]], np.int8)) != column


def summary_of(calibrated: list[bool]) -> CalibrationFacts:
    return summarize_calibration(
        example_steps.CONCLUSION,
        np.array(calibrated),
        core=0,
        read_mode=ReadMode.ONE_PHASE,
        step="core00_one_phase",
        raw_sha256="ef",
        temperature_c=25.5,
    )


def test_medians_are_those_of_the_calibrated_columns() -> None:
    both = summary_of([True, True, False])
    assert both.columns == 2
    assert (both.median_gain_p, both.median_gain_n, both.median_offset) == (0.375, 0.4375, 0.5)


def test_step_without_a_calibrated_column_has_no_medians(bench: Bench) -> None:
    bench.book.calibrated(summary_of([False, False, False]))
    last = bench.events()[-1]
    assert (last["columns"], last["median_gain_p"], last["median_offset"]) == (0, None, None)
