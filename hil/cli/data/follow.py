"""``hil data follow``."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hil.cli.errors import reports_errors
from hil.core.legible import printable

if TYPE_CHECKING:
    from hil_datasets.following.run import FollowedBlock, FollowedNews

_LOOK_FOR_WRITER_EVERY_S = 2.0


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON, an object a line.")
@click.option("--from-start", is_flag=True, help="Begin with what is stored already.")
@reports_errors
def command(*, run: Path, as_json: bool, from_start: bool) -> None:
    """Print a line for each block of readouts that is written to the folder RUN, as it comes.

    Ends when the run does, and at once with Ctrl-C. The run is only read: what writes it is neither
    held up nor disturbed. One that was killed may be resumed: its blocks follow then.
    """
    from hil_datasets.following.run import follow_run

    writer = _Writer(run)
    is_silent = True

    def tell(news: FollowedNews) -> None:
        nonlocal is_silent
        is_silent = False
        if as_json:
            document = {"event": news.event, "step": news.step, "words": news.words}
            click.echo(json.dumps(document))
        else:
            click.echo(f"-- {printable(news.words)}")

    for block in follow_run(run, from_start=from_start, on_news=tell, on_idle=writer.look):
        is_silent = False
        document = _document(block)
        click.echo(json.dumps(document) if as_json else _line(document))
    if is_silent:
        click.echo("the run is over: --from-start shows what it has read", err=True)


class _Writer:
    """Says once, each time, that nobody writes the run any more."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._due_s = time.monotonic() + _LOOK_FOR_WRITER_EVERY_S
        self._was_killed = False

    def look(self) -> None:
        if time.monotonic() < self._due_s:
            return
        from hil.campaign.process_identity import ProcessTable
        from hil.campaign.run_events import RunState
        from hil.campaign.run_status import read_status
        from hil.campaign.runner import utc_now

        self._due_s = time.monotonic() + _LOOK_FOR_WRITER_EVERY_S
        state = read_status(self._run, now=utc_now(), table=ProcessTable()).state
        is_killed = state is RunState.KILLED
        if is_killed and not self._was_killed:
            message = "the process that wrote the run is gone: waiting for hil resume"
            click.echo(message, err=True)
        self._was_killed = is_killed


def _document(block: FollowedBlock) -> dict[str, Any]:
    vectors, took_s = len(block.counts), block.ended_s - block.began_s
    return {
        "step": block.step.name,
        "first_vector": block.first_vector,
        "vectors": vectors,
        "vectors_in_step": block.vectors_in_step,
        "mean_counts": block.counts.mean(axis=(0, 2)).tolist(),
        "began_s": _known(block.began_s),
        "ended_s": _known(block.ended_s),
        "vectors_per_s": vectors / took_s if took_s > 0 else None,
        "is_again": block.is_again,
    }


def _known(time_s: float) -> float | None:
    return None if math.isnan(time_s) else time_s


def _line(document: dict[str, Any]) -> str:
    first, vectors = document["first_vector"], document["vectors"]
    mean_p, mean_n = document["mean_counts"]
    rate = document["vectors_per_s"]
    return (
        f"{document['step']}: vectors {first} to {first + vectors - 1} of "
        f"{document['vectors_in_step']}, mean counts P {mean_p:.1f} N {mean_n:.1f}"
        + ("" if rate is None else f", {rate:,.0f} vectors/s")
        + (", again" if document["is_again"] else "")
    )
