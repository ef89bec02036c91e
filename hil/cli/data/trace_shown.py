"""Which coefficient ``hil data trace`` is asked for, and the way back from it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from hil.core.errors import ConfigError, Problem
from hil.core.legible import printable, quoted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hil_datasets.calibration_choice import CalibrationChoice
    from hil_datasets.run_source import RunSource
    from hil_datasets.step import StepKey
    from hil_datasets.trace.links import ColumnTrace
    from hil_datasets.trace.search import RunIds

_MOST_LISTED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedCoefficient:
    """Which coefficient is asked for."""

    core: int | None
    """Its core; None where the step is named."""
    column: int | None
    """Its column."""
    mode: str | None
    """Its read mode; None for each that the core was calibrated in."""
    step: str | None
    """Name of its step; None where the core says it."""
    choice: CalibrationChoice
    """Which calibration of its core and read mode."""

    def check(self) -> None:
        """Raise a usage error unless column, and either core or step, were said."""
        if self.column is None or (self.core is None) == (self.step is None):
            raise click.UsageError(
                "say which coefficient with --core NUMBER --column NUMBER, or with --step NAME "
                "--column NUMBER; or search with --id or --export"
            )

    def keys_in(self, source: RunSource) -> tuple[StepKey, ...]:
        """Return the step of a run that is meant, or that of each read mode.

        Raises
        ------
        ConfigError
            If there is none, or there are several of a read mode; those there are are listed.
        """
        from hil_datasets.calibration_choice import choose_calibrations

        finished = source.finished_steps()
        if self.step is not None:
            named = [key for key in finished if key.name == self.step]
            if named:
                return (named[0],)
            problem = f"has no finished step {quoted(self.step)}; hil data ls lists them"
            raise ConfigError(str(source.path), [Problem("", problem)])
        of_core = [
            key
            for key in finished
            if key.core == self.core and self.mode in {None, str(key.read_mode)}
        ]
        keys = choose_calibrations(source, self.choice, among=of_core).keys
        if not keys:
            raise ConfigError(str(source.path), [Problem("", self._why_none(finished))])
        return keys

    def _why_none(self, finished: Sequence[StepKey]) -> str:
        cores = sorted({key.core for key in finished})
        mode = f" in the read mode {self.mode}" if self.mode else ""
        listed = ", ".join(map(str, cores[:_MOST_LISTED])) or "none"
        more = ", ..." if len(cores) > _MOST_LISTED else ""
        return f"has no calibration of core {self.core}{mode}; it has cores {listed}{more}"


def only_run(paths: Sequence[Path]) -> Path:
    """Return the one run at or below some places.

    Raises
    ------
    ConfigError
        If there are several.
    DatasetError
        If there is none.
    """
    from hil_datasets.found_runs import find_runs

    runs = [run.path for run in find_runs(paths)]
    if len(runs) > 1:
        listed = ", ".join(map(str, runs[:6])) + (", ..." if len(runs) > 6 else "")
        message = f"{len(runs)} runs: give one of them: {listed}; or search with --id or --export"
        raise ConfigError(str(paths[0]), [Problem("", message)])
    return runs[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlaces:
    """Where a way back may go on that leaves the run."""

    runs: Sequence[RunIds]
    """Runs that it may have been made from."""
    folders: Sequence[Path]
    """Folders that the files may be in that it was converted from."""


Chain = tuple["ColumnTrace", ...]
"""The way back from a coefficient: in its run, in the one that this was made from, and so on."""


def find_chains(path: Path, wanted: WantedCoefficient, places: SearchPlaces) -> list[Chain]:
    """Return the way back from a coefficient through all runs, one for each read mode meant."""
    from hil_datasets.opened import open_source
    from hil_datasets.trace.chain import trace_chain

    source = open_source(path)
    column = wanted.column or 0
    return [
        trace_chain(source, key, column, among=places.runs, folders=places.folders)
        for key in wanted.keys_in(source)
    ]


def show_chains(chains: Sequence[Chain], *, as_json: bool) -> bool:
    """Print ways back from a coefficient; return whether every link holds.

    As JSON one is an object; several, of as many read modes, are a list of such objects under the
    key ``read_modes``, beside ``is_whole``.
    """
    from hil.cli.data.trace_words import chains_lines

    is_whole = all(found.is_whole for traces in chains for found in traces)
    if as_json:
        documents = [_chain_document(traces) for traces in chains]
        several = {"is_whole": is_whole, "read_modes": documents}
        document = documents[0] if len(documents) == 1 else several
        click.echo(json.dumps(document, indent=1, allow_nan=False))
    else:
        for line in chains_lines(chains):
            click.echo(printable(line))
    return is_whole


def _chain_document(traces: Chain) -> dict[str, Any]:
    first, *others = map(_document, traces)
    sought = traces[-1].sought
    return first | {
        "is_whole": all(found.is_whole for found in traces),
        "made_from": others,
        "sought": None if sought is None else asdict(sought),
    }


def _document(found: ColumnTrace) -> dict[str, Any]:
    return {
        "run": str(found.run),
        "step": found.key.name,
        "core": found.key.core,
        "read_mode": str(found.key.read_mode),
        "column": found.column,
        "is_whole": found.is_whole,
        "values": found.values,
        "links": [asdict(link) for link in found.links],
    }
