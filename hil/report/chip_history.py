"""The book of a chip as tables: what happened to it, what that adds up to, how its gains moved."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hil.core.legible import printable
from hil_datasets.chip_book.content import BookContent, NumberedEntry
from hil_datasets.chip_book.entry import (
    BookOpened,
    Calibrated,
    CampaignStarted,
    CampaignStopped,
    Exposure,
    ProgrammingBegun,
    ProgrammingEnded,
)
from hil_datasets.chip_book.library import StoredBook
from hil_datasets.chip_book.totals import BookTotals, endings, seconds_above, total

_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One thing that happened, in words."""

    utc: str
    """When."""
    event: str
    """What."""
    core: int | None
    """Where; None for the chip as a whole."""
    detail: str
    """What else there is to say."""


def history_rows(content: BookContent) -> Iterator[HistoryRow]:
    """Yield what a book tells, with each programming in one row, and each stretch of exposure."""
    ends = endings(content.entries)
    exposures: list[Exposure] = []
    for numbered in content.entries:
        if isinstance(numbered.entry, Exposure):
            exposures.append(numbered.entry)
        elif not isinstance(numbered.entry, ProgrammingEnded):
            yield from _exposure_rows(exposures)
            exposures = []
            yield _row(numbered, ends.get(numbered.number))
    yield from _exposure_rows(exposures)


def _row(numbered: NumberedEntry, end: ProgrammingEnded | None) -> HistoryRow:
    match numbered.entry:
        case CampaignStarted() as entry:
            verb = "resumed" if entry.is_resumed else "began"
            detail = f"{entry.title}, {entry.source}, {entry.run}"
            return HistoryRow(entry.utc, f"campaign {verb}", None, detail)
        case CampaignStopped() as entry:
            detail = f"{entry.status}: {entry.reason}" if entry.reason else entry.status
            return HistoryRow(entry.utc, "campaign ended", None, detail)
        case ProgrammingBegun() as entry:
            return HistoryRow(entry.utc, "programmed", entry.core, _ending(entry, end))
        case Calibrated() as entry:
            error = entry.errors.get("nmpu")
            detail = f"{entry.step}, NMPU error {_percent(error)}, {_degrees(entry.temperature_c)}"
            return HistoryRow(entry.utc, "calibrated", entry.core, detail)
        case BookOpened() | ProgrammingEnded() | Exposure():  # pragma: no cover - not asked for
            raise TypeError(f"no row is made of {numbered.entry!r}")


def _ending(entry: ProgrammingBegun, end: ProgrammingEnded | None) -> str:
    weights = entry.digest.removeprefix("sha256:")[:12]
    if end is None:
        return f"unknown: it was begun, nothing says how it ended (weights {weights})"
    reason = f": {end.reason}" if end.reason else ""
    return f"{end.outcome}{reason} (weights {weights})"


def _exposure_rows(exposures: Sequence[Exposure]) -> Iterator[HistoryRow]:
    cores = sorted({entry.core for entry in exposures}, key=lambda core: (core is not None, core))
    for core in cores:
        mine = [entry for entry in exposures if entry.core == core]
        vectors = sum(entry.vectors for entry in mine)
        hours = f"{sum(entry.seconds for entry in mine) / _HOUR_S:.2f} h"
        hottest = max((one.hottest_c for one in mine if one.hottest_c is not None), default=None)
        warm = f", up to {_degrees(hottest)}" if hottest is not None else ""
        event = "powered" if core is None else "measured"
        amount = hours if core is None else f"{vectors} vectors"
        yield HistoryRow(mine[-1].utc, event, core, amount + warm)


def print_history(
    book: StoredBook, content: BookContent, console: Console, *, above_c: float | None
) -> None:
    """Print a book.

    Parameters
    ----------
    book
        The book as it is stored.
    content
        What of it is asked for.
    console
        Where to.
    above_c
        Temperature above which hours are counted; None not to.
    """
    console.print(Text(str(book.content.key or book.path.name), style="bold"))
    table = _table("time", "event", ">core", "detail")
    for row in history_rows(content):
        core = "" if row.core is None else str(row.core)
        table.add_row(printable(row.utc), row.event, core, Text(printable(row.detail)))
    console.print(table)
    totals = total(content)
    console.print(_totals_table(totals))
    for line in _total_lines(content, totals, above_c):
        console.print(Text(line))
    if any(isinstance(numbered.entry, Calibrated) for numbered in content.entries):
        console.print(_calibration_table(content))


def _totals_table(totals: BookTotals) -> Table:
    table = _table(
        ">core", ">programmed", ">failed", ">unknown", ">vectors", ">read, h", ">calibrations"
    )
    for number, core in totals.cores.items():
        table.add_row(
            str(number),
            str(core.programmings),
            str(core.failed),
            str(core.unknown),
            str(core.vectors),
            f"{core.measured_s / _HOUR_S:.2f}",
            str(core.calibrations),
        )
    return table


def _total_lines(content: BookContent, totals: BookTotals, above_c: float | None) -> Iterator[str]:
    yield (
        f"{totals.campaigns} campaigns, {totals.unfinished} of them unfinished; "
        f"{totals.powered_s / _HOUR_S:.2f} h powered, hottest {_degrees(totals.hottest_c)}"
    )
    if above_c is not None:
        hours = seconds_above(content, above_c) / _HOUR_S
        yield f"{hours:.2f} h above {_degrees(above_c)}"
    if totals.lost_entries:
        yield (
            f"{totals.lost_entries} entries are damaged or missing: each counts as a programming "
            "of every core where wear is limited"
        )


def _calibration_table(content: BookContent) -> Table:
    """Return the medians of each calibration, and how far the gain of P moved since the first."""
    table = _table(
        "time", ">core", "read mode", ">gain P", ">gain N", ">offset", ">gain P moved", ">at"
    )
    table.title = "Medians over the calibrated columns, in products per count and products"
    table.title_justify = "left"
    first: dict[tuple[int, str], float] = {}
    for numbered in content.entries:
        entry = numbered.entry
        if not isinstance(entry, Calibrated):
            continue
        # One output code is another size in each calibration; products are not.
        gain_p, gain_n, offset = (
            None if value is None or entry.output_lsb is None else value * entry.output_lsb
            for value in (entry.median_gain_p, entry.median_gain_n, entry.median_offset)
        )
        if gain_p:
            first.setdefault((entry.core, entry.read_mode), gain_p)
        reference = first.get((entry.core, entry.read_mode))
        moved = f"{100 * (gain_p / reference - 1):+.2f} %" if gain_p and reference else "n/a"
        table.add_row(
            printable(entry.utc),
            str(entry.core),
            str(entry.read_mode),
            *(_real(value) for value in (gain_p, gain_n, offset)),
            moved,
            _degrees(entry.temperature_c),
        )
    return table


def print_books(books: Iterable[tuple[StoredBook, BookContent]], console: Console) -> None:
    """Print a line for each chip."""
    table = _table(
        "serial", "chip", "last used", ">campaigns", ">programmed", ">vectors", ">powered, h"
    )
    for book, content in books:
        totals, key = total(content), book.content.key
        most = max((core.programmings for core in totals.cores.values()), default=0)
        table.add_row(
            Text(printable(key.serial if key else book.path.name)),
            Text(printable(f"{key.manufacturer} {key.model}" if key else "unknown")),
            printable(content.entries[-1].entry.utc) if content.entries else "",
            str(totals.campaigns),
            str(most),
            str(totals.vectors),
            f"{totals.powered_s / _HOUR_S:.2f}",
        )
    table.caption = "programmed: the core that was programmed most"
    table.caption_justify = "left"
    console.print(table)


def _table(*headings: str) -> Table:
    """Return an empty table; a heading that begins with > stands to the right."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for heading in headings:
        is_right = heading.startswith(">")
        table.add_column(
            heading.removeprefix(">"),
            justify="right" if is_right else "left",
            overflow="fold",
        )
    return table


def _degrees(celsius: float | None) -> str:
    return "n/a" if celsius is None else f"{celsius:.1f} C"


def _percent(share: float | None) -> str:
    return "n/a" if share is None else f"{100 * share:.2f} %"


def _real(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4g}"
