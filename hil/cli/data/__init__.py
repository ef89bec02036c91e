"""``hil data``: looking at what is stored, checking it, and saving what is left of it."""

import importlib

import click

_COMMANDS = {
    "ls": ("hil.cli.data.ls", "List the steps and files of a run."),
    "tree": ("hil.cli.data.tree", "Show what an HDF5 file holds."),
    "verify": ("hil.cli.data.verify", "Find every problem of a run."),
    "repair": ("hil.cli.data.repair", "Save what is left of a damaged run into a new one."),
}
"""Name to module (its attribute ``command``) and one line of help."""


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _ = _COMMANDS[cmd_name]
        command: click.Command = importlib.import_module(module).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


@click.group(name="data", cls=_LazyGroup)
def command() -> None:
    """Look at what is stored, check it, and save what is left of it."""
