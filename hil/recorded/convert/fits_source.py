"""Slopes and intercepts, from arrays or from a CSV file with a line for each column."""

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from hil.core.errors import DatasetError, Problem
from hil.recorded.convert.array_file import read_arrays
from hil.recorded.convert.axes import cut_into_steps
from hil.recorded.convert.fits_table import read_fits_table
from hil.recorded.convert.fitted_lines import FittedLines, fitted_lines
from hil.recorded.convert.mapping import FitsSection, Mapping
from hil.recorded.convert.mapping_check import inner_axes
from hil.recorded.convert.readouts import UnfitError, step_key
from hil.recorded.convert.source_file import PartialKey, SourceFile, match_name
from hil_datasets.step import StepKey


def read_fits(files: Sequence[SourceFile], says: Mapping) -> dict[StepKey, FittedLines]:
    """Return the lines of each step, sorted.

    Raises
    ------
    DatasetError
        If a file is not what the mapping says.
    """
    section = says.fits
    assert section is not None  # noqa: S101 - the form is fits
    steps: dict[StepKey, FittedLines] = {}
    for file in files:
        try:
            by_name = match_name(file.name, section.files, says.read_modes)
            if by_name is None:
                raise UnfitError(f"its name is not of fits.files, {section.files!r}")
            if file.is_table == (section.axes is not None):
                what = (
                    "arrays: leave fits.axes out for CSV"
                    if file.is_table
                    else "CSV: give fits.axes for arrays"
                )
                raise UnfitError(f"is read as {what}")
            found = (
                read_fits_table(file, says) if file.is_table else _from_arrays(file, section, says)
            )
            for inside, lines in found.items():
                step = step_key(by_name.joined(inside), says)
                if step in steps:
                    raise UnfitError(f"{step.name} has fits twice")
                steps[step] = lines
        except DatasetError:
            raise
        except ValueError as error:
            raise DatasetError(str(file.path), [Problem("fits", str(error))]) from error
    columns = {step.name: lines.slope.shape[1] for step, lines in sorted(steps.items())}
    if len(set(columns.values())) > 1:
        shown = ", ".join(f"{name} {count}" for name, count in list(columns.items())[:4])
        raise DatasetError(
            "the files given", [Problem("", f"its steps differ in columns: {shown}")]
        )
    return dict(sorted(steps.items()))


def _from_arrays(
    file: SourceFile, section: FitsSection, says: Mapping
) -> dict[PartialKey, FittedLines]:
    names = {"slope": section.slope, "intercept": section.intercept}
    if section.errors is not None:
        names["errors"] = section.errors
    truth = {section.errors or ""} - {section.slope, section.intercept}
    arrays = read_arrays(file.path, names.values(), truth=truth)
    inner = inner_axes("fits", section.rule)
    parts: dict[str, dict[PartialKey, npt.NDArray[Any]]] = {}
    problems = []
    for what, name in names.items():
        try:
            parts[what] = cut_into_steps(arrays[name], section.axes or [], inner, says)
        except ValueError as error:
            problems.append(Problem(name, str(error)))
    shapes = {name: arrays[name].shape for name in names.values()}
    if not problems and len(set(shapes.values())) > 1:
        shown = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        problems.append(Problem("", f"its arrays differ in shape: {shown}"))
    if problems:
        raise DatasetError(str(file.path), problems)
    return {
        key: fitted_lines(
            slope,
            parts["intercept"][key],
            parts["errors"][key] if "errors" in parts else None,
            rule=section.rule,
            where=str(key),
        )
        for key, slope in parts["slope"].items()
    }
