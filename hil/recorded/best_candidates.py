"""The stored calibrations that may fit a chip, with what they were made with."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hil.core.errors import DatasetError
from hil.core.readout import ReadMode
from hil.recorded.best import Candidate
from hil.recorded.compare_weights import weights_in
from hil.recorded.history_runs import LeftOut
from hil_datasets.chip_book.facts import digest_weights
from hil_datasets.run_source import Readouts, RunSource, StepFacts
from hil_datasets.step import StepKey, StepKind


@dataclass(frozen=True, slots=True, kw_only=True)
class TileChoice:
    """Which cores and read modes are asked for; all where nothing is said."""

    cores: Collection[int] = ()
    """Only these cores."""
    read_modes: Collection[ReadMode] = ()
    """Only these read modes."""

    def is_meant(self, key: StepKey) -> bool:
        """Tell whether a step is of one of them."""
        return (not self.cores or key.core in self.cores) and (
            not self.read_modes or key.read_mode in self.read_modes
        )


@dataclass(kw_only=True)
class StoredCalibrations:
    """What was found."""

    candidates: list[Candidate] = field(default_factory=list)
    """The calibrations."""
    left_out: list[LeftOut] = field(default_factory=list)
    """What could not be read."""
    sources: dict[str, RunSource] = field(default_factory=dict)
    """The run of each, by its path."""

    def readouts(self, candidate: Candidate) -> Readouts:
        """Return the readouts of a calibration; raises `DatasetError` where there are none."""
        return self.sources[str(candidate.run)].readouts(candidate.facts.key)

    def work(self, candidate: Candidate, vectors: int) -> "ProbeWork | None":
        """Return what to read again of a calibration, or None where its readouts are not stored."""
        try:
            readouts = self.readouts(candidate)
            first = first_held_out(candidate.facts)
            return ProbeWork(
                weights=np.array(readouts.weights),
                inputs=np.array(readouts.inputs[first : first + vectors]),
            )
        except DatasetError as error:
            self.left_out.append(LeftOut(path=candidate.run, reason=str(error), is_problem=False))
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeWork:
    """Weights that a core should hold, and vectors to read."""

    weights: npt.NDArray[np.int8]
    """Shape (row, column)."""
    inputs: npt.NDArray[np.int8]
    """Shape (vector, row)."""


def first_held_out(facts: StepFacts) -> int:
    """Return the first vector that no fit has seen; 0 where the step holds out none."""
    return facts.origin.calibration_vectors if facts.origin.verification_vectors else 0


def collect_candidates(
    runs: Iterable[RunSource], choice: TileChoice, left_out: list[LeftOut]
) -> StoredCalibrations:
    """Collect every calibration of some runs; of copies only that of the first run.

    Parameters
    ----------
    runs
        The runs.
    choice
        Which cores and read modes.
    left_out
        What could not be opened; more is added to it.
    """
    found = StoredCalibrations(left_out=left_out)
    seen: set[tuple[str, str]] = set()
    for run in runs:
        try:
            candidates = [
                Candidate(run=run.path, facts=facts, weights=weights_of(run, facts))
                for facts in _calibrations(run, choice)
            ]
        except DatasetError as error:
            left_out.append(LeftOut(path=run.path, reason=str(error)))
            continue
        new = [each for each in candidates if _identity(each) not in seen]
        if len(new) < len(candidates):
            reason = f"{len(candidates) - len(new)} of its calibrations were found before: a copy"
            left_out.append(LeftOut(path=run.path, reason=reason, is_problem=False))
        seen |= {_identity(each) for each in new}
        found.candidates += new
        found.sources[str(run.path)] = run
    return found


def _identity(candidate: Candidate) -> tuple[str, str]:
    return candidate.facts.key.name, candidate.facts.ids.coefficients


def _calibrations(run: RunSource, choice: TileChoice) -> Iterable[StepFacts]:
    for key in sorted(run.finished_steps()):
        if key.kind is StepKind.CALIBRATE and choice.is_meant(key):
            yield run.read_facts(key)


def weights_of(run: RunSource, facts: StepFacts) -> str:
    """Return the digest of the weights of a step; empty where nothing says.

    The journal says, unless the core was programmed with several or kept those of another run.
    """
    named = weights_in(run.events(), facts.key.core)
    if len(named) == 1:
        return next(iter(named))
    try:
        return digest_weights(np.asarray(run.readouts(facts.key).weights))
    except DatasetError:
        return ""
