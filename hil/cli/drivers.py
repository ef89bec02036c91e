"""``hil drivers``: plug-ins that are installed, and whether a chip driver keeps its promises."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
from rich.console import Console

from hil.campaign.bench import MockResource
from hil.cli.errors import ExitCode, reports_errors
from hil.cli.publish import publish
from hil.core.errors import ConfigError, Problem
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.report.conformance import conformance_document, finding_line, verdict
from hil_calibration.nmpu import apply_nmpu
from hil_drivers.chip_driver import DEFAULT_DRIVER, ChipDriver, find_chip_driver
from hil_drivers.conformance.check import Finding
from hil_drivers.conformance.kit import run_checks
from hil_drivers.conformance.workbench import Programming, TestPlan
from hil_drivers.plugins import Plugin, PluginError, PluginGroup, find_plugin, list_plugins
from hil_mock_device.launch import MockProcess

_MOCK = "mock://"
_NARROWEST_PIPE = 160
"""Evidence is one line in a pipe, however long."""


@click.group()
def command() -> None:
    """List chip drivers and other plug-ins; test a driver against its device."""


@command.command("list")
@click.option("--check", "is_checked", is_flag=True, help="Import each, and say what is broken.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@reports_errors
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
@click.argument("name", default=DEFAULT_DRIVER)
@click.option("--resource", required=True, help="Where the device is; mock://PROFILE starts one.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write a report there.")
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
    driver = find_chip_driver(name)
    programming = {
        None: Programming.ONE_CORE,
        True: Programming.EVERY_CORE,
        False: Programming.NOTHING,
    }[may_program]
    with _address(resource, driver, name) as address:
        plan = TestPlan(
            driver=driver,
            resource=address,
            correct=_correct,
            timeout_s=timeout_s,
            core=core,
            programming=programming,
        )
        click.echo(f"testing {name} at {address}; may program {programming.value}", err=True)
        findings = _make_checks(plan)
    click.echo(verdict(findings))
    document = conformance_document(
        findings, driver=name, resource=resource, programming=programming.value
    )
    if json_file is not None:
        publish(json.dumps(document, indent=1).encode(), json_file, may_replace=force)
    raise SystemExit(ExitCode.DONE if document["passed"] else ExitCode.SOME_FAILED)


def _make_checks(plan: TestPlan) -> list[Finding]:
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=_NARROWEST_PIPE)
    findings = []
    for finding in run_checks(plan):
        console.print(finding_line(finding), soft_wrap=not console.is_terminal)
        findings.append(finding)
    return findings


@contextmanager
def _address(resource: str, driver: ChipDriver, name: str) -> Iterator[str]:
    """Give the address of a device; a mock is served for the length of the block."""
    with ExitStack() as stack:
        try:
            if resource.startswith(_MOCK) and name == DEFAULT_DRIVER:
                mock = MockResource.parse(resource)
                arguments = ["--profile", mock.profile]
                if mock.seed is not None:
                    arguments += ["--seed", str(mock.seed)]
                if mock.truth is not None:
                    arguments += ["--truth", mock.truth]
                resource = stack.enter_context(MockProcess(arguments)).resource
            driver.check_resource(resource)
        except ValueError as error:
            raise ConfigError("--resource", [Problem("", str(error))]) from error
        yield resource


def _correct(
    counts: npt.NDArray[np.uint16], fmt: NmpuFormat, registers: NmpuRegisters
) -> npt.NDArray[np.int8]:
    return apply_nmpu(counts[:, 0], counts[:, 1], registers, fmt)


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
