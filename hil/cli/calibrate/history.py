"""``hil calibrate history``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hil.cli.errors import ExitCode, reports_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hil.recorded.history import ChipHistory, HistoryChoice
    from hil.recorded.history_runs import LeftOut


@click.command()
@click.argument("serial")
@click.option(
    "--root",
    "roots",
    metavar="FOLDER",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Look for runs and packed files here and below; the current folder if left out.",
)
@click.option(
    "--book/--no-book",
    "with_book",
    default=None,
    help="Look where the chip's book says that its runs are, too; the default without --root.",
)
@click.option("--manufacturer", help="Which of several chips with this serial number.")
@click.option("--model", help="Which of several chips with this serial number.")
@click.option("--core", type=click.IntRange(min=0), help="Only this core.")
@click.option(
    "--read-mode", type=click.Choice(["one_phase", "four_phase"]), help="Only this read mode."
)
@click.option(
    "--column", type=click.IntRange(min=0), help="This column of --core, instead of medians."
)
@click.option(
    "--fresh-age",
    "fresh_age_s",
    metavar="SECONDS",
    type=click.FloatRange(min=0, max=1e9),
    default=0.0,
    show_default=True,
    help="How old a core just programmed is by its drift law; the mock's is 300.",
)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.option(
    "--csv",
    "table_path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write a row for each calibration to this file.",
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@reports_errors
def command(
    serial: str,
    *,
    roots: tuple[Path, ...],
    with_book: bool | None,
    manufacturer: str | None,
    model: str | None,
    core: int | None,
    read_mode: str | None,
    column: int | None,
    fresh_age_s: float,
    as_json: bool,
    table_path: Path | None,
    force: bool,
) -> None:
    """Show gain and offset of the chip SERIAL over its calibrations, by temperature and age.

    Runs are looked for below each --root; without, in the current folder and where the chip's book
    says. Each core's medians and spread
    over its columns are shown, or one column, and how they follow temperature and the time since
    programming. What cannot be read is named and left out; the exit code is then 5.
    """
    from hil.cli.calibrate.history_table import HistoryView, history_csv
    from hil.cli.publish import publish
    from hil.core.readout import ReadMode
    from hil.recorded.history import HistoryChoice

    if column is not None and core is None:
        raise click.UsageError("--column needs --core: say the column of which core")
    choice = HistoryChoice(
        serial=serial,
        manufacturer=manufacturer,
        model=model,
        core=core,
        read_mode=None if read_mode is None else ReadMode(read_mode),
    )
    # Whoever says where to look means that and no other place.
    asks_book = not roots if with_book is None else with_book
    history = _collect(choice, roots, with_book=asks_book)
    _check_column(history, column)
    if table_path is not None:
        publish(history_csv(history, column), table_path, may_replace=force)
    view = HistoryView(history=history, column=column, fresh_age_s=fresh_age_s)
    if as_json:
        click.echo(json.dumps(view.document(), indent=1, allow_nan=False))
    else:
        view.show()
    _tell_left_out(history.left_out)


def _collect(choice: HistoryChoice, roots: Iterable[Path], *, with_book: bool) -> ChipHistory:
    from hil.recorded.history import collect_history
    from hil.recorded.history_runs import open_each, runs_in_books
    from hil_datasets.chip_book.place import books_folder, user_data_folder
    from hil_datasets.found_runs import find_runs

    left_out: list[LeftOut] = []
    named: list[Path] = []
    if with_book:
        named, left_out = runs_in_books(books_folder(user_data_folder()), choice.serial)
    runs = find_runs([*(roots or [Path()]), *named], may_be_none=not roots)
    return collect_history(open_each(runs, left_out), choice, left_out)


def _check_column(history: ChipHistory, column: int | None) -> None:
    from hil.core.errors import ConfigError, Problem

    if column is None:
        return
    columns = max(len(point.values["offset"]) for point in history.points)
    if column >= columns:
        message = f"{column}: the core has columns 0 to {columns - 1}"
        raise ConfigError("--column", [Problem("", message)])


def _tell_left_out(left_out: Sequence[LeftOut]) -> None:
    from hil.core.legible import printable
    from hil.recorded.history import MOST_LEFT_OUT_SHOWN

    for one in left_out[:MOST_LEFT_OUT_SHOWN]:
        word = "warning" if one.is_problem else "note"
        click.echo(printable(f"{word}: {one.path} is left out: {one.reason}"), err=True)
    more = len(left_out) - MOST_LEFT_OUT_SHOWN
    if more > 0:
        click.echo(f"warning: {more} more are left out: --json names all of them", err=True)
    if any(one.is_problem for one in left_out):
        raise SystemExit(ExitCode.DATA)
