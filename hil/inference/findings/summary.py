"""An evaluation in numbers: what the terminal and the JSON document show."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.inference.conditions.comparing import PairedDifference, Share, accuracy, compare_paired
from hil.inference.conditions.outcome import SCHEMA_VERSION, ConditionResult, Evaluation
from hil.inference.conditions.switched_off import SwitchedOff, judge_flaws
from hil.inference.conditions.treatment import Treatment
from hil.inference.findings.loss_sources import LossSource, find_loss_sources

REFERENCE = "fp16"
"""The correction that the others are compared with: a digital FP16 unit on the chip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionSummary:
    """One row of the table."""

    correction: str
    """As in `Condition`."""
    age_s: float
    """As in `Condition`."""
    treatment: Treatment
    """As in `Condition`."""
    accuracy: Share
    """Share of images predicted right."""
    against_fp16: PairedDifference | None
    """Against the FP16 unit at the same age, treated alike; None without it."""
    against_float: PairedDifference
    """Against the network in float32."""
    against_recalibrated: PairedDifference | None
    """Against the chip calibrated anew at this age; None if it was not, or is what this one is."""
    layer_errors: tuple[float, ...]
    """As in `ConditionResult`."""
    layer_saturation: tuple[float, ...]
    """As in `ConditionResult`."""
    layer_folded: tuple[bool, ...]
    """As in `ConditionResult`."""
    seconds: float
    """How long it took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSummary:
    """An evaluation in numbers, for the terminal and for JSON."""

    id: str
    """As in `Evaluation`."""
    model: str
    """As in `Evaluation`."""
    chip: str
    """As in `Evaluation`."""
    read_mode: str
    """As in `Evaluation`."""
    images: int
    """How many were judged."""
    layers: tuple[str, ...]
    """As in `Evaluation`."""
    float_accuracy: Share
    """In float32."""
    int8_accuracy: Share
    """With int8 weights and inputs and exact products."""
    int8_against_float: PairedDifference
    """What int8 costs."""
    conditions: tuple[ConditionSummary, ...]
    """In the order of the evaluation."""
    loss_sources: tuple[LossSource, ...]
    """Where the loss of the fresh chip comes from."""
    switched_off: tuple[SwitchedOff, ...] = ()
    """What each flaw of a simulated chip costs; none if it was not asked for."""
    identity: Mapping[str, str]
    """As in `Evaluation`."""
    software: Mapping[str, str]
    """As in `Evaluation`."""
    seed: int
    """As in `Evaluation`."""
    notes: tuple[str, ...] = ()
    """As in `Evaluation`."""

    @property
    def fresh(self) -> tuple[ConditionSummary, ...]:
        """The conditions of the fresh chip with the corrections that are kept."""
        found = (one for one in self.conditions if one.age_s == 0)
        return tuple(one for one in found if one.treatment is Treatment.KEPT)

    @property
    def has_stored(self) -> bool:
        """Whether the chip began with the coefficients of a run."""
        return "coefficients_set_id" in self.identity

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, with the version of this form; None where nobody knows."""
        return {"schema_version": SCHEMA_VERSION, **_without_nan(asdict(self))}


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _summarize(evaluation: Evaluation, result: ConditionResult) -> ConditionSummary:
    """Compare the predictions of a condition with FP16's and with the float network's."""
    condition = result.condition
    paired = evaluation.find(replace(condition, correction=REFERENCE))
    anew = evaluation.find(replace(condition, treatment=Treatment.RECALIBRATED))
    is_anew = condition.treatment is Treatment.RECALIBRATED
    return ConditionSummary(
        correction=condition.correction,
        age_s=condition.age_s,
        treatment=condition.treatment,
        accuracy=accuracy(result.predictions, evaluation.labels),
        against_fp16=None if paired is None else _paired(evaluation, result, paired.predictions),
        against_float=_paired(evaluation, result, evaluation.float_predictions),
        against_recalibrated=(
            None if anew is None or is_anew else _paired(evaluation, result, anew.predictions)
        ),
        layer_errors=tuple(map(float, result.layer_errors)),
        layer_saturation=tuple(map(float, result.layer_saturation)),
        layer_folded=tuple(map(bool, result.layer_folded)),
        seconds=result.seconds,
    )


def _paired(
    evaluation: Evaluation, result: ConditionResult, reference: npt.NDArray[np.int64]
) -> PairedDifference:
    return compare_paired(result.predictions, reference, evaluation.labels, seed=evaluation.seed)


def summarize_evaluation(evaluation: Evaluation) -> EvaluationSummary:
    """Return an evaluation in numbers."""
    labels, seed = evaluation.labels, evaluation.seed
    as_float, as_int8 = evaluation.float_predictions, evaluation.int8_predictions
    return EvaluationSummary(
        id=evaluation.id,
        model=evaluation.model,
        chip=evaluation.chip,
        read_mode=evaluation.read_mode,
        images=len(labels),
        layers=evaluation.layers,
        float_accuracy=accuracy(as_float, labels),
        int8_accuracy=accuracy(as_int8, labels),
        int8_against_float=compare_paired(as_int8, as_float, labels, seed=seed),
        conditions=tuple(_summarize(evaluation, one) for one in evaluation.results),
        loss_sources=find_loss_sources(evaluation),
        switched_off=judge_flaws(evaluation.switched_off, labels, seed=seed),
        identity=evaluation.identity,
        software=evaluation.software,
        seed=seed,
        notes=evaluation.notes,
    )
