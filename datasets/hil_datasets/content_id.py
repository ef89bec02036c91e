"""Ids of what was concluded: content hashes, each of which names its parents.

A raw block, a correction made from it and the register codes made from that are three links of a
chain. The id of each is the SHA-256 of what it holds and of the id of the one before, so that
whoever has the last holds proof of the first. Nothing of time, place or machine is in an id:
the same readouts, fitted the same way, have the same ids everywhere.

The hashed bytes are lines of text and the elements of arrays. A value is ``NAME TEXT`` and a line
feed; an array is ``NAME DTYPE SHAPE``, a line feed, and its elements, little-endian, last axis
fastest.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hil_datasets.step import StepConclusion, StepKey


@dataclass(frozen=True, slots=True, kw_only=True)
class StepIds:
    """The ids of a step, each the parent of the next."""

    raw: str
    """Content hash of the readouts that the correction was made from."""
    correction: str
    """Id of the real-valued correction."""
    coefficients: str
    """Id of the NMPU's register codes."""


def step_ids(conclusion: StepConclusion, raw_sha256: str) -> StepIds:
    """Return the ids of what was concluded.

    Parameters
    ----------
    conclusion
        What was concluded.
    raw_sha256
        Content hash of the readouts that the correction was made from: for a step that judges
        the correction of another, those of the other.
    """
    correction = correction_id(conclusion, raw_sha256)
    return StepIds(
        raw=raw_sha256,
        correction=correction,
        coefficients=coefficients_id(conclusion, correction),
    )


def correction_id(conclusion: StepConclusion, raw_sha256: str) -> str:
    """Return the id of a correction: gains, offsets, their standard errors, output step.

    Parameters
    ----------
    conclusion
        What was concluded.
    raw_sha256
        Its parent: the content hash of the readouts.
    """
    correction = conclusion.correction
    return content_hash(
        "correction",
        [raw_sha256],
        values={"output_lsb": float(conclusion.output_lsb).hex()},
        arrays={
            "a_p": (correction.a_p, "<f8"),
            "a_n": (correction.a_n, "<f8"),
            "b": (correction.b, "<f8"),
            "a_p_se": (conclusion.a_p_se, "<f8"),
            "a_n_se": (conclusion.a_n_se, "<f8"),
            "b_se": (conclusion.b_se, "<f8"),
        },
    )


def coefficients_id(conclusion: StepConclusion, correction: str) -> str:
    """Return the id of register codes: codes, NMPU format, output step.

    Parameters
    ----------
    conclusion
        What was concluded.
    correction
        Its parent: the id of the real-valued correction.
    """
    registers = conclusion.registers
    return content_hash(
        "coefficients",
        [correction],
        values={
            "output_lsb": float(conclusion.output_lsb).hex(),
            "nmpu": json.dumps(conclusion.fmt.to_dict(), sort_keys=True, allow_nan=False),
        },
        arrays={
            "scale_p": (registers.scale_p, "|u1"),
            "scale_n": (registers.scale_n, "|u1"),
            "offset": (registers.offset, "<i2"),
            "swap": (registers.swap, "|u1"),
        },
    )


def set_id(tiles: Iterable[tuple[StepKey, str]]) -> str:
    """Return the id of a set of coefficients: which tiles it has, and the id of each.

    When a tile was calibrated is not in it.

    Parameters
    ----------
    tiles
        The step and the coefficients' id of each tile, in any order.

    Examples
    --------
    >>> from hil.core.readout import ReadMode
    >>> one, two = StepKey(0, ReadMode.ONE_PHASE), StepKey(1, ReadMode.ONE_PHASE)
    >>> set_id([(one, "a"), (two, "b")]) == set_id([(two, "b"), (one, "a")])
    True
    >>> set_id([(one, "a"), (two, "b")]) == set_id([(one, "b"), (two, "a")])
    False
    """
    named = sorted((StepKey(key.core, key.read_mode).name, tile) for key, tile in tiles)
    return content_hash("coefficient set", [" ".join(each) for each in named], values={}, arrays={})


def content_hash(
    kind: str,
    parents: Iterable[str],
    *,
    values: Mapping[str, str],
    arrays: Mapping[str, tuple[npt.NDArray[Any], str]],
) -> str:
    """Return the SHA-256 of values and arrays, written as the head of this module says.

    Parameters
    ----------
    kind
        What they are: two kinds never have the same hash.
    parents
        Ids of what they were made from.
    values
        Text per name, in the order in which they are hashed.
    arrays
        Array and the type of its elements per name, likewise.
    """
    digest = hashlib.sha256(f"hil {kind} 1\n".encode())
    for parent in parents:
        digest.update(f"parent {parent}\n".encode())
    for name, text in values.items():
        digest.update(f"{name} {text}\n".encode())
    for name, (array, dtype) in arrays.items():
        shape = " ".join(map(str, array.shape))
        digest.update(f"{name} {dtype} {shape}\n".encode())
        digest.update(np.ascontiguousarray(array, dtype=dtype).data)
    return digest.hexdigest()
