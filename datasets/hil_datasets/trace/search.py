"""Which run, step and calibration an id comes from, or an exported file, among many runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hil.core.errors import DatasetError
from hil.core.readout import ReadMode
from hil_datasets.calibration_choice import newest_calibrations
from hil_datasets.content_id import StepIds, set_id
from hil_datasets.journal import BEGINNINGS
from hil_datasets.opened import open_source
from hil_datasets.run_source import RunSource, StepFacts
from hil_datasets.step import StepKey, StepKind


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundId:
    """Something that has an id."""

    what: str
    """``readouts``, ``correction``, ``coefficients``, ``coefficient set`` or ``campaign``."""
    content_id: str
    """Its id, whole."""
    run: Path
    """The run that holds it."""
    steps: tuple[StepKey, ...]
    """The steps that hold it; of a campaign none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunIds:
    """The ids of a run."""

    run: Path
    """The folder or file."""
    steps: tuple[tuple[StepFacts, StepIds], ...]
    """Its finished steps, in the order they were, with their ids."""
    campaigns: tuple[str, ...]
    """Hashes of its campaign files."""
    damage: tuple[str, ...]
    """What could not be read of it."""

    def found(self, prefix: str) -> Iterator[FoundId]:
        """Yield everything whose id begins with some hex digits."""
        for sha256 in self.campaigns:
            if sha256.startswith(prefix):
                yield FoundId(what="campaign", content_id=sha256, run=self.run, steps=())
        for keys, content_id in self._sets():
            if content_id.startswith(prefix):
                yield FoundId(
                    what="coefficient set", content_id=content_id, run=self.run, steps=keys
                )
        for facts, ids in self.steps:
            for what, content_id in (
                ("coefficients", ids.coefficients),
                ("correction", ids.correction),
                ("readouts", facts.raw_sha256),
            ):
                if content_id.startswith(prefix):
                    yield FoundId(
                        what=what, content_id=content_id, run=self.run, steps=(facts.key,)
                    )

    def _sets(self) -> Iterator[tuple[tuple[StepKey, ...], str]]:
        """Yield the sets that exports and evaluations hold.

        Of the newest calibrations, of those in each read mode, and of each visit.
        """
        ids = {
            facts.key: ids.coefficients
            for facts, ids in self.steps
            if facts.key.kind is StepKind.CALIBRATE
        }
        newest = newest_calibrations(ids)
        choices = [newest]
        choices += [[key for key in newest if key.read_mode is mode] for mode in ReadMode]
        choices += [
            sorted(key for key in ids if key.visit == visit)
            for visit in sorted({key.visit for key in ids})
        ]
        for keys in dict.fromkeys(tuple(choice) for choice in choices):
            if keys:
                yield keys, set_id((key, ids[key]) for key in keys)


def read_ids(path: Path) -> RunIds:
    """Return the ids of a run; what of it cannot be read is told."""
    try:
        source = open_source(path)
        events, keys = source.events(), source.finished_steps()
    except DatasetError as error:
        return RunIds(run=path, steps=(), campaigns=(), damage=(str(error),))
    steps, damage = _step_ids(source, keys)
    campaigns = dict.fromkeys(
        event["campaign_sha256"]
        for event in events
        if event["event"] in BEGINNINGS and event.get("campaign_sha256")
    )
    return RunIds(run=path, steps=steps, campaigns=tuple(campaigns), damage=damage)


def _step_ids(
    source: RunSource, keys: Sequence[StepKey]
) -> tuple[tuple[tuple[StepFacts, StepIds], ...], tuple[str, ...]]:
    steps: list[tuple[StepFacts, StepIds]] = []
    damage: list[str] = []
    for key in keys:
        try:
            facts = source.read_facts(key)
        except DatasetError as error:
            damage.append(str(error))
        else:
            steps.append((facts, facts.ids))
    return tuple(steps), tuple(damage)
