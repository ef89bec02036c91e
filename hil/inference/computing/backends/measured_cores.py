"""The cores that a run has measured in a read mode."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hil.core.errors import DatasetError, Problem
from hil.core.readout import ReadMode
from hil.inference.computing.backends.transfer_fit import CoreTransfer, fit_transfer
from hil.inference.computing.readings import ChipFacts
from hil_datasets.calibration_choice import newest_calibrations
from hil_datasets.run_source import NoReadoutsError, RunSource
from hil_datasets.step import StepKey

_FEWEST_VECTORS = 16
"""A gain, an offset and a curvature, each of two counters, and something left for the noise."""


@dataclass(frozen=True, kw_only=True)
class MeasuredChip:
    """What a run says of a chip."""

    facts: ChipFacts
    """Size of the cores, and which were measured."""
    transfers: Mapping[int, CoreTransfer]
    """By core."""
    age_s: float
    """Time from programming to reading, seconds; NaN where the run does not say."""


def measure_run(run: RunSource, read_mode: ReadMode) -> MeasuredChip:
    """Fit the transfer of every core that a run has calibrated in a read mode.

    Parameters
    ----------
    run
        The run; where it has several calibrations of a core, the newest counts.
    read_mode
        Which read mode.

    Raises
    ------
    DatasetError
        If there is none, the run was packed without readouts, or is damaged.
    """
    keys = _wanted(run, read_mode)
    transfers = {key.core: _fit(run, key) for key in keys}
    origins = [run.read_facts(key).origin for key in keys]
    rows, columns = run.readouts(keys[0]).weights.shape
    ages = [one.circumstance.age_s for one in origins if not math.isnan(one.circumstance.age_s)]
    return MeasuredChip(
        facts=ChipFacts(
            name=f"{origins[0].chip}, as measured by {run.path}",
            cores=tuple(sorted(transfers)),
            rows=rows,
            columns=columns,
            counter_bits=origins[0].counter_bits,
            read_mode=read_mode,
            nominal_gain=_typical_gain(transfers),
            identity=origins[0].chip,
        ),
        transfers=transfers,
        age_s=float(np.median(ages)) if ages else math.nan,
    )


def _fit(run: RunSource, key: StepKey) -> CoreTransfer:
    origin = run.read_facts(key).origin
    try:
        readouts = run.readouts(key)
        weights, inputs, counts = readouts.weights, readouts.inputs, readouts.raw
    except NoReadoutsError as error:
        message = (
            f"{key.name}: was packed without its readouts, which tell how the chip counts; "
            "use the run itself, or pack it with them"
        )
        raise DatasetError(str(run.path), [Problem("", message)]) from error
    if len(inputs) < _FEWEST_VECTORS:
        message = f"{key.name}: has {len(inputs)} vectors; {_FEWEST_VECTORS} are needed"
        raise DatasetError(str(run.path), [Problem("", message)])
    return fit_transfer(
        weights,
        inputs,
        counts,
        read_mode=key.read_mode,
        counter_bits=origin.counter_bits,
        columns_used=origin.columns_used,
    )


def _wanted(run: RunSource, read_mode: ReadMode) -> list[StepKey]:
    newest = newest_calibrations(run.finished_steps())
    keys = [key for key in newest if key.read_mode is read_mode]
    if keys:
        return keys
    if not newest:
        message = (
            "has no finished calibration: it cannot say how its chip counts; calibrate with hil run"
        )
    else:
        modes = ", ".join(sorted({str(key.read_mode) for key in newest}))
        message = f"has no finished calibration in {read_mode}; it has some in {modes}"
    raise DatasetError(str(run.path), [Problem("", message)])


def _typical_gain(transfers: Mapping[int, CoreTransfer]) -> float | None:
    """Return the gain in the middle of all columns, products per count."""
    gains = np.concatenate([np.abs(one.gain).ravel() for one in transfers.values()])
    gains = gains[gains > 0]
    return float(1 / np.median(gains)) if gains.size else None
