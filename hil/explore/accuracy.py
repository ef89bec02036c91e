"""A study by accuracy: how many images a network gets wrong with each format of the NMPU."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import hil
from hil.core.errors import ConfigError, Problem
from hil.core.nmpu_format import NmpuFormat
from hil.core.readout import ReadMode
from hil.explore.evaluate import FormatResult
from hil.explore.grid import Candidate
from hil.explore.missing import StudyObserver, run_missing
from hil.explore.store import ResultKey, StudySubject, open_study
from hil.inference.corrections.prepared import prepare_network
from hil.inference.evaluations.chip_choice import OpenedReadings, is_modelled, open_readings
from hil.inference.evaluations.loaded import LoadedNetwork, load_subject
from hil.inference.evaluations.request import ChipChoice, NetworkChoice
from hil.inference.libraries import load_torch
from hil.inference.placing.mapping import map_layers
from hil_datasets.calibration_choice import newest_calibrations
from hil_datasets.opened import open_source

if TYPE_CHECKING:
    from hil.explore.accuracy_trial import AccuracyTrial


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyTask:
    """One read mode to judge under one format; small, to be sent to another process."""

    network: NetworkChoice
    """What is judged."""
    chip: ChipChoice
    """Where, with the read mode."""
    base_text: str
    """The format that the baselines are computed with."""
    format_text: str
    """The format, shift 0."""
    raw_sha256: str
    """Hash of everything that the result depends on but the format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyStudy:
    """What is studied."""

    network: NetworkChoice
    """Which network."""
    chip: ChipChoice
    """On which chip."""
    chip_name: str
    """What the chip says it is."""
    base: NmpuFormat
    """The format that others are compared with, shift 0."""
    subject: StudySubject
    """What its results belong to."""
    images: int
    """How many images judge."""
    cores: tuple[int, ...]
    """The cores that hold the network."""
    read_modes: tuple[ReadMode, ...]
    """How the chip reads, each judged by itself."""

    def raw_sha256(self, read_mode: ReadMode) -> str:
        """Return the hash of everything that a result depends on but the format."""
        text = json.dumps([dict(self.subject.recording), str(read_mode)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyOutcome:
    """All results that a grid asks for."""

    study: AccuracyStudy
    """What was studied."""
    candidates: tuple[Candidate, ...]
    """The formats, the base first."""
    results: dict[ResultKey, FormatResult]
    """What each is worth in each read mode."""
    evaluated: int
    """How many results are new; the others were stored before."""


def read_accuracy_study(
    network: NetworkChoice,
    chip: ChipChoice,
    *,
    read_modes: Sequence[ReadMode] = (),
    base: NmpuFormat | None = None,
) -> AccuracyStudy:
    """Load what is to be studied: everything that is wrong with it is said here.

    Parameters
    ----------
    network, chip
        What, and where; the chip's own read mode is not used.
    read_modes
        How the chip reads, each judged by itself; all that it can, or that a run has recorded,
        where empty.
    base
        The format that others are compared with; the paper's where None.

    Raises
    ------
    ConfigError
        If the network cannot be mapped, the chip has too few cores or no model, or torch is
        missing.
    DatasetError
        If a file is missing or damaged.
    """
    if chip.run is None and not is_modelled(chip):
        message = (
            "--metric accuracy computes the chip in this process: give mock://PROFILE or a run; "
            "formats of a chip at hand are compared by hil evaluate"
        )
        raise ConfigError(str(chip.resource), [Problem("", message)])
    loaded = _load(network)
    recorded = _recorded_modes(chip)
    modes = tuple(sorted(set(read_modes or recorded or ReadMode)))
    # Modes that are not looked at now, too: the same study may go on with them.
    opened = {mode: _open(replace(chip, read_mode=mode)) for mode in {*recorded, *modes}}
    cores: set[int] = set()
    for mode in modes:  # a run may have fewer cores in one of them
        facts = opened[mode].readings.facts
        tiles = map_layers(
            loaded.network.layers, rows=facts.rows, columns=facts.columns, cores=facts.cores
        )
        cores |= {tile.core for tile in tiles}
    return AccuracyStudy(
        network=network,
        chip=chip,
        chip_name=opened[modes[0]].readings.facts.name,
        base=base or NmpuFormat(),
        subject=StudySubject(
            campaign_sha256="",
            recording={"metric": "accuracy"} | loaded.identity | _identity(opened),
            software=f"aimc-hil {hil.__version__}",
        ),
        images=len(loaded.images),
        cores=tuple(sorted(cores)),
        read_modes=modes,
    )


def run_accuracy_study(
    study: AccuracyStudy,
    candidates: tuple[Candidate, ...],
    *,
    out: Path,
    workers: int,
    cluster: str | None = None,
    observer: StudyObserver,
) -> AccuracyOutcome:
    """Judge the network with every format that has no stored result yet; as `run_study`."""
    wanted = [
        AccuracyTask(
            network=study.network,
            chip=replace(study.chip, read_mode=read_mode),
            base_text=study.base.to_text(),
            format_text=candidate.fmt.to_text(),
            raw_sha256=study.raw_sha256(read_mode),
        )
        for read_mode in study.read_modes  # outermost: a worker keeps one programmed chip
        for candidate in candidates
        if candidate.fmt is not None
    ]
    results, evaluated = run_missing(
        wanted,
        evaluate_accuracy,
        folder=open_study(out, study.subject),
        workers=workers,
        cluster=cluster,
        observer=observer,
    )
    return AccuracyOutcome(study=study, candidates=candidates, results=results, evaluated=evaluated)


def evaluate_accuracy(task: AccuracyTask) -> FormatResult:
    """Judge one format; the programmed chip stays in memory for the next one."""
    trial = _open_trial(task.network, task.chip, task.base_text)
    return trial.evaluate(
        NmpuFormat.from_text(task.format_text),
        step=str(task.chip.read_mode),
        raw_sha256=task.raw_sha256,
    )


@lru_cache(maxsize=1)
def _open_trial(network: NetworkChoice, chip: ChipChoice, base_text: str) -> "AccuracyTrial":
    from hil.explore.accuracy_trial import AccuracyTrial  # noqa: PLC0415 - slow to import

    loaded, readings = _load(network), _open(chip).readings
    facts = readings.facts
    tiles = map_layers(
        loaded.network.layers, rows=facts.rows, columns=facts.columns, cores=facts.cores
    )
    prepared = prepare_network(loaded.network, tiles, loaded.calibration_images)
    return AccuracyTrial(
        prepared,
        readings,
        images=loaded.images,
        labels=loaded.judged.labels,
        base=NmpuFormat.from_text(base_text),
    )


@lru_cache(maxsize=1)
def _load(network: NetworkChoice) -> LoadedNetwork:
    use_one_thread()
    return load_subject(network)


def use_one_thread() -> None:
    """Let torch compute in one thread: workers share the processor's cores, not threads.

    Float sums in another order could turn a result, which must not depend on the workers.
    """
    load_torch().set_num_threads(1)


def _recorded_modes(chip: ChipChoice) -> set[ReadMode]:
    """Return how a run has read its chip; nothing for a model, which reads in every way."""
    if chip.run is None:
        return set()
    return {key.read_mode for key in newest_calibrations(open_source(chip.run).finished_steps())}


def _identity(opened: Mapping[ReadMode, OpenedReadings]) -> dict[str, str]:
    """Return what the numbers depend on; what is not the same in all modes is named by its mode."""
    found: dict[str, str] = {}
    for mode in sorted(opened):
        for name, value in opened[mode].identity.items():
            is_same = all(each.identity.get(name) == value for each in opened.values())
            found[name if is_same else f"{name} {mode}"] = value
    return found


def _open(chip: ChipChoice) -> OpenedReadings:
    """Open a model of a chip; it holds nothing that would have to be given back."""
    return ExitStack().enter_context(open_readings(chip))
