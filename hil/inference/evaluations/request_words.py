"""Lists of corrections, treatments and ages, as people write them."""

from collections.abc import Sequence
from enum import StrEnum
from typing import TypeVar

from hil.campaign.config.steps import duration_s
from hil.core.hints import did_you_mean
from hil.core.legible import quoted
from hil.inference.conditions.treatment import Treatment
from hil.inference.corrections.kinds import CorrectionKind

_KindT = TypeVar("_KindT", bound=StrEnum)
MOST_AGES = 20
"""Each is predicted up to fourteen times."""


def corrections_of(words: Sequence[str]) -> tuple[CorrectionKind, ...]:
    """Return corrections by their names, in the order of the table.

    Raises
    ------
    ValueError
        If there is none, or a name is unknown or given twice.

    Examples
    --------
    >>> [str(kind) for kind in corrections_of(["nmpu", "none"])]
    ['none', 'nmpu']
    """
    return _chosen(words, CorrectionKind, "correction")


def treatments_of(words: Sequence[str]) -> tuple[Treatment, ...]:
    """Return treatments of an aged chip by their names, in the order of the table.

    Raises
    ------
    ValueError
        If there is none, or a name is unknown or given twice.

    Examples
    --------
    >>> [str(one) for one in treatments_of(["adabs", "kept"])]
    ['kept', 'adabs']
    """
    return _chosen(words, Treatment, "treatment")


def _chosen(words: Sequence[str], kinds: type[_KindT], noun: str) -> tuple[_KindT, ...]:
    known = [str(kind) for kind in kinds]
    for number, word in enumerate(words):
        if word not in known:
            hint = did_you_mean(word, known)
            listed = ", ".join(known)
            raise ValueError(f"{quoted(word)} is no {noun}: {hint or f'there are {listed}'}")
        if word in words[:number]:
            raise ValueError(f"{quoted(word)} is given twice")
    if not words:
        raise ValueError(f"names no {noun}: there are {', '.join(known)}")
    return tuple(kind for kind in kinds if str(kind) in words)


def ages_of(words: Sequence[str]) -> tuple[float, ...]:
    """Return ages in seconds, ascending, from durations such as ``1h`` and ``30d``.

    Raises
    ------
    ValueError
        If one is no duration from 1 s to 3650 d, or is given twice, or there are too many.

    Examples
    --------
    >>> ages_of(["1d", "1h"])
    (3600.0, 86400.0)
    """
    # Microseconds: 1.1h is 3960s, whatever binary fractions say.
    ages_s = [round(duration_s(word), 6) for word in words]
    for number, age_s in enumerate(ages_s):
        if age_s in ages_s[:number]:
            raise ValueError(f"{quoted(words[number])} is given twice")
    if len(ages_s) > MOST_AGES:
        raise ValueError(f"{len(ages_s)} ages: must be at most {MOST_AGES}")
    return tuple(sorted(ages_s))
