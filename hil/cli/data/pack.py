"""``hil data pack``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hil.cli.errors import reports_errors
from hil.cli.out_option import out_option
from hil.cli.publish import refuse_inside_run
from hil.core.errors import ConfigError, Problem
from hil.core.legible import printable

if TYPE_CHECKING:
    from hil_datasets.packed.compression import Compression
    from hil_datasets.packed.pack import PackReport
    from hil_datasets.packed.trial import CompressionTrial

_WAYS = ("auto", "none", "gzip", "bitshuffle-lz4", "bitshuffle-zstd", "blosc2-zstd", "any")
_NEEDS_PLUG_IN = (
    "readers need hdf5plugin for the readouts: `import hdf5plugin` before plain h5py or xarray, "
    "HDF5_PLUGIN_PATH for HDF5's own tools; --compress gzip needs neither"
)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@out_option("File to write; by custom its name ends in .hil.h5.", metavar="FILE")
@click.option(
    "--compress",
    type=click.Choice(_WAYS),
    default="auto",
    show_default=True,
    help="How readouts are compressed; auto: gzip, where a trial on some MiB of them shrinks; any: "
    "the smallest of all that is quick, plug-ins included.",
)
@click.option(
    "--portable", is_flag=True, help="Refuse what not every HDF5 library reads: plug-ins."
)
@click.option("--without-raw", is_flag=True, help="Leave readouts out; hashes, conclusions stay.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@reports_errors
def command(
    *,
    run: Path,
    output: Path,
    compress: str,
    portable: bool,
    without_raw: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Pack RUN, a folder or a packed file, into one HDF5 file; RUN is only read.

    The file holds all of the run, sealed: `hil` reads it like the folder, other programs plot it,
    and `hil data unpack` makes the folder again. Every hash is compared on the way.
    """
    from rich.progress import MofNCompleteColumn

    from hil.cli.bars import draw_bar
    from hil_datasets.opened import open_source
    from hil_datasets.packed.pack import PackOptions, pack_run

    options = PackOptions(
        compression=_compression(compress, is_portable=portable),
        is_portable=compress != "any",
        has_readouts=not without_raw,
        may_replace=force,
    )
    refuse_inside_run(output)
    source = open_source(run)
    with draw_bar(MofNCompleteColumn()) as bar:
        task = bar.add_task("packing", total=None)
        report = pack_run(
            source,
            output,
            options,
            on_progress=lambda done, of: bar.update(task, completed=done, total=of),
        )
    if as_json:
        click.echo(json.dumps(_document(report, has_readouts=not without_raw), indent=1))
    else:
        _show(report, has_readouts=not without_raw)
    if not (without_raw or report.compression.is_portable):
        click.echo(f"note: {_NEEDS_PLUG_IN}", err=True)


def _compression(name: str, *, is_portable: bool) -> Compression | None:
    from hil_datasets.packed.compression import compression_named, dataset_options

    if name == "auto":
        return None
    if is_portable and (name == "any" or not compression_named(name).is_portable):
        reason = f"is {name}, which needs a plug-in: with --portable it must be none or gzip"
        raise ConfigError("--compress", [Problem("", reason)])
    if name == "any":
        return None
    compression = compression_named(name)
    dataset_options(compression)  # says now what is not installed
    return compression


def _show(report: PackReport, *, has_readouts: bool) -> None:
    if report.trial is not None:
        _show_trial(report.trial)
    for name in report.left_out:
        click.echo(f"not packed: {printable(name)}")
    size = f"{report.file_bytes / 1e6:.1f} MB"
    how = (
        f"{report.readout_bytes / 1e6:.1f} MB of readouts, {report.compression.name}"
        if has_readouts
        else "without readouts"
    )
    click.echo(f"{printable(str(report.path))}: {report.steps} steps, {size} ({how})")


def _document(report: PackReport, *, has_readouts: bool) -> dict[str, Any]:
    tried = () if report.trial is None else report.trial.tried
    return {
        "file": str(report.path),
        "steps": report.steps,
        "has_readouts": has_readouts,
        "readout_bytes": report.readout_bytes,
        "file_bytes": report.file_bytes,
        "compression": report.compression.name,
        "needs_plug_in": not report.compression.is_portable,
        "tried": [
            {
                "compression": one.compression.name,
                "mb_per_s": one.mb_per_s,
                "ratio": one.ratio,
            }
            for one in tried
        ],
        "left_out": list(report.left_out),
    }


def _show_trial(trial: CompressionTrial) -> None:
    click.echo(f"tried on {trial.sample_bytes / 1e6:.1f} MB of the readouts:")
    for one in trial.tried:
        is_chosen = one.compression == trial.chosen
        line = f"  {one.compression.name:<16} {one.mb_per_s:8.0f} MB/s  {one.ratio:6.2f} : 1"
        click.echo(line + ("  chosen" if is_chosen else ""))
    floor = f"{trial.floor_mb_per_s:.0f} MB/s"
    rule = "" if trial.is_portable else f" that is written at {floor} or more"
    click.echo(f"chosen is the smallest{rule}")
    if not trial.has_filters and not trial.is_portable:
        click.echo("bitshuffle and Blosc2 were not tried: pip install 'aimc-hil[compress]'")
