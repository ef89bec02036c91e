"""``hil init``: a first campaign file, from a few questions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hil.cli.errors import reports_errors
from hil.cli.publish import publish
from hil.core.errors import ConfigError, Problem

if TYPE_CHECKING:
    from hil.campaign.new_campaign import Answers


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.replace(",", " ").split() if word)


def _core_numbers(text: str) -> tuple[int, ...]:
    words = _words(text)
    if words == ("all",):
        return ()
    if not words or not all(word.isdecimal() and len(word) < 10 for word in words):
        raise ConfigError("answer", [Problem("campaign.cores", "must be all, or as in 0, 1, 2")])
    return tuple(map(int, words))


_QUESTIONS: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
    ("resource", "Device (mock://quickstart, TCPIP0::HOST::PORT::SOCKET, ...)", str.strip),
    ("title", "Title", str.strip),
    ("read_modes", "Read modes", _words),
    ("cores", "Cores (all, or numbers)", _core_numbers),
    ("out", "Output folder", str.strip),
)
"""Which answer, its question, and how the text becomes the answer."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path), default="campaign.toml")
@click.option("--yes", "takes_defaults", is_flag=True, help="Ask nothing; take every default.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@reports_errors
def command(file: Path, *, takes_defaults: bool, force: bool) -> None:
    """Ask a few questions and write a commented campaign file FILE (campaign.toml).

    Answers may come through a pipe, one a line; an empty one is the default.
    """
    from hil.campaign.new_campaign import Answers

    if file.exists() and not force:  # before anybody has answered anything
        raise ConfigError(str(file), [Problem("", "exists; use --force to replace it")])
    answers = Answers()
    for name, question, read in [] if takes_defaults else _QUESTIONS:
        answers = _ask(answers, name, question, read)
    publish(answers.to_toml().encode(), file, may_replace=force)
    click.echo(f"{file} written; next: hil config check {file}, then hil run {file}")


def _ask(answers: Answers, name: str, question: str, read: Callable[[str], Any]) -> Answers:
    default = getattr(answers, name)
    label, _, _ = question.partition(" (")
    shown = default if isinstance(default, str) else ", ".join(map(str, default)) or "all"
    while True:
        # Through a pipe nobody's return key ends the line.
        click.echo(f"{question} [{shown}]: ", nl=not sys.stdin.isatty(), err=True)
        text = sys.stdin.readline()
        if not text:
            message = "no answer: the input has ended; --yes takes every default"
            raise ConfigError(_asked(label), [Problem("", message)])
        if not text.strip():
            return answers
        try:
            answered = replace(answers, **{name: read(text)})
            answered.to_toml()
        except ConfigError as error:
            if not sys.stdin.isatty():  # what follows in a pipe answers another question
                raise _refusal(label, error) from error
            click.echo(str(_refusal(label, error)), err=True)
        else:
            return answered


def _asked(label: str) -> str:
    return f"answer to {label!r}"


def _refusal(label: str, error: ConfigError) -> ConfigError:
    return ConfigError(_asked(label), [Problem("", problem.message) for problem in error.problems])
