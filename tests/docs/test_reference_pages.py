"""The pages name every key, command and exit code that the program has, and no number is stale."""

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


def test_command_line_page_names_every_command_and_option() -> None:
    page = (DOCS / "reference" / "command-line.md").read_text()
    context = click.Context(command_line)
    for name in command_line.list_commands(context):
        command = command_line.get_command(context, name)
        assert command is not None
        leaves = command.commands if isinstance(command, click.Group) else {"": command}
        for leaf, inner in leaves.items():
            assert f"hil {name} {leaf}".rstrip() in page
            for option in inner.params:
                if isinstance(option, click.Option):
                    assert any(form in page for form in option.opts), option.opts


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
