"""A run fitted again from its stored readouts: no device, the campaign's own arithmetic.

One map over the ranges of long calibrations, one over the calibrations, one over the steps that
judge their corrections. The tasks do not depend on the number of workers, and neither does what
comes of them.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hil.campaign.conclude import FitSums, FitTerms
from hil.campaign.config.resolved import canonical_json
from hil.campaign.config.sections import CampaignConfig
from hil.campaign.software import package_versions, software_versions, source_commit
from hil.core.errors import CalibrationError, ConfigError, Problem
from hil.core.readout import ReadMode
from hil.recorded.refit_options import RefitOptions, changed_config, split_again
from hil.recorded.refit_step import (
    RANGE_VECTORS,
    StepResult,
    StepTask,
    conclude_step,
    ranges_of,
    sum_range,
)
from hil.recorded.stored_config import stored_config
from hil.scale.work_pool import WorkPool
from hil_datasets.content_id import StepIds, step_ids
from hil_datasets.run_source import RunSource, StepFacts
from hil_datasets.step import StepConclusion, StepKey, StepKind, StepOrigin


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
class RefitRun:
    """What a run has come to."""

    source: RunSource
    """The run with the readouts."""
    options: RefitOptions
    """What was different."""
    config: CampaignConfig
    """The configuration with that."""
    results: tuple[StepResult, ...]
    """One for each step, in the order in which they were taken."""
    ids_before: Mapping[StepKey, StepIds]
    """The ids that each step had before."""

    @property
    def refused(self) -> tuple[StepResult, ...]:
        """The steps whose readouts allow no conclusion with these options."""
        return tuple(result for result in self.results if result.conclusion is None)

    def ids(self, result: StepResult) -> StepIds:
        """Return the ids of what was concluded from a step; its readouts have the one they had."""
        return step_ids(_conclusion_of(result), self.ids_before[result.key].raw)

    def facts(self, result: StepResult) -> StepFacts:
        """Return a step without its readouts, with what was concluded now.

        Raises
        ------
        DatasetError
            If the step cannot be read any more.
        """
        conclusion = _conclusion_of(result)
        former = self.source.read_facts(result.key)
        outputs = former.conclusion.outputs if result.keeps_outputs else None
        origin = self._origin(former.origin)
        if result.key.kind is StepKind.CALIBRATE:
            fitted, held_out = split_again(origin, self.options, step=result.key.name)
            origin = replace(origin, calibration_vectors=fitted, verification_vectors=held_out)
        return replace(former, origin=origin, conclusion=replace(conclusion, outputs=outputs))

    def _origin(self, former: StepOrigin) -> StepOrigin:
        """Return where a conclusion comes from: from here, but for the measurement."""
        provenance = former.provenance
        if provenance is not None:
            provenance = replace(
                provenance,
                campaign=canonical_json(self.config).decode(),
                commit=source_commit(),
                packages=package_versions(),
            )
        return replace(former, software=software_versions(), provenance=provenance)


def _conclusion_of(result: StepResult) -> StepConclusion:
    if result.conclusion is None:
        raise ValueError(f"{result.key.name} was refused: {result.refusal}")
    return result.conclusion


def refit_run(
    source: RunSource,
    options: RefitOptions,
    *,
    pool: WorkPool,
    selection: RefitSelection | None = None,
    on_step: Callable[[int, int], None] = lambda _done, _of: None,
) -> RefitRun:
    """Fit a run again.

    Parameters
    ----------
    source
        The run; it has its readouts.
    options
        What is to be different.
    pool
        Who does the work.
    selection
        Which steps; all by default.
    on_step
        Called with the number of steps that are done, and of all.

    Raises
    ------
    ConfigError
        If the options are wrong, or leave no step.
    DatasetError
        If the run is damaged, or has no readouts.
    CalibrationError
        If no calibration can be made with these options.
    WorkerLostError
        If a worker is gone.
    """
    config = changed_config(stored_config(source), options, source=str(source.path))
    keys = _selected(source, selection or RefitSelection())
    results: dict[StepKey, StepResult] = {}
    ids: dict[StepKey, StepIds] = {}
    calibrations, judging = {}, {}
    for key in keys:
        facts = source.read_facts(key)
        ids[key] = facts.ids
        task = _task(source, facts, config, options)
        if key.kind is StepKind.CALIBRATE:
            calibrations[key] = task
        else:
            of = facts.origin.circumstance.correction_of
            judging[key] = task, None if of is None else of.step

    def keep(found: Iterable[StepResult]) -> None:
        for result in found:
            results[result.key] = result
            on_step(len(results), len(keys))

    sums = _sums_of_long(calibrations.values(), pool)
    keep(
        pool.map(
            conclude_step,
            [replace(task, sums=sums.get(key)) for key, task in calibrations.items()],
        )
    )
    _require_one(results.values())
    keep(_judged(judging, results, pool))
    return RefitRun(
        source=source,
        options=options,
        config=config,
        results=tuple(results[key] for key in keys),
        ids_before=ids,
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


def _task(
    source: RunSource, facts: StepFacts, config: CampaignConfig, options: RefitOptions
) -> StepTask:
    fitted = facts.origin.calibration_vectors
    if facts.key.kind is StepKind.CALIBRATE:
        fitted, _ = split_again(facts.origin, options, step=facts.key.name)
    return StepTask(
        source=Path(source.path).absolute(),  # a worker may have another folder
        key=facts.key,
        terms=FitTerms.of(config, counter_bits=facts.origin.counter_bits),
        calibration_vectors=fitted,
    )


def _sums_of_long(tasks: Iterable[StepTask], pool: WorkPool) -> dict[StepKey, FitSums]:
    """Return the sums of calibrations that have more than one range."""
    long = [task for task in tasks if task.calibration_vectors > RANGE_VECTORS]
    ranges = [part for task in long for part in ranges_of(task)]
    sums: dict[StepKey, FitSums] = {}
    for part, found in zip(ranges, pool.map(sum_range, ranges), strict=True):
        sums[part.key] = sums[part.key].merge(found) if part.key in sums else found
    return sums


def _require_one(results: Collection[StepResult]) -> None:
    refused = [result for result in results if result.conclusion is None]
    if len(refused) == len(results):
        raise CalibrationError(f"{refused[0].key.name}: {refused[0].refusal}")


def _judged(
    judging: Mapping[StepKey, tuple[StepTask, str | None]],
    calibrated: Mapping[StepKey, StepResult],
    pool: WorkPool,
) -> Iterable[StepResult]:
    """Yield what the new corrections are worth on the steps that judged the former ones."""
    by_name = {key.name: result for key, result in calibrated.items()}
    tasks = []
    for key, (task, name) in judging.items():
        found = None if name is None else by_name.get(name)
        judged = None if found is None else found.conclusion
        if name is not None and judged is None:
            yield StepResult(key=key, refusal=f"there is no correction to judge: {name} has none")
        else:
            tasks.append(replace(task, judged=judged))
    yield from pool.map(conclude_step, tasks)
