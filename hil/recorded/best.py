"""Which stored calibration fits a chip now: every one is applied to the same fresh readouts.

The score is the relative L2 error of `hil_calibration.verify`: the mean over the probe's vectors of
``||y - expected|| / ||expected||``, over every column that any of the compared calibrations
corrects, so that none is better off for having given up a column. All are scored on the same
vectors. What makes a vector hard makes it hard for all of them, so two are compared by the
differences vector by vector: their mean, and its standard error over the vectors.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hil.core.readout import ReadMode
from hil_calibration.nmpu import apply_nmpu
from hil_calibration.quality import is_calibrated
from hil_datasets.chip_book.chip_key import ChipKey
from hil_datasets.run_source import StepFacts
from hil_datasets.step import StepConclusion

FEWEST_VECTORS = 8
"""Probe vectors without which a standard error says nothing."""
QUANTILE = 1.96
"""Standard errors within which two calibrations cannot be told apart: 95 % of a normal law."""

Tile = tuple[int, ReadMode]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A stored calibration."""

    run: Path
    """The run that holds it."""
    facts: StepFacts
    """The calibration."""
    weights: str
    """Digest of the weights that the core held; empty where nothing says."""

    @property
    def tile(self) -> Tile:
        """Core and read mode."""
        return self.facts.key.core, self.facts.key.read_mode

    @property
    def chip(self) -> ChipKey:
        """The chip that it was made on."""
        return ChipKey.of(self.facts.origin.chip)

    @property
    def name(self) -> str:
        """Run and step."""
        return f"{self.run}: {self.facts.key.name}"


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Fresh readouts of a core in one read mode."""

    tile: Tile
    """Core and read mode."""
    chip: ChipKey
    """Which chip was read."""
    weights: str
    """Digest of the weights that the core holds."""
    counts: npt.NDArray[np.uint16]
    """Counts, shape (vector, polarity, column)."""
    expected: npt.NDArray[np.int32]
    """Expected outputs, shape (vector, column), product units."""
    temperature_c: float
    """Temperature of the chip, degrees Celsius."""
    age_s: float = math.nan
    """Seconds since the core was programmed; NaN if that is not known."""
    raw_sha256: str = ""
    """Content hash of the readouts, where they are those of a step."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """How well a calibration fits a probe."""

    candidate: Candidate
    """The calibration."""
    errors: npt.NDArray[np.float64]
    """Relative error of each vector that counts, shape (vector,)."""
    worse_by: float = 0.0
    """Error minus that of the best one."""
    worse_by_error: float = 0.0
    """Standard error of that."""
    has_seen_probe: bool = False
    """Whether the probe is the step that it was made from."""

    @property
    def error(self) -> float:
        """Relative L2 error."""
        return float(self.errors.mean())

    @property
    def error_se(self) -> float:
        """Standard error of it, over the vectors."""
        return _standard_error(self.errors)

    @property
    def is_as_good(self) -> bool:
        """Whether it cannot be told apart from the best one, which is as good as itself."""
        return self.worse_by <= QUANTILE * self.worse_by_error


@dataclass(frozen=True, kw_only=True)
class NotApplicable:
    """A calibration that cannot be used, and why."""

    candidate: Candidate
    """The calibration."""
    reason: str
    """Why."""


@dataclass(frozen=True, kw_only=True)
class TileRanking:
    """The calibrations for one probe, the best first."""

    probe: Probe
    """What was read."""
    ranked: tuple[Scored, ...]
    """Those that apply."""
    refused: tuple[NotApplicable, ...]
    """Those of the same core that do not."""


def rank_tile(probe: Probe, candidates: Iterable[Candidate], *, method: str) -> TileRanking:
    """Rank the calibrations for one probe.

    Parameters
    ----------
    probe
        What was read.
    candidates
        Calibrations of its core and read mode.
    method
        How they are applied: ``nmpu`` by the registers, ``float`` real-valued.
    """
    refused = []
    usable = []
    for candidate in candidates:
        reason = _refusal(probe, candidate)
        if reason:
            refused.append(NotApplicable(candidate=candidate, reason=reason))
        else:
            usable.append(candidate)
    corrected = [is_calibrated(each.facts.conclusion.flags) for each in usable]
    columns = np.any(corrected, axis=0) if corrected else np.empty(0, np.bool_)
    if usable and not probe.expected[:, columns].any():
        reason = "the probe expects nothing but 0 of the columns that any of them corrects"
        refused += [NotApplicable(candidate=candidate, reason=reason) for candidate in usable]
        usable = []
    scored = [_score(probe, candidate, columns, method=method) for candidate in usable]
    scored.sort(key=lambda each: (each.error, each.candidate.name))
    return TileRanking(
        probe=probe,
        ranked=tuple(_compared(each, scored[0]) for each in scored),
        refused=tuple(refused),
    )


def _refusal(probe: Probe, candidate: Candidate) -> str:
    """Say why a calibration does not apply; nothing if it does."""
    if candidate.chip != probe.chip:
        return _foreign_reason(candidate)
    if len(candidate.facts.conclusion.flags) != probe.counts.shape[2]:
        return f"has {len(candidate.facts.conclusion.flags)} columns"
    if not candidate.weights:
        return "nothing says which weights it was made with"
    if candidate.weights != probe.weights:
        return "was made with other weights"
    return ""


def rank_all(
    probes: Sequence[Probe], candidates: Sequence[Candidate], *, method: str
) -> tuple[list[TileRanking], list[NotApplicable]]:
    """Rank the calibrations for each probe; return also those of cores that were not probed."""
    rankings = [
        rank_tile(probe, [each for each in candidates if each.tile == probe.tile], method=method)
        for probe in probes
    ]
    probed = {probe.tile for probe in probes}
    chips = {probe.chip for probe in probes}
    return rankings, [
        NotApplicable(candidate=each, reason=_unprobed_reason(each, chips))
        for each in candidates
        if each.tile not in probed
    ]


def _unprobed_reason(candidate: Candidate, chips: Collection[ChipKey]) -> str:
    """Say why a calibration of a tile that was not probed does not apply: the chip comes first."""
    if candidate.chip not in chips:
        return _foreign_reason(candidate)
    return "its core was not probed in this read mode"


def _foreign_reason(candidate: Candidate) -> str:
    return f"is of another chip: {candidate.chip}"


def _score(
    probe: Probe, candidate: Candidate, columns: npt.NDArray[np.bool_], *, method: str
) -> Scored:
    conclusion = candidate.facts.conclusion
    expected = probe.expected[:, columns].astype(np.float64)
    outputs = _outputs(probe.counts, conclusion, method)[:, columns] * conclusion.output_lsb
    reference = np.linalg.norm(expected, axis=1)
    counted = reference > 0
    off = np.linalg.norm(outputs - expected, axis=1)
    return Scored(
        candidate=candidate,
        errors=off[counted] / reference[counted],
        has_seen_probe=candidate.facts.raw_sha256 == probe.raw_sha256,
    )


def _outputs(
    counts: npt.NDArray[np.uint16], conclusion: StepConclusion, method: str
) -> npt.NDArray[np.float64]:
    """Return corrected outputs, shape (vector, column), output LSB."""
    if method == "float":
        return conclusion.correction.apply(counts)
    outputs = apply_nmpu(counts[:, 0], counts[:, 1], conclusion.registers, conclusion.fmt)
    return outputs.astype(np.float64)


def _compared(scored: Scored, best: Scored) -> Scored:
    differences = scored.errors - best.errors
    return Scored(
        candidate=scored.candidate,
        errors=scored.errors,
        worse_by=float(differences.mean()),
        worse_by_error=_standard_error(differences),
        has_seen_probe=scored.has_seen_probe,
    )


def _standard_error(values: npt.NDArray[np.float64]) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.inf


@dataclass(frozen=True, kw_only=True)
class RankedVisit:
    """All the calibrations of one visit of a run, as a set for the whole chip."""

    run: Path
    """The run."""
    visit: int
    """Number of the visit."""
    error: float
    """Mean of the relative L2 errors of all cores and read modes that were probed."""
    error_se: float
    """Its standard error."""
    worse_by: float
    """Error minus that of the best set."""
    worse_by_error: float
    """Standard error of that."""

    @property
    def is_as_good(self) -> bool:
        """Whether it cannot be told apart from the best one."""
        return self.worse_by <= QUANTILE * self.worse_by_error


def rank_visits(rankings: Sequence[TileRanking]) -> list[RankedVisit]:
    """Rank the runs' visits that have a calibration for every probe, the best first."""
    sets: dict[tuple[Path, int], list[Scored]] = {}
    for ranking in rankings:
        for scored in ranking.ranked:
            place = (scored.candidate.run, scored.candidate.facts.key.visit)
            sets.setdefault(place, []).append(scored)
    whole = {place: each for place, each in sets.items() if len(each) == len(rankings)}
    if not whole:
        return []
    best = min(whole.values(), key=_mean_error)
    visits = []
    for (run, visit), each in whole.items():
        pairs = [one.errors - other.errors for one, other in zip(each, best, strict=True)]
        visits.append(
            RankedVisit(
                run=run,
                visit=visit,
                error=_mean_error(each),
                error_se=_joint([one.error_se for one in each]),
                worse_by=float(np.mean([part.mean() for part in pairs])),
                worse_by_error=_joint([_standard_error(part) for part in pairs]),
            )
        )
    return sorted(visits, key=lambda one: (one.error, str(one.run), one.visit))


def _mean_error(scored: Sequence[Scored]) -> float:
    return float(np.mean([each.error for each in scored]))


def _joint(errors: Sequence[float]) -> float:
    """Return the standard error of a mean of independent numbers."""
    return math.sqrt(sum(error**2 for error in errors)) / len(errors)
