"""``hil drivers``: plug-ins that are installed, and whether a chip driver keeps its promises."""

import json
from collections.abc import Mapping
from pathlib import Path

import click

from hil.cli.departed_reader import gives_verdict
from hil.cli.errors import ExitCode, reports_errors
from hil.cli.lazy_group import SuggestingGroup
from hil.cli.publish import publish
from hil_drivers.plugins import Plugin, PluginError, PluginGroup, find_plugin, list_plugins


def _default_driver() -> str:
    from hil_drivers.chip_driver import DEFAULT_DRIVER

    return DEFAULT_DRIVER


_STDOUT = "-"


@click.group(cls=SuggestingGroup)
def command() -> None:
    """List chip drivers and other plug-ins; test a driver against its device."""


@command.command("list")
@click.option("--check", "is_checked", is_flag=True, help="Import each, and say what is broken.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@reports_errors
@gives_verdict
def list_command(is_checked: bool, as_json: bool) -> None:  # noqa: FBT001 - click's
    """List the plug-ins of every group; without --check none of them is imported."""
    broken: list[PluginError] = []
    plugins = [
        plugin for group in PluginGroup for plugin in list_plugins(group, on_broken=broken.append)
    ]
    problems: dict[Plugin, str] = {}
    for plugin in plugins if is_checked else []:
        try:
            plugin.load()
        except PluginError as error:
            problems[plugin] = str(error)
    if as_json:
        click.echo(json.dumps([_described(plugin) for plugin in plugins], indent=1))
    else:
        _echo_plugins(plugins, problems if is_checked else None)
    # A distribution that cannot be read is met in every group.
    shown = [] if is_checked and not as_json else problems.values()
    warnings = dict.fromkeys([*map(str, broken), *shown])
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    raise SystemExit(ExitCode.SOME_FAILED if problems else ExitCode.DONE)


@command.command("info")
@click.argument("name")
@click.option(
    "--group",
    type=click.Choice([group.value for group in PluginGroup]),
    default=PluginGroup.CHIPS.value,
    show_default=True,
    help="What it is for.",
)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@reports_errors
def info_command(name: str, group: str, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Import the plug-in NAME, and say what it is and where it comes from."""
    plugin = find_plugin(PluginGroup(group), name)
    found = plugin.load()
    described = _described(plugin)
    for key in ("summary", "resource_form"):
        if hasattr(found, key):
            described[key] = str(getattr(found, key))
    described["api_version"] = str(getattr(found, "api_version", ""))
    if as_json:
        click.echo(json.dumps(described, indent=1))
    else:
        for key, value in described.items():
            click.echo(f"{key.replace('_', ' '):<14}{value}")


@command.command("test")
@click.argument("name", default=_default_driver)
@click.option("--resource", required=True, help="Where the device is; mock://PROFILE starts one.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path),
    metavar="[FILE]",
    is_flag=False,
    flag_value=_STDOUT,
    help="Write a report to FILE; to stdout if FILE is left out, or -.",
)
@click.option("--force", is_flag=True, help="Replace that file if it exists.")
@click.option(
    "--destructive/--no-program",
    "may_program",
    default=None,
    help="Program every core, or none. If neither is given, one core, a few times.",
)
@click.option(
    "--core", type=click.IntRange(min=0), default=0, show_default=True, help="Core to program."
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True, max=3600),
    default=10.0,
    show_default=True,
    help="How long an answer may take, seconds.",
)
@reports_errors
@gives_verdict
def conformance_command(
    *,
    name: str,
    resource: str,
    json_file: Path | None,
    force: bool,
    may_program: bool | None,
    core: int,
    timeout_s: float,
) -> None:
    """Test the chip driver NAME on the device at a resource.

    Every promise that a campaign relies on is tried. The weights of a core are replaced, and its
    devices wear a little, unless --no-program is given.
    """
    from hil.cli.driver_trial import Subject, try_driver

    document = try_driver(
        Subject(
            name=name, resource=resource, may_program=may_program, core=core, timeout_s=timeout_s
        ),
        to_stderr=json_file == Path(_STDOUT),
    )
    text = json.dumps(document, indent=1)
    if json_file == Path(_STDOUT):
        click.echo(text)
    elif json_file is not None:
        publish(text.encode(), json_file, may_replace=force)
    raise SystemExit(ExitCode.DONE if document["passed"] else ExitCode.SOME_FAILED)


def _described(plugin: Plugin) -> dict[str, str]:
    return {
        "group": plugin.group.value,
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "target": plugin.target,
    }


def _echo_plugins(plugins: list[Plugin], problems: Mapping[Plugin, str] | None) -> None:
    """Print them, and what checking them has found where they were checked."""
    for group in PluginGroup:
        of_group = [plugin for plugin in plugins if plugin.group is group]
        click.echo(f"{group}:{'' if of_group else ' none'}")
        for plugin in of_group:
            line = f"  {plugin.name:<18}{plugin.distribution} {plugin.version}"
            if problems is not None:
                line = f"{line:<44}{problems.get(plugin, 'ok')}"
            click.echo(line)
