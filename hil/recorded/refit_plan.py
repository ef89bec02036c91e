"""What there is to do where a run is fitted again, said by whoever reads the run: a worker."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from hil.campaign.conclude import FitTerms
from hil.campaign.config.sections import CampaignConfig
from hil.core.errors import ConfigError, Problem
from hil.core.readout import ReadMode
from hil.recorded.refit_options import RefitOptions, changed_config, split_again
from hil.recorded.refit_step import StepTask, opened_run
from hil.recorded.stored_config import stored_config
from hil_datasets.content_id import StepIds
from hil_datasets.run_source import RunSource, StepFacts
from hil_datasets.step import StepKey, StepKind


@dataclass(frozen=True, slots=True, kw_only=True)
class RefitSelection:
    """Which cores and read modes are fitted again; all by default."""

    cores: Collection[int] = ()
    """Core numbers; all where empty."""
    read_modes: Collection[ReadMode] = ()
    """Read modes; all where empty."""

    def has(self, key: StepKey) -> bool:
        """Tell whether a step is meant."""
        return (not self.cores or key.core in self.cores) and (
            not self.read_modes or key.read_mode in self.read_modes
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTask:
    """A run to be looked at."""

    source: Path
    """The run, an absolute path."""
    options: RefitOptions
    """What is to be different."""
    selection: RefitSelection
    """Which steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefitPlan:
    """What there is to do."""

    config: CampaignConfig
    """The configuration with the options."""
    ids_before: dict[StepKey, StepIds]
    """The ids that each step has, in the order in which the steps were taken."""
    calibrations: tuple[StepTask, ...]
    """The steps to be fitted."""
    judging: tuple[tuple[StepTask, str | None], ...]
    """The others, each with the name of the calibration that it judges."""


def plan_refit(task: PlanTask) -> RefitPlan:
    """Read what every step is to be fitted with; its readouts are not looked at.

    Raises
    ------
    ConfigError
        If the options are wrong, or leave no step.
    DatasetError
        If the run is damaged.
    """
    source = opened_run(task.source)
    config = changed_config(stored_config(source), task.options, source=str(source.path))
    ids: dict[StepKey, StepIds] = {}
    calibrations, judging = [], []
    for key in _selected(source, task.selection):
        facts = source.read_facts(key)
        ids[key] = facts.ids
        step = _step_task(task, facts, config)
        if key.kind is StepKind.CALIBRATE:
            calibrations.append(step)
        else:
            of = facts.origin.circumstance.correction_of
            judging.append((step, None if of is None else of.step))
    return RefitPlan(
        config=config,
        ids_before=ids,
        calibrations=tuple(calibrations),
        judging=tuple(judging),
    )


def _selected(source: RunSource, selection: RefitSelection) -> list[StepKey]:
    finished = source.finished_steps()
    keys = [key for key in finished if selection.has(key)]
    if any(key.kind is StepKind.CALIBRATE for key in keys):
        return keys
    tiles = sorted(
        {(key.core, key.read_mode) for key in finished if key.kind is StepKind.CALIBRATE}
    )
    there = ", ".join(f"core {core} {mode}" for core, mode in tiles) or "none"
    message = f"has no such finished calibration to fit again; there are: {there}"
    raise ConfigError(str(source.path), [Problem("", message)])


def _step_task(task: PlanTask, facts: StepFacts, config: CampaignConfig) -> StepTask:
    fitted = facts.origin.calibration_vectors
    if facts.key.kind is StepKind.CALIBRATE:
        fitted, _ = split_again(facts.origin, task.options, step=facts.key.name)
    return StepTask(
        source=task.source,
        key=facts.key,
        terms=FitTerms.of(config, counter_bits=facts.origin.counter_bits),
        calibration_vectors=fitted,
        fit=task.options.fit,
    )
