"""What the `repair` events of a journal account for: losses that are known are no new problem."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hil_datasets.integrity.journal_check import CheckedJournal


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairNotes:
    """What repairs of a run have said."""

    lost_steps: frozenset[str]
    """Names of steps that were lost."""
    lost_files: frozenset[str]
    """Files that were lost, relative to the run."""
    former_hashes: Mapping[str, frozenset[str]]
    """Content hashes that a step had before it was salvaged, or when it was lost."""
    notes: tuple[str, ...]
    """One line for each step or file that is not what it was."""

    @classmethod
    def of(cls, journal: CheckedJournal) -> "RepairNotes":
        """Read them from a journal."""
        events = journal.of("repair")
        former: dict[str, set[str]] = {}
        for event in events:
            if event.get("was_raw_sha256"):
                former.setdefault(event.get("step", ""), set()).add(event["was_raw_sha256"])
        return cls(
            lost_steps=frozenset(
                event.get("step", "") for event in events if event.get("state") == "lost"
            ),
            lost_files=frozenset(event["file"] for event in events if "file" in event),
            former_hashes={step: frozenset(hashes) for step, hashes in former.items()},
            notes=tuple(_words(event) for event in events),
        )


def _words(event: Mapping[str, Any]) -> str:
    what = event.get("step") or event.get("file") or "run"
    lost = "; ".join(event.get("lost", ()))
    return f"{what}: {event.get('state', 'repaired')}{': ' + lost if lost else ''}"
