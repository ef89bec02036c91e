"""``--set KEY.PATH=VALUE``, the same on every command that reads a campaign file."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

CommandT = TypeVar("CommandT", bound=Callable[..., Any])


def takes_assignments(command: CommandT) -> CommandT:
    """Give a command the option; its argument is ``assignments``, a tuple of texts."""
    return click.option(
        "--set",
        "assignments",
        metavar="KEY.PATH=VALUE",
        multiple=True,
        help="Set a key, as in --set device.timeout_s=5, over what files and environment say.",
    )(command)
