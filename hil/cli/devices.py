"""``hil devices``: what there is to connect to."""

import json
from dataclasses import asdict

import click

from hil.cli.errors import ExitCode, reports_errors
from hil_drivers.discovery.discover import Plan, discover
from hil_drivers.discovery.found_device import Discovery, FoundDevice, Outcome, Search, State
from hil_drivers.serial_address import DEFAULT_BAUD, HIGHEST_BAUD, LOWEST_BAUD

_NO_NETWORK = "a known address needs no discovery: hil doctor TCPIP0::HOST::PORT::SOCKET"


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0.1, max=600),
    default=3.0,
    show_default=True,
    help="Seconds that each search may take, and each answer.",
)
@click.option(
    "--identify/--no-identify",
    default=True,
    show_default=True,
    help="Ask network, USB and GPIB devices once who they are (*IDN?).",
)
@click.option(
    "--identify-serial",
    "serial_to_ask",
    multiple=True,
    metavar="PORT",
    help="Open this serial port, too, and ask what is there. Opening restarts some boards.",
)
@click.option(
    "--baud",
    type=click.IntRange(LOWEST_BAUD, HIGHEST_BAUD),
    default=DEFAULT_BAUD,
    show_default=True,
    help="Bits per second of the serial ports.",
)
@click.option(
    "--backend",
    "backends",
    multiple=True,
    metavar="NAME",
    help="pyvisa's name of a VISA library to list by, such as @py; all installed ones if left out.",
)
@click.option(
    "--interface",
    "interfaces",
    multiple=True,
    metavar="ADDRESS",
    help="Own address on a network to listen on for announcements; all networks if left out.",
)
@reports_errors
def command(
    *,
    as_json: bool,
    timeout_s: float,
    identify: bool,
    serial_to_ask: tuple[str, ...],
    baud: int,
    backends: tuple[str, ...],
    interfaces: tuple[str, ...],
) -> None:
    """List VISA resources, serial ports and devices announced on the network, each once.

    Nothing is opened that was not found, no setting is changed, and serial ports are left alone
    unless they are named. The exit code is 1 if a library named by --backend cannot be used.
    """
    plan = Plan(
        timeout_s=timeout_s,
        identifies=identify,
        serial_to_ask=serial_to_ask,
        baud=baud,
        backends=backends or None,
        interfaces=interfaces or None,
    )
    found = discover(plan)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=1))
    else:
        _echo(found)
    named = {f"VISA ({backend})" for backend in backends}
    if any(search.name in named and search.outcome is Outcome.FAILED for search in found.searches):
        raise SystemExit(ExitCode.SOME_FAILED)


def _echo(found: Discovery) -> None:
    for device in found.devices:
        click.echo("\n".join(_lines(device)))
    if not found.devices:
        click.echo("no devices found")
    _echo_searches(found)
    if not any(device.resource.upper().startswith("TCPIP") for device in found.devices):
        click.echo(_NO_NETWORK, err=True)


def _lines(device: FoundDevice) -> list[str]:
    if device.state is State.IDENTIFIED:
        what = f"identified: {device.identity}"
    else:
        what = f"{device.state}: {device.detail}" if device.detail else str(device.state)
    lines = [device.resource or "(no resource string)", f"    {what}"]
    if device.description:
        lines.append(f"    {device.description}")
    lines += [f"    also {resource}" for resource in device.also]
    return lines


def _echo_searches(found: Discovery) -> None:
    click.echo("", err=True)
    for search in found.searches:
        count = sum(search.name in device.found_by for device in found.devices)
        click.echo(_search_line(search, count), err=True)


def _search_line(search: Search, count: int) -> str:
    detail = f" ({search.detail})" if search.detail else ""
    return f"looked for {search.name}: {search.outcome}, {count} found{detail}"
