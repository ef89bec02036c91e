"""An inference evaluation as tables on a terminal, or as plain text in a pipe."""

import math
from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from hil.core.legible import printable
from hil.inference.comparing import PairedDifference, Share
from hil.inference.outcome import age_name
from hil.inference.summary import ConditionSummary, EvaluationSummary
from hil.inference.treatment import Treatment

CORRECTION_NAMES = {
    "none": "none",
    "global": "global gain",
    "float": "float",
    "fp16": "FP16",
    "nmpu": "NMPU",
}
"""Correction to its name in tables and figures."""
_TREATMENT_NAMES = {
    Treatment.KEPT: "",
    Treatment.RECALIBRATED: ", again",
    Treatment.ADABS: ", adabs",
}
_TREATMENT_LEGENDS = {
    Treatment.RECALIBRATED: "; again: calibrated again then",
    Treatment.ADABS: "; adabs: batch norm estimated again then",
}
_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
_MOST_LAYERS = 24
"""Layers shown; all of them are in the files and in ``--json``."""


def print_evaluation(summary: EvaluationSummary, console: Console) -> None:
    """Print an evaluation's tables: accuracies, where the loss comes from, layers."""
    console.print(Group(*_parts(summary)))


def age_words(age_s: float) -> str:
    """Return an age in the largest unit that leaves at least one, and no digit behind.

    Examples
    --------
    >>> age_words(0.0), age_words(5400.0), age_words(2592000.0), age_words(1000001.0)
    ('fresh', '1.5 h', '30 d', '1000001 s')
    """
    if age_s == 0:
        return "fresh"
    for unit_s, unit in _UNITS:
        words = f"{age_s / unit_s:g}"
        if age_s >= unit_s and math.isclose(float(words) * unit_s, age_s, rel_tol=1e-12):
            return f"{words} {unit}"
    return f"{age_name(age_s).removesuffix('s')} s"


def _parts(summary: EvaluationSummary) -> Iterator[RenderableType]:
    mode = summary.read_mode.replace("_", "-")
    yield Text(f"{printable(summary.model)}: {summary.images} images", style="bold")
    yield Text(f"{printable(summary.chip)}, {mode}")
    yield _accuracy_table(summary)
    yield _source_table(summary)
    if summary.switched_off:
        yield _switched_table(summary)
    yield _layer_table(summary)
    for note in summary.notes:
        yield Text(f"note: {printable(note)}")


def _plain_table(*headings: str) -> Table:
    """Return a table of numbers behind a column of words."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    table.add_column(headings[0])
    for heading in headings[1:]:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _titled(title: str, table: Table, caption: str = "") -> Group:
    """Return a table below its title; rich's own title would be as narrow as the table."""
    parts: list[RenderableType] = [Text(f"\n{title}", style="italic"), table]
    return Group(*parts, *([Text(caption, style="dim")] if caption else []))


def _accuracy_table(summary: EvaluationSummary) -> Group:
    table = _plain_table(
        "correction", "age", "accuracy", "95 %", "drop", "95 %, paired", "p", "same"
    )
    table.columns[0].no_wrap = True
    table.columns[1].justify = "left"
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
    treatments = {condition.treatment for condition in summary.conditions}
    legend = "".join(words for one, words in _TREATMENT_LEGENDS.items() if one in treatments)
    return _titled(
        "Accuracy in %, and what is lost against FP16, in points",
        table,
        "drop: accuracy of FP16 less this one, on the same images; p: exact McNemar; same: % of "
        "images with the same class" + legend,
    )


def _condition_row(condition: ConditionSummary) -> list[str]:
    age = age_words(condition.age_s)
    age += _TREATMENT_NAMES[condition.treatment]
    paired = condition.against_fp16
    cells = _paired_cells(paired) if paired and condition.correction != "fp16" else [""] * 4
    name = CORRECTION_NAMES.get(condition.correction, condition.correction)
    return [name, age, *_share_cells(condition.accuracy), *cells]


def _source_table(summary: EvaluationSummary) -> Group:
    table = _plain_table("switched on", "accuracy", "loses", "95 %, paired", "p")
    table.add_row("nothing (float32)", f"{100 * summary.float_accuracy.value:.2f}", "", "", "")
    for source in summary.loss_sources:
        cells = _paired_cells(source.cost)[:3]
        table.add_row(source.source, f"{100 * source.accuracy.value:.2f}", *cells)
    return _titled("Where the loss comes from, one thing after the other, in points", table)


def _switched_table(summary: EvaluationSummary) -> Group:
    table = _plain_table("switched off", "accuracy", "costs", "95 %, paired", "p")
    for one in summary.switched_off:
        accuracy = f"{100 * one.accuracy.value:.2f}"
        table.add_row(one.flaw, accuracy, *_paired_cells(one.cost)[:3])
    return _titled(
        "What each flaw of the simulated chip costs with the NMPU, in points",
        table,
        "accuracy: without this flaw, all others on; costs: less that of the whole chip",
    )


def _layer_table(summary: EvaluationSummary) -> Group:
    fresh = [one for one in summary.conditions if one.age_s == 0]
    names = [CORRECTION_NAMES.get(one.correction, one.correction) for one in fresh]
    table = _plain_table("layer", *names, "clipped %")
    for number, layer in enumerate(summary.layers[:_MOST_LAYERS]):
        errors = [_percent(one.layer_errors[number]) for one in fresh]
        clipped = [one.layer_saturation[number] for one in fresh]
        most = max((share for share in clipped if math.isfinite(share)), default=math.nan)
        table.add_row(printable(layer), *errors, _percent(most, digits=3))
    more = len(summary.layers) - _MOST_LAYERS
    return _titled(
        "Relative L2 error of what leaves each layer in %, and clipped counts, fresh",
        table,
        f"and {more} more layers: --json" if more > 0 else "",
    )


def _share_cells(share: Share) -> list[str]:
    return [f"{100 * share.value:.2f}", f"{100 * share.low:.1f} to {100 * share.high:.1f}"]


def _paired_cells(paired: PairedDifference) -> list[str]:
    return [
        f"{100 * paired.drop:+.2f}",
        f"{100 * paired.low:+.1f} to {100 * paired.high:+.1f}",
        f"{paired.p_value:.1g}",
        f"{100 * paired.agreement:.1f}",
    ]


def _percent(value: float, digits: int = 2) -> str:
    return f"{100 * value:.{digits}f}" if math.isfinite(value) else "n/a"
