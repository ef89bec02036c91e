"""What surrounded a run: conditions on the bench, and faults of the link, each in a line."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hil_datasets.step_conditions import Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionSummary:
    """One quantity of a bench instrument over the steps of a run."""

    instrument: str
    """Name of the instrument in the campaign file."""
    quantity: str
    """Name of the quantity there."""
    unit: str
    """Its unit."""
    setpoints: tuple[float, ...]
    """What the campaign had set it to, ascending; empty if it only read it."""
    lowest: float
    """Lowest reading before or after a step."""
    highest: float
    """Highest one."""

    def __str__(self) -> str:
        """Return the quantity in words."""
        read = f"{self.lowest:.4g} to {self.highest:.4g}"
        name = f"{self.instrument}.{self.quantity}"
        if not self.setpoints:
            return f"{name} read {read} {self.unit}".rstrip()
        set_to = " and ".join(f"{value:g}" for value in self.setpoints)
        return f"{name} set to {set_to}, read {read} {self.unit}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSummary:
    """What the link went through in a run."""

    faults: Mapping[str, int]
    """How many faults of each kind there were."""
    not_recovered: int
    """How many of all ended in an error."""

    def __str__(self) -> str:
        """Return the faults in words."""
        total = sum(self.faults.values())
        if not total:
            return "no faults"
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.faults.items()))
        ending = f"{self.not_recovered} not recovered" if self.not_recovered else "all recovered"
        return f"{total} fault{'s' * (total > 1)}, {ending}: {kinds}"


def summarize_conditions(steps: Iterable[Sequence[Condition]]) -> tuple[ConditionSummary, ...]:
    """Sum up the conditions of steps, in the order in which quantities come up first."""
    by_name: dict[tuple[str, str, str], list[Condition]] = defaultdict(list)
    for conditions in steps:
        for each in conditions:
            by_name[each.instrument, each.quantity, each.unit].append(each)
    return tuple(
        ConditionSummary(
            instrument=instrument,
            quantity=quantity,
            unit=unit,
            setpoints=tuple(sorted({each.setpoint for each in found if each.setpoint is not None})),
            lowest=min(min(each.at_start, each.at_end) for each in found),
            highest=max(max(each.at_start, each.at_end) for each in found),
        )
        for (instrument, quantity, unit), found in by_name.items()
    )


def summarize_link(events: Iterable[Mapping[str, Any]]) -> LinkSummary:
    """Sum up the ``fault`` events of a journal."""
    faults = [event for event in events if event["event"] == "fault"]
    return LinkSummary(
        faults=dict(sorted(Counter(str(fault.get("kind", "")) for fault in faults).items())),
        # NaN is no number of seconds: the operation failed.
        not_recovered=sum(not fault.get("recovered_s", 0.0) >= 0 for fault in faults),
    )
