"""A group of commands that are imported when they are called, so that help stays quick."""

import importlib
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

import click

from hil.cli.examples import EXAMPLES


class SuggestingGroup(click.Group):
    """A group that names the command which a misspelt one may have been meant to be."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is called; the error for none names one with nearly its name."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from hil.core.hints import did_you_mean

            hint = did_you_mean(str(args[0]), self.list_commands(ctx))
            if not hint or not error.message.startswith("No such command"):
                raise
            # Newer versions of click say so of groups that hold their commands, not of others.
            message = f"{error.message.removesuffix('.')}; {hint}"
            raise click.UsageError(message, ctx) from error


class LazyGroup(SuggestingGroup):
    """A group whose commands are named, and imported one at a time.

    Parameters
    ----------
    lazy
        Name of each command to its module (its attribute ``command``) and one line of help.
    sections
        Heading of each part of the table of commands, and which belong there; all in one if left
        out.
    """

    def __init__(
        self,
        *arguments: Any,
        lazy: Mapping[str, tuple[str, str]],
        sections: Mapping[str, Sequence[str]] | None = None,
        **options: Any,
    ):
        super().__init__(*arguments, **options)
        self._lazy = lazy
        self._sections = sections or {"Commands": tuple(lazy)}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of this name."""
        if cmd_name not in self._lazy:
            return None
        module, _ = self._lazy[cmd_name]
        command: click.Command = importlib.import_module(module).command
        add_examples(command, cmd_name if self.name in {None, "hil"} else f"{self.name} {cmd_name}")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table without importing anything."""
        width = max(len(name) for name in self._lazy)
        for heading, names in self._sections.items():
            with formatter.section(heading):
                # As wide everywhere, for the eye goes down the whole table.
                formatter.write_dl([(f"{name:{width}}", self._lazy[name][1]) for name in names])


class RootGroup(LazyGroup):
    """The command line itself: whatever is wrong with it is told as every other error is."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """Read the options before the command."""
        with _told_alike():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Read the rest and call the command."""
        with _told_alike():
            return super().invoke(ctx)


def add_examples(command: click.Command, words: str) -> None:
    """Put the examples of a command at the end of its help."""
    if words in EXAMPLES and command.epilog is None:
        lines = "".join(f"\n  {line}" for line in EXAMPLES[words])
        command.epilog = f"\b\nExamples:{lines}"


class _ToldAlike(click.ClickException):
    """An error of the command line that begins with ``error:``, not with ``Error:``."""

    def __init__(self, error: click.ClickException) -> None:
        super().__init__(error.message)
        vars(self)["exit_code"] = error.exit_code  # click's type says it is the class's
        self._error = error

    def show(self, file: IO[Any] | None = None) -> None:
        """Print how the command is used, and the error."""
        text = io.StringIO()
        self._error.show(text)
        lines = [
            f"error: {line.removeprefix('Error: ')}" if line.startswith("Error: ") else line
            for line in text.getvalue().splitlines()
        ]
        click.echo("\n".join(lines), file=file, err=file is None)


@contextmanager
def _told_alike() -> Iterator[None]:
    try:
        yield
    except click.ClickException as error:
        # Others print something else altogether, such as the help.
        if type(error).show in {click.UsageError.show, click.ClickException.show}:
            raise _ToldAlike(error) from error
        raise
