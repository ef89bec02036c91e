"""A whole evaluation, from a request to what it found: map, program, calibrate, predict, store."""

import json
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import hil
from hil.campaign.software import package_versions, source_commit
from hil.core.readout import ReadMode
from hil.inference.backends.profile import ProfileReadings, mock_profile
from hil.inference.baselines import BASELINES, Baselines, predict_baselines
from hil.inference.calibrating import CalibrationTerms
from hil.inference.chip_choice import open_readings
from hil.inference.demo import DEMO_MODEL, demo_files, write_demo
from hil.inference.evaluation import EvaluationPlan, evaluate_conditions
from hil.inference.libraries import load_torch
from hil.inference.loaded import LoadedNetwork, load_subject
from hil.inference.mapping import describe_mapping, map_layers
from hil.inference.observing import EvaluationObserver
from hil.inference.outcome import Evaluation
from hil.inference.prepared import PreparedNetwork, prepare_network
from hil.inference.readings import CoreReadings
from hil.inference.request import EvaluationRequest
from hil.inference.result_file import write_evaluation
from hil.inference.store import DEMO, EvaluationFolder, make_folder, open_folder
from hil.inference.summary import EvaluationSummary, summarize_evaluation
from hil.inference.switched_off import SwitchedOff, switch_off_each
from hil_datasets.durable import finished_file, names_failed_writes

if TYPE_CHECKING:
    from hil.inference.tiles import Tile


def run_evaluation(
    request: EvaluationRequest, out: Path, observer: EvaluationObserver
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
    """
    load_torch()
    make_folder(out)
    if request.network.model == DEMO_MODEL:
        _make_demo(out / DEMO, observer)
    loaded = load_subject(request.network)
    with open_readings(request.chip, on_words=observer.on_words) as opened:
        readings = opened.readings
        facts = readings.facts
        layers = loaded.network.layers
        tiles = map_layers(layers, rows=facts.rows, columns=facts.columns, cores=facts.cores)
        observer.on_words(f"{facts.name}, {facts.read_mode.value.replace('_', '-')}")
        observer.on_words(describe_mapping(layers, tiles, rows=facts.rows, columns=facts.columns))
        for note in loaded.notes:
            observer.on_words(f"note: {note}")
        identity = loaded.identity | dict(opened.identity) | _terms_identity(request, readings)
        folder = open_folder(out, identity | {"software": _own_software()})
        with folder.held():
            evaluation = _evaluate(request, loaded, tiles, readings, identity, folder, observer)
            switched = tuple(_switched_off(request, loaded, tiles, observer))
    return _finish(evaluation, folder, switched)


def _make_demo(folder: Path, observer: EvaluationObserver) -> None:
    files = demo_files(folder)
    if not all(path.exists() for path in (files.weights, files.images, files.training_images)):
        observer.on_stage("training the demo's network")
        write_demo(folder)


def _evaluate(  # noqa: PLR0917 - private, one caller
    request: EvaluationRequest,
    loaded: LoadedNetwork,
    tiles: "tuple[Tile, ...]",
    readings: CoreReadings,
    identity: dict[str, str],
    folder: EvaluationFolder,
    observer: EvaluationObserver,
) -> Evaluation:
    plan = EvaluationPlan(
        corrections=request.corrections,
        ages_s=request.ages_s,
        terms=CalibrationTerms(fmt=request.fmt),
        sums=request.sums,
    )
    images = loaded.images
    observer.on_plan(images=(len(plan.conditions) + BASELINES) * len(images))
    observer.on_stage("ranges and samples")
    prepared = prepare_network(
        loaded.network, tiles, loaded.calibration_images, rule=request.ranges, seed=request.seed
    )
    baselines = _baselines(request, prepared, loaded, readings, folder, observer)
    results = evaluate_conditions(
        plan, prepared, readings, images, folder=folder, observer=observer
    )
    return Evaluation(
        model=DEMO if request.network.model == DEMO_MODEL else request.network.model,
        chip=readings.facts.name,
        read_mode=str(readings.facts.read_mode),
        layers=tuple(layer.name for layer in loaded.network.layers),
        labels=loaded.judged.labels,
        float_predictions=baselines.as_float,
        int8_predictions=baselines.with_int8,
        int8_weight_predictions=baselines.with_int8_weights,
        results=tuple(results),
        seed=request.seed,
        identity=identity,
        software=_software(),
        notes=loaded.notes,
    )


def _switched_off(
    request: EvaluationRequest,
    loaded: LoadedNetwork,
    tiles: "tuple[Tile, ...]",
    observer: EvaluationObserver,
) -> Iterator[SwitchedOff]:
    """Judge a simulated chip without each of its flaws; nothing of it is kept for another time."""
    if not request.switch_off or request.chip.resource is None:
        return
    observer.on_stage("switching off one flaw after the other")
    prepared = prepare_network(
        loaded.network, tiles, loaded.calibration_images, rule=request.ranges, seed=request.seed
    )
    profile = mock_profile(request.chip.resource, base=request.chip.base, seed=request.chip.seed)
    mode = request.chip.read_mode or ReadMode.FOUR_PHASE
    for one in switch_off_each(
        profile,
        prepared,
        loaded.images,
        loaded.judged.labels,
        open_readings=lambda changed: ProfileReadings(changed, read_mode=mode),
        terms=CalibrationTerms(fmt=request.fmt),
        seed=request.seed,
    ):
        observer.on_stage(f"was without {one.flaw}")
        yield one


def _baselines(  # noqa: PLR0917 - private, one caller
    request: EvaluationRequest,
    prepared: PreparedNetwork,
    loaded: LoadedNetwork,
    readings: CoreReadings,
    folder: EvaluationFolder,
    observer: EvaluationObserver,
) -> Baselines:
    found = folder.find_baselines()
    if found is not None:
        observer.on_images(BASELINES * len(loaded.images))
        return found
    found = predict_baselines(
        prepared, loaded.images, observer, sums=request.sums, device=readings.device
    )
    folder.keep_baselines(found)
    return found


def _finish(
    evaluation: Evaluation, folder: EvaluationFolder, switched: tuple[SwitchedOff, ...]
) -> EvaluationSummary:
    ages_s = sorted({result.condition.age_s for result in evaluation.results})
    write_evaluation(evaluation, folder.result_path, calibrations=folder.calibrations(ages_s))
    summary = replace(summarize_evaluation(evaluation), switched_off=switched)
    with names_failed_writes(folder.json_path), finished_file(folder.json_path) as part:
        part.write_text(json.dumps(summary.to_dict(), indent=1, allow_nan=False) + "\n")
    return summary


def _terms_identity(request: EvaluationRequest, readings: CoreReadings) -> dict[str, str]:
    return {
        "read_mode": str(readings.facts.read_mode),
        "nmpu_format": request.fmt.to_text(),
        "ranges": str(request.ranges),
        "sums": str(request.sums),
        "seed": str(request.seed),
    }


def _own_software() -> str:
    return f"aimc-hil {hil.__version__}, torch {metadata.version('torch')}"


def _software() -> dict[str, str]:
    found = package_versions() | {"torch": metadata.version("torch")}
    commit = source_commit()
    return found | {"commit": commit} if commit else found
