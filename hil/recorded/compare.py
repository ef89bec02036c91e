"""What has changed between two calibrations of a core in one read mode, column by column.

Gains are compared in products per count and offsets in products: one output code is another size in
each calibration. A change is judged by its standard error, that of both fits in quadrature. Where
both fits have seen the same vectors and weights they share part of their errors, and the change is
better known than that: fewer columns than expected pass for moved by chance. Where the weights
differ more do, for what stuck cells do to a fit depends on the weights and is not normal.

A change is told apart into what all columns of the core share (`compare_factor`) and what is a
column's own. A column's own change is ``after - f * before``, with the error of f in its error.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from hil.core.array_types import read_only
from hil.core.errors import ConfigError, Problem
from hil.core.readout import ReadMode
from hil.recorded.compare_factor import CommonFactor, FloatArray, fit_common_factor
from hil_calibration.quality import is_calibrated
from hil_datasets.run_source import StepFacts

QUANTITIES = ("gain_p", "gain_n", "offset")
"""What is compared, in this order."""
_ROUNDED = 1e-9
"""Change of a common factor that rounding can make."""
UNITS = {"gain_p": "product/count", "gain_n": "product/count", "offset": "product"}
"""Unit of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantityChange:
    """How one quantity has changed; arrays of shape (column,)."""

    before: FloatArray
    """In the first calibration, in the unit of `UNITS`."""
    after: FloatArray
    """In the second one."""
    error: FloatArray
    """Standard error of the difference, both fits' in quadrature."""
    sigmas: FloatArray
    """Difference in standard errors; NaN where a column is not compared."""
    factor: CommonFactor
    """What all columns were multiplied with."""
    own_sigmas: FloatArray
    """Difference beyond the common factor in standard errors; likewise."""

    def __post_init__(self) -> None:
        for name in ("before", "after", "error", "sigmas", "own_sigmas"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @property
    def change(self) -> FloatArray:
        """After minus before."""
        return self.after - self.before

    @property
    def relative(self) -> FloatArray:
        """Change relative to the first calibration; NaN where that is 0."""
        safe = np.where(self.before == 0, np.nan, self.before)
        return np.asarray(self.change / safe)


@dataclass(frozen=True, kw_only=True)
class TileComparison:
    """Two calibrations of a core in one read mode, and what has changed."""

    before: StepFacts
    """The first one."""
    after: StepFacts
    """The second one."""
    sigmas: float
    """Standard errors beyond which a column has moved."""
    quantities: dict[str, QuantityChange]
    """The change of each of `QUANTITIES`."""
    is_compared: npt.NDArray[np.bool_]
    """Which columns carry a fitted correction in both, shape (column,)."""
    is_gone: npt.NDArray[np.bool_]
    """Which carried one only in the first, shape (column,)."""
    is_new: npt.NDArray[np.bool_]
    """Which carry one only in the second, shape (column,)."""
    effect_lsb: FloatArray | None = None
    """What the old correction does to the outputs of the new one: rms over readouts, shape
    (column,), in output LSB of the second calibration; None where there are no readouts."""

    @property
    def core(self) -> int:
        """Core number."""
        return self.after.key.core

    @property
    def read_mode(self) -> ReadMode:
        """Read mode."""
        return self.after.key.read_mode

    @cached_property
    def moved(self) -> npt.NDArray[np.bool_]:
        """Which columns have moved: gain P, gain N or offset, shape (column,)."""
        return self._beyond([each.sigmas for each in self.quantities.values()])

    @cached_property
    def moved_itself(self) -> npt.NDArray[np.bool_]:
        """Which have moved beyond what all columns of the core share, shape (column,)."""
        return self._beyond([each.own_sigmas for each in self.quantities.values()])

    @cached_property
    def core_has_moved(self) -> bool:
        """Whether the common factor of the gains is beyond its error: the core moved as a whole."""
        factor = self.quantities["gain_p"].factor
        least = max(self.sigmas * factor.error, _ROUNDED)
        return factor.is_known and abs(factor.value - 1) > least

    @cached_property
    def has_changed(self) -> bool:
        """Whether a column has moved, is gone or is new, or the core has moved as a whole."""
        return self.core_has_moved or bool((self.moved | self.is_gone | self.is_new).any())

    @cached_property
    def flags_changed(self) -> npt.NDArray[np.bool_]:
        """Which columns have other flags, shape (column,)."""
        return np.asarray(self.before.conclusion.flags != self.after.conclusion.flags)

    @cached_property
    def registers_changed(self) -> npt.NDArray[np.bool_]:
        """Which columns have other register codes, shape (column,)."""
        old, new = self.before.conclusion.registers, self.after.conclusion.registers
        names = ("scale_p", "scale_n", "offset", "swap")
        changed = [getattr(old, name) != getattr(new, name) for name in names]
        return np.asarray(np.any(changed, axis=0))

    @property
    def expected_by_chance(self) -> float:
        """How many columns would pass for moved if none had, on normal errors."""
        judged = [np.isfinite(each.sigmas) for each in self.quantities.values()]
        alone = np.sum(judged, axis=0)
        chance = math.erfc(self.sigmas / math.sqrt(2))
        return float(np.sum(1 - (1 - chance) ** alone))

    @property
    def has_same_correction(self) -> bool:
        """Whether both are one correction: equal to the last bit, of the same readouts."""
        return self.before.ids.correction == self.after.ids.correction

    @property
    def has_same_readouts(self) -> bool:
        """Whether both were fitted to the same readouts."""
        return self.before.ids.raw == self.after.ids.raw

    @property
    def has_same_coefficients(self) -> bool:
        """Whether both give the NMPU the same registers and format."""
        old, new = self.before.conclusion, self.after.conclusion
        return old.fmt == new.fmt and not self.registers_changed.any()

    def _beyond(self, sigmas: Sequence[FloatArray]) -> npt.NDArray[np.bool_]:
        largest = np.max([np.nan_to_num(np.abs(each), nan=0.0) for each in sigmas], axis=0)
        return np.asarray(largest > self.sigmas)


def compare_tile(
    before: StepFacts,
    after: StepFacts,
    *,
    sigmas: float,
    counts: npt.NDArray[np.uint16] | None = None,
) -> TileComparison:
    """Compare two calibrations of one core and read mode.

    Parameters
    ----------
    before, after
        The calibrations.
    sigmas
        Standard errors beyond which a column has moved.
    counts
        Readouts (vector, polarity, column) of one of them; None if there are none.

    Raises
    ------
    ConfigError
        If they have not the same number of columns.
    """
    old, new = before.conclusion, after.conclusion
    if len(old.flags) != len(new.flags):
        message = f"has {len(old.flags)} columns there and {len(new.flags)} here"
        raise ConfigError(after.key.name, [Problem("", message)])
    held = is_calibrated(old.flags), is_calibrated(new.flags)
    is_compared = held[0] & held[1]
    return TileComparison(
        before=before,
        after=after,
        sigmas=sigmas,
        quantities=_compare_quantities(before, after, is_compared),
        is_compared=is_compared,
        is_gone=held[0] & ~held[1],
        is_new=held[1] & ~held[0],
        effect_lsb=None if counts is None else _effect_lsb(before, after, counts, is_compared),
    )


def physical(facts: StepFacts) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
    """Return gains and offset in physical units by `QUANTITIES`, and their standard errors."""
    conclusion, lsb = facts.conclusion, facts.conclusion.output_lsb
    correction = conclusion.correction
    values = {"gain_p": correction.a_p, "gain_n": correction.a_n, "offset": correction.b}
    errors = {"gain_p": conclusion.a_p_se, "gain_n": conclusion.a_n_se, "offset": conclusion.b_se}
    return (
        {name: array * lsb for name, array in values.items()},
        {name: array * lsb for name, array in errors.items()},
    )


def _compare_quantities(
    before: StepFacts, after: StepFacts, is_compared: npt.NDArray[np.bool_]
) -> dict[str, QuantityChange]:
    old, old_error = physical(before)
    new, new_error = physical(after)

    def factor_of(*names: str) -> CommonFactor:
        pooled = [
            np.concatenate([part[name][is_compared] for name in names])
            for part in (old, new, old_error, new_error)
        ]
        return fit_common_factor(*pooled)

    # P and N of a core decay and warm up alike; what scales the offsets need not be the same.
    of_gains = factor_of("gain_p", "gain_n")
    factors = {"gain_p": of_gains, "gain_n": of_gains, "offset": factor_of("offset")}
    return {
        name: _change(
            old[name], new[name], old_error[name], new_error[name], factors[name], is_compared
        )
        for name in QUANTITIES
    }


def _change(  # noqa: PLR0917 - two calibrations, each with its errors
    before: FloatArray,
    after: FloatArray,
    before_error: FloatArray,
    after_error: FloatArray,
    factor: CommonFactor,
    is_compared: npt.NDArray[np.bool_],
) -> QuantityChange:
    error = np.hypot(before_error, after_error)
    own_error = np.sqrt(
        after_error**2 + (factor.value * before_error) ** 2 + (factor.error * before) ** 2
    )
    return QuantityChange(
        before=before,
        after=after,
        error=error,
        sigmas=_in_errors(after - before, error, is_compared),
        factor=factor,
        own_sigmas=_in_errors(after - factor.value * before, own_error, is_compared),
    )


def _in_errors(
    change: FloatArray, error: FloatArray, is_compared: npt.NDArray[np.bool_]
) -> FloatArray:
    """Return a change in standard errors: NaN where nothing is compared, or nothing is known.

    Both are 0 where a polarity is silent in both calibrations; if it is in one only, that is a
    change beyond any error.
    """
    is_known = is_compared & np.isfinite(error) & ((error > 0) | (change != 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(is_known, change / error, np.nan)


def _effect_lsb(
    before: StepFacts,
    after: StepFacts,
    counts: npt.NDArray[np.uint16],
    is_compared: npt.NDArray[np.bool_],
) -> FloatArray:
    old, new = before.conclusion, after.conclusion
    scale = old.output_lsb / new.output_lsb
    off = scale * old.correction.apply(counts) - new.correction.apply(counts)
    return np.where(is_compared, np.sqrt(np.mean(off**2, axis=0)), np.nan)
