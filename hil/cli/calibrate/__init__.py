"""``hil calibrate``: calibrations from stored readouts, and over time."""

import click

from hil.cli.lazy_group import LazyGroup

_COMMANDS: dict[str, tuple[str, str]] = {
    "fit": ("hil.cli.calibrate.fit", "Fit stored readouts again with other options."),
    "apply": ("hil.cli.calibrate.apply", "Correct stored counts: outputs of every vector."),
    "diff": ("hil.cli.calibrate.diff", "Compare two calibrations of a chip, column by column."),
    "history": ("hil.cli.calibrate.history", "Gain and offset of a chip over all its runs."),
    "until": ("hil.cli.calibrate.until", "Predict until when calibrations stay good."),
    "best": ("hil.cli.calibrate.best", "Find the stored calibration that fits a chip now."),
}
"""Name to module (its attribute ``command``) and one line of help."""


@click.group(name="calibrate", cls=LazyGroup, lazy=_COMMANDS)
def command() -> None:
    """Fit again from stored readouts, apply and compare calibrations."""
