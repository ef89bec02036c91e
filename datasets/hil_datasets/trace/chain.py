"""From a column's coefficients through every run that they went through, to the raw counts.

A run that was fitted again or replayed, or was packed without its readouts, names what it was made
from by hashes alone: a run may be moved and renamed. It is found among the runs that are given.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from hil.core.errors import DatasetError
from hil_datasets.opened import open_source
from hil_datasets.run_source import RunSource, StepFacts
from hil_datasets.step import StepKey
from hil_datasets.trace.beginning import checked_recording
from hil_datasets.trace.links import ColumnTrace, SoughtParent
from hil_datasets.trace.search import RunIds
from hil_datasets.trace.walk import trace_column


def trace_chain(
    source: RunSource,
    key: StepKey,
    column: int,
    *,
    among: Sequence[RunIds] = (),
    folders: Sequence[Path] = (),
) -> tuple[ColumnTrace, ...]:
    """Return the way back from a column's coefficients, run by run.

    Parameters
    ----------
    source
        The run.
    key
        The finished step that they are of.
    column
        Which column, 0 <= column < columns.
    among
        Runs that the others are looked for in.
    folders
        Where the files may lie that a run was converted from.

    Returns
    -------
    The trace in the run, then in the one that it was made from, and so on. The last one still seeks
    another run where none of those given is it.

    Raises
    ------
    ConfigError
        If the step has no such column.
    DatasetError
        If the journal cannot be read, or does not call the step finished.
    """
    traces = [trace_column(source, key, column)]
    seen = {os.path.realpath(source.path)}
    while traces[-1].sought is not None:
        found = _parent(traces[-1].sought, key, among, seen)
        if found is None:
            break
        seen.add(os.path.realpath(found.path))
        traces.append(trace_column(found, key, column))
    last = traces[-1]
    links = tuple(checked_recording(link, folders) for link in last.links)
    return (*traces[:-1], replace(last, links=links))


def _parent(
    sought: SoughtParent, key: StepKey, among: Sequence[RunIds], seen: set[str]
) -> RunSource | None:
    # One with the same coefficients first, then where it was then, then one that has readouts.
    known = sorted(
        (
            (
                sought.coefficients_id not in {"", facts.ids.coefficients},
                sought.run != str(path),
                not path.is_dir(),
                place,
            ),
            path,
        )
        for place, (path, facts) in enumerate(_holders(among, key, sought.raw_sha256))
        if os.path.realpath(path) not in seen
    )
    for _, path in known:
        try:
            return open_source(path)
        except DatasetError:
            continue  # it could be opened before; another one may be as good
    return None


def _holders(
    among: Sequence[RunIds], key: StepKey, raw_sha256: str
) -> Iterator[tuple[Path, StepFacts]]:
    for run in among:
        for facts, _ in run.steps:
            if facts.key == key and facts.raw_sha256 == raw_sha256:
                yield run.run, facts
