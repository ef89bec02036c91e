"""A precision study as a figure: error against register bits, one column of panels per read mode.

The upper panel has the error itself, with everything it is compared with. There all good formats
lie on one line, because the chip's own errors are far larger than theirs; the lower panel takes
the float correction's error away. By accuracy it has the 95 % intervals, too, and both panels are
linear up to one percent point and logarithmic above: there may be no error at all, or less than
none above float.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hil.core.nmpu_format import NmpuFormat
from hil.explore.summary import FormatPoint, ReadModeSummary, StudySummary
from hil.report.figure_file import BLACK, BLUE, GREEN, GREY, VERMILLION, write_figure
from hil.report.precision_table import describe_cores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STAR: dict[str, Any] = {
    "marker": "*", "markersize": 9, "color": BLACK, "markeredgecolor": "white",
    "markeredgewidth": 0.4, "linestyle": "none", "zorder": 4,
}  # fmt: skip
"""The base format."""
_LINES = {
    "uncorrected": ("uncorrected", VERMILLION, (0, (1, 1.5))),
    "fp16": ("FP16", GREEN, (0, (5, 2))),
    "float": ("float", BLACK, "solid"),
}
"""Baseline: its label, colour and dashes."""
_FINE_TICKS, _COARSE_TICKS = (1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 7.0), (1.0, 2.0, 5.0)
"""Multiples of powers of ten that are labelled, within a decade and over several."""
_LINEAR_PERCENT, _LINEAR_DECADES = 1.0, 1.5
"""By accuracy: up to where the axis is linear, and how many decades that is as wide as."""
_LINEAR_TICKS = tuple(number / 5 for number in range(6))
_FAR_TICKS, _NARROW_TICKS = (2, 5, 10, 20, 50), (1.2, 1.5, 2, 3, 5, 7, 10, 12, 15, 20, 30, 50, 70)
"""Labelled by accuracy, percent; the last ones where an axis does not reach the linear part."""
_ASIDE_BITS = 0.35
"""How far from their bits formats of the same bits stand at most, so that no interval hides
another."""
_TICKS: dict[Any, Any] = {
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "ytick.minor.width": 0.4,
}
_PANEL_INCHES = (3.5, 2.4)
"""One column of a two-column paper."""


def plot_study(summary: StudySummary, path: Path) -> None:
    """Draw a study into a file; an older one is replaced as a whole.

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
    write_figure(lambda: _draw(summary), path, style=_TICKS)


def _draw(summary: StudySummary) -> "Figure":
    from matplotlib.figure import Figure  # noqa: PLC0415 - no pyplot: no windows, no global state

    is_accuracy = summary.metric == "accuracy"
    modes = [mode for mode in summary.read_modes if mode.formats]
    width, height = _PANEL_INCHES
    columns = max(1, len(modes))
    figure = Figure(figsize=(width * columns, 2 * height + 0.4), layout="constrained")
    axes = figure.subplots(2, columns, sharex=True, sharey="row", squeeze=False)
    for mode, (whole, excess) in zip(modes, axes.T, strict=False):
        _draw_panel(whole, mode, above=0.0, is_accuracy=is_accuracy)
        # Where the base format is refused there is no float line, and the panels are the same.
        above = mode.baselines.get("float", 0.0)
        if all(point.lost for point in mode.formats):
            _draw_losses(excess, mode, above=above)
        else:
            _draw_panel(excess, mode, above=above, is_accuracy=is_accuracy)
        whole.set_title(_title(summary, mode), loc="left", fontsize=8)
        excess.set_xlabel("register bits per column")
    axes[0, 0].set_ylabel("images predicted wrong (%)" if is_accuracy else "relative L2 error (%)")
    axes[1, 0].set_ylabel("error above float (% points)")
    _draw_legend(figure)
    return figure


def _draw_legend(figure: "Figure") -> None:
    """Draw one legend of all panels: each of its words once."""
    legend: dict[str, Any] = {}
    for panel in figure.axes:
        for handle, words in zip(*panel.get_legend_handles_labels(), strict=True):
            legend.setdefault(words, handle)
    columns = 4 if figure.get_figwidth() > _PANEL_INCHES[0] else 2
    figure.legend(
        [*legend.values()], [*legend], loc="outside lower center", ncols=columns, handletextpad=0.5
    )


def _title(summary: StudySummary, mode: ReadModeSummary) -> str:
    cores = describe_cores(summary, mode)
    baselines = ", ".join(
        f"{_LINES[name][0]} {100 * error:.2f} %" for name, error in mode.baselines.items()
    )
    return f"{mode.read_mode.replace('_', ' ')}, {cores}\n{baselines}"


def _draw_panel(
    panel: "Axes", mode: ReadModeSummary, *, above: float, is_accuracy: bool = False
) -> None:
    """Draw every format, less the error `above`; a log axis has no place for what is not above."""
    lowest = -1.0 if is_accuracy else above
    for marker, words, points in _kinds(mode.formats):
        look = {"markerfacecolor": "none", "markeredgecolor": GREY, "markeredgewidth": 0.7}
        _draw_points(
            panel, points, above, lowest, marker=marker, markersize=3.5, label=words, **look
        )
    _draw_points(
        panel,
        mode.pareto,
        above,
        lowest,
        color=BLUE,
        linestyle="solid",
        linewidth=1.2,
        drawstyle="steps-post",
        marker=".",
        markersize=5,
        label="Pareto set",
        zorder=3,
    )
    own = [point for point in mode.formats if not point.changes]
    words = "the base format" if is_accuracy else "the run's format"
    _draw_points(panel, own, above, lowest, label=words, **_STAR)
    _draw_baselines(panel, mode, above=above, lowest=lowest)
    if is_accuracy:
        _scale_both_ways(panel)
    else:
        _scale_axes(panel)


def _draw_baselines(panel: "Axes", mode: ReadModeSummary, *, above: float, lowest: float) -> None:
    for name, (words, colour, dashes) in _LINES.items():
        if mode.baselines.get(name, lowest) > lowest:
            percent = 100 * (mode.baselines[name] - above)
            panel.axhline(percent, color=colour, linestyle=dashes, linewidth=0.9, label=words)


def _kinds(points: Sequence[FormatPoint]) -> list[tuple[str, str, list[FormatPoint]]]:
    """Return marker, name and formats of those with a scale for each counter, and with one."""
    shared = [point for point in points if _is_shared(point)]
    others = [point for point in points if not _is_shared(point)]
    words = "format, two scales" if shared else "format"
    return [("o", words, others), ("s", "format, one shared scale", shared)]


def _draw_losses(panel: "Axes", mode: ReadModeSummary, *, above: float) -> None:
    """Draw what every format loses against float on the same images, with its 95 % interval.

    Formats of the same bits stand side by side; those that lose the same are one mark.
    """
    places = _side_by_side(mode.formats)
    for marker, _, points in _kinds(mode.formats):
        shown = {places[point.format]: point for point in points if not point.is_pareto}
        look = {"marker": marker, "markersize": 3.5, "markerfacecolor": "white"}
        _draw_intervals(panel, shown, color=GREY, markeredgewidth=0.7, elinewidth=0.6, **look)
    chosen = {places[point.format]: point for point in mode.pareto}
    look = {"marker": ".", "markersize": 5, "elinewidth": 1.2, "zorder": 3}
    _draw_intervals(panel, chosen, color=BLUE, label="95 % interval", **look)
    own = [point for point in mode.formats if not point.changes]
    panel.plot(
        [places[point.format] for point in own],
        [100 * point.lost["drop"] for point in own],
        **_STAR,
    )
    _draw_baselines(panel, mode, above=above, lowest=-1.0)
    _scale_both_ways(panel)


def _draw_intervals(panel: "Axes", points: Mapping[float, FormatPoint], **look: Any) -> None:
    if not points:
        return
    losses = [point.lost for point in points.values()]
    below = [max(0.0, 100 * (lost["drop"] - lost["low"])) for lost in losses]
    over = [max(0.0, 100 * (lost["high"] - lost["drop"])) for lost in losses]
    drops = [100 * lost["drop"] for lost in losses]
    panel.errorbar([*points], drops, yerr=[below, over], linestyle="none", **look)


def _side_by_side(points: Sequence[FormatPoint]) -> dict[str, float]:
    """Return where each format stands on the axis of bits."""
    places: dict[str, float] = {}
    by_bits = attrgetter("register_bits")
    for bits, group in groupby(sorted(points, key=by_bits), key=by_bits):
        alike: dict[tuple[object, ...], list[str]] = {}
        for point in group:
            kind = (point.lost["drop"], point.lost["low"], point.lost["high"])
            alike.setdefault((*kind, _is_shared(point), point.is_pareto), []).append(point.format)
        middle = (len(alike) - 1) / 2
        for number, names in enumerate(alike.values()):
            aside = _ASIDE_BITS * (number - middle) / middle if middle else 0.0
            places |= dict.fromkeys(names, bits + aside)
    return places


def _draw_points(
    panel: "Axes", points: Sequence[FormatPoint], above: float, lowest: float, **look: Any
) -> None:
    shown = [point for point in points if point.error > lowest]
    if shown:
        panel.plot(
            [point.register_bits for point in shown],
            [100 * (point.error - above) for point in shown],
            **({"linestyle": "none"} | look),
        )


def _scale_both_ways(panel: "Axes") -> None:
    """Make an axis of percent linear about 0 and logarithmic farther out."""
    from matplotlib.ticker import (  # noqa: PLC0415 - an extra
        FixedLocator,
        FuncFormatter,
        MaxNLocator,
        NullLocator,
    )

    panel.set_yscale("symlog", linthresh=_LINEAR_PERCENT, linscale=_LINEAR_DECADES)
    is_far = panel.get_ylim()[0] > _LINEAR_PERCENT
    ticks = (*_LINEAR_TICKS, *(_NARROW_TICKS if is_far else _FAR_TICKS), 100)
    panel.yaxis.set_major_locator(FixedLocator(sorted({*ticks, *(-tick for tick in ticks)})))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    panel.yaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))


def _scale_axes(panel: "Axes") -> None:
    from matplotlib.ticker import (  # noqa: PLC0415 - an extra
        FuncFormatter,
        LogLocator,
        MaxNLocator,
        NullLocator,
    )

    panel.set_yscale("log")
    lowest, highest = panel.get_ylim()
    ticks = _FINE_TICKS if highest < 10 * lowest else _COARSE_TICKS
    panel.yaxis.set_major_locator(LogLocator(subs=ticks))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.yaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))


def _is_shared(point: FormatPoint) -> bool:
    return NmpuFormat.from_text(point.format).shared_scale
