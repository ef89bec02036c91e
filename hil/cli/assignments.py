"""``--set``, ``--chip`` and ``--quiet``: options that are the same on every command with them."""

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


def takes_chip(command: CommandT) -> CommandT:
    """Give a command the option; its argument is ``chip``, None where it is left out."""
    return click.option(
        "--chip", metavar="NAME", help="Which chip, where the campaign names several in [devices]."
    )(command)


def takes_quiet(command: CommandT) -> CommandT:
    """Give a command the option; its argument is ``quiet``."""
    return click.option("--quiet", is_flag=True, help="Show no progress, only warnings.")(command)
