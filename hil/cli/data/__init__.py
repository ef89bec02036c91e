"""``hil data``: looking at what is stored, checking it, and saving what is left of it."""

import click

from hil.cli.lazy_group import LazyGroup

_COMMANDS = {
    "ls": ("hil.cli.data.ls", "List the steps and files of a run."),
    "info": ("hil.cli.data.info", "Show what a run takes on the disk, and its ids."),
    "tree": ("hil.cli.data.tree", "Show what an HDF5 file holds."),
    "trace": ("hil.cli.data.trace", "Show what a coefficient was made from, every link checked."),
    "verify": ("hil.cli.data.verify", "Find every problem of a run."),
    "follow": ("hil.cli.data.follow", "Print readouts as a running campaign writes them."),
    "convert": ("hil.cli.data.convert", "Make a run of CSV or NPZ recordings, by a mapping file."),
    "pack": ("hil.cli.data.pack", "Pack a run into one file."),
    "unpack": ("hil.cli.data.unpack", "Make a run's folder again from a packed file."),
    "repair": ("hil.cli.data.repair", "Save what is left of a damaged run into a new one."),
    "merge": ("hil.cli.data.merge", "Make one run of several of one chip."),
    "split": ("hil.cli.data.split", "Make several runs of one, by core, read mode or visit."),
}
"""Name to module (its attribute ``command``) and one line of help."""


@click.group(name="data", cls=LazyGroup, lazy=_COMMANDS)
def command() -> None:
    """Look at what is stored, check it, and save what is left of it."""
