"""What one column's coefficients are: register codes, what they are worth, how good they are."""

import math
from typing import Any

from hil.core.correction import ColumnFlag
from hil_datasets.export.aihwkit_format import affine_of
from hil_datasets.export.quality_fields import QUALITY_FIELDS
from hil_datasets.step import StepConclusion
from hil_datasets.step_files.schema import CORRECTION_NAMES

_CODES = ("scale_p", "scale_n", "offset", "swap")


def column_values(conclusion: StepConclusion, column: int) -> dict[str, Any]:
    """Return everything that was concluded about one column, as JSON holds it.

    Parameters
    ----------
    conclusion
        What was concluded of its core.
    column
        Which one, 0 <= column < columns.

    Returns
    -------
    ``codes`` as they are loaded; ``held``, what they are worth, and ``fitted``, what they hold in
    fixed point, with standard errors: gains in output LSB per count, the offset in output LSB;
    ``product``, the former in product units; flags, errors and quality.
    """
    registers, correction = conclusion.registers, conclusion.correction
    of_p, of_n, offset = (float(each[column]) for each in affine_of(registers, conclusion.fmt, 1.0))
    lsb = float(conclusion.output_lsb)
    quality = conclusion.quality
    return {
        "codes": {name: int(getattr(registers, name)[column]) for name in _CODES}
        | {"shift": conclusion.fmt.shift},
        "output_lsb": lsb,
        "held": {"a_p": of_p, "a_n": of_n, "b": offset},
        "fitted": {
            name: _number(getattr(correction, name)[column]) for name in ("a_p", "a_n", "b")
        },
        "standard_errors": {
            name: _number(getattr(conclusion, f"{name}_se")[column]) for name in ("a_p", "a_n", "b")
        },
        "product": {"a_p": of_p * lsb, "a_n": of_n * lsb, "b": offset * lsb},
        "residual_rms": _number(conclusion.residual_rms[column]),
        "r_squared": _number(conclusion.r_squared[column]),
        "saturated_counts": int(conclusion.saturated_counts[column]),
        "flags": ColumnFlag(int(conclusion.flags[column])).names(),
        "errors": {
            name: _number(conclusion.column_rms[place, column])
            for place, name in enumerate(CORRECTION_NAMES)
        },
        "quality": None
        if quality is None
        else {name: _number(getattr(quality, name)[column]) for name in QUALITY_FIELDS},
    }


def _number(value: Any) -> float | None:
    """Return a number; None where it is not known or infinite, as JSON knows neither."""
    number = float(value)
    return number if math.isfinite(number) else None
