"""``hil calibrate apply``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hil.cli.core_options import core_options
from hil.cli.errors import reports_errors
from hil.cli.out_option import out_option
from hil.cli.publish import refuse_inside_run
from hil.core.errors import ConfigError, Problem
from hil.core.legible import quoted
from hil.core.readout import ReadMode

if TYPE_CHECKING:
    from hil.recorded.apply_file import CorrectedStep

_SUFFIXES = (".h5", ".hdf5", ".npz")
_OUTPUTS = ("nmpu", "float", "fp16")


def _read_outputs(_: click.Context, __: click.Parameter, text: str | None) -> tuple[str, ...]:
    names = () if text is None else tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in _OUTPUTS:
            message = f"{quoted(name)} must be one of {', '.join(_OUTPUTS)}, with commas between"
            raise click.BadParameter(message)
    return names


@click.command()
@click.argument("path", metavar="RUN", type=click.Path(path_type=Path))
@out_option("File to write.", metavar="FILE")
@click.option(
    "--correction",
    metavar="SOURCE",
    type=click.Path(path_type=Path),
    help="Another run, a packed file, or an exported JSON, NPZ or HDF5 file; RUN's own if left "
    "out.",
)
@click.option(
    "--visit",
    type=click.IntRange(min=0),
    help="Visit whose calibrations of SOURCE are meant, where it has several.",
)
@core_options
@click.option(
    "--what",
    metavar="NAMES",
    callback=_read_outputs,
    help="Some of nmpu,float,fp16; all that the correction knows if left out.",
)
@click.option(
    "--format",
    "chosen_format",
    type=click.Choice(["hdf5", "npz"]),
    help="Format of the file; by its name if left out: .npz, or .h5 or .hdf5.",
)
@click.option("--force", is_flag=True, help="Replace a file that exists.")
@reports_errors
def command(
    *,
    path: Path,
    output: Path,
    correction: Path | None,
    visit: int | None,
    cores: tuple[int, ...],
    read_modes: tuple[str, ...],
    what: tuple[str, ...],
    chosen_format: str | None,
    force: bool,
) -> None:
    """Correct the stored counts of RUN, a folder or packed file: outputs of every step and vector.

    Each step's readouts go through its own correction, or through that of SOURCE. Beside the
    outputs are the expected ones, and the ids of readouts and coefficients.
    """
    from hil.recorded.apply import Output, apply_to_run
    from hil.recorded.apply_file import write_corrected_hdf5, write_corrected_npz
    from hil.recorded.apply_source import read_corrections, selected_steps
    from hil_datasets.opened import open_source
    from hil_datasets.packed.new_file import check_free

    if visit is not None and correction is None:
        raise click.UsageError("--visit says which calibrations of --correction are meant")
    is_npz = _is_npz(output, chosen_format)
    refuse_inside_run(output)
    check_free(output, may_replace=force)
    run = open_source(path)
    keys = selected_steps(run, cores=cores, read_modes=[ReadMode(mode) for mode in read_modes])
    others = None if correction is None else read_corrections(correction, visit=visit)
    steps = apply_to_run(
        run,
        keys,
        others=others,
        outputs=[Output(name) for name in what] or None,
        on_left_out=lambda words: click.echo(f"note: {words}", err=True),
    )
    write = write_corrected_npz if is_npz else write_corrected_hdf5
    _echo(write(output, steps, may_replace=force), output)


def _is_npz(output: Path, chosen_format: str | None) -> bool:
    """Return whether the file becomes an .npz, HDF5 otherwise."""
    if chosen_format is not None:
        return chosen_format == "npz"
    suffix = output.suffix.lower()
    if suffix not in _SUFFIXES:
        names = ", ".join(_SUFFIXES)
        message = f"its name must end in {names}; or say with --format hdf5 or npz what it is to be"
        raise ConfigError(str(output), [Problem("", message)])
    return suffix == ".npz"


def _echo(steps: list[CorrectedStep], output: Path) -> None:
    vectors = sum(step.vectors for step in steps)
    names = ", ".join(steps[0].outputs)
    click.echo(f"{len(steps)} step{'' if len(steps) == 1 else 's'}, {vectors} vectors: {names}")
    click.echo(f"corrected outputs: {output}")
