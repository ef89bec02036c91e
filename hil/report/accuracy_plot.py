"""An inference evaluation as a figure: accuracy against the age of the weights, errors by layer.

Left, a line for each correction, dashed where it is as it was calibrated at first, solid where it
was calibrated again at each age, dash-dotted where batch normalisation was estimated again; bars
are the 95 % intervals of the accuracies. Differences between lines are known better than that: they
are paired. Right, a bar for each layer and correction.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hil.inference.age_words import age_words
from hil.inference.conditions.treatment import Treatment
from hil.inference.findings.summary import ConditionSummary, EvaluationSummary
from hil.report.evaluation_table import CORRECTION_NAMES
from hil.report.figure_file import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    VERMILLION,
    write_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LOOKS = {
    "none": (VERMILLION, "v"),
    "global": (ORANGE, "^"),
    "float": (BLACK, "o"),
    "fp16": (GREEN, "s"),
    "nmpu": (BLUE, "D"),
}
"""Correction to colour and marker."""
_LINES = {
    Treatment.RECALIBRATED: "solid",
    Treatment.ADABS: (0, (6, 2, 1, 2)),
    Treatment.KEPT: "dashed",
}
"""Treatment to style of line; the first that there is goes into the legend."""
_LINE_WORDS = {
    Treatment.RECALIBRATED: "solid: calibrated again",
    Treatment.KEPT: "dashed: kept",
    Treatment.ADABS: "dash-dotted: adabs",
}
_FRESH_S = 20.0
"""Where a fresh chip stands on the logarithmic axis of ages, seconds, if none is younger."""
_ASIDE = 0.012
"""Share of the axis by which corrections stand apart, so that none hides another."""


def plot_evaluation(summary: EvaluationSummary, path: Path) -> None:
    """Draw an evaluation into a file; an older one is replaced as a whole.

    Parameters
    ----------
    summary
        What to draw.
    path
        File ending in ``.png`` or ``.svg``.

    Raises
    ------
    ConfigError
        If the file cannot be made; see `hil.report.figure_file.check_plot`.
    """
    write_figure(lambda: _draw(summary), path)


def _draw(summary: EvaluationSummary) -> "Figure":
    from matplotlib.figure import Figure  # noqa: PLC0415 - no pyplot: no windows, no global state
    from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415 - an extra

    apart = ConstrainedLayoutEngine(wspace=0.06)  # or a label touches the panel beside it
    figure = Figure(figsize=(7.2, 3.0), layout=apart)
    ages, layers = figure.subplots(1, 2)
    _draw_ages(ages, summary)
    _draw_layers(layers, summary)
    mode = summary.read_mode.replace("_", "-")
    title = f"{summary.model}, {summary.images} images; {summary.chip}, {mode}"
    figure.suptitle(title, x=0.01, horizontalalignment="left", fontsize=8)
    handles, words = ages.get_legend_handles_labels()
    figure.legend(handles, words, loc="outside lower center", ncols=6)
    return figure


def _draw_ages(panel: "Axes", summary: EvaluationSummary) -> None:
    oldest_s = max((one.age_s for one in summary.conditions), default=0.0)
    spread = max(oldest_s / _FRESH_S, 10.0) ** _ASIDE
    for number, (correction, (colour, marker)) in enumerate(_LOOKS.items()):
        aside = spread ** (number - len(_LOOKS) // 2)
        mine = [one for one in summary.conditions if one.correction == correction]
        kept = [one for one in mine if one.age_s == 0 and one.treatment is Treatment.KEPT]
        look: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 4, "linewidth": 1}
        look["aside"] = aside
        label = CORRECTION_NAMES[correction]
        for treatment, style in _LINES.items():
            aged = [one for one in mine if one.age_s > 0 and one.treatment is treatment]
            # Stored coefficients are treated on the fresh chip, too: a line begins with its own.
            own = [one for one in mine if one.age_s == 0 and one.treatment is treatment]
            is_stored = summary.has_stored and correction != "none"
            is_stored = is_stored and treatment is not Treatment.RECALIBRATED
            fill = {"markerfacecolor": "none"} if is_stored else {}
            is_alone = kept and label and treatment is Treatment.KEPT
            if aged or is_alone or (own and summary.has_stored):
                points = (own or kept) + aged
                _draw_line(panel, points, label=label or None, linestyle=style, **look | fill)
                label = ""
    reference = 100 * summary.float_accuracy.value
    panel.axhline(reference, color=GREY, linewidth=0.9, linestyle=":", label="float32")
    _scale_ages(panel, summary)
    panel.set_ylabel("accuracy (%)")


def _draw_line(
    panel: "Axes", conditions: list[ConditionSummary], *, aside: float, **look: Any
) -> None:
    values = [100 * one.accuracy.value for one in conditions]
    below = [value - 100 * one.accuracy.low for value, one in zip(values, conditions, strict=True)]
    above = [100 * one.accuracy.high - value for value, one in zip(values, conditions, strict=True)]
    places = [max(one.age_s, _FRESH_S) * aside for one in conditions]
    panel.errorbar(places, values, yerr=(below, above), elinewidth=0.6, capsize=2, **look)


def _scale_ages(panel: "Axes", summary: EvaluationSummary) -> None:
    from matplotlib.ticker import NullLocator  # noqa: PLC0415 - an extra

    ages = sorted({0.0, *(one.age_s for one in summary.conditions)})
    panel.set_xscale("log")
    panel.set_xticks([max(age_s, _FRESH_S) for age_s in ages], [age_words(age_s) for age_s in ages])
    panel.xaxis.set_minor_locator(NullLocator())
    drawn = {one.treatment for one in summary.conditions if one.age_s > 0 or summary.has_stored}
    words = "; ".join(words for treatment, words in _LINE_WORDS.items() if treatment in drawn)
    words += "\nhollow: stored coefficients" if summary.has_stored else ""
    if not drawn:
        panel.set_xlim(_FRESH_S / 4, _FRESH_S * 4)  # nothing to be read from places apart
    else:
        panel.set_xlabel(f"age of the weights, logarithmic\n{words}")


def _draw_layers(panel: "Axes", summary: EvaluationSummary) -> None:
    fresh = summary.fresh
    width = 0.8 / max(1, len(fresh))
    for number, one in enumerate(fresh):
        places = [
            layer + width * (number - (len(fresh) - 1) / 2) for layer in range(len(summary.layers))
        ]
        errors = [100 * error for error in one.layer_errors]
        panel.bar(places, errors, width=width, color=_LOOKS[one.correction][0])
    panel.set_ylim(bottom=0)
    panel.set_xticks(range(len(summary.layers)), summary.layers, rotation=90, fontsize=6)
    panel.set_ylabel("relative L2 error (%)")
    panel.set_title("layers, fresh", loc="left", fontsize=8)
