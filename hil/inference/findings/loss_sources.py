"""Where the loss comes from: one source of error after the other is switched on.

The first row is the network in float32, the last the chip with its own NMPU. Each difference is
paired, so it is known better than either accuracy; they add up to the whole loss. A chip that is
judged with coefficients of a run is so last: what is above is with those that the network's own
activations gave it, where these were made.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.inference.conditions.comparing import PairedDifference, Share, accuracy, compare_paired
from hil.inference.conditions.outcome import Condition, Evaluation
from hil.inference.conditions.treatment import Treatment

_CORRECTIONS = {
    "float": "cores and counters: noise, gains, clipping (float correction)",
    "fp16": "FP16 arithmetic of the correction",
    "nmpu": "registers and integer arithmetic of the NMPU",
}
"""Correction to what it adds to the one above it."""
_STORED = "coefficients that the run has stored"


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSource:
    """What one thing, switched on after those above it, costs."""

    source: str
    """What is switched on."""
    cost: PairedDifference
    """Against the network with only what stands above."""
    accuracy: Share
    """With it and all that stands above."""


def find_loss_sources(evaluation: Evaluation) -> tuple[LossSource, ...]:
    """Return what each source costs on the freshly programmed and calibrated chip."""
    above = evaluation.float_predictions
    found = []
    for source, predictions in _steps(evaluation):
        cost = compare_paired(predictions, above, evaluation.labels, seed=evaluation.seed)
        right = accuracy(predictions, evaluation.labels)
        found.append(LossSource(source=source, cost=cost, accuracy=right))
        above = predictions
    return tuple(found)


def _steps(evaluation: Evaluation) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
    yield "weights in int8", evaluation.int8_weight_predictions
    yield "layer inputs in int8", evaluation.int8_predictions
    has_stored = "coefficients_set_id" in evaluation.identity
    treatment, besides = Treatment.KEPT, ""
    if has_stored and _has_new(evaluation):
        treatment = Treatment.RECALIBRATED
    elif has_stored:
        besides = f"{_STORED}, and "
    last = ""
    for correction, source in _CORRECTIONS.items():
        result = evaluation.find(Condition(correction=correction, treatment=treatment))
        if result is not None:
            yield besides + source, result.predictions
            besides, last = "", correction
        elif correction == "float":
            # Without the float correction, the first of the others brings the cores along.
            besides += "cores and counters, and "
    stored = evaluation.find(Condition(correction=last))
    if treatment is Treatment.RECALIBRATED and stored is not None:
        yield f"{_STORED}, instead of new ones", stored.predictions


def _has_new(evaluation: Evaluation) -> bool:
    """Tell whether the fresh chip was calibrated anew, too."""
    treatment = Treatment.RECALIBRATED
    conditions = (Condition(correction=one, treatment=treatment) for one in _CORRECTIONS)
    return any(evaluation.find(condition) is not None for condition in conditions)
