"""Relative errors as JSON: a number for each correction, ``null`` where none could be computed.

Held-out vectors that all expect 0 have no relative error. It is NaN in memory, and JSON has no NaN.
"""

import math
from collections.abc import Mapping

from hil_datasets.step_files.schema import CORRECTION_NAMES


def errors_to_json(errors: Mapping[str, float]) -> dict[str, float | None]:
    """Return the errors as JSON holds them.

    Examples
    --------
    >>> errors_to_json({"float": 0.5, "nmpu": math.nan})
    {'float': 0.5, 'nmpu': None}
    """
    return {name: None if math.isnan(value) else float(value) for name, value in errors.items()}


def errors_from_json(values: object) -> dict[str, float]:
    """Read what `errors_to_json` returned, after JSON; ``null`` becomes NaN.

    Raises
    ------
    ValueError
        If a correction is missing or unknown, or a value is no number that an error can have.
    """
    if not isinstance(values, dict) or tuple(values) != CORRECTION_NAMES:
        raise ValueError(f"must be an object of {', '.join(CORRECTION_NAMES)}")
    errors = {}
    for name, value in values.items():
        if value is not None and not (type(value) in {int, float} and 0 <= value < math.inf):
            raise ValueError(f"must be an object of numbers or null: {name} is {value!r}")
        errors[name] = math.nan if value is None else float(value)
    return errors


def errors_misfit(found: Mapping[str, float], journaled: Mapping[str, float]) -> str:
    """Say which error of a step is not the one that its journal tells; nothing if none is.

    Parameters
    ----------
    found
        What the step stores.
    journaled
        What the journal tells; empty if it does not.

    Examples
    --------
    >>> errors_misfit({"nmpu": 0.25}, {"nmpu": 0.5})
    "attribute errors: that of nmpu is 0.25, the journal's 0.5"
    >>> errors_misfit({"nmpu": math.nan}, {"nmpu": math.nan})
    ''
    """
    for name, wanted in journaled.items():
        value = found.get(name, math.nan)
        if value != wanted and not (math.isnan(value) and math.isnan(wanted)):
            return f"attribute errors: that of {name} is {value!r}, the journal's {wanted!r}"
    return ""
