"""``-o`` and ``--out`` of commands that were once told ``--output``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

_OLD = "--output"


class _OutOption(click.Option):
    """An option whose old name still works, and is not shown."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the line of the help without the old name."""
        record = super().get_help_record(ctx)
        return record and (record[0].replace(f", {_OLD}", ""), record[1])


def out_option(
    help_text: str, *, metavar: str
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the option; the command gets ``output``."""
    return click.option(
        "-o",
        "--out",
        _OLD,
        "output",
        cls=_OutOption,
        type=click.Path(path_type=Path),
        required=True,
        metavar=metavar,
        help=help_text,
    )
