"""Where the loss comes from: one source of error after the other is switched on.

The first row is the network in float32, the last the chip with its own NMPU. Each difference is
paired, so it is known better than either accuracy; they add up to the whole loss.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.inference.conditions.comparing import PairedDifference, Share, accuracy, compare_paired
from hil.inference.conditions.outcome import Condition, Evaluation

_CORRECTIONS = {
    "float": "cores and counters: noise, gains, clipping (float correction)",
    "fp16": "FP16 arithmetic of the correction",
    "nmpu": "registers and integer arithmetic of the NMPU",
}
"""Correction to what it adds to the one above it."""


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
    with_cores = ""
    for correction, source in _CORRECTIONS.items():
        result = evaluation.find(Condition(correction=correction))
        if result is not None:
            # Without the float correction, the first of the others brings the cores along.
            yield with_cores + source, result.predictions
            with_cores = ""
        elif correction == "float":
            with_cores = "cores and counters, and "
