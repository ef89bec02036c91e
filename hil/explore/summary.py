"""What a study found: per read mode the error of every format against its bits."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from hil.core.nmpu_format import NmpuFormat
from hil.explore.evaluate import FormatResult
from hil.explore.grid import Candidate
from hil.explore.pareto import COST_MODEL, pareto_set, register_bits
from hil.explore.study import StudyOutcome

BASELINES = ("uncorrected", "float", "fp16")
"""What a format is compared with; computed with the base format's output step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatPoint:
    """One format in one read mode."""

    format: str
    """Every parameter, shift 0."""
    changes: dict[str, int | bool | str]
    """The parameters that differ from the base format's."""
    register_bits: int
    """Register bits per column; see the cost model."""
    error: float
    """By error: relative L2 error of the NMPU on held-out vectors, mean over cores. By accuracy:
    share of images that the network gets wrong."""
    error_per_core: dict[int, float]
    """The same, core by core; empty by accuracy."""
    shifts: tuple[int, ...]
    """Shift of each core, in the order of the cores; empty by accuracy."""
    is_pareto: bool
    """Whether no other format of this read mode is as cheap and better, or cheaper and as good."""
    lost: dict[str, float]
    """By accuracy: what it loses against the float correction on the same images, ``drop`` with its
    95 % interval ``low`` to ``high``; empty by error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadModeSummary:
    """All formats in one read mode."""

    read_mode: str
    """Read mode."""
    cores: tuple[int, ...]
    """The cores that were looked at."""
    baselines: dict[str, float]
    """The same error without correction, with the float and with the FP16 one; empty if the base
    format is refused."""
    formats: tuple[FormatPoint, ...]
    """Every format that holds every core, in the order of the grid."""

    @property
    def pareto(self) -> tuple[FormatPoint, ...]:
        """The formats worth their bits, by rising bits."""
        chosen = (point for point in self.formats if point.is_pareto)
        return tuple(sorted(chosen, key=lambda point: point.register_bits))


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A format that cannot be, or cannot hold the chip."""

    format: str
    """What the grid asked for, relative to the base format."""
    step: str
    """The first step that it cannot hold; empty if there is no such format."""
    reason: str
    """Why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySummary:
    """A whole study; `asdict` of it is what ``--json`` prints."""

    schema_version: int
    """Version of this form."""
    title: str
    """Title of the campaign."""
    chip: str
    """The chip that was recorded."""
    recording: dict[str, str]
    """Content hash of the readouts of each step that was looked at."""
    calibration_vectors: int
    """Vectors that the fit sees, per step."""
    verification_vectors: int | None
    """Vectors held out, per step; None by accuracy, which is judged by images."""
    base: str
    """The base format."""
    cost_model: str
    """What the bits count."""
    read_modes: tuple[ReadModeSummary, ...]
    """Results per read mode."""
    refused: tuple[Refusal, ...]
    """Formats without a result."""
    metric: str = "error"
    """``error`` of the cores, or ``accuracy`` of a network."""
    images: int = 0
    """By accuracy: how many images judge."""


def summarize_study(outcome: StudyOutcome) -> StudySummary:
    """Gather the results of a study."""
    study = outcome.study
    first = study.steps[0]
    read_modes = sorted({step.key.read_mode for step in study.steps})
    return StudySummary(
        schema_version=1,
        title=study.title,
        chip=study.chip,
        recording={step.key.name: step.raw_sha256 for step in study.steps},
        calibration_vectors=first.calibration_vectors,
        verification_vectors=first.verification_vectors,
        base=study.base.to_text(),
        cost_model=COST_MODEL,
        read_modes=tuple(_summarize_mode(outcome, mode) for mode in read_modes),
        refused=tuple(_refusals(outcome)),
    )


def _summarize_mode(outcome: StudyOutcome, read_mode: str) -> ReadModeSummary:
    cores = [step.key.core for step in outcome.study.steps if step.key.read_mode == read_mode]
    held = [
        (candidate.fmt, results)
        for candidate, results in _results_by_format(outcome, read_mode)
        if candidate.fmt is not None and not any(result.refusal for result in results)
    ]
    errors = [fmean(result.errors["nmpu"] for result in results) for _, results in held]
    base = [results for fmt, results in held if fmt == outcome.study.base]
    return ReadModeSummary(
        read_mode=str(read_mode),
        cores=tuple(cores),
        baselines={
            name: fmean(result.errors[name] for result in base[0]) for name in BASELINES if base
        },
        formats=tuple(
            FormatPoint(
                **point,
                error_per_core={
                    core: result.errors["nmpu"] for core, result in zip(cores, results, strict=True)
                },
                shifts=tuple(result.shift for result in results),
                lost={},
            )
            for point, (_, results) in zip(
                judge_formats(outcome.study.base, [fmt for fmt, _ in held], errors),
                held,
                strict=True,
            )
        ),
    )


def judge_formats(
    base: NmpuFormat, formats: Sequence[NmpuFormat], errors: Sequence[float]
) -> list[dict[str, Any]]:
    """Return what a `FormatPoint` says of each format whatever the metric is."""
    costs = [register_bits(fmt) for fmt in formats]
    best = set(pareto_set(list(zip(costs, errors, strict=True))))
    return [
        {
            "format": fmt.to_text(),
            "changes": changed_parameters(base, fmt),
            "register_bits": costs[position],
            "error": errors[position],
            "is_pareto": position in best,
        }
        for position, fmt in enumerate(formats)
    ]


def changed_parameters(base: NmpuFormat, fmt: NmpuFormat) -> dict[str, int | bool | str]:
    """Return the parameters in which a format differs from the base.

    Examples
    --------
    >>> changed_parameters(NmpuFormat(), NmpuFormat(scale_frac=5))
    {'scale_frac': 5}
    """
    of_base = base.to_dict()
    return {name: value for name, value in fmt.to_dict().items() if value != of_base[name]}


def _refusals(outcome: StudyOutcome) -> Iterable[Refusal]:
    found = {
        candidate.name: Refusal(format=candidate.name, step="", reason=candidate.refusal)
        for candidate in outcome.candidates
        if candidate.fmt is None
    }
    for candidate, results in _results_by_format(outcome, None):
        refused = next((result for result in results if result.refusal), None)
        if refused:
            found[candidate.name] = Refusal(
                format=candidate.name, step=refused.step, reason=refused.refusal
            )
    return (found[item.name] for item in outcome.candidates if item.name in found)


def _results_by_format(
    outcome: StudyOutcome, read_mode: str | None
) -> Iterable[tuple[Candidate, list[FormatResult]]]:
    for candidate in outcome.candidates:
        if candidate.fmt is not None:
            text = candidate.fmt.to_text()
            yield (
                candidate,
                [
                    outcome.results[text, step.raw_sha256]
                    for step in outcome.study.steps
                    if read_mode is None or step.key.read_mode == read_mode
                ],
            )
