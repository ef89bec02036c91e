"""``hil data tree``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hil.cli.errors import reports_errors
from hil.core.legible import printable


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@reports_errors
def command(*, file: Path) -> None:
    """Show what the HDF5 file FILE holds: names, shapes, types, units; no value is read.

    Links are named and not followed. The file is opened in a process of its own.
    """
    from hil.core.errors import DatasetError, Problem
    from hil_datasets.integrity.guarded_reader import GuardedReader, ReaderEndedError
    from hil_datasets.regular_file import check_regular

    check_regular(file)
    with GuardedReader() as reader:
        try:
            answers = reader.ask("tree", file)
        except ReaderEndedError as error:
            raise DatasetError(str(file), [Problem("", str(error))]) from error
    problems = [answer["error"] for answer in answers if answer.keys() == {"error"}]
    for answer in answers:
        if "path" in answer:
            click.echo(printable(_line(answer)))
        elif "note" in answer:
            click.echo(answer["note"])
        elif "out_of_memory" in answer:
            problems.append("takes more memory than a file of its size can need")
    if problems:
        raise DatasetError(str(file), [Problem("/", problem) for problem in problems])


def _line(answer: dict[str, Any]) -> str:
    path, what = answer["path"], answer["what"]
    indent = "  " * (path.count("/") - (path == "/"))
    name = path if path == "/" else path.rpartition("/")[2]
    match what:
        case "group":
            attributes = ", ".join(answer["attributes"])
            return f"{indent}{name}{'' if path == '/' else '/'}  [{attributes}]"
        case "link":
            return f"{indent}{name} -> {answer['target']} (not followed)"
        case "damaged":
            return f"{indent}{name}  DAMAGED: {answer['error']}"
    axes = " x ".join(
        f"{axis} {size}" if axis else str(size)
        for axis, size in zip(answer["axes"], answer["shape"], strict=True)
    )
    unit = f"  ({answer['unit']})" if answer["unit"] else ""
    virtual = "" if what == "dataset" else f"  {what}"
    return f"{indent}{name}  {answer['dtype']}  {axes or 'one value'}{unit}{virtual}"
