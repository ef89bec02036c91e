"""Under what a step was taken: its kind, its visit, how old the weights were, whose correction."""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from hil_datasets.step_kind import StepKind

T = TypeVar("T")

_HASH = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionSource:
    """The calibration whose correction a step carries."""

    step: str
    """Name of the calibration step."""
    raw_sha256: str
    """Content hash of its readouts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstance:
    """Under what a step was taken.

    Raises
    ------
    ValueError
        If the visit or the age cannot be meant.
    """

    kind: StepKind
    """What the step does."""
    visit: int
    """Number of the visit, from 0."""
    age_s: float = math.nan
    """Seconds since the core was programmed, when the step began; NaN if that is not known."""
    correction_of: CorrectionSource | None = None
    """Whose correction it carries; None if it made its own."""

    def __post_init__(self) -> None:
        if self.visit < 0:
            raise ValueError(f"visit is {self.visit}: must be 0 or more")
        if not (math.isnan(self.age_s) or 0 <= self.age_s < math.inf):
            raise ValueError(f"age_s is {self.age_s}: must be 0 or more and finite, or NaN")


FIRST_CALIBRATION = Circumstance(kind=StepKind.CALIBRATE, visit=0)
"""The circumstance of a step whose file does not say: nothing but calibrations was there."""


def circumstance_to_attributes(circumstance: Circumstance) -> dict[str, Any]:
    """Return the attributes of a step file, by their paths; none if they would say nothing."""
    if (circumstance.kind, circumstance.visit) == (StepKind.CALIBRATE, 0) and (
        math.isnan(circumstance.age_s) and circumstance.correction_of is None
    ):
        return {}
    source = circumstance.correction_of
    return {
        "circumstance/kind": str(circumstance.kind),
        "circumstance/visit": circumstance.visit,
        "circumstance/age_s": circumstance.age_s,
        "circumstance/correction_of": None if source is None else asdict(source),
    }


def circumstance_from_attributes(attributes: Mapping[str, Any]) -> Circumstance:
    """Return what `circumstance_to_attributes` has stored.

    Raises
    ------
    ValueError
        If it cannot be meant; it begins with the name of the attribute.
    """
    if "circumstance/kind" not in attributes:
        return FIRST_CALIBRATION
    kind = _read("kind", lambda: StepKind(attributes["circumstance/kind"]))
    correction_of = _read(
        "correction_of", lambda: _correction_source(attributes["circumstance/correction_of"])
    )
    return Circumstance(
        kind=kind,
        visit=int(attributes["circumstance/visit"]),
        age_s=float(attributes["circumstance/age_s"]),
        correction_of=correction_of,
    )


def _read(name: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"attribute {name}: {error}") from error


def _correction_source(text: str) -> CorrectionSource | None:
    value = json.loads(text)
    if value is None:
        return None
    if (
        not isinstance(value, dict)
        or value.keys() != {"step", "raw_sha256"}
        or not all(isinstance(word, str) for word in value.values())
        or not _HASH.fullmatch(value["raw_sha256"])
    ):
        raise ValueError("must be null, or the name and content hash of a step")
    return CorrectionSource(**value)
