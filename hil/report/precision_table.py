"""A precision study as tables on a terminal, or as plain text in a pipe."""

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from hil.core.nmpu_format import NmpuFormat
from hil.explore.summary import FormatPoint, ReadModeSummary, StudySummary

_LINES = {"float": "float, no rounding", "fp16": "FP16 unit", "uncorrected": "uncorrected"}
_WRITTEN = {"scale_int", "scale_frac", "off_int", "off_frac", "off_bits", "shared_scale"}
"""Parameters that the columns show; the others are named where they differ from the base."""
_MOST_REFUSED = 12
"""Refused formats shown; all of them are in ``--json``."""


def print_study(summary: StudySummary, console: Console) -> None:
    """Print a study's tables: the Pareto set of each read mode, and what was refused."""
    console.print(Group(*_parts(summary)))


def describe_registers(fmt: NmpuFormat) -> str:
    """Return the registers of a column: how many scales of how many bits, and the offset.

    Examples
    --------
    >>> describe_registers(NmpuFormat())
    '2 x u(1,7) + s8(7,1)'
    """
    scales = 1 if fmt.shared_scale else 2
    offset = f"s{fmt.off_bits}({fmt.off_int},{fmt.off_frac})"
    return f"{scales} x u({fmt.scale_int},{fmt.scale_frac}) + {offset}"


def _parts(summary: StudySummary) -> Iterator[RenderableType]:
    yield Text(f"{summary.title}: precision study", style="bold")
    yield Text(summary.chip)
    for mode in summary.read_modes:
        yield _mode_table(summary, mode)
    yield Text(f"cost: {summary.cost_model}")
    if summary.refused:
        yield Text(f"{len(summary.refused)} formats refused:", style="yellow")
    for refusal in summary.refused[:_MOST_REFUSED]:
        where = f" on {refusal.step}" if refusal.step else ""
        yield Text(f"  {refusal.format}{where}: {refusal.reason}", style="yellow")
    if len(summary.refused) > _MOST_REFUSED:
        more = len(summary.refused) - _MOST_REFUSED
        yield Text(f"  and {more} more: hil explore --json", style="yellow")


def _mode_table(summary: StudySummary, mode: ReadModeSummary) -> Table:
    is_accuracy = summary.metric == "accuracy"
    words = f"the formats worth their bits, of {len(mode.formats)}"
    table = Table(
        title=f"{mode.read_mode}, {describe_cores(summary, mode)}: {words}",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1),
        show_edge=False,
    )
    table.add_column("bits", justify="right")
    table.add_column("registers of a column", no_wrap=True)
    table.add_column("otherwise")
    table.add_column("wrong images %" if is_accuracy else "L2 error %", justify="right")
    table.add_column("above float", justify="right")
    if is_accuracy:
        table.add_column("95 % interval", justify="right")
    shown = {point.format: point for point in mode.pareto}
    base = next((point for point in mode.formats if not point.changes), None)
    if base is not None:
        shown[base.format] = base
    for point in sorted(shown.values(), key=lambda point: point.register_bits):
        table.add_row(*_point_row(point, mode), style="bold" if point is base else None)
    table.add_section()
    for name, words in _LINES.items():
        if name in mode.baselines:
            table.add_row("", words, "", *_error_cells(mode.baselines[name], mode))
    table.caption = _caption(summary)
    table.caption_justify = "left"
    return table


def _caption(summary: StudySummary) -> str:
    if summary.metric == "accuracy":
        return (
            f"bold: the base format; {summary.images} images, the same for all: differences "
            "within the interval may be chance"
        )
    vectors = summary.verification_vectors
    return f"bold: the run's own format; held-out vectors: {vectors} per core"


def _point_row(point: FormatPoint, mode: ReadModeSummary) -> list[str]:
    others = ", ".join(
        f"{name}={value}" for name, value in point.changes.items() if name not in _WRITTEN
    )
    own = "the base" if point.lost else "the run's own"
    remark = others or ("" if point.changes else own)
    if not point.is_pareto:
        remark += " (not in the set)"
    return [
        str(point.register_bits),
        describe_registers(NmpuFormat.from_text(point.format)),
        remark.strip(),
        *_error_cells(point.error, mode),
        *([_interval(point)] if point.lost else []),
    ]


def describe_cores(summary: StudySummary, mode: ReadModeSummary) -> str:
    """Return which cores an error is of, in words."""
    if len(mode.cores) == 1:
        return f"core {mode.cores[0]}"
    of = "" if summary.metric == "accuracy" else "mean of "
    return f"{of}{len(mode.cores)} cores"


def _interval(point: FormatPoint) -> str:
    return f"{100 * point.lost['low']:+.2f} to {100 * point.lost['high']:+.2f}"


def _error_cells(error: float, mode: ReadModeSummary) -> list[str]:
    percent = f"{100 * error:.2f}"
    if "float" not in mode.baselines:
        return [percent, ""]
    return [percent, f"{100 * (error - mode.baselines['float']):+.2f}"]
