"""A run as tables on a terminal, or as plain text in a pipe."""

import math
from collections.abc import Iterator, Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from hil.core.legible import printable
from hil.report.quality import WorstColumn
from hil.report.summary import RunSummary, StepSummary
from hil.report.uncut import Uncut
from hil.report.visit_table import visit_parts
from hil_calibration.verify import CORRECTIONS
from hil_datasets.step import StepKind

_HEADINGS = {
    "uncorrected": "uncorrected",
    "float": "float",
    "fp16": "FP16",
    "nmpu": "NMPU",
}
_COSTLY_FORMAT = 0.02
"""Relative L2 error by which registers may exceed floating point before it is said."""
_MOST_FLAGGED = 12
"""Flagged columns shown; all of them are in the files and in ``--details``."""


def print_summary(summary: RunSummary, console: Console, *, has_details: bool = False) -> None:
    """Print a run's tables.

    Parameters
    ----------
    summary
        The run.
    console
        Where it is printed.
    has_details
        Whether every core, reason and flagged column is shown, however many there are.
    """
    # Not cropped: a table is as wide as it needs to be.
    console.print(Group(*_parts(summary, has_details=has_details)), crop=False)


def _parts(summary: RunSummary, *, has_details: bool) -> Iterator[RenderableType]:
    yield Text(f"{summary.title}: {summary.status}", style="bold")
    yield Text(f"{summary.chip} ({summary.resource})")
    yield from _not_measured_lines(summary)
    if summary.conditions:
        yield Text(f"conditions: {'; '.join(map(str, summary.conditions))}")
    if summary.link.faults:
        yield Text(f"link: {summary.link}", style="yellow" if summary.link.not_recovered else "")
    if summary.alarms:
        count = len(summary.alarms)
        yield Text(f"guards: {count} alarm{'s' * (count > 1)}", style="yellow")
        for alarm in summary.alarms:
            yield Text(f"  {printable(str(alarm))}", style="yellow")
    for line in summary.begun_anew:
        yield Text(printable(line), style="yellow")
    if summary.calibrations:
        yield from _error_parts(summary)
    yield from visit_parts(summary, has_details=has_details)
    yield from _quality_lines(summary)
    yield from _costly_format_lines(summary)
    yield from _flagged_lines(summary, most=None if has_details else _MOST_FLAGGED)
    for failure in summary.failures:
        yield Text(f"FAILED {failure}", style="red")
    if summary.reason:
        yield Text(f"stopped by {summary.reason}", style="red")
    left = summary.steps_left
    if left > 0 and summary.status in {"failed", "unfinished", "interrupted"}:
        words = f"{left} of {summary.steps_planned} steps were not finished: hil resume goes on"
        yield Text(words, style="red")


def _not_measured_lines(summary: RunSummary) -> Iterator[Text]:
    if summary.replay_of is not None:
        yield Text(
            f"replay of {printable(summary.replay_of) or 'another run'}: nothing was measured"
        )
    if summary.fitted_again is not None:
        options = printable(", ".join(summary.fitted_again)) or "the same options"
        yield Text(f"fitted again with {options}: nothing was measured")


def _error_parts(summary: RunSummary) -> Iterator[RenderableType]:
    first = summary.calibrations[0]
    # Beside the table: it would wrap its title to its own width.
    yield Text(
        f"Relative L2 error in %, on {first.verification_vectors} held-out vectors "
        f"(fitted on {first.calibration_vectors})",
        style="italic",
    )
    probes = _last_probes(summary)
    yield Uncut(_error_table(summary, probes))
    yield Text(_caption(summary, has_probes=bool(probes)), style="dim italic")


def _last_probes(summary: RunSummary) -> dict[str, StepSummary]:
    """Return the step that has judged a correction last, by the name of its calibration."""
    judged: dict[str, StepSummary] = {}
    for step in sorted(summary.steps, key=lambda step: (step.visit, StepKind(step.kind).place)):
        if step.correction_of is not None and step.kind in {StepKind.PROBE, StepKind.VERIFY}:
            judged[step.correction_of] = step
    return {step.name: judged[step.name] for step in summary.calibrations if step.name in judged}


def _error_table(summary: RunSummary, probes: Mapping[str, StepSummary]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=0, show_edge=False)
    for heading in ("core", "read mode", *_HEADINGS.values()):
        table.add_column(heading, justify="left" if heading == "read mode" else "right")
    probed = ("last\nprobe",) if probes else ()
    for heading in (*probed, "gain\nspread\nin %", "columns", "shift", "NMPU\non chip"):
        table.add_column(heading, justify="right")
    for step in summary.calibrations:
        table.add_row(
            str(step.core),
            step.read_mode,
            *(_percent(step.errors[name]) for name in CORRECTIONS),
            *([_probed(probes.get(step.name))] if probes else []),
            _percent(step.gain_spread, digits=1),
            f"{step.columns_calibrated}/{step.columns_used}",
            str(step.shift),
            _agreement(step),
        )
    for read_mode, errors in summary.layer.items():
        table.add_row(
            "sum", read_mode, *(_percent(errors[name]) for name in CORRECTIONS), style="bold"
        )
    return table


def _probed(step: StepSummary | None) -> str:
    return "-" if step is None else _percent(step.errors[_judged_by(step)])


def _judged_by(step: StepSummary) -> str:
    return "nmpu" if step.has_nmpu else "float"


def _quality_lines(summary: RunSummary) -> Iterator[Text]:
    if summary.quality is None:
        return
    fewest, bowed = summary.quality.lowest_effective_bits, summary.quality.largest_inl
    yield Text(
        f"effective bits: median {summary.quality.median_effective_bits:.1f}, lowest "
        f"{fewest.value:.1f} ({_place(fewest)})"
    )
    yield Text(f"INL: largest {bowed.value:.2f} output LSB ({_place(bowed)})")


def _place(worst: WorstColumn) -> str:
    return f"core {worst.core} {worst.read_mode} column {worst.column}"


def _costly_format_lines(summary: RunSummary) -> Iterator[Text]:
    costs = [(step, step.errors["nmpu"] - step.errors["float"]) for step in summary.calibrations]
    lines = [
        f"core {step.core} {step.read_mode}: this NMPU format costs {100 * cost:.0f} points over "
        "float; hil explore finds one that does not"
        for step, cost in costs
        if cost > _COSTLY_FORMAT
    ]
    for line in lines[:_MOST_FLAGGED]:
        yield Text(line, style="yellow")
    if len(lines) > _MOST_FLAGGED:
        yield Text(f"and {len(lines) - _MOST_FLAGGED} more like this", style="yellow")


def _caption(summary: RunSummary, *, has_probes: bool) -> str:
    lines = "core: over its calibrated columns"
    if len({step.visit for step in summary.calibrations}) > 1 or summary.calibrations[0].visit:
        lines += ", as calibrated last"
    if has_probes:
        lines += "; last probe: the newest reading with this correction"
    return lines + ("; sum: whole layer, all columns" if summary.layer else "")


def _flagged_lines(summary: RunSummary, *, most: int | None) -> Iterator[Text]:
    lines = [
        f"core {step.core} {step.read_mode} column {flagged.column}: {', '.join(flagged.flags)} "
        f"(R^2 {flagged.r_squared:.3f}, residual {flagged.residual_rms:.2f} LSB, "
        f"{flagged.saturated_counts} clipped)"
        for step in summary.calibrations
        for flagged in step.flagged
    ]
    if not lines and summary.calibrations:
        yield Text("no column is flagged")
    if lines:
        yield Text(f"{len(lines)} flagged:", style="yellow")
    for line in lines[:most]:
        yield Text(f"  {line}", style="yellow")
    if most is not None and len(lines) > most:
        yield Text(f"  and {len(lines) - most} more: hil info --details", style="yellow")


def _percent(value: float, digits: int = 2) -> str:
    return f"{100 * value:.{digits}f}" if math.isfinite(value) else "n/a"


def _agreement(step: StepSummary) -> str:
    if step.nmpu_mismatches is None:
        return "not read" if step.has_nmpu else "no NMPU"
    return "exact" if step.nmpu_mismatches == 0 else f"{step.nmpu_mismatches} differ"
