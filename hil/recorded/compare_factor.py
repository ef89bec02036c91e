"""The factor that a core's columns share between two calibrations.

A core that decays, or warms up, takes all its columns along; a damaged column goes its own way.
The common factor f is that of ``after = f * before``, over all columns, by Huber's weights: most
columns follow it, a few that do not must not pull it. Its standard error is that of the scatter
that is there (the "sandwich"): it holds too where columns differ by more than their errors.

Source: P. J. Huber, "Robust Statistics", 1981, chapters 3 and 7.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_HUBER = 1.345
"""Residual, in its own scatter, from which a number counts less: 95 % efficient if normal."""
_ROUNDS = 30
"""Rounds of re-weighting; with one unknown the weights settle in fewer."""
_FEWEST = 8
"""Numbers without which no factor is told: too few columns to say which one is the odd one."""
_TO_SIGMA = 1.4826
"""From the median magnitude of normal deviations to their standard deviation."""
_KNOWN = 5.0
"""Standard errors by which a number has to differ from 0 to tell anything of a factor."""
_LOOSEST = 0.5
"""Relative standard error of a factor that tells nothing any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonFactor:
    """What a quantity of all columns was multiplied with."""

    value: float
    """The factor; 1 where it is not known."""
    error: float
    """Its standard error; 0 where it is not known."""
    numbers: int
    """How many numbers it comes from; 0 where it is not known."""

    @property
    def is_known(self) -> bool:
        """Whether there were numbers enough."""
        return self.numbers > 0


UNKNOWN_FACTOR = CommonFactor(value=1.0, error=0.0, numbers=0)


def fit_common_factor(
    before: FloatArray, after: FloatArray, before_error: FloatArray, after_error: FloatArray
) -> CommonFactor:
    """Fit the factor between two calibrations.

    Parameters
    ----------
    before, after
        A quantity of all columns, any shape, in one unit.
    before_error, after_error
        Standard errors.

    Returns
    -------
    The factor; not known where fewer than 8 numbers differ clearly from 0 in both.
    """
    is_known = (before * after != 0) & np.isfinite(before_error) & np.isfinite(after_error)
    is_known &= np.abs(before) > _KNOWN * before_error
    is_known &= np.abs(after) > _KNOWN * after_error
    if is_known.sum() < _FEWEST:
        return UNKNOWN_FACTOR
    old, new = before[is_known], after[is_known]
    old_error, new_error = before_error[is_known], after_error[is_known]
    factor = float(np.median(new / old))
    weights = np.zeros_like(old)
    for _ in range(_ROUNDS):
        error = np.maximum(np.hypot(new_error, factor * old_error), 1e-12 * np.abs(new))
        misfit = np.abs(new - factor * old) / error
        # Columns may differ by more than their errors; the few that stand out of that count less.
        misfit /= max(1.0, _TO_SIGMA * float(np.median(misfit)))
        weights = _HUBER / np.maximum(misfit, _HUBER) / error**2
        factor = float((weights * old * new).sum() / (weights * old**2).sum())
    residual = weights * old * (new - factor * old)
    spread = float(np.sqrt((residual**2).sum()) / (weights * old**2).sum())
    if not factor > 0 or spread > _LOOSEST * factor:
        return UNKNOWN_FACTOR
    return CommonFactor(value=factor, error=spread, numbers=int(is_known.sum()))
