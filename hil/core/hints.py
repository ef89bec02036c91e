"""Hints for words that are nearly right."""

import difflib
from collections.abc import Sequence

_LONGEST_WORD = 200
_ENDS_OF_RANGE = (
    ("lower", "lowest", "min", "minimum", "low"),
    ("upper", "highest", "max", "maximum", "high"),
)
"""Words for the two ends of a range."""
_SUMS = {"scale_bits": ("scale_int", "scale_frac")}
"""Numbers that people name, to the keys that they are the sum of."""


def same_meaning(word: str, known: Sequence[str]) -> str:
    """Return the hint for what is called otherwise here: an end of a range, or a sum of keys.

    Examples
    --------
    >>> same_meaning("scale_bits", ["scale_int", "scale_frac", "off_bits"])
    'it is scale_int + scale_frac: set these'
    """
    parts = _SUMS.get(word.lower(), ())
    if parts and all(part in known for part in parts):
        return f"it is {' + '.join(parts)}: set these"
    for words in _ENDS_OF_RANGE:
        here = [each for each in words if each in known]
        if word.lower() in words and here:
            return f"did you mean {here[0]!r}?"
    return ""


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return the hint for a word that is none of those known; empty if none is close.

    Examples
    --------
    >>> did_you_mean("four-phase", ["one_phase", "four_phase"])
    "did you mean 'four_phase'?"
    """
    close = difflib.get_close_matches(word[:_LONGEST_WORD].lower(), known, n=1)
    return f"did you mean {close[0]!r}?" if close else ""
