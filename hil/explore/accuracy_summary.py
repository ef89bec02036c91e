"""What a study by accuracy found, in the form of every study."""

from hil.core.readout import ReadMode
from hil.explore.accuracy import AccuracyOutcome
from hil.explore.evaluate import FormatResult
from hil.explore.grid import Candidate
from hil.explore.pareto import COST_MODEL
from hil.explore.summary import (
    BASELINES,
    FormatPoint,
    ReadModeSummary,
    Refusal,
    StudySummary,
    judge_formats,
)
from hil.inference.corrections.calibrating import CALIBRATION_VECTORS
from hil.inference.demo import DEMO_MODEL
from hil.inference.findings.store import DEMO


def summarize_accuracy(outcome: AccuracyOutcome) -> StudySummary:
    """Gather the results of a study by accuracy."""
    study = outcome.study
    return StudySummary(
        schema_version=1,
        title=f"{_name(study.network.model)} on {len(study.cores)} cores",
        chip=study.chip_name,
        recording=dict(study.subject.recording),
        calibration_vectors=CALIBRATION_VECTORS,
        verification_vectors=None,
        base=study.base.to_text(),
        cost_model=COST_MODEL,
        read_modes=tuple(_summarize_mode(outcome, mode) for mode in study.read_modes),
        refused=_refusals(outcome),
        metric="accuracy",
        images=study.images,
    )


def _name(model: str) -> str:
    """Return what a network was asked for as; the demo's own function says nobody anything."""
    return DEMO if model == DEMO_MODEL else model


def _summarize_mode(outcome: AccuracyOutcome, read_mode: ReadMode) -> ReadModeSummary:
    study = outcome.study
    held = [
        (candidate.fmt, result)
        for candidate, result in _results(outcome, read_mode)
        if candidate.fmt is not None and not result.refusal
    ]
    base = next((result for fmt, result in held if fmt == study.base), None)
    points = judge_formats(
        study.base, [fmt for fmt, _ in held], [result.errors["nmpu"] for _, result in held]
    )
    return ReadModeSummary(
        read_mode=str(read_mode),
        cores=study.cores,
        baselines={} if base is None else {name: base.errors[name] for name in BASELINES},
        formats=tuple(
            FormatPoint(**point, error_per_core={}, shifts=(), lost=result.lost)
            for point, (_, result) in zip(points, held, strict=True)
        ),
    )


def _results(outcome: AccuracyOutcome, read_mode: ReadMode) -> list[tuple[Candidate, FormatResult]]:
    sha256 = outcome.study.raw_sha256(read_mode)
    return [
        (candidate, outcome.results[candidate.fmt.to_text(), sha256])
        for candidate in outcome.candidates
        if candidate.fmt is not None
    ]


def _refusals(outcome: AccuracyOutcome) -> tuple[Refusal, ...]:
    impossible = {
        one.name: Refusal(format=one.name, step="", reason=one.refusal)
        for one in outcome.candidates
        if one.fmt is None
    }
    refused = {
        candidate.name: Refusal(format=candidate.name, step=result.step, reason=result.refusal)
        for read_mode in reversed(outcome.study.read_modes)  # the first one's reason stays
        for candidate, result in _results(outcome, read_mode)
        if result.refusal
    }
    found = impossible | refused
    return tuple(found[one.name] for one in outcome.candidates if one.name in found)
