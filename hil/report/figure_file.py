"""Figures as files: what every figure of this package looks like, and how it is written."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hil.core.errors import ConfigError, Problem
from hil_datasets.durable import finished_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLACK, GREY, BLUE, VERMILLION = "#000000", "#8c8c8c", "#0072b2", "#d55e00"
GREEN, ORANGE = "#009e73", "#e69f00"
"""Distinct to the colour-blind, and in print each has a marker or dashes of its own.

Source: Okabe and Ito, "Color Universal Design", 2008; the grey is ours.
"""
_SUFFIXES = (".png", ".svg")
_STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "savefig.dpi": 300,
    "svg.hashsalt": "aimc-hil",  # the same figure gives the same bytes
}


def check_plot(path: Path) -> None:
    """Check that a figure could be drawn into a file, before any work is done for it.

    Raises
    ------
    ConfigError
        If its ending is no known one, its folder does not exist, or matplotlib is missing.
    """
    problem = ""
    if path.suffix.lower() not in _SUFFIXES:
        problem = f"must end in {' or '.join(_SUFFIXES)}"
    elif not path.absolute().parent.is_dir():
        problem = f"the folder {path.parent} does not exist"
    elif importlib.util.find_spec("matplotlib") is None:
        problem = "plots need matplotlib: pip install 'aimc-hil[plot]'"
    if problem:
        raise ConfigError(str(path), [Problem("", problem)])


def write_figure(
    draw: Callable[[], "Figure"], path: Path, *, style: dict[Any, Any] | None = None
) -> None:
    """Draw a figure into a file; an older one is replaced as a whole.

    Parameters
    ----------
    draw
        Makes the figure.
    path
        File ending in ``.png`` or ``.svg``.
    style
        Settings of matplotlib beside those of every figure.

    Raises
    ------
    ConfigError
        If the file cannot be made; see `check_plot`.
    """
    check_plot(path)
    kind = path.suffix.lower().removeprefix(".")
    from matplotlib import rc_context  # noqa: PLC0415 - an extra, and slow to import

    with rc_context(_STYLE | (style or {})):
        figure = draw()
        try:
            with finished_file(path) as part:
                # Without the date, which would differ each time.
                metadata = {"Date": None} if kind == "svg" else {}
                figure.savefig(part, format=kind, metadata=metadata)
        except OSError as error:
            problem = Problem("", f"cannot be written: {error.strerror or error}")
            raise ConfigError(str(path), [problem]) from error
