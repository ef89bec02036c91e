"""What ``hil data trace`` searches for among many runs: an id, or an exported file."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from hil.core.errors import ConfigError, Problem
from hil.core.legible import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hil.cli.data.trace_shown import WantedCoefficient
    from hil_datasets.step import StepKey
    from hil_datasets.trace.export import TileHome
    from hil_datasets.trace.search import FoundId, RunIds

_MOST_LISTED = 12


def show_found(paths: Sequence[Path], prefixes: Sequence[str], *, as_json: bool) -> bool:
    """Print everything whose id begins with some hex digits; return whether all were found."""
    runs = read_runs(paths)
    found = {prefix: _found_of(runs, prefix) for prefix in dict.fromkeys(prefixes)}
    missing = [prefix for prefix, each in found.items() if not each]
    once = dict.fromkeys(each for of_prefix in found.values() for each in of_prefix)
    if as_json:
        documents = [
            {
                "what": each.what,
                "id": each.content_id,
                "run": str(each.run),
                "steps": [key.name for key in each.steps],
            }
            for each in once
        ]
        document = {"runs": len(runs), "found": documents, "missing": missing}
        click.echo(json.dumps(document, indent=1))
        return not missing
    last = None
    for each in once:
        if last != (each.what, each.content_id):
            click.echo(f"{each.what} {each.content_id}")
        last = (each.what, each.content_id)
        click.echo(printable(f"  {each.run}: {_step_words(each.steps)}"))
    for prefix in missing:
        count = f"{len(runs)} run{'' if len(runs) == 1 else 's'}"
        click.echo(f"nothing in {count} has an id that begins with {prefix}")
    return not missing


def _found_of(runs: Sequence[RunIds], prefix: str) -> list[FoundId]:
    """Return what has an id, the same id in several runs one after the other."""
    found = [each for run in runs for each in run.found(prefix)]
    first = {(each.what, each.content_id): place for place, each in reversed([*enumerate(found)])}
    return sorted(found, key=lambda each: first[each.what, each.content_id])


def show_export(
    paths: Sequence[Path],
    exported_path: Path,
    map_path: Path | None,
    wanted: WantedCoefficient,
    *,
    as_json: bool,
) -> bool:
    """Print what an exported file comes from; return whether all of it was found.

    Where a coefficient is asked for, the way back from it follows.
    """
    from hil_datasets.export.recognised import read_exported
    from hil_datasets.export.register_map import load_register_map
    from hil_datasets.trace.export import find_homes
    from hil_datasets.trace.links import LinkState

    map_file = None if map_path is None else load_register_map(map_path)
    is_coefficient = wanted.core is not None or wanted.column is not None
    if is_coefficient and (wanted.core is None or wanted.column is None):
        raise click.UsageError("a coefficient of an exported file is said by --core and --column")
    exported = read_exported(exported_path, map_file=map_file)
    runs = read_runs(paths)
    homes = find_homes(exported, runs)
    if is_coefficient:
        meant = _meant_homes(homes, wanted, exported_path)
        for home in meant:
            if home.state is LinkState.OK:
                _require_one_step(home, exported_path)
            for line in _home_lines(home):
                click.echo(printable(line), err=as_json)
        if any(home.state is not LinkState.OK for home in meant):
            return False
        return _show_ways_back(meant, wanted, paths, runs, as_json=as_json)
    is_whole = all(home.state is LinkState.OK for home in homes)
    _echo_homes(exported_path, exported.coefficients_id, homes, as_json=as_json)
    return is_whole


def read_runs(paths: Sequence[Path], *, may_be_none: bool = False) -> list[RunIds]:
    """Return the ids of all runs at and below some places; what cannot be read is told."""
    from hil_datasets.found_runs import find_runs
    from hil_datasets.trace.search import read_ids

    runs = []
    for run in find_runs(paths, may_be_none=may_be_none):
        ids = read_ids(run.path)
        for damage in ids.damage:
            click.echo(printable(f"warning: {damage}"), err=True)
        runs.append(ids)
    return runs


def _step_words(keys: Sequence[StepKey]) -> str:
    if not keys:
        return "its campaign file"
    if len(keys) > _MOST_LISTED:
        return f"{keys[0].name} ... {keys[-1].name}, {len(keys)} steps"
    return ", ".join(key.name for key in keys)


def _meant_homes(
    homes: Sequence[TileHome], wanted: WantedCoefficient, exported_path: Path
) -> list[TileHome]:
    meant = [
        home for home in homes if home.core == wanted.core and wanted.mode in {None, home.read_mode}
    ]
    if not meant:
        names = ", ".join(home.name for home in homes[:_MOST_LISTED])
        mode = f" {wanted.mode}" if wanted.mode else ""
        message = f"holds no tile of core {wanted.core}{mode}: it holds {names}"
        raise ConfigError(str(exported_path), [Problem("", message)])
    return meant


def _show_ways_back(
    homes: Sequence[TileHome],
    wanted: WantedCoefficient,
    paths: Sequence[Path],
    runs: Sequence[RunIds],
    *,
    as_json: bool,
) -> bool:
    from hil.cli.data.trace_shown import SearchPlaces, find_chains, show_chains

    places = SearchPlaces(runs=runs, folders=paths)
    chains = []
    for home in homes:
        run, key = home.steps[0]
        of_step = replace(wanted, core=None, step=key.name)
        chains += find_chains(run, of_step, places)
    return show_chains(chains, as_json=as_json)


def _require_one_step(home: TileHome, exported_path: Path) -> None:
    """Raise ConfigError where several runs have what a file holds: each has a way back."""
    if len(home.steps) < 2:
        return
    listed = "; ".join(f"{run}: {key.name}" for run, key in home.steps[:_MOST_LISTED])
    more = "; ..." if len(home.steps) > _MOST_LISTED else ""
    message = (
        f"{home.name} is in {len(home.steps)} runs: {listed}{more}; "
        "give the one that is meant as PATHS, in place of the folder that holds them: "
        f"hil data trace {shlex.quote(str(home.steps[0][0]))} --export ..."
    )
    raise ConfigError(str(exported_path), [Problem("", message)])


def _echo_homes(
    exported_path: Path, coefficients_id: str, homes: Sequence[TileHome], *, as_json: bool
) -> None:
    if as_json:
        document: dict[str, Any] = {
            "file": str(exported_path),
            "coefficients_id": coefficients_id,
            "tiles": [
                {
                    "tile": home.name,
                    "id": home.content_id,
                    "state": home.state,
                    "reason": home.reason,
                    "steps": [{"run": str(run), "step": key.name} for run, key in home.steps],
                }
                for home in homes
            ],
        }
        click.echo(json.dumps(document, indent=1))
        return
    if coefficients_id:
        click.echo(f"coefficient set {coefficients_id}")
    for home in homes:
        for line in _home_lines(home):
            click.echo(printable(line))


def _home_lines(home: TileHome) -> list[str]:
    lines = [f"{home.name} {home.content_id}", f"  {home.state}: {home.reason}"]
    return lines + [f"  {run}: {key.name}" for run, key in home.steps]
