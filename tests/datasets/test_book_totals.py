"""What a book adds up to, by hand."""

from book_samples import (
    begun,
    calibrated,
    content_of,
    ended,
    exposed,
    lines_of,
    started,
    stopped,
)
from hil_datasets.chip_book.content import BookContent, extend_content
from hil_datasets.chip_book.entry import Outcome, Source
from hil_datasets.chip_book.totals import CoreTotals, seconds_above, total, without_mock

LIFE = content_of(
    started(),  # 2
    exposed(None, 60.0),
    begun(3),  # 4
    ended(4),
    begun(3),  # 6
    ended(6, Outcome.FAILED),
    begun(3),  # 8: killed
    begun(0),  # 9
    ended(9, Outcome.UNKNOWN),
    exposed(None, 120.0, hottest_c=31.0),
    exposed(3, 1.5, hottest_c=31.0, vectors=512),
    exposed(3, 0.5, hottest_c=85.5, vectors=256),
    exposed(None, 240.0, hottest_c=85.5),
    calibrated(3),
    stopped(),
    started(),
)


def test_each_core_has_its_own_sums() -> None:
    assert total(LIFE).cores == {
        0: CoreTotals(programmings=1, unknown=1),
        3: CoreTotals(
            programmings=3, failed=1, unknown=1, vectors=768, measured_s=2.0, calibrations=1
        ),
    }
    assert list(total(LIFE).cores) == [0, 3]


def test_chip_has_the_sums_of_its_cores_and_its_own_time() -> None:
    totals = total(LIFE)
    assert (totals.programmings, totals.vectors) == (4, 768)
    assert (totals.campaigns, totals.unfinished) == (2, 1)
    assert (totals.powered_s, totals.hottest_c) == (420.0, 85.5)


def test_time_above_a_temperature_counts_stretches_in_which_more_was_read() -> None:
    assert seconds_above(LIFE, 20.0) == 360.0
    assert seconds_above(LIFE, 31.0) == 240.0
    assert seconds_above(LIFE, 85.5) == 0.0
    assert seconds_above(LIFE, 20.0, core=3) == 2.0
    assert seconds_above(LIFE, 20.0, core=0) == 0.0


def test_book_without_entries_adds_up_to_nothing() -> None:
    totals = total(BookContent())
    assert (totals.programmings, totals.campaigns, totals.hottest_c) == (0, 0, None)
    assert totals.worn(5) == 0


def test_lost_entry_counts_as_a_programming_of_every_core() -> None:
    lines = lines_of([started(), begun(3), begun(3)])
    totals = total(extend_content(BookContent(), b"".join([*lines[:2], b"?\n", lines[3]])))
    assert totals.cores[3].programmings == 1
    assert (totals.worn(3), totals.worn(99)) == (2, 1)


def test_what_mock_chips_did_can_be_left_out() -> None:
    both = content_of(
        started(source=Source.MOCK),  # 2
        begun(0),  # 3
        ended(3),
        exposed(0, 1.0, vectors=7),
        stopped(),
        started(),  # 7
        begun(0, campaign=7),  # 8
        ended(8),
    )
    assert total(both).cores == {0: CoreTotals(programmings=2, vectors=7, measured_s=1.0)}
    assert [numbered.number for numbered in without_mock(both).entries] == [7, 8, 9]
    assert total(without_mock(both)).cores == {0: CoreTotals(programmings=1)}
