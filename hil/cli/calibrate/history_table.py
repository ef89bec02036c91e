"""What ``hil calibrate history`` prints: tables, JSON, and CSV."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from hil.cli.calibrate.tables import (
    age,
    csv_bytes,
    empty_table,
    percent,
    print_parts,
    real,
    without_nan,
)
from hil.recorded.compare import QUANTITIES, UNITS
from hil.recorded.history_slopes import fit_slopes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from hil.recorded.history import ChipHistory, HistoryPoint
    from hil.recorded.history_slopes import Slope, Slopes

_WORDS = {"gain_p": "gain P", "gain_n": "gain N", "offset": "offset"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryView:
    """What is shown of a history."""

    history: ChipHistory
    """The history."""
    column: int | None
    """Which column; None for medians."""
    fresh_age_s: float
    """How old a core that was just programmed is by its drift law."""

    def show(self) -> None:
        """Print a table for each core and read mode, and how it follows temperature and age."""
        print_parts(self._parts())

    def document(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return _document(self)

    def slopes(self, points: list[HistoryPoint]) -> list[Slopes]:
        """Return how each quantity of a core follows temperature and age."""
        return [
            fit_slopes(points, name, column=self.column, fresh_age_s=self.fresh_age_s)
            for name in QUANTITIES
        ]

    def _parts(self) -> Iterator[Table | str]:
        yield str(self.history.chip)
        for points in self.history.tiles():
            yield _tile_table(points, self.column)
            for slopes in self.slopes(points):
                yield f"{_WORDS[slopes.quantity]}: {_slope_words(slopes)}"
        points = self.history.points
        runs = len({point.run for point in points})
        spread = "spread over the columns" if self.column is None else "the fit's standard error"
        yield f"gain: products per count; offset: products; +-: {spread}"
        yield (
            f"{len(points)} calibration{'s' * (len(points) != 1)} of {runs} run{'s' * (runs != 1)}"
        )
        if self.history.copies:
            yield f"{self.history.copies} more are of the same readouts, and left out"


def _tile_table(points: list[HistoryPoint], column: int | None) -> Table:
    key = points[0].facts.key
    of = "medians over the columns" if column is None else f"column {column}"
    table = empty_table(
        "time", ">at", ">age", ">gain P", ">+-", ">moved", ">gain N", ">+-", ">moved", ">offset",
        ">+-", "step", "run", title=f"core {key.core} {key.read_mode}, {of}",
    )  # fmt: skip
    first = {name: _numbers(points[0], name, column)[0] for name in QUANTITIES}
    for point in points:
        cells = []
        for name in QUANTITIES:
            value, spread = _numbers(point, name, column)
            cells += [real(value), real(spread, ".2g")]
            if name != "offset":
                moved = value / first[name] - 1 if first[name] else math.nan
                cells.append(percent(moved, sign=True))
        table.add_row(
            point.utc[:19].replace("T", " "),
            f"{point.temperature_c:.1f} C",
            age(point.age_s),
            *cells,
            point.facts.key.name,
            str(point.run),
        )
    return table


def _numbers(point: HistoryPoint, name: str, column: int | None) -> tuple[float, float]:
    """Return a value and its spread over the columns, or the error of a column's."""
    if column is None:
        return point.median(name), point.spread(name)
    if column >= len(point.values[name]):
        return math.nan, math.nan
    return float(point.values[name][column]), float(point.errors[name][column])


def _slope_words(slopes: Slopes) -> str:
    is_gain = slopes.quantity != "offset"
    kelvin, log_age = slopes.per_kelvin, slopes.per_log_age
    words = []
    if kelvin is not None:
        of = "counts change by" if is_gain else "changes by"
        words.append(f"{of} {_slope(kelvin, is_gain=is_gain)} a kelvin")
    if log_age is not None:
        of = "counts change by" if is_gain else "changes by"
        ten = math.log(10)
        words.append(f"{of} {_slope(log_age, is_gain=is_gain, times=ten)} a decade of age")
    if slopes.reason:
        words.append(slopes.reason)
    return "; ".join(words)


def _slope(slope: Slope, *, is_gain: bool, times: float = 1.0) -> str:
    value, error = times * slope.value, times * slope.error
    if is_gain:
        return f"{100 * value:+.3f} +- {100 * error:.3f} %"
    return f"{value:+.4g} +- {error:.2g} products"


def _document(view: HistoryView) -> dict[str, Any]:
    history, column = view.history, view.column
    document = {
        "chip": asdict(history.chip),
        "units": UNITS,
        "column": column,
        "fresh_age_s": view.fresh_age_s,
        "calibrations": [
            dict(zip(_headings(column), _row(point, column), strict=True))
            for point in history.points
        ],
        "slopes": [
            {
                "core": points[0].facts.key.core,
                "read_mode": str(points[0].facts.key.read_mode),
                **asdict(slopes),
            }
            for points in history.tiles()
            for slopes in view.slopes(points)
        ],
        "copies": history.copies,
        "runs_of_other_chips": history.runs_of_others,
        "left_out": [
            {"path": str(one.path), "reason": one.reason, "is_problem": one.is_problem}
            for one in history.left_out
        ],
    }
    return without_nan(document)  # type: ignore[no-any-return]


def history_csv(history: ChipHistory, column: int | None) -> bytes:
    """Return a row for each calibration as CSV."""
    rows = (_row(point, column) for point in history.points)
    return csv_bytes(_headings(column), rows)


def _headings(column: int | None) -> list[str]:
    end = "spread" if column is None else "error"
    return [
        "utc", "core", "read_mode", "temperature_c", "age_s", "firmware",
        *(heading for name in QUANTITIES for heading in (name, f"{name}_{end}")),
        "columns", "step", "run", "raw_sha256", "correction_id",
    ]  # fmt: skip


def _row(point: HistoryPoint, column: int | None) -> list[Any]:
    key, facts = point.facts.key, point.facts
    numbers = [value for name in QUANTITIES for value in _numbers(point, name, column)]
    columns = sum(not math.isnan(value) for value in point.values["offset"].tolist())
    return [
        point.utc, key.core, str(key.read_mode), point.temperature_c, point.age_s,
        facts.origin.chip.firmware, *numbers, columns, key.name, str(point.run),
        facts.ids.raw, facts.ids.correction,
    ]  # fmt: skip
