"""Straight lines that somebody has fitted to the counts of a step."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.recorded.convert.mapping import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedLines:
    """The lines of one step: ``count = slope * x + intercept``."""

    slope: npt.NDArray[np.float64]
    """Counts per x, shape (polarity, column) by the rule `pair`, (1, column) by the others."""
    intercept: npt.NDArray[np.float64]
    """Counts, of the same shape."""
    has_failed: npt.NDArray[np.bool_]
    """Fits that do not hold, of the same shape."""


def fitted_lines(
    slope: npt.NDArray[Any],
    intercept: npt.NDArray[Any],
    errors: npt.NDArray[Any] | None,
    *,
    rule: Rule,
    where: str,
) -> FittedLines:
    """Return the lines of one step.

    Parameters
    ----------
    slope, intercept, errors
        Shape (polarity, column) by the rule `pair`, (column,) by the others.
    rule
        The rule.
    where
        Which step, for messages.

    Raises
    ------
    ValueError
        If a slope or an intercept is infinite.
    """
    shape = slope.shape if rule is Rule.PAIR else (1, *slope.shape)
    lines = FittedLines(
        slope=slope.reshape(shape).astype(np.float64),
        intercept=intercept.reshape(shape).astype(np.float64),
        has_failed=np.zeros(shape, dtype=np.bool_),
    )
    for name in ("slope", "intercept"):
        values = getattr(lines, name)
        if np.isinf(values).any():
            column = int(np.argwhere(np.isinf(values))[0][1])
            raise ValueError(f"the {name} of {where}, column {column}, is infinite")
        np.logical_or(lines.has_failed, np.isnan(values), out=lines.has_failed)
    if errors is not None:
        wrong = errors.reshape(shape)
        np.logical_or(lines.has_failed, (wrong == 0) | np.isnan(wrong), out=lines.has_failed)
    return lines
