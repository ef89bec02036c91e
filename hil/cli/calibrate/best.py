"""``hil calibrate best``."""

from __future__ import annotations

import json
import os
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hil.cli.core_options import core_options
from hil.cli.departed_reader import gives_verdict
from hil.cli.errors import ExitCode, reports_errors
from hil.core.legible import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from hil.recorded.best import Probe
    from hil.recorded.best_bench import OpenedChip
    from hil.recorded.best_candidates import StoredCalibrations, TileChoice
    from hil.recorded.history_runs import LeftOut
    from hil_datasets.found_runs import FoundRun


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeOptions:
    """Where the probe comes from."""

    campaign: Path | None
    """Campaign file that names the chip."""
    chip: str | None
    """Which chip of it."""
    resource: str | None
    """Resource string of the chip."""
    driver: str
    """Its driver."""
    timeout_s: float
    """How long an answer may take."""
    run: Path | None
    """Stored run whose readouts are the probe."""
    visit: int | None
    """Which visit of it."""
    vectors: int
    """Vectors of each core and read mode."""
    may_program: bool
    """Whether a core may be programmed."""
    trusts_weights: bool
    """Whether a chip that cannot say which weights it holds is believed to hold them."""


@click.command()
@click.argument(
    "campaign", metavar="[CAMPAIGN.toml]", required=False, type=click.Path(path_type=Path)
)
@click.option(
    "--among",
    "among",
    metavar="PATH",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="Run, packed file, or folder with such below it. May be repeated.",
)
@click.option("--chip", metavar="NAME", help="Which chip of a campaign with several.")
@click.option("--resource", metavar="RESOURCE", help="Probe the chip at this resource.")
@click.option(
    "--probe",
    "run",
    metavar="RUN",
    type=click.Path(path_type=Path),
    help="Take the newest readouts of this run as the probe; no device is needed.",
)
@click.option(
    "--probe-visit",
    "visit",
    type=click.IntRange(min=0),
    help="Take those of this visit of --probe.",
)
@click.option(
    "--vectors",
    type=click.IntRange(min=8, max=4096),
    default=64,
    show_default=True,
    help="Vectors to read from each core in each read mode.",
)
@core_options
@click.option(
    "--by",
    "method",
    type=click.Choice(["nmpu", "float"]),
    default="nmpu",
    show_default=True,
    help="Apply the NMPU's registers, or the real-valued correction.",
)
@click.option(
    "--program",
    "may_program",
    is_flag=True,
    help="Program a core that does not hold the weights. This wears it.",
)
@click.option(
    "--trust-weights",
    "trusts_weights",
    is_flag=True,
    help="Believe that a chip which cannot say so holds the newest calibration's weights.",
)
@click.option(
    "--driver", default="aimc-board", show_default=True, help="Driver of the chip at --resource."
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0.01, max=3600),
    default=10.0,
    show_default=True,
    help="How long the chip at --resource may take, seconds.",
)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@reports_errors
@gives_verdict
def command(
    *,
    among: tuple[Path, ...],
    cores: tuple[int, ...],
    read_modes: tuple[str, ...],
    method: str,
    as_json: bool,
    **where: object,
) -> None:
    """Find the stored calibration that fits a chip now, by a short probe.

    A few vectors are read from the chip that CAMPAIGN.toml or --resource names, or taken from a
    stored run (--probe), and every calibration below --among is applied to them. The chip is
    neither programmed, unless --program says so, nor are its registers changed. Exits with 1 if
    for some core nothing applies, or it could not be probed.
    """  # fmt: skip
    from hil.cli.calibrate.best_table import print_rankings, rankings_document
    from hil.core.readout import ReadMode
    from hil.recorded.best import rank_all
    from hil.recorded.best_candidates import TileChoice, collect_candidates
    from hil.recorded.best_probe import require_probes
    from hil.recorded.history_runs import open_each
    from hil_datasets.found_runs import find_runs

    options = ProbeOptions(**where)  # type: ignore[arg-type]
    if sum(each is not None for each in (options.campaign, options.resource, options.run)) != 1:
        raise click.UsageError(
            "say what to probe: CAMPAIGN.toml, --resource or --probe, one of them"
        )
    choice = TileChoice(cores=cores, read_modes=[ReadMode(mode) for mode in read_modes])
    left_out: list[LeftOut] = []
    runs = _probed_first(find_runs(among), options.run)
    stored = collect_candidates(open_each(runs, left_out), choice, left_out)
    probes, reasons = _probes(options, choice, stored)
    for one in stored.left_out:
        word = "warning" if one.is_problem else "note"
        click.echo(printable(f"{word}: {one.path} is left out: {one.reason}"), err=True)
    require_probes(probes, reasons)
    for reason in reasons:
        click.echo(printable(f"warning: {reason}"), err=True)
    rankings, unprobed = rank_all(probes, stored.candidates, method=method)
    if as_json:
        document = rankings_document(rankings, unprobed, method=method)
        click.echo(json.dumps(document, indent=1, allow_nan=False))
    else:
        print_rankings(rankings, unprobed)
    if reasons or not all(ranking.ranked for ranking in rankings):
        raise SystemExit(ExitCode.SOME_FAILED)
    if any(one.is_problem for one in stored.left_out):
        raise SystemExit(ExitCode.DATA)


def _probed_first(runs: Sequence[FoundRun], probed: Path | None) -> list[FoundRun]:
    """Return runs with the probed one first: of copies the first is kept."""
    if probed is None:
        return list(runs)
    real = os.path.realpath(probed)
    return sorted(runs, key=lambda run: os.path.realpath(run.path) != real)


def _probes(
    options: ProbeOptions, choice: TileChoice, stored: StoredCalibrations
) -> tuple[list[Probe], list[str]]:
    """Return the probes, and why cores were not probed."""
    from hil.campaign.runner import utc_now
    from hil.recorded.best_bench import BookedProgrammer
    from hil.recorded.best_probe import ProbeRequest, probe_chip, probes_of_run
    from hil_datasets.opened import open_source

    if options.run is not None:
        run = open_source(options.run)
        return probes_of_run(run, choice, vectors=options.vectors, visit=options.visit), []
    with ExitStack() as stack:
        opened = stack.enter_context(_open(options))
        programmer = stack.enter_context(
            BookedProgrammer(
                opened,
                now=utc_now,
                monotonic=time.monotonic,
                on_failure=lambda reason: click.echo(f"warning: chip's book: {reason}", err=True),
            )
        )
        request = ProbeRequest(
            vectors=options.vectors,
            programs=programmer.program if options.may_program else None,
            trusts_weights=options.trusts_weights,
        )
        return probe_chip(opened.chip, stored, request)


def _open(options: ProbeOptions) -> AbstractContextManager[OpenedChip]:
    from hil.campaign.config.load import load_campaign
    from hil.recorded.best_bench import open_campaigns_chip, open_chip_at

    def on_unsafe(reason: str) -> None:
        click.echo(f"warning: {reason}", err=True)

    if options.campaign is not None:
        return open_campaigns_chip(load_campaign(options.campaign, chip=options.chip), on_unsafe)
    return open_chip_at(
        str(options.resource),
        timeout_s=options.timeout_s,
        driver=options.driver,
        on_unsafe=on_unsafe,
    )
