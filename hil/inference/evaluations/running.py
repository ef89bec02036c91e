"""A whole evaluation, from a request to what it found: map, program, calibrate, predict, store."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib import metadata
from pathlib import Path

from hil.campaign.runner import utc_now
from hil.campaign.software import package_versions, source_commit
from hil.core.errors import ConfigError, Problem
from hil.inference.age_words import about
from hil.inference.conditions.baselines import BASELINES, Baselines, predict_baselines
from hil.inference.conditions.observing import EvaluationObserver
from hil.inference.conditions.outcome import Evaluation
from hil.inference.conditions.plan import images_of
from hil.inference.corrections.prepared import PreparedNetwork
from hil.inference.demo import DEMO_MODEL, demo_files, write_demo
from hil.inference.evaluations.chip_choice import is_modelled
from hil.inference.evaluations.evaluation import evaluate_conditions
from hil.inference.evaluations.flaws import predict_without_flaws
from hil.inference.evaluations.request import EvaluationRequest
from hil.inference.evaluations.spreading import spread_conditions
from hil.inference.evaluations.subject import Subject, open_subject
from hil.inference.findings.result_file import write_evaluation
from hil.inference.findings.result_sizes import ResultSizes
from hil.inference.findings.store import DEMO, EvaluationFolder, made_folder, open_folder
from hil.inference.findings.summary import EvaluationSummary, summarize_evaluation
from hil.inference.libraries import load_torch
from hil.inference.placing.mapping import describe_mapping
from hil.scale.pool import open_pool
from hil.scale.work_pool import WorkPool
from hil_datasets.durable import finished_file, names_failed_writes


def run_evaluation(
    request: EvaluationRequest,
    out: Path,
    observer: EvaluationObserver,
    *,
    workers: int = 1,
    cluster: str | None = None,
    now: Callable[[], datetime] = utc_now,
) -> EvaluationSummary:
    """Evaluate a network, and leave everything in a folder.

    Parameters
    ----------
    request
        What is asked for.
    out
        Folder of the evaluation; one of the same subject is continued.
    observer
        Is told how it goes.
    workers, cluster
        Where a model of a chip is computed, as in `hil.scale.pool.open_pool`. What is predicted
        does not depend on it.
    now
        Tells how old stored coefficients are.

    Raises
    ------
    ConfigError
        If what is asked for cannot be done, or the folder holds something else.
    DatasetError
        If a file is missing, damaged or not what it should be, or cannot be written.
    CalibrationError
        If the readouts of a core allow no calibration.
    TransportError, FrameError, DeviceError
        If the device is lost, refuses or answers nonsense.
    WorkerLostError
        If a worker is gone, or the whole cluster.
    """
    _refuse_workers_of_device(request, workers, cluster)
    load_torch()
    with made_folder(out):
        if request.network.model == DEMO_MODEL:
            _make_demo(out / DEMO, observer)
        with open_subject(request, observer) as subject:
            _describe(subject, observer, now)
            folder = open_folder(out, subject.whole_identity, sizes=_sizes(subject))
            with folder.held(), _spread_over(workers, cluster, observer) as pool:
                evaluation = _evaluate(subject, folder, observer, pool)
    return _finish(evaluation, folder)


def _refuse_workers_of_device(
    request: EvaluationRequest, workers: int, cluster: str | None
) -> None:
    if is_modelled(request.chip) or (workers == 1 and cluster is None):
        return
    option = "--workers" if cluster is None else "--cluster"
    message = (
        "a chip multiplies one vector after the other, over one link: more processes would only "
        "wait for each other; leave it out"
    )
    raise ConfigError(option, [Problem("", message)])


@contextmanager
def _spread_over(
    workers: int, cluster: str | None, observer: EvaluationObserver
) -> Iterator[WorkPool | None]:
    """Open workers; None where this process works alone, with as many threads as torch takes."""
    if workers == 1 and cluster is None:
        yield None
        return
    with open_pool(workers=workers, cluster=cluster, on_wait=observer.on_words) as pool:
        yield pool


def _make_demo(folder: Path, observer: EvaluationObserver) -> None:
    files = demo_files(folder)
    if not all(path.exists() for path in (files.weights, files.images, files.training_images)):
        observer.on_stage("training the demo's network")
        write_demo(folder)


def _describe(subject: Subject, observer: EvaluationObserver, now: Callable[[], datetime]) -> None:
    facts, layers = subject.readings.facts, subject.loaded.network.layers
    observer.on_words(f"{facts.name}, {facts.read_mode.value.replace('_', '-')}")
    observer.on_words(
        describe_mapping(layers, subject.tiles, rows=facts.rows, columns=facts.columns)
    )
    if subject.coefficients is not None:
        age_s = subject.coefficients.age_s(now())
        ago = f", {about(age_s)} ago" if age_s > 0 else ""
        observer.on_words(f"{subject.coefficients.words}{ago}")


def _evaluate(
    subject: Subject,
    folder: EvaluationFolder,
    observer: EvaluationObserver,
    pool: WorkPool | None,
) -> Evaluation:
    request, loaded, facts = subject.request, subject.loaded, subject.readings.facts
    observer.on_plan(images=_planned_images(subject))
    observer.on_stage("ranges and samples")
    prepared = subject.prepare()
    baselines = _baselines(subject, prepared, folder, observer)
    results = (
        evaluate_conditions(
            subject.plan, prepared, subject.readings, loaded.images, folder=folder,
            observer=observer, stored=subject.stored,
        )
        if pool is None
        else spread_conditions(subject, pool, folder=folder, observer=observer)
    )  # fmt: skip
    return Evaluation(
        model=DEMO if request.network.model == DEMO_MODEL else request.network.model,
        chip=facts.name,
        read_mode=str(facts.read_mode),
        layers=tuple(layer.name for layer in loaded.network.layers),
        labels=loaded.judged.labels,
        float_predictions=baselines.as_float,
        int8_predictions=baselines.with_int8,
        int8_weight_predictions=baselines.with_int8_weights,
        results=tuple(results),
        switched_off=(
            predict_without_flaws(subject, pool, folder=folder, observer=observer)
            if request.switch_off
            else {}
        ),
        seed=request.seed,
        identity=subject.identity,
        software=_software(),
        notes=subject.notes,
    )


def _sizes(subject: Subject) -> ResultSizes:
    network = subject.loaded.network
    return ResultSizes(
        images=len(subject.loaded.images), classes=network.classes, layers=len(network.layers)
    )


def _planned_images(subject: Subject) -> int:
    judged, calibrating = len(subject.loaded.images), len(subject.loaded.calibration_images)
    return BASELINES * judged + sum(
        images_of(one, judged=judged, calibrating=calibrating) for one in subject.plan.conditions
    )


def _baselines(
    subject: Subject,
    prepared: PreparedNetwork,
    folder: EvaluationFolder,
    observer: EvaluationObserver,
) -> Baselines:
    images = subject.loaded.images
    found = folder.find_baselines()
    if found is not None:
        observer.on_images(BASELINES * len(images))
        return found
    found = predict_baselines(
        prepared, images, observer, sums=subject.request.sums, device=subject.readings.device
    )
    folder.keep_baselines(found)
    return found


def _finish(evaluation: Evaluation, folder: EvaluationFolder) -> EvaluationSummary:
    ages_s = (None, *sorted({result.condition.age_s for result in evaluation.results}))
    write_evaluation(evaluation, folder.result_path, calibrations=folder.calibrations(ages_s))
    summary = summarize_evaluation(evaluation)
    with names_failed_writes(folder.json_path), finished_file(folder.json_path) as part:
        part.write_text(json.dumps(summary.to_dict(), indent=1, allow_nan=False) + "\n")
    return summary


def _software() -> dict[str, str]:
    found = package_versions() | {"torch": metadata.version("torch")}
    commit = source_commit()
    return found | {"commit": commit} if commit else found
