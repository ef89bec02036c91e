"""Making a step file again from readouts that were saved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hil.core.errors import DatasetError
from hil_datasets.integrity.salvaged_timing import salvaged_timing
from hil_datasets.step import StepConclusion, StepKey, StepKind, StepOrigin
from hil_datasets.step_conditions import Condition, conditions_from_stored
from hil_datasets.step_files.content import StepContent
from hil_datasets.step_files.schema import STEP_ATTRIBUTES
from hil_datasets.step_files.writer import StepWriter
from hil_datasets.step_timing import StepTiming

_BLOCK_VECTORS = 4096
_HELD_OUT_SHARE = 8
"""One in so many vectors is held out, where all that are left were meant for the fit."""


class NotConcludedError(Exception):
    """Nothing can be made of a step; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SalvagedReadouts:
    """What is left of a step."""

    key: StepKey
    """Which step."""
    origin: StepOrigin
    """Where its data come from; its numbers of vectors are those that are left."""
    weights: npt.NDArray[np.int8]
    """Shape (row, column)."""
    inputs: npt.NDArray[np.int8]
    """Shape (vector, row)."""
    raw: npt.NDArray[np.uint16]
    """Shape (vector, polarity, column)."""
    total: int
    """How many vectors it should have."""
    proof: str
    """What proves the readouts: ``raw_sha256``, ``crc`` (of a partial file), or ``none``."""
    conditions: tuple[Condition, ...]
    """What the bench instruments showed."""
    timing: StepTiming | None = None
    """When its blocks were read, if that is left."""

    @property
    def vectors_lost(self) -> int:
        """How many vectors are missing."""
        return self.total - len(self.raw)


class Conclude(Protocol):
    """Calibrates from stored readouts, as a campaign says."""

    def __call__(
        self, readouts: SalvagedReadouts, writer: StepWriter, judged: StepConclusion | None
    ) -> StepConclusion:
        """Return what is concluded.

        Parameters
        ----------
        readouts
            What was saved.
        writer
            Gives the stored blocks.
        judged
            The calibration whose correction the step judges; None if it makes its own.

        Raises
        ------
        NotConcludedError, CalibrationError
            If that is not possible.
        """


def read_salvaged(
    answers: Sequence[Mapping[str, Any]], folder: Path, name: str
) -> SalvagedReadouts:
    """Return what the guarded reader has saved of a step.

    Raises
    ------
    NotConcludedError
        If that is nothing, or it does not say what it is.
    """
    for answer in answers:
        if "lost" in answer:
            raise NotConcludedError(answer["lost"])
        if "salvaged" in answer:
            return _readouts(answer["salvaged"], folder, name)
    raise NotConcludedError("reading it takes more memory than a file of its size can need")


def _readouts(said: Mapping[str, Any], folder: Path, name: str) -> SalvagedReadouts:
    weights, inputs, raw = (
        np.load(folder / f"{what}.npy", allow_pickle=False) for what in ("weights", "inputs", "raw")
    )
    attributes = said["attributes"]
    needed = [
        spec.path
        for spec in STEP_ATTRIBUTES
        if "/" not in spec.path and spec.path not in attributes and spec.path != "raw_sha256"
    ]
    if needed:
        raise NotConcludedError(f"its attributes {', '.join(needed)} cannot be read")
    content = StepContent(name, attributes, {"weights": weights})
    try:
        key, origin = content.key(), content.origin()
    except DatasetError as error:
        raise NotConcludedError(str(error)) from error
    if key.name != name:
        raise NotConcludedError(f"it holds step {key.name}")
    if raw.max(initial=0) >= 1 << origin.counter_bits:
        raise NotConcludedError(f"it has counts of more than {origin.counter_bits} bits")
    kept = _whole_turns(key, inputs)
    calibration = _calibration_vectors(origin, kept)
    return SalvagedReadouts(
        key=key,
        origin=replace(
            origin, calibration_vectors=calibration, verification_vectors=kept - calibration
        ),
        weights=weights,
        inputs=inputs[:kept],
        raw=raw[:kept],
        total=said["total"],
        proof=said["proof"],
        conditions=_conditions(said),
        timing=salvaged_timing(said, raw[:kept], counter_bits=origin.counter_bits),
    )


def _whole_turns(key: StepKey, inputs: npt.NDArray[np.int8]) -> int:
    """Return how many vectors are kept: a characterisation reads all of them in turn."""
    if key.kind is not StepKind.CHARACTERISE:
        return len(inputs)
    again = np.flatnonzero((inputs[1:] == inputs[:1]).all(axis=1))
    period = int(again[0]) + 1 if len(again) else len(inputs)
    return len(inputs) - len(inputs) % period


def _calibration_vectors(origin: StepOrigin, kept: int) -> int:
    if origin.calibration_vectors < kept:
        return origin.calibration_vectors
    return kept - max(1, kept // _HELD_OUT_SHARE)


def _conditions(said: Mapping[str, Any]) -> tuple[Condition, ...]:
    arrays = {path: np.array(values) for path, values in said["conditions"].items()}
    try:
        names = {
            what: StepContent("", said["attributes"], {}).names(f"conditions/{what}")
            for what in ("instruments", "quantities", "units")
        }
        return conditions_from_stored(arrays, **names) if arrays else ()
    except (DatasetError, LookupError, ValueError):
        return ()


def store_salvaged(
    path: Path, readouts: SalvagedReadouts, judged: StepConclusion | None, conclude: Conclude
) -> tuple[str, StepConclusion]:
    """Write a step file with the readouts that are left; return their hash and the conclusion.

    Raises
    ------
    NotConcludedError, CalibrationError
        If nothing can be concluded; there is no step file then.
    DatasetError
        If it cannot be written.
    """
    if len(readouts.raw) < 2:
        raise NotConcludedError(f"{len(readouts.raw)} of its vectors is whole: 2 are needed")
    writer = StepWriter(path, key=readouts.key, origin=readouts.origin, weights=readouts.weights)
    try:
        with writer:
            weights = readouts.weights.astype(np.float64)
            for first in range(0, len(readouts.raw), _BLOCK_VECTORS):
                inputs = readouts.inputs[first : first + _BLOCK_VECTORS]
                writer.write_block(
                    first,
                    inputs=inputs,
                    counts=readouts.raw[first : first + _BLOCK_VECTORS],
                    # Exact: no sum of products of codes comes near 2**53.
                    expected=(inputs.astype(np.float64) @ weights).astype(np.int32),
                )
            writer.go_back_to(len(readouts.raw))  # from here on `stored_block` has all of them
            conclusion = conclude(readouts, writer, judged)
            return writer.finish(conclusion, readouts.timing, readouts.conditions), conclusion
    except BaseException:
        path.with_name(path.name + ".part").unlink(missing_ok=True)
        raise
