"""``hil nmpu``: the integer model by hand, stage by stage."""

import json
from pathlib import Path
from typing import Any

import click

from hil.cli.errors import ExitCode, reports_errors
from hil.cli.lazy_group import SuggestingGroup
from hil.core.readout import ReadMode

_HIGHEST_COUNT = (1 << 16) - 1


def _check_preset(_: click.Context, __: click.Parameter, name: str | None) -> str | None:
    from hil.core.nmpu_format import PRESETS

    if name is not None and name not in PRESETS:
        raise click.BadParameter(f"{name!r} is not one of {', '.join(PRESETS)}")
    return name


@click.group(cls=SuggestingGroup)
def command() -> None:
    """Show what the NMPU's integer model computes."""


@command.command("presets")
@click.option("--json", "as_json", is_flag=True, help="Print every parameter, as JSON.")
def presets_command(as_json: bool) -> None:  # noqa: FBT001 - click's
    """List the NMPU formats that have a name, and where they differ from the first."""
    from hil.core.nmpu_format import PRESETS

    if as_json:
        click.echo(json.dumps({name: fmt.to_dict() for name, fmt in PRESETS.items()}, indent=1))
        return
    first = next(iter(PRESETS.values())).to_text()
    for name, fmt in PRESETS.items():
        differing = set(fmt.to_text().split(",")) - set(first.split(","))
        click.echo(f"{name:<12}{','.join(sorted(differing)) or first}")


@command.command("trace")
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option("--core", type=click.IntRange(min=0), help="Core of RUN.")
@click.option("--read-mode", type=click.Choice([str(mode) for mode in ReadMode]), help="Of RUN.")
@click.option("--column", type=click.IntRange(min=0), help="Column of RUN.")
@click.option("--first", type=click.IntRange(min=0), help="First vector of RUN; 0.")
@click.option("--vectors", type=click.IntRange(min=1), help="How many of RUN; 4.")
@click.option("--p", type=click.IntRange(0, _HIGHEST_COUNT), multiple=True, help="Count P.")
@click.option("--n", type=click.IntRange(0, _HIGHEST_COUNT), multiple=True, help="Count N.")
@click.option("--scale-p", type=click.IntRange(0, 255), help="Scale code of P.")
@click.option("--scale-n", type=click.IntRange(0, 255), help="Scale code of N.")
@click.option("--offset", type=click.IntRange(-(1 << 15), (1 << 15) - 1), help="Offset code.")
@click.option("--swap", is_flag=True, help="Exchange P and N.")
@click.option(
    "--preset",
    metavar="NAME",
    callback=_check_preset,
    help="Format to start from, one that `hil nmpu presets` names.",
)
@click.option("--format", "parameters", help="NMPU parameters, name=value,name=value.")
@click.option("--relu", is_flag=True, help="Negative outputs become 0.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@reports_errors
def trace_command(run: Path | None, relu: bool, as_json: bool, **given: Any) -> None:  # noqa: FBT001
    """Print every intermediate code of the NMPU.

    For a column of the folder RUN, from its stored counts and registers, or for numbers given
    by hand; --p and --n can be repeated, one pair for each vector.

    Where RUN holds outputs that the device computed itself, they stand below the model's, with !
    behind those that differ; the exit code is then 1.
    """
    from hil.cli.nmpu_trace import trace_given

    trace, saturation = trace_given(run, given, relu=relu)
    if as_json:
        extra = {} if saturation is None else {"saturation": saturation}
        click.echo(json.dumps(trace.to_dict() | extra, indent=1))
    else:
        click.echo(trace.to_text())
        if saturation is not None:
            counted = ", ".join(f"{name} {number}" for name, number in saturation.items())
            click.echo(f"\nclipped or wrapped in the whole step: {counted}")
    if trace.differs.any():
        number = int(trace.differs.sum())
        click.echo(
            f"{number} of the device's outputs above differ from the integer model "
            "(docs/reference/nmpu.md): another rounding, width or merge?",
            err=True,
        )
        raise SystemExit(ExitCode.SOME_FAILED)
