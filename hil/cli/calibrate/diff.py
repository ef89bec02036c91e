"""``hil calibrate diff``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hil.cli.choice_options import choice_of, choice_options
from hil.cli.departed_reader import gives_verdict
from hil.cli.errors import ExitCode, reports_errors

if TYPE_CHECKING:
    from hil.recorded.compare_runs import RunComparison


@click.command()
@click.argument("before", metavar="A", type=click.Path(path_type=Path))
@click.argument("after", metavar="B", type=click.Path(path_type=Path))
@click.option(
    "--sigmas",
    type=click.FloatRange(min=0, min_open=True, max=1000),
    default=5.0,
    show_default=True,
    help="Standard errors beyond which a column has moved.",
)
@choice_options()
@choice_options("A")
@choice_options("B")
@click.option("--any-chip", is_flag=True, help="Compare them although they are of two chips.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON, with the moved columns.")
@click.option(
    "--csv",
    "table_path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write every column to this file.",
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@reports_errors
@gives_verdict
def command(
    before: Path,
    after: Path,
    *,
    sigmas: float,
    any_chip: bool,
    as_json: bool,
    table_path: Path | None,
    force: bool,
    **choices: Any,
) -> None:
    """Compare two calibrations of a chip: which columns moved from A to B, and by how much.

    A and B are runs, as folders or packed files. Exits with 0 if nothing has moved, and with 1 if
    a core has as a whole, or a column has, has lost its correction, or got one. Gains are in
    products per count, offsets in products: whatever the size of an output code. Changes are judged
    by the standard errors of both fits.
    """
    from hil.cli.calibrate.diff_table import columns_csv, comparison_document, print_comparison
    from hil.cli.publish import publish
    from hil.recorded.compare_runs import ComparedSide, compare_runs
    from hil_datasets.opened import open_source

    compared = compare_runs(
        ComparedSide(run=open_source(before), choice=choice_of(choices, "A")),
        ComparedSide(run=open_source(after), choice=choice_of(choices, "B")),
        sigmas=sigmas,
        any_chip=any_chip,
    )
    if table_path is not None:
        publish(columns_csv(compared), table_path, may_replace=force)
    if as_json:
        click.echo(json.dumps(comparison_document(compared), indent=1, allow_nan=False))
    else:
        print_comparison(compared)
    _tell_notes(compared)
    if compared.has_changed:
        raise SystemExit(ExitCode.SOME_FAILED)


def _tell_notes(compared: RunComparison) -> None:
    from hil.core.legible import printable

    for side, keys in (("A", compared.only_before), ("B", compared.only_after)):
        for key in keys:
            click.echo(f"only in {side}: core {key.core} {key.read_mode}", err=True)
    for note in compared.notes:
        click.echo(f"note: {printable(note)}", err=True)
