"""``hil chip``: the books of the chips that this computer has worked with."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from hil.cli.errors import ExitCode, reports_errors
from hil.cli.lazy_group import SuggestingGroup
from hil.core.legible import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from hil_datasets.chip_book.content import BookContent
    from hil_datasets.chip_book.library import StoredBook

_NARROWEST_PIPE = 140
"""Characters that the tables get where there is no terminal with a width of its own."""

_mock_option = click.option(
    "--mock/--no-mock",
    "with_mock",
    default=True,
    show_default=True,
    help="Count what was done to simulated chips.",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")


@click.group(name="chip", cls=SuggestingGroup)
def command() -> None:
    """Show what was ever done to a chip: programmings, calibrations, exposure."""


@command.command(name="list")
@_json_option
@_mock_option
@reports_errors
def list_command(*, as_json: bool, with_mock: bool) -> None:
    """List every chip that has a book."""
    from hil.report.chip_history import print_books
    from hil_datasets.chip_book.library import list_books
    from hil_datasets.chip_book.place import books_folder, user_data_folder

    folder = books_folder(user_data_folder())
    books = [(book, _asked_for(book.content, with_mock=with_mock)) for book in list_books(folder)]
    shown = [
        (book, content)
        for book, content in books
        if with_mock or content.entries or not book.content.entries
    ]
    if as_json:
        click.echo(json.dumps([_summary(*one) for one in shown], indent=1, allow_nan=False))
    elif shown:
        _print(lambda console: print_books(shown, console))
    else:
        click.echo(f"no chip has a book yet in {folder}")
    _end_with_problems([book for book, _ in shown])


@command.command(name="history")
@click.argument("serial")
@click.option("--manufacturer", help="Which of several chips with this serial number.")
@click.option("--model", help="Which of several chips with this serial number.")
@click.option("--core", type=click.IntRange(min=0), help="Only this core.")
@click.option(
    "--above", "above_c", type=float, metavar="CELSIUS", help="Count the hours above this, too."
)
@_json_option
@_mock_option
@reports_errors
def history_command(
    *,
    serial: str,
    manufacturer: str | None,
    model: str | None,
    core: int | None,
    above_c: float | None,
    as_json: bool,
    with_mock: bool,
) -> None:
    """Print the book of the chip with the serial number SERIAL, and what it adds up to."""
    from hil.report.chip_history import print_history
    from hil_datasets.chip_book.library import find_book
    from hil_datasets.chip_book.place import books_folder, user_data_folder
    from hil_datasets.chip_book.totals import seconds_above

    folder = books_folder(user_data_folder())
    book = find_book(folder, serial, manufacturer=manufacturer, model=model)
    content = _asked_for(book.content, with_mock=with_mock, core=core)
    if as_json:
        document = _summary(book, content)
        if above_c is not None:
            document["above"] = {"celsius": above_c, "seconds": seconds_above(content, above_c)}
        document["entries"] = [
            {"entry": numbered.number, **numbered.entry.model_dump(mode="json")}
            for numbered in content.entries
        ]
        click.echo(json.dumps(document, indent=1, allow_nan=False))
    else:
        _print(lambda console: print_history(book, content, console, above_c=above_c))
        click.echo(f"book: {book.path}")
    _end_with_problems([book])


def _asked_for(content: BookContent, *, with_mock: bool, core: int | None = None) -> BookContent:
    """Return a book without mock chips, and without other cores than one, if that is asked for."""
    from hil_datasets.chip_book.entry import ProgrammingEnded
    from hil_datasets.chip_book.totals import without_mock

    chosen = content if with_mock else without_mock(content)
    if core is None:
        return chosen
    others = {
        numbered.number
        for numbered in chosen.entries
        if getattr(numbered.entry, "core", None) not in {None, core}
    }
    others |= {
        numbered.number
        for numbered in chosen.entries
        if isinstance(numbered.entry, ProgrammingEnded) and numbered.entry.programming in others
    }
    kept = tuple(numbered for numbered in chosen.entries if numbered.number not in others)
    return replace(chosen, entries=kept)


def _summary(book: StoredBook, content: BookContent) -> dict[str, Any]:
    from hil_datasets.chip_book.entry import CampaignStarted
    from hil_datasets.chip_book.totals import total

    key = book.content.key
    sources = {
        str(numbered.entry.source)
        for numbered in content.entries
        if isinstance(numbered.entry, CampaignStarted)
    }
    return {
        **(asdict(key) if key else {"manufacturer": None, "model": None, "serial": None}),
        "file": str(book.path),
        "sources": sorted(sources),
        "last_utc": content.entries[-1].entry.utc if content.entries else None,
        "totals": asdict(total(content)),
        "problems": [str(problem) for problem in book.content.problems],
    }


def _print(draw: Callable[[Console], None]) -> None:
    from hil.cli.output import LegibleConsole

    console = LegibleConsole()
    if not console.is_terminal:
        console = LegibleConsole(width=max(console.width, _NARROWEST_PIPE))
    with console.capture() as captured:
        draw(console)
    click.echo(captured.get(), nl=False)  # not by rich, which ends with 1 on a broken pipe


def _end_with_problems(books: list[StoredBook]) -> None:
    problems = [(book.path, problem) for book in books for problem in book.content.problems]
    for path, problem in problems:
        click.echo(printable(f"warning: {path}: {problem}"), err=True)
    if problems:
        raise SystemExit(ExitCode.DATA)
