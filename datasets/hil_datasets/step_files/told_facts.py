"""What a step file says of what its conclusions are of, and its hash."""

import json
from collections.abc import Sequence

from hil_datasets.content_id import content_hash
from hil_datasets.step import StepKey, StepOrigin
from hil_datasets.step_conditions import (
    Condition,
    conditions_to_arrays,
    conditions_to_attributes,
)
from hil_datasets.step_files.file import stored_attributes
from hil_datasets.step_files.new_part import origin_attributes
from hil_datasets.step_files.schema import STEP_ATTRIBUTES, AttributeKind

_IS_JSON = {spec.path: spec.kind is AttributeKind.JSON for spec in STEP_ATTRIBUTES}


def facts_sha256(key: StepKey, origin: StepOrigin, conditions: Sequence[Condition]) -> str:
    """Return the hash of what a step says of itself besides its conclusions; the journal holds it.

    What is hashed are the attributes and datasets that a step file of today's version stores of
    these, sorted by path, whichever version holds them. What is not there adds nothing, so that a
    later version can say more and the hashes of earlier steps stay.

    Parameters
    ----------
    key
        Which step.
    origin
        Where its data come from: chip, widths, tile, circumstance, what it was made with.
    conditions
        What the bench instruments were set to, and showed.
    """
    stored = stored_attributes(
        {"core": key.core, "read_mode": str(key.read_mode)}
        | origin_attributes(origin)
        | conditions_to_attributes(conditions)
    )
    values = {path: _text(path, value) for path, value in sorted(stored.items())}
    arrays = {
        path: (array, "<f8") for path, array in sorted(conditions_to_arrays(conditions).items())
    }
    return content_hash("facts", [], values=values, arrays=arrays)


def _text(path: str, value: str | int | float) -> str:
    if isinstance(value, float):
        return value.hex()
    if _IS_JSON[path]:
        value = json.loads(str(value))
    return json.dumps(value, sort_keys=True)


def facts_misfit(found: str, journaled: str) -> str:
    """Say how a step is not of what its journal tells; nothing if it is.

    Parameters
    ----------
    found
        The hash of what it says.
    journaled
        The hash that the journal has; empty in one from before it had any.

    Examples
    --------
    >>> facts_misfit("ab", "")
    ''
    """
    if not journaled or found == journaled:
        return ""
    return (
        "what it says of chip, tile, counters, circumstance, conditions or software was changed: "
        f"facts_sha256 is {found}, the journal's {journaled}"
    )
