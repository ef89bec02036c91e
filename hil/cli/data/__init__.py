"""``hil data``: looking at what is stored, checking it, and saving what is left of it."""

import click

from hil.cli.lazy_group import LazyGroup

_COMMANDS = {
    "ls": ("hil.cli.data.ls", "List the steps and files of a run."),
    "tree": ("hil.cli.data.tree", "Show what an HDF5 file holds."),
    "verify": ("hil.cli.data.verify", "Find every problem of a run."),
    "repair": ("hil.cli.data.repair", "Save what is left of a damaged run into a new one."),
}
"""Name to module (its attribute ``command``) and one line of help."""


@click.group(name="data", cls=LazyGroup, lazy=_COMMANDS)
def command() -> None:
    """Look at what is stored, check it, and save what is left of it."""
