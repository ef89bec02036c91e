"""The pages name every key, command and exit code that the program has, and no number is stale."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from hil.campaign.config.sections import CampaignConfig
from hil.cli import command_line
from hil.cli.errors import ExitCode

DOCS = Path(__file__).parents[2] / "docs"


def keys_of(section: str) -> list[str]:
    model = CampaignConfig.model_fields[section].annotation
    assert isinstance(model, type)
    assert issubclass(model, BaseModel)
    return list(model.model_fields)


@pytest.mark.parametrize("section", ["campaign", "device", "vectors", "calibration"])
def test_campaign_file_page_names_every_key(section: str) -> None:
    page = (DOCS / "reference" / "campaign-file.md").read_text()
    part = page.split(f"## `[{section}]`")[1].split("\n## ")[0]
    documented = [line.split("`")[1] for line in part.splitlines() if line.startswith("| `")]
    assert documented == keys_of(section)


def leaves_of(command: click.Command, *path: str) -> Iterator[tuple[str, click.Command]]:
    """Yield every command that is no group, with the words that call it."""
    if not isinstance(command, click.Group):
        yield " ".join(path), command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None
        yield from leaves_of(inner, *path, name)


def forms_of(page: str, name: str) -> str:
    """Return the first cells of the rows about a command, with a blank round every word."""
    cells = re.findall(r"^\| (`hil .*?`) \|", page, re.MULTILINE)
    rows = [cell for cell in cells if cell.startswith((f"`{name} ", f"`{name}`"))]
    assert rows, f"no row of {name}"
    return re.sub(r"[^-\w]+", " ", " ".join(rows)) + " "


@pytest.mark.parametrize(
    ("name", "command"),
    [pytest.param(*each, id=each[0]) for each in leaves_of(command_line, "hil")],
)
def test_command_line_page_names_every_option_of_every_command(
    name: str, command: click.Command
) -> None:
    forms = forms_of((DOCS / "reference" / "command-line.md").read_text(), name)
    missing = [
        option.opts
        for option in command.params
        if isinstance(option, click.Option)
        and not option.hidden
        and not any(f" {form} " in forms for form in (*option.opts, *option.secondary_opts))
    ]
    assert missing == []


def test_command_line_page_names_every_exit_code() -> None:
    page = (DOCS / "reference" / "command-line.md").read_text()
    documented = [
        int(line.split("|")[1]) for line in page.splitlines() if line[:3].strip("| ").isdigit()
    ]
    assert documented == [code.value for code in ExitCode]


def test_every_link_between_pages_leads_somewhere() -> None:
    for page in [DOCS.parent / "README.md", DOCS.parent / "CONTRIBUTING.md", *DOCS.rglob("*.md")]:
        for part in page.read_text().split("](")[1:]:
            target = part.split(")")[0].split("#")[0]
            if target and not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
