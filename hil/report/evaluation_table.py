"""An inference evaluation as tables on a terminal, or as plain text in a pipe."""

import math
from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from hil.core.legible import printable
from hil.inference.age_words import age_words
from hil.inference.conditions.comparing import PairedDifference, Share
from hil.inference.conditions.treatment import Treatment
from hil.inference.findings.summary import ConditionSummary, EvaluationSummary

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
    Treatment.RECALIBRATED: "again: calibrated again then",
    Treatment.ADABS: "adabs: batch norm estimated again then",
}
_MOST_LAYERS = 24
"""Layers shown; all of them are in the files and in ``--json``."""


def print_evaluation(summary: EvaluationSummary, console: Console) -> None:
    """Print an evaluation's tables: accuracies, where the loss comes from, layers."""
    console.print(Group(*_parts(summary)))


def _parts(summary: EvaluationSummary) -> Iterator[RenderableType]:
    mode = summary.read_mode.replace("_", "-")
    yield Text(f"{printable(summary.model)}: {summary.images} images", style="bold")
    yield Text(f"{printable(summary.chip)}, {mode}")
    yield _accuracy_table(summary)
    if summary.has_stored and any(one.against_recalibrated for one in summary.conditions):
        yield _stored_table(summary)
    yield _source_table(summary)
    if summary.switched_off:
        yield _switched_table(summary)
    yield _layer_table(summary)
    for note in summary.notes:
        yield Text(f"note: {printable(note)}")


def _plain_table(*headings: str) -> Table:
    """Return a table of numbers behind a column of words."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column(headings[0])
    for heading in headings[1:]:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _titled(title: str, table: Table, caption: str = "") -> Group:
    """Return a table below its title; rich's own title would be as narrow as the table."""
    parts: list[RenderableType] = [Text(f"\n{title}", style="italic"), table]
    return Group(*parts, *([Text(caption, style="dim")] if caption else []))


def _accuracy_table(summary: EvaluationSummary) -> Group:
    has_reference = any(one.against_fp16 for one in summary.conditions)
    paired = ("drop", "95 %, paired", "p", "same") if has_reference else ()
    table = _plain_table("correction", "age", "accuracy", "95 %", *paired)
    table.columns[0].no_wrap = True
    table.columns[1].justify = "left"
    for words, share in (
        ("float32, no chip", summary.float_accuracy),
        ("int8, exact", summary.int8_accuracy),
    ):
        table.add_row(words, "", *_share_cells(share))
    age_s = -1.0
    for condition in summary.conditions:
        if condition.age_s != age_s:
            table.add_section()
            age_s = condition.age_s
        table.add_row(*_condition_row(condition, has_stored=summary.has_stored))
    title = "Accuracy in %, and what is lost against FP16, in points"
    return _titled(title if has_reference else "Accuracy in %", table, _legend(summary))


def _legend(summary: EvaluationSummary) -> str:
    treatments = {condition.treatment for condition in summary.conditions}
    words = [words for one, words in _TREATMENT_LEGENDS.items() if one in treatments]
    if summary.has_stored:
        words.insert(0, "stored: with the coefficients of the run")
    paired = (
        "drop: accuracy of FP16 less this one, on the same images; p: exact McNemar; same: % of "
        "images with the same class"
        if any(one.against_fp16 for one in summary.conditions)
        else "what is lost against FP16 is not known: add fp16 to --corrections"
    )
    return "; ".join([paired, *words])


def _condition_row(condition: ConditionSummary, *, has_stored: bool) -> list[str]:
    age = age_words(condition.age_s) + _treated(condition, has_stored=has_stored)
    paired = condition.against_fp16
    cells = _paired_cells(paired) if paired and condition.correction != "fp16" else []
    return [_name(condition), age, *_share_cells(condition.accuracy), *cells]


def _treated(condition: ConditionSummary, *, has_stored: bool) -> str:
    # A gain that was never fitted is no stored one either.
    is_stored = has_stored and condition.correction != "none"
    if is_stored and condition.treatment is Treatment.KEPT:
        return ", stored"
    return _TREATMENT_NAMES[condition.treatment]


def _name(condition: ConditionSummary) -> str:
    return CORRECTION_NAMES.get(condition.correction, condition.correction)


def _stored_table(summary: EvaluationSummary) -> Group:
    table = _plain_table("correction", "age", "loses", "95 %, paired", "p", "same")
    table.columns[1].justify = "left"
    for one in summary.conditions:
        if one.against_recalibrated is not None and one.treatment is Treatment.KEPT:
            age = age_words(one.age_s) + _treated(one, has_stored=True)
            table.add_row(_name(one), age, *_paired_cells(one.against_recalibrated))
    return _titled(
        "What stored coefficients lose against calibrating again, in points",
        table,
        "loses: accuracy after calibrating again at that age less this one, on the same images",
    )


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
    fresh = summary.fresh
    names = [_name(one) for one in fresh]
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
