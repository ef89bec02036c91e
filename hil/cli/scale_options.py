"""``--workers`` and ``--cluster``, the same for every command that spreads its work."""

import os
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from hil.core.legible import printable


def scale_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add both options: the command gets `workers`, 1 if left out, and `cluster`."""
    return _with_options(function, "one if left out", lambda: 1)


def scale_options_every_core(function: Callable[..., None]) -> Callable[..., None]:
    """Add both options to a command that takes every processor core if neither is given."""
    return _with_options(
        function,
        "as many as there are processor cores if left out",
        lambda: len(os.sched_getaffinity(0)),
    )


def tell_waiting(words: str) -> None:
    """Tell that a cluster is waited for: `on_wait` of `open_pool`."""
    click.echo(printable(words), err=True)


def _with_options(
    function: Callable[..., None], if_left_out: str, default: Callable[[], int]
) -> Callable[..., None]:
    @wraps(function)
    def command(*, workers: int | None, cluster: str | None, **others: Any) -> None:
        if workers is not None and cluster is not None:
            raise click.UsageError("--workers and --cluster exclude each other; use one")
        function(workers=workers or default(), cluster=cluster, **others)

    with_cluster = click.option(
        "--cluster",
        metavar="ADDRESS",
        help="Use the workers of this Dask scheduler, as in tcp://scheduler:8786.",
    )(command)
    return click.option(
        "--workers",
        type=click.IntRange(min=1),
        help=f"Processes of this machine; {if_left_out}.",
    )(with_cluster)
