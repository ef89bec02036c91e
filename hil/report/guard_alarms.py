"""What the guards of a run have found, one line for each alarm."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmSummary:
    """One alarm of a guard."""

    utc: str
    """When the run was paused."""
    step: str
    """Name of the step."""
    reason: str
    """What was wrong."""
    vectors: int
    """Readouts that were suspect: they were put aside, and count as never read."""
    file: str
    """Where they are, relative to the run; empty where there are none."""
    readings: Mapping[str, float]
    """What the instruments showed, by ``INSTRUMENT.QUANTITY``."""
    paused_s: float | None
    """How long the run was paused, seconds on the bench; None if it ended there, or its journal
    does not say."""
    is_over: bool
    """Whether the run went on."""

    def __str__(self) -> str:
        """Return the alarm in words."""
        parts = [f"{self.step}: {self.reason}"]
        if self.vectors:
            plural = "s" * (self.vectors > 1)
            again = "read again" if self.is_over else "to be read again"
            parts.append(f"{self.vectors} vector{plural} {again}, kept in {self.file}")
        read = ", ".join(f"{name} {value:.4g}" for name, value in self.readings.items())
        if read:
            parts.append(f"instruments read {read}")
        if not self.is_over:
            parts.append("did not clear")
        elif self.paused_s is not None:
            parts.append(f"paused for {self.paused_s:.0f} s")
        return "; ".join(parts)


def summarize_alarms(events: Iterable[Mapping[str, Any]]) -> tuple[AlarmSummary, ...]:
    """Sum up the ``suspect``, ``pause`` and ``continue`` events of a journal."""
    alarms: list[AlarmSummary] = []
    suspect: Mapping[str, Any] = {}
    for event in events:
        match event["event"]:
            case "suspect" if "programming" not in event:  # that is no guard's
                suspect = event
            case "pause":
                alarms.append(_alarm(event, suspect))
                suspect = {}
            case "continue" if alarms:
                alarms[-1] = _ended(alarms[-1], event)
    return tuple(alarms)


def _alarm(pause: Mapping[str, Any], suspect: Mapping[str, Any]) -> AlarmSummary:
    return AlarmSummary(
        utc=str(pause.get("utc", "")),
        step=str(pause.get("step", "")),
        reason=str(pause.get("reason", "")),
        vectors=int(suspect.get("vectors", 0)),
        file=str(suspect.get("file", "")),
        readings=dict(pause.get("readings", {})),
        paused_s=None,
        is_over=False,
    )


def _ended(alarm: AlarmSummary, event: Mapping[str, Any]) -> AlarmSummary:
    return replace(alarm, is_over=True, paused_s=event.get("paused_s"))
