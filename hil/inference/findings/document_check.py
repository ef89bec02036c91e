"""Whether the JSON document beside an evaluation says what the evaluation does."""

import json
import math
from collections.abc import Collection
from importlib import metadata
from pathlib import Path
from typing import Any

from hil.core.errors import DatasetError
from hil.core.legible import cut_short
from hil.inference.conditions.outcome import Evaluation
from hil.inference.findings.store import JSON_FILE, RESULT_FILE
from hil.inference.findings.summary import summarize_evaluation
from hil_datasets.regular_file import read_regular

_COMPUTE_INTERVALS = ("aimc-hil", "numpy")
_INTERVALS = ("low", "high", "p_value")
"""Another version of these may compute them otherwise."""
_ABSENT = "nothing"
_LONGEST_SHOWN = 60


def check_document(path: Path, found: Evaluation) -> str:
    """Say where the JSON beside an evaluation says something else; nothing if it does not.

    Parameters
    ----------
    path
        The HDF5 file.
    found
        What it holds.
    """
    beside = path.with_name(JSON_FILE)
    if path.name != RESULT_FILE or not beside.exists():
        return ""
    try:
        said = json.loads(read_regular(beside))
        expected = json.loads(json.dumps(summarize_evaluation(found).to_dict()))
    except (DatasetError, ValueError, TypeError, LookupError, RecursionError) as error:
        return f"{JSON_FILE}: cannot be compared: {error}"
    here = {name: metadata.version(name) for name in _COMPUTE_INTERVALS}
    is_same = all(found.software.get(name) == version for name, version in here.items())
    differing = differing_place(said, expected, without=() if is_same else _INTERVALS)
    return f"{JSON_FILE}: {differing}" if differing else ""


def differing_place(said: Any, expected: Any, *, without: Collection[str] = ()) -> str:
    """Say where one JSON document differs from another first; nothing if it does not.

    Parameters
    ----------
    said, expected
        The documents.
    without
        Keys that are not compared.

    Examples
    --------
    >>> differing_place({"a": [1, {"b": 2.5}]}, {"a": [1, {"b": 2}]})
    'a.1.b: says 2.5, the evaluation gives 2'
    """
    if isinstance(said, dict) and isinstance(expected, dict):
        pairs = [
            (key, said.get(key, _ABSENT), expected.get(key, _ABSENT))
            for key in (*expected, *(key for key in said if key not in expected))
            if key not in without
        ]
    elif isinstance(said, list) and isinstance(expected, list) and len(said) == len(expected):
        pairs = [(str(place), *pair) for place, pair in enumerate(zip(said, expected, strict=True))]
    else:
        is_same = said == expected and isinstance(said, bool) == isinstance(expected, bool)
        numbers = [one for one in (said, expected) if isinstance(one, float)]
        if is_same or (len(numbers) == 2 and math.isclose(*numbers, rel_tol=1e-9)):
            return ""
        return f": says {_shown(said)}, the evaluation gives {_shown(expected)}"
    for key, one, other in pairs:
        deeper = differing_place(one, other, without=without)
        if deeper:
            return f"{key}{'' if deeper[0] == ':' else '.'}{deeper}"
    return ""


def _shown(value: Any) -> str:
    return cut_short(str(value), longest=_LONGEST_SHOWN)
