"""What a plan says of each visit, as the journal keeps it: later plans are held to it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hil_datasets.step_kind import StepKind


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitTerms:
    """What tells one visit of a campaign from another, besides its number."""

    settings: Mapping[str, float]
    """What quantities are set to, by ``INSTRUMENT.QUANTITY``."""
    kinds: tuple[StepKind, ...]
    """What is done with each core and read mode."""
    due_s: float | None = None
    """How old a core has to be, in seconds; None if that does not matter."""


def terms_to_json(visits: Sequence[VisitTerms]) -> list[dict[str, Any]]:
    """Return the visits, by their number, as JSON holds them.

    Examples
    --------
    >>> terms_to_json([VisitTerms(settings={"a.b": 1.0}, kinds=(StepKind.PROBE,), due_s=60.0)])
    [{'settings': {'a.b': 1.0}, 'kinds': ['probe'], 'due_s': 60.0}]
    """
    return [
        {"settings": dict(visit.settings), "kinds": [str(kind) for kind in visit.kinds]}
        | ({} if visit.due_s is None else {"due_s": visit.due_s})
        for visit in visits
    ]


def terms_from_json(values: object) -> tuple[VisitTerms, ...]:
    """Read what `terms_to_json` returned, after JSON.

    Raises
    ------
    ValueError
        If it is not a list of such visits.
    """
    if not isinstance(values, list):
        raise ValueError(f"is {values!r}: must be a list of visits")  # noqa: TRY004 - it is stored
    return tuple(_visit(place, value) for place, value in enumerate(values))


def _visit(place: int, value: object) -> VisitTerms:
    if not isinstance(value, dict) or not {"settings", "kinds"} <= value.keys():
        raise ValueError(f"visit {place} is {value!r}: must be an object of settings and kinds")
    settings, kinds, due_s = value["settings"], value["kinds"], value.get("due_s")
    if not isinstance(settings, dict) or not all(map(_is_number, settings.values())):
        raise ValueError(f"settings of visit {place} are {settings!r}: must be numbers by name")
    if not isinstance(kinds, list):
        raise ValueError(f"kinds of visit {place} are {kinds!r}: must be a list")  # noqa: TRY004
    if due_s is not None and not (_is_number(due_s) and due_s >= 0):
        raise ValueError(f"due_s of visit {place} is {due_s!r}: must be seconds, 0 or more")
    return VisitTerms(
        settings={name: float(number) for name, number in settings.items()},
        kinds=tuple(StepKind(kind) for kind in kinds),
        due_s=None if due_s is None else float(due_s),
    )


def _is_number(value: object) -> bool:
    return type(value) in {int, float} and math.isfinite(value)  # type: ignore[arg-type]
