"""A simulated chip without each of its flaws: computed here or by workers, kept in the folder."""

from collections.abc import Callable, Iterator
from itertools import chain

from hil.inference.conditions.observing import EvaluationObserver
from hil.inference.conditions.predicting import Predictions
from hil.inference.conditions.switched_off import chip_groups
from hil.inference.evaluations.subject import Subject, located
from hil.inference.evaluations.tasks import (
    FlawTask,
    predict_flaw_group,
    predict_flaws,
    simulated_profile,
)
from hil.inference.findings.store import EvaluationFolder
from hil.scale.work_pool import WorkPool

_Keep = Callable[[dict[str, Predictions]], None]


def predict_without_flaws(
    subject: Subject,
    pool: WorkPool | None,
    *,
    folder: EvaluationFolder,
    observer: EvaluationObserver,
) -> dict[str, Predictions]:
    """Judge the simulated chip of a subject without one flaw after the other.

    Parameters
    ----------
    subject
        What is evaluated.
    pool
        Who computes; this process where None.
    folder
        What is known is not computed again; the rest is stored as soon as it is known.
    observer
        Is told how it goes.

    Returns
    -------
    By flaw, `hil.inference.conditions.switched_off.WHOLE` among them.

    Raises
    ------
    ConfigError
        If the chip is not a simulated one, or a worker has other files or software.
    CalibrationError
        If the readouts of a core allow no calibration.
    DatasetError
        If a result cannot be stored, or a stored one is damaged.
    """
    groups = chip_groups(simulated_profile(subject.request.chip))
    known = {flaw: folder.find_flaw(flaw) for flaw in chain.from_iterable(groups)}
    missing = [group for group in groups if any(known[flaw] is None for flaw in group)]

    def keep(found: dict[str, Predictions]) -> None:
        for flaw, predictions in found.items():
            folder.keep_flaw(flaw, predictions)
            known[flaw] = predictions
            observer.on_stage(f"was: {flaw}")

    if missing:
        observer.on_stage("switching off one flaw after the other")
        for found in _computed(subject, pool, missing, keep):
            keep(found)
    return {flaw: predictions for flaw, predictions in known.items() if predictions is not None}


def _computed(
    subject: Subject, pool: WorkPool | None, groups: list[tuple[str, ...]], on_leftover: _Keep
) -> Iterator[dict[str, Predictions]]:
    if pool is None:
        prepared = subject.prepare()
        return (predict_flaw_group(group, subject, prepared) for group in groups)
    request, identity = located(subject.request), subject.whole_identity
    tasks = (FlawTask(request=request, identity=identity, group=group) for group in groups)
    return pool.map(predict_flaws, tasks, on_leftover=on_leftover)
