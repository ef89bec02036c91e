"""Going on with a run: what it was, and what has changed since."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any

from hil.campaign.config.load import Campaign, load_stored_campaign
from hil.campaign.config.resolved import FIRST_CONFIG, resolved_document, store_resolved
from hil.campaign.plan_fit import terms_of
from hil.campaign.run_job import (
    ProgramAttempts,
    Programming,
    attempts_in,
    begun_in,
    programmings_in,
)
from hil.core.errors import ConfigError, DatasetError, Problem
from hil.core.readout import ChipGeometry, ChipIdentity
from hil_datasets.durable import MAKING_SUFFIX, finished_file, names_failed_writes
from hil_datasets.journal import BEGINNINGS, last_beginning, last_stop
from hil_datasets.journal_plan import check_planned, check_skips
from hil_datasets.run_directory import RunDirectory
from hil_datasets.step import StepKey
from hil_datasets.visit_terms import VisitTerms

_UNSET = "not set"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHistory:
    """A run as its journal tells it."""

    run: RunDirectory
    """Where it is."""
    start: Mapping[str, Any]
    """The event with which it began."""
    last: Mapping[str, Any]
    """The event with which it began or went on last."""
    is_complete: bool
    """Whether nothing is left to do."""
    finished: frozenset[StepKey]
    """Finished steps, skipped ones among them."""
    skipped: frozenset[StepKey]
    """Steps that a drift watch has found need not be taken."""
    programmed: Mapping[int, Programming]
    """Cores that it has programmed, and what they got last."""
    begun: Mapping[str, int]
    """Number of the programming that each step was read under last, by its name."""
    attempts: Mapping[str, ProgramAttempts]
    """What became of its program steps, by their names."""
    beginnings: int
    """How many processes have worked on it."""

    @classmethod
    def of(cls, run: RunDirectory) -> "RunHistory":
        """Read the journal of a run.

        Raises
        ------
        DatasetError
            If it is damaged, or the run is one that cannot go on.
        """
        events = run.events()
        start = next((event for event in events if event["event"] == "start"), None)
        problem = (
            "has no start event"
            if start is None
            else "is a replay: make it again with hil replay"
            if "replay_of" in start
            else "is a conversion: make it again with hil data convert"
            if "converted_from" in start
            else "is from before runs could go on: its start event names no campaign"
            if "campaign" not in start
            else ""
        )
        if problem or start is None:
            raise DatasetError(str(run.journal_path), [Problem("", problem)])
        _check_beginnings(run, events)
        check_planned(run.journal_path, events)
        stop = last_stop(events)
        skipped = frozenset(run.skipped_steps())
        return cls(
            run=run,
            start=start,
            last=last_beginning(events),
            is_complete=stop is not None and stop.get("status") == "complete",
            finished=skipped.union(run.finished_steps()),
            skipped=skipped,
            programmed=programmings_in(events),
            begun=begun_in(events),
            attempts=attempts_in(events),
            beginnings=sum(event["event"] in BEGINNINGS for event in events),
        )

    def visits(self) -> tuple[VisitTerms, ...]:
        """Return the visits of the plan that its finished steps were taken by.

        Raises
        ------
        DatasetError
            If neither the journal nor the configuration that it keeps says them.
        """
        said: tuple[VisitTerms, ...] | None = self.last.get("visits")
        return terms_of(self.stored_campaign().config) if said is None else said

    def check_skipped(self) -> None:
        """See that steps which the journal calls skipped are such as may be.

        Raises
        ------
        DatasetError
            If one is not; with its line in the journal.
        """
        if self.skipped:
            check_skips(self.run.journal_path, self.run.events(), visits=self.visits())

    def stored_campaign(self) -> Campaign:
        """Return the configuration that the run keeps, with its relative paths where they were.

        Raises
        ------
        DatasetError
            If it is damaged.
        """
        stored = load_stored_campaign(self.run)
        return Campaign(
            config=stored.config, content=stored.content, path=Path(self.last["campaign"])
        )


def changed_settings(before: Campaign, now: Campaign) -> list[str]:
    """Return what two configurations differ in, a line for each key."""
    old, new = (dict(_leaves(resolved_document(each.config))) for each in (before, now))
    return [
        f"{path}: was {old.get(path, _UNSET)!r}, is {new.get(path, _UNSET)!r}"
        for path in sorted(old.keys() | new.keys())
        if old.get(path, _UNSET) != new.get(path, _UNSET)
    ]


def check_same_chip(
    history: RunHistory, identity: ChipIdentity, geometry: ChipGeometry
) -> list[str]:
    """Return what has changed about the chip and may be accepted.

    Raises
    ------
    ConfigError
        If it is another chip, or another size: its readouts cannot belong to the same run.
    """
    last = history.last
    was = ChipIdentity(**last["identity"])
    problems = []
    if (was.manufacturer, was.model, was.serial) != (
        identity.manufacturer,
        identity.model,
        identity.serial,
    ):
        problems.append(
            Problem("device", f"is {identity}: the run is of {was}; begin another run for it")
        )
    if dict(last["geometry"]) != asdict(geometry):
        shown = ", ".join(
            f"{name} {last['geometry'].get(name)} then and {value} now"
            for name, value in asdict(geometry).items()
            if last["geometry"].get(name) != value
        )
        problems.append(Problem("device", f"has another size than the run began with: {shown}"))
    if problems:
        raise ConfigError(str(history.run.path), problems)
    if was.firmware != identity.firmware:
        return [f"firmware: was {was.firmware!r}, is {identity.firmware!r}"]
    return []


def changed_work(history: RunHistory, work: Mapping[str, str]) -> list[str]:
    """Return which steps have other weights or vectors than they had, though named the same."""
    known = history.last.get("work", {})
    changed = [name for name, digest in work.items() if known.get(name, digest) != digest]
    if not changed:
        return []
    return [f"weights or vectors of {', '.join(changed)}: differ from those of the run"]


def refuse_unaccepted(history: RunHistory, changes: list[str], *, accepts: bool) -> None:
    """Raise ConfigError if something has changed and that is not accepted."""
    if changes and not accepts:
        problems = [Problem("", change) for change in changes]
        hint = Problem("", "go on all the same with --accept-changes, which the journal records")
        raise ConfigError(f"{history.run.path}: changed since the run", [*problems, hint])


def config_in_use(history: RunHistory, changed: Campaign | None) -> dict[str, str]:
    """Return how a journal names the configuration that a run goes on with, if not the first one.

    Parameters
    ----------
    history
        The run so far.
    changed
        Another configuration, which is stored; None for the one that it went on with last.

    Raises
    ------
    DatasetError
        If it cannot be written.
    """
    if changed is not None:
        return {"config": store_changed(history, changed)}
    return {"config": history.last["config"]} if "config" in history.last else {}


def store_changed(history: RunHistory, campaign: Campaign) -> str:
    """Keep a changed configuration beside the former one; return its name.

    Raises
    ------
    DatasetError
        If it cannot be written.
    """
    name = f"{FIRST_CONFIG}.{history.beginnings + 1}"
    path = history.run.path / f"{name}.toml"
    with names_failed_writes(path), finished_file(path) as part:
        part.write_bytes(campaign.content)
    store_resolved(history.run, campaign.config, name=name)
    return name


def tidy_up(run: RunDirectory) -> None:
    """Remove what was being made when the run ended."""
    for path in (run.path / "steps").glob(f"*{MAKING_SUFFIX}"):
        with names_failed_writes(path):
            path.unlink(missing_ok=True)


def _check_beginnings(run: RunDirectory, events: Sequence[Mapping[str, Any]]) -> None:
    """See that every process has said what going on needs to know."""
    beginnings = [
        (number, event)
        for number, event in enumerate(events, start=1)
        if event["event"] in BEGINNINGS
    ]
    lacks = [(number, event, "campaign") for number, event in beginnings if "campaign" not in event]
    number, last = beginnings[-1]
    lacks += [(number, last, name) for name in ("identity", "geometry") if name not in last]
    problems = [
        Problem(f"line {number}", f"{event['event']} event: {name}: missing")
        for number, event, name in lacks
    ]
    fields = [field.name for field in dataclass_fields(ChipIdentity)]
    if "identity" in last and last["identity"].keys() != set(fields):
        message = f"{last['event']} event: identity: must have {', '.join(fields)}"
        problems.append(Problem(f"line {number}", message))
    if problems:
        raise DatasetError(str(run.journal_path), problems)


def _leaves(document: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value
