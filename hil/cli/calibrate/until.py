"""``hil calibrate until``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hil.cli.core_options import core_options
from hil.cli.errors import reports_errors
from hil.core.readout import ReadMode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.recorded.validity import Validity


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--error-limit",
    type=click.FloatRange(min=0, max=10, min_open=True),
    help="Largest relative L2 error, 0.14 for 14 %; that of the drift watch if left out.",
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
@core_options
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@reports_errors
def command(
    *,
    run: Path,
    error_limit: float | None,
    fresh_age_s: float,
    cores: tuple[int, ...],
    read_modes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Predict until when the newest calibrations of RUN are good, from its own probes.

    RUN is a folder or packed file with the readouts of a drift watch, or of other probes at several
    ages. For each core and read mode the age is told, since it was programmed, at which the error
    will pass the limit if nothing is done, with its 95 % interval: measure again at the lower end.
    """
    from hil.cli.calibrate.tables import without_nan
    from hil.recorded.refit_plan import RefitSelection
    from hil.recorded.validity import LimitChoice, find_validity
    from hil_datasets.opened import open_source

    found = find_validity(
        open_source(run),
        LimitChoice(error_limit=error_limit, fresh_age_s=fresh_age_s),
        RefitSelection(cores=cores, read_modes=[ReadMode(mode) for mode in read_modes]),
    )
    if as_json:
        document = {"run": str(run), "fresh_age_s": fresh_age_s, "cores": _documents(found)}
        click.echo(json.dumps(without_nan(document), indent=1, allow_nan=False))
    else:
        _show(found)


def _documents(found: Sequence[Validity]) -> list[dict[str, Any]]:
    return [
        {
            "core": each.newest.core,
            "read_mode": str(each.newest.read_mode),
            "calibration": each.newest.name,
            "calibrated_age_s": each.age_s,
            "probes": each.probes,
            "last_age_s": each.last_age_s,
            "last_error": each.last_error,
            "error_limit": each.error_limit,
            "until_s": None if each.until_s is None else each.until_s.value,
            "until_low_s": None if each.until_s is None else each.until_s.low,
            "until_high_s": None if each.until_s is None else each.until_s.high,
            "is_endless": each.until_s is not None and math.isinf(each.until_s.value),
            "reason": each.reason,
        }
        for each in found
    ]


def _show(found: Sequence[Validity]) -> None:
    from hil.cli.calibrate.tables import empty_table, percent, print_parts

    table = empty_table(
        ">core", "read mode", "calibration", ">probes", ">last error", ">at age",
        ">good until", ">lower end", ">upper end",
        title="Age since programming at which the error passes the limit, with its 95 % interval",
    )  # fmt: skip
    for each in found:
        until = each.until_s
        ends = ("not told",) * 3 if until is None else (until.value, until.low, until.high)
        table.add_row(
            str(each.newest.core),
            str(each.newest.read_mode),
            each.newest.name,
            str(each.probes),
            percent(each.last_error),
            _age(each.last_age_s),
            *(end if isinstance(end, str) else _age(end) for end in ends),
        )
    parts: list[Any] = [table]
    parts += [f"{each.newest.name}: {each.reason}" for each in found if each.reason]
    print_parts([*parts, f"limit: {percent(found[0].error_limit)}"])


def _age(seconds: float) -> str:
    from hil.inference.age_words import about

    if math.isnan(seconds):
        return "not known"
    return "never" if math.isinf(seconds) else about(seconds)
