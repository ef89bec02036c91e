"""``--core`` and ``--read-mode``: some of the cores and read modes of a run or chip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hil.core.readout import ReadMode

if TYPE_CHECKING:
    from collections.abc import Callable


def core_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options: the command gets ``cores`` and ``read_modes``, empty where left out."""
    function = click.option(
        "--read-mode",
        "read_modes",
        type=click.Choice([str(mode) for mode in ReadMode]),
        multiple=True,
        help="Only this read mode. May be repeated.",
    )(function)
    return click.option(
        "--core",
        "cores",
        type=click.IntRange(min=0),
        multiple=True,
        help="Only this core. May be repeated.",
    )(function)
