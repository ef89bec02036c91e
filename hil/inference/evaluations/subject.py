"""What an evaluation is of: the network on the cores of who multiplies, and its identity.

Whoever opens the same request has the same subject, in whatever process; the identity shows it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path

import hil
from hil.core.errors import ConfigError, Problem
from hil.inference.computing.readings import CoreReadings
from hil.inference.conditions.observing import EvaluationObserver
from hil.inference.conditions.plan import EvaluationPlan
from hil.inference.conditions.treatment import Treatment
from hil.inference.corrections.calibrating import CalibrationTerms
from hil.inference.corrections.prepared import PreparedNetwork, prepare_network
from hil.inference.corrections.stored_coefficients import StoredCoefficients, neutral_note
from hil.inference.evaluations.chip_choice import OpenedReadings, open_readings
from hil.inference.evaluations.loaded import LoadedNetwork, load_subject
from hil.inference.evaluations.request import EvaluationRequest
from hil.inference.networks.factory import factory_file
from hil.inference.networks.graph import find_batch_norms
from hil.inference.networks.network import Network
from hil.inference.placing.mapping import TAKE_LARGER_CHIP, map_layers, spans
from hil.inference.placing.tiles import Tile
from hil_calibration.calibrate import CoreCalibration

_CALIBRATE_MORE = (
    "the run has calibrated no other core: calibrate more cores (campaign.cores), or take a "
    "smaller network"
)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network on cores."""

    request: EvaluationRequest
    """What was asked for."""
    loaded: LoadedNetwork
    """The network and its images."""
    readings: CoreReadings
    """Who multiplies."""
    tiles: tuple[Tile, ...]
    """Where the layers go."""
    plan: EvaluationPlan
    """What is evaluated."""
    identity: dict[str, str]
    """All that the predictions depend on, but for condition and software."""
    notes: tuple[str, ...] = ()
    """What was chosen because nobody said, or taken because nobody has measured it."""
    coefficients: StoredCoefficients | None = None
    """The run whose coefficients the chip begins with, if one was named."""
    stored: Mapping[int, CoreCalibration] | None = field(default=None, repr=False)
    """What it has stored of the cores in use, by core."""

    @property
    def whole_identity(self) -> dict[str, str]:
        """The identity, what a hash in it stands for, and the software that computes."""
        return self.identity | {
            "images": str(len(self.loaded.images)),
            "calibration_images": str(len(self.loaded.calibration_images)),
            "software": f"aimc-hil {hil.__version__}, torch {metadata.version('torch')}",
        }

    def prepare(self) -> PreparedNetwork:
        """Turn the network into codes, and sample what calibrates the cores."""
        return prepare_network(
            self.loaded.network,
            self.tiles,
            self.loaded.calibration_images,
            rule=self.request.ranges,
            seed=self.request.seed,
        )


@contextmanager
def open_subject(request: EvaluationRequest, observer: EvaluationObserver) -> Iterator[Subject]:
    """Load a network and its images, open who multiplies, and place the layers.

    Raises
    ------
    ConfigError
        If what is asked for cannot be done.
    DatasetError
        If a file is missing, damaged or not what it should be.
    TransportError, FrameError
        If a device cannot be reached or does not speak the protocol.
    """
    loaded = load_subject(request.network)
    plan = _plan_of(request, loaded.network)
    with open_readings(request.chip, on_words=observer.on_words) as opened:
        facts, coefficients = opened.readings.facts, opened.stored
        tiles = _place(loaded.network, opened, is_run=request.chip.run is not None)
        stored = None if coefficients is None else coefficients.of_tiles(tiles)
        yield Subject(
            request=request,
            loaded=loaded,
            readings=opened.readings,
            tiles=tiles,
            plan=plan,
            identity=loaded.identity
            | dict(opened.identity)
            | {
                "read_mode": str(facts.read_mode),
                "nmpu_format": request.fmt.to_text(),
                "ranges": str(request.ranges),
                "sums": str(request.sums),
                "seed": str(request.seed),
            },
            notes=(
                *loaded.notes,
                *(opened.notes_of_drift if request.ages_s else ()),
                *(() if coefficients is None else (f"stored: {coefficients.words}",)),
                *(() if stored is None else neutral_note(stored)),
            ),
            coefficients=coefficients,
            stored=stored,
        )


def _place(network: Network, opened: OpenedReadings, *, is_run: bool) -> tuple[Tile, ...]:
    """Place the layers; on cores with stored coefficients alone, where those are asked for."""
    facts, stored = opened.readings.facts, opened.stored
    cores, remedy = facts.cores, _CALIBRATE_MORE if is_run else TAKE_LARGER_CHIP
    if stored is not None:
        cores = tuple(core for core in cores if core in stored.calibrations)
        remedy = (
            f"{stored.path} has coefficients of the cores {spans(sorted(stored.calibrations))} in "
            f"{stored.read_mode}: calibrate more (campaign.cores), or leave out --coefficients"
        )
    return map_layers(
        network.layers, rows=facts.rows, columns=facts.columns, cores=cores, remedy=remedy
    )


def located(request: EvaluationRequest) -> EvaluationRequest:
    """Return a request whose files have absolute paths: for processes that start elsewhere."""
    network, chip = request.network, request.chip

    def absolute(path: Path | None) -> Path | None:
        return None if path is None else path.absolute()

    return replace(
        request,
        network=replace(
            network,
            model=_located_model(network.model),
            weights=absolute(network.weights),
            data=network.data.absolute(),
            calibration_data=absolute(network.calibration_data),
        ),
        chip=replace(
            chip,
            run=absolute(chip.run),
            coefficients=absolute(chip.coefficients),
            base=chip.base.absolute(),
        ),
    )


def _located_model(model: str) -> str:
    file = factory_file(model)
    if file is not None:
        return f"{file.absolute()}:{model.rpartition(':')[2]}"
    path = Path(model)
    return str(path.absolute()) if path.suffix and path.is_file() else model


def _plan_of(request: EvaluationRequest, network: Network) -> EvaluationPlan:
    has_norms = bool(find_batch_norms(network.graph))
    treatments = request.treatments
    if treatments is None:
        treatments = tuple(one for one in Treatment if has_norms or one is not Treatment.ADABS)
    elif Treatment.ADABS in treatments and not has_norms:
        message = "adabs: the network has no batch normalisation to estimate again: leave it out"
        raise ConfigError("--treatments", [Problem("", message)])
    return EvaluationPlan(
        corrections=request.corrections,
        ages_s=request.ages_s,
        treatments=treatments,
        terms=CalibrationTerms(fmt=request.fmt),
        sums=request.sums,
        has_stored=request.chip.coefficients is not None,
    )
