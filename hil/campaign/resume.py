"""Going on with a run: what it was, and what has changed since."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hil.campaign.config import Campaign, load_stored_campaign
from hil.campaign.config_resolved import FIRST_CONFIG, resolved_document, store_resolved
from hil.campaign.run_job import Programming, programmings_in
from hil.core.errors import ConfigError, DatasetError, Problem
from hil.core.readout import ChipGeometry, ChipIdentity
from hil_datasets.durable import MAKING_SUFFIX, finished_file, names_failed_writes
from hil_datasets.journal import last_beginning, last_stop
from hil_datasets.run_directory import RunDirectory
from hil_datasets.step import StepKey

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
            else "is from before runs could go on: its start event names no campaign"
            if "campaign" not in start
            else ""
        )
        if problem or start is None:
            raise DatasetError(str(run.journal_path), [Problem("", problem)])
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
            beginnings=sum(event["event"] in {"start", "resume"} for event in events),
        )

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


def _leaves(document: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value
