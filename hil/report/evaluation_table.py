"""An inference evaluation as tables on a terminal, or as plain text in a pipe."""

import math
from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from hil.core.legible import printable
from hil.inference.comparing import PairedDifference, Share
from hil.inference.summary import ConditionSummary, EvaluationSummary

CORRECTION_NAMES = {
    "none": "none",
    "global": "global gain",
    "float": "float",
    "fp16": "FP16",
    "nmpu": "NMPU",
}
"""Correction to its name in tables and figures."""
_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
_MOST_LAYERS = 24
"""Layers shown; all of them are in the files and in ``--json``."""


def print_evaluation(summary: EvaluationSummary, console: Console) -> None:
    """Print an evaluation's tables: accuracies, where the loss comes from, layers."""
    console.print(Group(*_parts(summary)))


def age_words(age_s: float) -> str:
    """Return an age in the largest unit that leaves at least one.

    Examples
    --------
    >>> age_words(0.0), age_words(5400.0), age_words(2592000.0)
    ('fresh', '1.5 h', '30 d')
    """
    for unit_s, unit in _UNITS:
        if age_s >= unit_s:
            return f"{age_s / unit_s:g} {unit}"
    return "fresh" if age_s == 0 else f"{age_s:g} s"


def _parts(summary: EvaluationSummary) -> Iterator[RenderableType]:
    mode = summary.read_mode.replace("_", "-")
    yield Text(f"{printable(summary.model)}: {summary.images} images", style="bold")
    yield Text(f"{printable(summary.chip)}, {mode}")
    yield _accuracy_table(summary)
    yield _source_table(summary)
    yield _layer_table(summary)
    for note in summary.notes:
        yield Text(f"note: {printable(note)}")


def _plain_table(title: str) -> Table:
    return Table(
        title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1), show_edge=False,
        caption_justify="left",
    )  # fmt: skip


def _accuracy_table(summary: EvaluationSummary) -> Table:
    table = _plain_table("Accuracy in %, and what is lost against FP16, in points")
    table.add_column("correction")
    table.add_column("age")
    table.add_column("accuracy", justify="right")
    table.add_column("95 %", justify="right")
    table.add_column("drop", justify="right")
    table.add_column("95 %, paired", justify="right")
    table.add_column("p", justify="right")
    table.add_column("same\nclass %", justify="right")
    for words, share in (
        ("float32, no chip", summary.float_accuracy),
        ("int8, exact", summary.int8_accuracy),
    ):
        table.add_row(words, "", *_share_cells(share), "", "", "", "")
    age_s = -1.0
    for condition in summary.conditions:
        if condition.age_s != age_s:
            table.add_section()
            age_s = condition.age_s
        table.add_row(*_condition_row(condition))
    table.caption = (
        "drop: accuracy of FP16 less this one, on the same images and noise; p: exact McNemar"
    )
    return table


def _condition_row(condition: ConditionSummary) -> list[str]:
    age = age_words(condition.age_s)
    if condition.is_recalibrated:
        age += ", calibrated again"
    paired = condition.against_fp16
    cells = _paired_cells(paired) if paired and condition.correction != "fp16" else [""] * 4
    name = CORRECTION_NAMES.get(condition.correction, condition.correction)
    return [name, age, *_share_cells(condition.accuracy), *cells]


def _source_table(summary: EvaluationSummary) -> Table:
    table = _plain_table("Where the loss comes from, one thing after the other, in points")
    table.add_column("switched on")
    table.add_column("accuracy", justify="right")
    table.add_column("loses", justify="right")
    table.add_column("95 %, paired", justify="right")
    table.add_column("p", justify="right")
    table.add_row("nothing (float32)", f"{100 * summary.float_accuracy.value:.2f}", "", "", "")
    for source in summary.loss_sources:
        cells = _paired_cells(source.cost)[:3]
        table.add_row(source.source, f"{100 * source.accuracy.value:.2f}", *cells)
    return table


def _layer_table(summary: EvaluationSummary) -> Table:
    fresh = [one for one in summary.conditions if one.age_s == 0]
    table = _plain_table("Relative L2 error of the layers' products in %, fresh")
    table.add_column("layer")
    for one in fresh:
        table.add_column(CORRECTION_NAMES.get(one.correction, one.correction), justify="right")
    table.add_column("counts\nclipped %", justify="right")
    for number, layer in enumerate(summary.layers[:_MOST_LAYERS]):
        errors = [_percent(one.layer_errors[number]) for one in fresh]
        clipped = [_percent(fresh[-1].layer_saturation[number], digits=3)] if fresh else [""]
        table.add_row(printable(layer), *errors, *clipped)
    if len(summary.layers) > _MOST_LAYERS:
        table.caption = f"and {len(summary.layers) - _MOST_LAYERS} more layers: --json"
    return table


def _share_cells(share: Share) -> list[str]:
    return [f"{100 * share.value:.2f}", f"{100 * share.low:.2f} to {100 * share.high:.2f}"]


def _paired_cells(paired: PairedDifference) -> list[str]:
    return [
        f"{100 * paired.drop:+.2f}",
        f"{100 * paired.low:+.2f} to {100 * paired.high:+.2f}",
        f"{paired.p_value:.2g}",
        f"{100 * paired.agreement:.1f}",
    ]


def _percent(value: float, digits: int = 2) -> str:
    return f"{100 * value:.{digits}f}" if math.isfinite(value) else "n/a"
