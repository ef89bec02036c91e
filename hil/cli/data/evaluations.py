"""What ``hil data info``, ``verify`` and ``trace`` say of the result of ``hil evaluate``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from hil.cli.errors import ExitCode
from hil.core.errors import ConfigError, DatasetError, Problem
from hil.core.legible import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def only_evaluations(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Return the files of evaluations; nothing if no path is one.

    Raises
    ------
    ConfigError
        If only some are.
    DatasetError
        If one has not finished, or cannot be read.
    """
    from hil.inference.findings.stored_evaluation import find_evaluation

    files = [find_evaluation(path) for path in paths]
    found = tuple(file for file in files if file is not None)
    if found and len(found) < len(files):
        other = next(path for path, file in zip(paths, files, strict=True) if file is None)
        message = f"is no evaluation, and {found[0]} is one: take them one command after the other"
        raise ConfigError(str(other), [Problem("", message)])
    return found


def verify_evaluations(files: Sequence[Path], *, as_json: bool) -> ExitCode:
    """Recompute ids and hashes of every evaluation from what it holds, and say what is wrong."""
    worst = ExitCode.DONE
    documents = []
    for file in files:
        code, document = _verified(file)
        worst = max(worst, code)
        documents.append(document)
        if as_json:
            continue
        for note in document["notes"]:
            click.echo(printable(f"note: {note}"))
        for problem in document["problems"]:
            click.echo(printable(problem))
        what = "whole" if document["is_whole"] else "not whole"
        count = document["conditions"]
        size = f"{count} condition{'' if count == 1 else 's'}"
        click.echo(printable(f"{file}: {what} (an evaluation, {size})"))
    if as_json:
        click.echo(json.dumps(documents[0] if len(documents) == 1 else documents, indent=1))
    return worst


def _verified(file: Path) -> tuple[ExitCode, dict[str, Any]]:
    from hil.inference.findings.document_check import check_document
    from hil.inference.findings.stored_evaluation import check_evaluation

    document: dict[str, Any] = {"evaluation": str(file), "conditions": 0}
    try:
        checked = check_evaluation(file)
    except DatasetError as error:
        problems = [str(error)]
        return ExitCode.DATA, document | {"is_whole": False, "problems": problems, "notes": []}
    found, problems = checked.evaluation, list(checked.problems)
    # What was changed, or of an older version, is nothing to compare with.
    if not problems and not checked.notes and (differing := check_document(file, found)):
        problems.append(differing)
    code = ExitCode.SOME_FAILED if problems else ExitCode.DONE
    return code, document | {
        "conditions": len(found.results),
        "is_whole": not problems,
        "problems": problems,
        "notes": list(checked.notes),
    }


def trace_evaluation(file: Path, among: Sequence[Path], *, as_json: bool) -> bool:
    """Find the run that an evaluation was made with; return whether it is there.

    Raises
    ------
    ConfigError
        If it was made with no run, or nobody said where runs are.
    DatasetError
        If it was changed since it was written.
    """
    from hil.cli.data.trace_found import show_found
    from hil.inference.findings.stored_evaluation import check_evaluation

    checked = check_evaluation(file)
    if checked.problems:
        raise DatasetError(str(file), [Problem("", one) for one in checked.problems])
    found = checked.evaluation
    # A chip that began with stored coefficients is told by those, whoever multiplied.
    is_stored = "coefficients_set_id" in found.identity
    set_id = found.identity.get("coefficients_set_id" if is_stored else "run_coefficient_set_id")
    if set_id is None:
        message = f"was made with no run, but with {found.chip}: hil data info shows its identity"
        raise ConfigError(str(file), [Problem("", message)])
    run = found.identity.get("coefficients_run" if is_stored else "run", "")
    if not among:
        message = f"was made with the run {run}: say with --among where that is"
        raise ConfigError(str(file), [Problem("", message)])
    words = f"evaluation {found.id} was made with the run {run}, its set of coefficients {set_id}"
    click.echo(printable(words), err=as_json)
    return show_found(among, (set_id,), as_json=as_json)
