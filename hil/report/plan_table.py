"""A plan as tables on a terminal, or as plain text in a pipe."""

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from hil.campaign.estimate.campaign_plan import CampaignPlan, CoreWear
from hil.campaign.estimate.duration import TimeEstimate
from hil.campaign.estimate.storage import shown_bytes
from hil.campaign.visits import Visit
from hil.core.legible import printable

_MOST_STEPS = 12
"""Steps shown, and visits, and cores: what all come to shall stay in sight. ``--json`` has all."""


def print_plan(plan: CampaignPlan, console: Console) -> None:
    """Print a plan's tables."""
    console.print(Group(*_parts(plan)))


def shown_seconds(seconds: float) -> str:
    """Return a duration in words.

    Examples
    --------
    >>> shown_seconds(4.21), shown_seconds(187), shown_seconds(93784)
    ('4.2 s', '3 min 7 s', '26 h 3 min')
    """
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _parts(plan: CampaignPlan) -> Iterator[RenderableType]:
    yield Text(printable(plan.title), style="bold")
    chip = "device not asked" if plan.chip is None else str(plan.chip)
    yield Text(f"{printable(chip)} ({printable(plan.resource)})")
    if plan.geometry is not None:
        size = plan.geometry
        yield Text(
            f"chip: {size.cores} cores of {size.rows} x {size.columns}, counters of "
            f"{size.counter_bits} bits, at most {size.max_vectors} vectors at once"
        )
    if len(plan.visits) > 1:
        yield _visit_table(plan)
    if plan.steps:
        yield _step_table(plan)
    for point in plan.setpoints:
        yield Text(
            f"set: {point.instrument}.{point.quantity} to {point.value:g} {printable(point.unit)}"
            f", within its limits {point.lower:g} to {point.upper:g}"
        )
    yield from _wear_lines(plan.wear)
    for unknown in plan.unknowns:
        yield Text(f"not known: {printable(unknown)}", style="yellow")
    yield from _total_lines(plan)


def _visit_table(plan: CampaignPlan) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=0, show_edge=False)
    quantities = list(dict.fromkeys(name for visit in plan.visits for name in visit.settings))
    has_ages = any(visit.due_s is not None for visit in plan.visits)
    for heading in ("visit", *quantities, *(["age"] if has_ages else [])):
        table.add_column(f" {heading}", justify="right")
    table.add_column(" does")
    for visit in plan.visits[:_MOST_STEPS]:
        values = [visit.settings.get(name) for name in quantities]
        age = [] if visit.due_s is None else [shown_seconds(visit.due_s)]
        table.add_row(
            str(visit.number),
            *("" if value is None else f"{value:g}" for value in values),
            *(age or ([""] if has_ages else [])),
            f" {_shown_kinds(visit)}",
        )
    if len(plan.visits) > _MOST_STEPS:
        table.add_row(f"and {len(plan.visits) - _MOST_STEPS} more, see --json")
    return table


def _shown_kinds(visit: Visit) -> str:
    if visit.due_s is None:
        return ", ".join(visit.kinds)
    return "probe, then calibrate where the error is beyond its limit"


def _step_table(plan: CampaignPlan) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=0, show_edge=False)
    for heading in ("step", "kind", "read mode"):
        table.add_column(f"{heading} ")
    for heading in ("rows", "columns", "calibration", "verification"):
        table.add_column(f" {heading}", justify="right")
    for step in plan.steps[:_MOST_STEPS]:
        table.add_row(
            step.key.name,
            str(step.key.kind),
            str(step.key.read_mode),
            "?" if step.rows_used is None else str(step.rows_used),
            "?" if step.columns_used is None else str(step.columns_used),
            str(step.calibration_vectors),
            str(step.verification_vectors),
        )
    if len(plan.steps) > _MOST_STEPS:
        table.add_row(f"and {len(plan.steps) - _MOST_STEPS} more, see --json")
    return table


def _total_lines(plan: CampaignPlan) -> Iterator[Text]:
    blocks = sum(step.blocks(plan.block) for step in plan.steps)
    conditional = sum(step.is_conditional for step in plan.steps)
    at_most = f", {conditional} of them only where needed" if conditional else ""
    yield Text(
        f"steps: {len(plan.steps)}{at_most}; vectors: {plan.vectors} in {blocks} blocks of at most "
        f"{plan.block}"
    )
    if plan.traffic is not None:
        yield Text(
            f"link: {shown_bytes(plan.traffic.sent_bytes)} to the device, "
            f"{shown_bytes(plan.traffic.received_bytes)} from it, in {plan.traffic.requests} "
            "requests"
        )
    free = "unknown" if plan.room.free_bytes is None else shown_bytes(plan.room.free_bytes)
    if plan.storage is not None:
        yield Text(
            f"disk: {shown_bytes(plan.storage.total_bytes)} in {printable(plan.room.folder)}, "
            f"{shown_bytes(plan.storage.passing_bytes)} more for a moment; free: {free}"
        )
    if plan.memory is not None:
        available = plan.memory.available_bytes
        shown = "unknown" if available is None else shown_bytes(available)
        yield Text(f"memory: about {shown_bytes(plan.memory.needed_bytes)}; can be had: {shown}")
    if plan.time is not None:
        yield from _time_lines(plan.time)


def _time_lines(time: TimeEstimate) -> Iterator[Text]:
    word = "at least" if time.settle_at_most_s else "about"
    word = "more than" if time.is_lower_bound else word
    yield Text(f"wall time: {word} {shown_seconds(time.total_s)}", style="bold")
    yield Text(
        f"  connecting {shown_seconds(time.connect_s)}, programming "
        f"{shown_seconds(time.program_s)} ({time.programming_is}), reading "
        f"{shown_seconds(time.read_s)} ({time.reading_is}), computing and storing "
        f"{shown_seconds(time.host_s)}"
    )
    if time.wait_s:
        yield Text(f"  waiting for cores to age {shown_seconds(time.wait_s)}")
    if time.settle_s:
        yield Text(f"  instruments at rest before each step {shown_seconds(time.settle_s)}")
    if time.settle_at_most_s:
        yield Text(f"  instruments: up to {shown_seconds(time.settle_at_most_s)} more to settle")


def _wear_lines(wear: tuple[CoreWear, ...]) -> Iterator[Text]:
    for core in wear[:_MOST_STEPS]:
        after = "" if core.before is None else f", {core.before + core.planned} in its life"
        limit = "" if core.limit is None else f" of at most {core.limit}"
        times = "once" if core.planned == 1 else f"at most {core.planned} times"
        yield Text(f"wear: core {core.core} programmed {times}{after}{limit}")
    if len(wear) > _MOST_STEPS:
        yield Text(f"wear: {len(wear) - _MOST_STEPS} more cores, see --json")
