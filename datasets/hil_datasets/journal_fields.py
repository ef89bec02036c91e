"""What may stand in each event of a journal: a table of its keys, and who reads their values."""

import math
import re
from collections.abc import Callable
from typing import Any

from hil.core.readout import ReadMode
from hil_datasets.step_files.stored_errors import errors_from_json
from hil_datasets.step_kind import StepKind
from hil_datasets.visit_terms import terms_from_json

_SHA256 = re.compile("[0-9a-f]{64}")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"is {value!r}: must be text")  # noqa: TRY004 - one error for what is stored
    value.encode()  # JSON's escapes can make half a character, which nothing prints
    return value


def _texts(value: object) -> list[str]:
    if not isinstance(value, list):
        raise ValueError(f"is {value!r}: must be a list of texts")  # noqa: TRY004
    return [_text(item) for item in value]


def _named_texts(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError(f"is {value!r}: must be an object of texts")  # noqa: TRY004
    return {_text(name): _text(item) for name, item in value.items()}


def _seconds(value: object) -> float:
    if value is None:
        return math.nan
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise ValueError(f"is {value!r}: must be seconds, 0 or more, or null")
    return float(value)


def _counts(value: object) -> dict[str, int]:
    if not isinstance(value, dict) or not all(
        type(count) is int and count >= 0 for count in value.values()
    ):
        raise ValueError(f"is {value!r}: must be an object of numbers, 0 or more")
    return {_text(name): count for name, count in value.items()}


def _number(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"is {value!r}: must be a number, 0 or more")
    return value


def _sources(value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(source, dict) for source in value):
        raise ValueError(f"is {value!r}: must be a list of objects")
    for source in value:
        _text(source.get("journal_sha256"))
        _texts(source.get("steps"))
    return value


def _read_mode(value: object) -> ReadMode:
    return ReadMode(_text(value))


def _kind(value: object) -> StepKind:
    return StepKind(_text(value))


def _sha256(value: object) -> str:
    if not isinstance(value, str) or _SHA256.fullmatch(value) is None:
        raise ValueError(f"is {value!r}: must be a SHA-256, 64 digits of 0-9 and a-f")
    return value


def _named_hashes(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError(f"is {value!r}: must be an object of SHA-256 hashes")  # noqa: TRY004
    return {_text(name): _sha256(item) for name, item in value.items()}


def _yes_or_no(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"is {value!r}: must be true or false")  # noqa: TRY004
    return value


def _refit_options(value: object) -> dict[str, Any]:
    known = {"set", "calibration_vectors"}
    if not isinstance(value, dict) or value.keys() - {"fit"} != known:
        raise ValueError(f"is {value!r}: must be an object of set and calibration_vectors")
    vectors = value["calibration_vectors"]
    vectors = None if vectors is None else _number(vectors)
    fit = {"fit": _text(value["fit"])} if "fit" in value else {}
    return {"set": _texts(value["set"]), "calibration_vectors": vectors} | fit


_BEGINNING: dict[str, Callable[[object], Any]] = {
    "refit_of": _named_hashes,
    "converted_from": _named_hashes,
    "mapping_sha256": _sha256,
    "synthesised": _yes_or_no,
    "options": _refit_options,
    "utc": _text,
    "campaign": _text,
    "campaign_sha256": _text,
    "resolved_sha256": _text,
    "resource": _text,
    "chip": _text,
    "identity": _named_texts,
    "geometry": _counts,
    "software": _named_texts,
    "planned": _texts,
    "visits": terms_from_json,
    "work": _named_texts,
    "instruments": _named_texts,
}
EVENT_FIELDS: dict[str, dict[str, Callable[[object], Any]]] = {
    "start": _BEGINNING | {"title": _text, "replay_of": _named_texts, "replayed_run": _text},
    "resume": _BEGINNING | {"config": _text, "accepted": _texts},
    "program": {
        "utc": _text,
        "core": _number,
        "number": _number,
        "weights": _text,
        "bench_s": _seconds,
        "step": _text,
    },
    "begin": {
        "utc": _text,
        "step": _text,
        "core": _number,
        "vectors": _number,
        "programming": _number,
        "chip_count": _number,
    },
    "step": {
        "utc": _text,
        "core": _number,
        "programming": _number,
        "read_mode": _read_mode,
        "visit": _number,
        "kind": _kind,
        "file": _text,
        "raw_sha256": _text,
        "concluded_sha256": _sha256,
        "facts_sha256": _sha256,
        "errors": errors_from_json,
        "reason": _text,
        "remark": _text,
        "synthesised": _yes_or_no,
    },
    "skip": {
        "utc": _text,
        "step": _text,
        "core": _number,
        "read_mode": _read_mode,
        "visit": _number,
        "kind": _kind,
        "reason": _text,
    },
    "fault": {
        "utc": _text,
        "step": _text,
        "kind": _text,
        "request": _text,
        "detail": _text,
        "recovered_s": _seconds,
    },
    "failure": {"utc": _text, "step": _text, "reason": _text},
    "suspect": {
        "utc": _text,
        "step": _text,
        "first_vector": _number,
        "vectors": _number,
        "reason": _text,
        "file": _text,
        "programming": _number,
    },
    "pause": {"utc": _text, "step": _text, "reason": _text},
    "continue": {"utc": _text, "step": _text},
    "repair": {
        "utc": _text,
        "of": _text,
        "step": _text,
        "state": _text,
        "proof": _text,
        "vectors": _number,
        "vectors_lost": _number,
        "raw_sha256": _text,
        "was_raw_sha256": _text,
        "lines_lost": _number,
        "file": _text,
        "lost": _texts,
    },
    "merge": {"utc": _text, "sources": _sources},
    "split": {
        "utc": _text,
        "by": _text,
        "part": _text,
        "steps": _texts,
        "journal_sha256": _text,
    },
    "stop": {
        "utc": _text,
        "status": _text,
        "reason": _text,
        "failed": _texts,
        "faults": _counts,
    },
}
"""For each known event, the reader of each of its keys; the reader raises ValueError."""
REQUIRED_FIELDS = {"step": ("core", "read_mode", "raw_sha256"), "skip": ("core", "read_mode")}
"""The keys that an event must have: what tells a step from others."""
