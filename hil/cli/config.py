"""``hil config``: check a campaign file, show what it says in all, print its form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hil.cli.assignments import takes_assignments, takes_chip
from hil.cli.errors import ExitCode, reports_errors
from hil.cli.lazy_group import SuggestingGroup
from hil.core.errors import ConfigError

if TYPE_CHECKING:
    from hil.campaign.config.load import Campaign
    from hil.core.toml_lines import KeyPath

_CAMPAIGN = click.argument("campaign", type=click.Path(path_type=Path))
_JSON = click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")


@click.group(cls=SuggestingGroup)
def command() -> None:
    """Check and show campaign files; nothing touches a device."""


@command.command("check")
@_CAMPAIGN
@takes_assignments
@_JSON
@reports_errors
def check_command(campaign: Path, assignments: tuple[str, ...], as_json: bool) -> None:  # noqa: FBT001 - click's
    """Look for every problem of the file CAMPAIGN and of what it includes and names."""
    from hil.campaign.chips.campaigns import chip_names, load_chips
    from hil.campaign.config.files import check_files
    from hil.campaign.config.load import load_campaign

    hashes: dict[str, str | None] = {}
    other_kind = ""
    try:
        other_kind = _check_other_kind(campaign, assignments)
        if not other_kind and chip_names(campaign, assignments=assignments):
            several = load_chips(campaign, assignments=assignments)
            hashes = {name: each.resolved_sha256 for name, each in several.items()}
        elif not other_kind:
            loaded = load_campaign(campaign, assignments=assignments)
            check_files(loaded)
            hashes = {"": loaded.resolved_sha256}
    except ConfigError as error:
        if not as_json:
            raise
        click.echo(json.dumps({"is_valid": False, "problems": _described(error)}, indent=1))
        raise SystemExit(ExitCode.CONFIG) from None
    if as_json:
        sha256 = None if other_kind else hashes.get("", hashes)
        found = {"is_valid": True, "problems": [], "resolved_sha256": sha256}
        click.echo(json.dumps(found, indent=1))
        return
    if other_kind:
        click.echo(f"{campaign}: a file for {other_kind}, no problem")
    for name, sha256 in hashes.items():
        of_chip = f"{name}: " if name else ""
        click.echo(f"{campaign}: {of_chip}no problem; resolved SHA-256 {sha256}")


def _check_other_kind(path: Path, assignments: tuple[str, ...]) -> str:
    """Check a file that is for another command than ``hil run``; return which, if it is."""
    from hil.core.errors import Problem
    from hil.core.file_kinds import EVALUATION_TABLE, MAPPING_KEY, is_of_kind
    from hil.core.toml_file import TomlText, read_toml_bytes

    document = TomlText(read_toml_bytes(path), source=str(path)).document
    kinds = {EVALUATION_TABLE: "hil evaluate", MAPPING_KEY: "hil data convert"}
    for key, command_name in kinds.items():
        if is_of_kind(document, key):
            if assignments:
                raise ConfigError("--set", [Problem("", f"a file for {command_name} takes none")])
            check = _check_mapping if key == MAPPING_KEY else _check_evaluation
            check(path)
            return command_name
    return ""


def _check_mapping(path: Path) -> None:
    from hil.recorded.convert.mapping_check import load_mapping

    load_mapping(path)


def _check_evaluation(path: Path) -> None:
    from hil.inference.evaluations.request_file import read_request_file, require_files

    source = f"{path} (a file for hil evaluate)"
    require_files(read_request_file(path, source=source), source=source)


@command.command("show")
@_CAMPAIGN
@click.option("--resolved", "is_resolved", is_flag=True, help="Show defaults as well.")
@takes_chip
@takes_assignments
@_JSON
@reports_errors
def show_command(
    *,
    campaign: Path,
    is_resolved: bool,
    chip: str | None,
    assignments: tuple[str, ...],
    as_json: bool,
) -> None:
    """Print what the file CAMPAIGN says with its includes, the environment and --set.

    As TOML that can be run, with the place that each value is from.
    """
    from hil.campaign.config.load import load_campaign
    from hil.campaign.config.resolved import commented_toml, resolved_document
    from hil.core.toml_file import key_path

    loaded = load_campaign(campaign, assignments=assignments, chip=chip)
    document = resolved_document(loaded.config)
    if not is_resolved:
        document = _given(loaded, document, ())
    if as_json:
        shown = {
            "config": document,
            "origins": {key_path(path): _remark(loaded, path) for path in _keys(document)},
            "file_sha256": loaded.sha256,
            "resolved_sha256": loaded.resolved_sha256,
        }
        click.echo(json.dumps(shown, indent=1))
        return
    click.echo(f"# {campaign}, resolved SHA-256 {loaded.resolved_sha256}")
    click.echo(f"# Relative paths start from {campaign.absolute().parent}")
    click.echo(commented_toml(document, lambda path: _remark(loaded, path)), nl=False)


@command.command("schema")
@click.option("--bench", "is_bench", is_flag=True, help="The form of an included bench file.")
@reports_errors
def schema_command(is_bench: bool) -> None:  # noqa: FBT001 - click's
    """Print the JSON Schema of the campaign file, for editors."""
    from hil.campaign.config.schema import bench_schema, campaign_schema

    schema = bench_schema() if is_bench else campaign_schema()
    click.echo(json.dumps(schema, indent=1))


def _described(error: ConfigError) -> list[dict[str, Any]]:
    return [
        {
            "source": problem.source or error.source,
            "line": problem.line,
            "key": problem.where,
            "message": problem.message,
        }
        for problem in error.problems
    ]


def _remark(campaign: Campaign, path: KeyPath) -> str:
    from hil.campaign.config.resolved import DEFAULT_REMARK

    sources = campaign.sources
    if sources is None or not sources.layers.is_set(path):
        return DEFAULT_REMARK
    place = sources.layers.place_of(path)
    return place.source if place.line is None else f"{place.source}:{place.line}"


def _given(campaign: Campaign, document: dict[str, Any], path: KeyPath) -> dict[str, Any]:
    """Return what somebody has set of a document."""
    given = {}
    for key, value in document.items():
        here = (*path, key)
        if isinstance(value, dict):
            inner = _given(campaign, value, here)
            if inner:
                given[key] = inner
        elif campaign.sources is not None and campaign.sources.layers.is_set(here):
            given[key] = value
    return given


def _keys(document: dict[str, Any], path: KeyPath = ()) -> list[KeyPath]:
    paths: list[KeyPath] = []
    for key, value in document.items():
        here = (*path, key)
        paths += _keys(value, here) if isinstance(value, dict) else [here]
    return paths
