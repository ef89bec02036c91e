"""Conclusions from readouts that a repair has saved, drawn as the campaign draws them."""

from collections.abc import Callable
from typing import cast

import numpy as np
import numpy.typing as npt

from hil.campaign.config.sections import CampaignConfig
from hil.campaign.judge import judge_step
from hil.campaign.measure import StepBench, measure_step
from hil.campaign.plan import CoreWork, PlannedStep
from hil.campaign.run_clock import StepWatch
from hil.campaign.workload import Tile
from hil_datasets.integrity.salvaged_step import NotConcludedError, SalvagedReadouts
from hil_datasets.step import StepConclusion, StepKey, StepKind, StepOrigin
from hil_datasets.step_files.writer import StepWriter
from hil_drivers.chip import Chip


def conclude_with(config: Callable[[], CampaignConfig]) -> "_Concluder":
    """Return what calibrates from saved readouts.

    Parameters
    ----------
    config
        Gives the campaign of the run, when the first step asks for it.
    """
    return _Concluder(config)


class _Concluder:
    def __init__(self, config: Callable[[], CampaignConfig]) -> None:
        self._load = config
        self._config: CampaignConfig | None = None

    def __call__(
        self, readouts: SalvagedReadouts, writer: StepWriter, judged: StepConclusion | None
    ) -> StepConclusion:
        step = planned_again(
            readouts.key, readouts.origin, weights=readouts.weights, inputs=readouts.inputs
        )
        bench = StepBench(
            chip=cast("Chip", None),  # every block is stored: no chip is asked
            writer=writer,
            config=self._campaign(),
            counter_bits=readouts.origin.counter_bits,
            on_vectors=lambda _: None,
            watch=cast("StepWatch", None),  # nor is any time taken
        )
        if readouts.key.kind is StepKind.CALIBRATE:
            return measure_step(step, bench)
        return judge_step(step, bench, judged)

    def _campaign(self) -> CampaignConfig:
        if self._config is None:
            try:
                config = self._load()
            except ValueError as error:  # its file is lost as well, or damaged
                message = f"the campaign does not say how to calibrate: {error}"
                raise NotConcludedError(message) from error
            device = config.device.model_copy(update={"has_nmpu": False})
            self._config = config.model_copy(update={"device": device})
        return self._config


def planned_again(
    key: StepKey,
    origin: StepOrigin,
    *,
    weights: npt.NDArray[np.int8],
    inputs: npt.NDArray[np.int8],
) -> PlannedStep:
    """Return a step as it was planned, as far as its conclusion depends on that.

    Parameters
    ----------
    key, origin
        The step.
    weights, inputs
        What its core held (row, column), and was asked (vector, row).
    """
    tile = Tile(
        rows=slice(origin.first_row, origin.first_row + origin.rows_used),
        columns=slice(origin.first_column, origin.first_column + origin.columns_used),
    )
    return PlannedStep(
        key=key,
        work=CoreWork(weights=weights, inputs=inputs, tile=tile),
        calibration_vectors=origin.calibration_vectors,
        repeats=_repeats(key, inputs),
    )


def _repeats(key: StepKey, inputs: npt.NDArray[np.int8]) -> int:
    """Return how often the vectors of a characterisation come, all of them in turn."""
    if key.kind is not StepKind.CHARACTERISE or len(inputs) < 2:
        return 1
    again = np.flatnonzero((inputs[1:] == inputs[:1]).all(axis=1))
    return len(inputs) // (int(again[0]) + 1) if len(again) else 1
