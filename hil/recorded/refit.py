"""A run fitted again from its stored readouts: no device, the campaign's own arithmetic.

A run is a job of stages: it is looked at, the ranges of long calibrations are summed, calibrations
are fitted, and the steps judged that judge their corrections. The tasks do not depend on the number
of workers, nor on which other runs are fitted, and neither does what comes of them.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hil.campaign.conclude import FitSums
from hil.campaign.config.resolved import canonical_json
from hil.campaign.config.sections import CampaignConfig
from hil.campaign.software import package_versions, software_versions, source_commit
from hil.core.errors import CalibrationError, HilError
from hil.recorded.refit_options import RefitOptions, split_again
from hil.recorded.refit_plan import PlanTask, RefitPlan, RefitSelection, plan_refit
from hil.recorded.refit_step import (
    RANGE_VECTORS,
    RangeTask,
    StepResult,
    StepTask,
    conclude_step,
    opened_run,
    ranges_of,
    sum_range,
)
from hil.scale.stages import Job, Stage, work_through
from hil.scale.work_pool import WorkPool
from hil_datasets.content_id import StepIds, step_ids
from hil_datasets.run_source import RunSource, StepFacts
from hil_datasets.step import StepConclusion, StepKey, StepKind, StepOrigin

OnStep = Callable[[int, int], None]
"""Called with the number of steps that are done, and of all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefitRun:
    """What a run has come to."""

    path: Path
    """The run with the readouts, an absolute path."""
    options: RefitOptions
    """What was different."""
    config: CampaignConfig
    """The configuration with that."""
    results: tuple[StepResult, ...]
    """One for each step, in the order in which they were taken."""
    ids_before: Mapping[StepKey, StepIds]
    """The ids that each step had before."""

    @property
    def source(self) -> RunSource:
        """The run, as it is now."""
        return opened_run(self.path)

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
    on_step: OnStep = lambda _done, _of: None,
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
    job = refit_job(
        Path(source.path), options, selection=selection or RefitSelection(), on_step=on_step
    )
    ((_, found),) = work_through([job], pool=pool)
    if isinstance(found, HilError):
        raise found
    return found


def refit_job(
    path: Path, options: RefitOptions, *, selection: RefitSelection, on_step: OnStep
) -> Job[RefitRun]:
    """Return the stages in which a run is fitted again; as `refit_run`, besides."""
    path = path.absolute()  # a worker may have another folder
    plans: list[RefitPlan] = []
    yield Stage(
        function=plan_refit,
        tasks=[PlanTask(source=path, options=options, selection=selection)],
        on_result=lambda _task, found: plans.append(found),
    )
    (plan,) = plans
    sums: dict[StepKey, FitSums] = {}

    def add(part: RangeTask, found: FitSums) -> None:
        sums[part.key] = sums[part.key].merge(found) if part.key in sums else found

    results: dict[StepKey, StepResult] = {}

    def keep(_task: StepTask | None, result: StepResult) -> None:
        results[result.key] = result
        on_step(len(results), len(plan.ids_before))

    yield Stage(function=sum_range, tasks=_ranges_of_long(plan.calibrations), on_result=add)
    tasks = [replace(task, sums=sums.pop(task.key, None)) for task in plan.calibrations]
    yield Stage(function=conclude_step, tasks=tasks, on_result=keep)
    _require_one(results.values())
    tasks, impossible = _judging(plan, results)
    for refused in impossible:
        keep(None, refused)
    yield Stage(function=conclude_step, tasks=tasks, on_result=keep)
    return RefitRun(
        path=path,
        options=options,
        config=plan.config,
        results=tuple(results[key] for key in plan.ids_before),
        ids_before=plan.ids_before,
    )


def _ranges_of_long(tasks: Iterable[StepTask]) -> list[RangeTask]:
    """Return the ranges of calibrations that have more than one."""
    long = [task for task in tasks if task.calibration_vectors > RANGE_VECTORS]
    return [part for task in long for part in ranges_of(task)]


def _require_one(results: Collection[StepResult]) -> None:
    refused = [result for result in results if result.conclusion is None]
    if len(refused) == len(results):
        raise CalibrationError(f"{refused[0].key.name}: {refused[0].refusal}")


def _judging(
    plan: RefitPlan, calibrated: Mapping[StepKey, StepResult]
) -> tuple[list[StepTask], list[StepResult]]:
    """Return what the new corrections are to judge, and the steps that have none to judge."""
    by_name = {key.name: result for key, result in calibrated.items()}
    tasks, impossible = [], []
    for task, name in plan.judging:
        found = None if name is None else by_name.get(name)
        judged = None if found is None else found.conclusion
        if name is not None and judged is None:
            refusal = f"there is no correction to judge: {name} has none"
            impossible.append(StepResult(key=task.key, refusal=refusal))
        else:
            tasks.append(replace(task, judged=judged))
    return tasks, impossible
