"""The finished steps that a journal tells of, and what it says they must be.

Whatever holds a run, a folder or one file, its steps are held to its journal in the same way.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from hil.core.errors import DatasetError, Problem
from hil.core.readout import ChipIdentity
from hil_datasets.journal import BEGINNINGS
from hil_datasets.journal_plan import check_skips, key_of
from hil_datasets.journal_sequence import check_sequence
from hil_datasets.run_source import StepFacts, ToldStep
from hil_datasets.step import StepKey, StepKind, StepRecord
from hil_datasets.step_files.concluded import concluded_misfit, concluded_sha256
from hil_datasets.step_files.stored_errors import errors_misfit
from hil_datasets.step_files.told_facts import facts_misfit, facts_sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class JournaledSteps:
    """What a journal says of the finished steps of its run."""

    source: str
    """Name of the run, for messages."""
    finished: Mapping[StepKey, str]
    """Content hash of each finished step, in the order they were."""
    campaign_hashes: tuple[str, ...]
    """Hashes of the campaign files that the run began and went on with."""
    errors: Mapping[StepKey, Mapping[str, float]] = field(default_factory=dict)
    """Errors of each finished step whose event tells them."""
    concluded: Mapping[StepKey, str] = field(default_factory=dict)
    """Hash of what was concluded from each; empty where an older event does not tell it."""
    facts: Mapping[StepKey, str] = field(default_factory=dict)
    """Hash of what each says besides; empty where an older event does not tell it."""

    @classmethod
    def of(cls, source: str, events: Iterable[Mapping[str, Any]]) -> Self:
        """Return what the events of a journal say.

        Raises
        ------
        DatasetError
            If they come in an order in which no run writes them: a step may be another run's then.
        """
        events = list(events)
        check_sequence(source, events)
        finished: dict[StepKey, str] = {}
        hashes: dict[str, None] = {}
        errors: dict[StepKey, Mapping[str, float]] = {}
        concluded: dict[StepKey, str] = {}
        facts: dict[StepKey, str] = {}
        for event in events:
            if event["event"] == "step":
                key = key_of(event)
                finished[key] = event["raw_sha256"]
                errors[key] = event.get("errors", {})
                concluded[key] = event.get("concluded_sha256", "")
                facts[key] = event.get("facts_sha256", "")
            elif event["event"] in BEGINNINGS and event.get("campaign_sha256") is not None:
                hashes[event["campaign_sha256"]] = None
        return cls(
            source=source,
            finished=finished,
            campaign_hashes=tuple(hashes),
            errors={key: told for key, told in errors.items() if told},
            concluded=concluded,
            facts=facts,
        )

    def wanted(
        self, *, kinds: Collection[StepKind], keys: Collection[StepKey] | None
    ) -> list[StepKey]:
        """Return the finished steps of some kinds, of some keys if they are given, sorted.

        Raises
        ------
        DatasetError
            If there is none.
        """
        found = sorted(
            key for key in self.finished if key.kind in kinds and (keys is None or key in keys)
        )
        if found:
            return found
        message = "this run has no finished step"
        if self.finished:
            message += f" of the kind {' or '.join(kinds)}, but {len(self.finished)} others"
        raise DatasetError(self.source, [Problem("", message)])

    def check_finished(self, key: StepKey) -> None:
        """Raise DatasetError unless the journal calls a step finished."""
        if key not in self.finished:
            problem = Problem("", f"this run has no finished step {key.name}")
            raise DatasetError(self.source, [problem])

    def check(self, step: StepRecord | StepFacts, key: StepKey, *, place: str) -> None:
        """Hold a step that was read to the journal.

        Parameters
        ----------
        step
            What was read.
        key
            Which step it must be, a finished one.
        place
            Where it was read from, for messages.

        Raises
        ------
        DatasetError
            If it is another step, or one of another run, or something else was concluded from it,
            or it says something else of where it comes from.
        """
        told = ToldStep(
            key=step.key,
            raw_sha256=step.raw_sha256,
            campaign_sha256=step.origin.campaign_sha256,
            errors=step.conclusion.errors,
        )
        self.check_told(told, key, place=place)
        journaled = self.concluded.get(key)
        if journaled and (
            message := concluded_misfit(concluded_sha256(step.conclusion), journaled)
        ):
            raise DatasetError(place, [Problem("/", message)])
        journaled = self.facts.get(key)
        if journaled and (
            message := facts_misfit(facts_sha256(key, step.origin, step.conditions), journaled)
        ):
            raise DatasetError(place, [Problem("/", message)])

    def check_told(self, step: ToldStep, key: StepKey, *, place: str) -> None:
        """Hold what a step file tells to the journal, as `check` does but for its conclusions."""
        if step.key != key:
            raise DatasetError(place, [Problem("/", f"holds step {step.key.name}")])
        comparisons = (
            ("raw_sha256", step.raw_sha256, (self.finished[key],)),
            ("campaign_sha256", step.campaign_sha256, self.campaign_hashes),
        )
        problems = [
            Problem(
                "/",
                f"belongs to another run: its {name} is {found}, the journal's "
                f"{' or '.join(wanted)}",
            )
            for name, found, wanted in comparisons
            if wanted and found not in wanted
        ]
        message = errors_misfit(step.errors, self.errors.get(key, {}))
        if message:
            problems.append(Problem("/verification", message))
        if problems:
            raise DatasetError(place, problems)

    def read_all(
        self,
        keys: Iterable[StepKey],
        *,
        read: Callable[[StepKey], StepRecord],
        place_of: Callable[[StepKey], str],
    ) -> Iterator[StepRecord]:
        """Yield steps, one in memory at a time, all of one chip.

        Parameters
        ----------
        keys
            Which.
        read
            Reads one, held to the journal.
        place_of
            Where it is read from, for messages.

        Raises
        ------
        DatasetError
            If one is of another chip than those before it; and what `read` raises.
        """
        chip: ChipIdentity | None = None
        for key in keys:
            record = read(key)
            chip = chip or record.origin.chip
            # Its firmware may have been replaced before the run went on; the journal says so.
            if replace(record.origin.chip, firmware=chip.firmware) != chip:
                message = f"is of the chip {record.origin.chip}: the steps before it are of {chip}"
                raise DatasetError(place_of(key), [Problem("/", message)])
            yield record


def skipped_in(journal: Path, events: Iterable[Mapping[str, Any]]) -> dict[StepKey, str]:
    """Return why each step was skipped that a journal calls skipped, in its order.

    A step that was taken after all is none of them.

    Raises
    ------
    DatasetError
        If the journal calls a step skipped that was not planned, or is never skipped.
    """
    events = list(events)
    check_skips(journal, events)
    skipped: dict[StepKey, str] = {}
    for event in events:
        if event["event"] == "skip":
            skipped[key_of(event)] = event.get("reason", "")
        elif event["event"] == "step":
            skipped.pop(key_of(event), None)
    return skipped
