"""What an evaluation is of: the network on the cores of who multiplies, and its identity.

Whoever opens the same request has the same subject, in whatever process; the identity shows it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import hil
from hil.core.errors import ConfigError, Problem
from hil.inference.calibrating import CalibrationTerms
from hil.inference.chip_choice import open_readings
from hil.inference.graph import find_batch_norms
from hil.inference.loaded import LoadedNetwork, load_subject
from hil.inference.mapping import TAKE_LARGER_CHIP, map_layers
from hil.inference.network import Network
from hil.inference.observing import EvaluationObserver
from hil.inference.plan import EvaluationPlan
from hil.inference.prepared import PreparedNetwork, prepare_network
from hil.inference.readings import CoreReadings
from hil.inference.request import EvaluationRequest
from hil.inference.tiles import Tile
from hil.inference.treatment import Treatment

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

    @property
    def whole_identity(self) -> dict[str, str]:
        """The identity, and the software that computes."""
        software = f"aimc-hil {hil.__version__}, torch {metadata.version('torch')}"
        return self.identity | {"software": software}

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
        facts = opened.readings.facts
        yield Subject(
            request=request,
            loaded=loaded,
            readings=opened.readings,
            tiles=map_layers(
                loaded.network.layers,
                rows=facts.rows,
                columns=facts.columns,
                cores=facts.cores,
                remedy=TAKE_LARGER_CHIP if request.chip.run is None else _CALIBRATE_MORE,
            ),
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
            notes=loaded.notes + (opened.notes_of_drift if request.ages_s else ()),
        )


def located(request: EvaluationRequest) -> EvaluationRequest:
    """Return a request whose files have absolute paths: for processes that start elsewhere."""
    network, chip = request.network, request.chip
    model = Path(network.model)

    def absolute(path: Path | None) -> Path | None:
        return None if path is None else path.absolute()

    return replace(
        request,
        network=replace(
            network,
            model=str(model.absolute()) if model.suffix and model.is_file() else network.model,
            weights=absolute(network.weights),
            data=network.data.absolute(),
            calibration_data=absolute(network.calibration_data),
        ),
        chip=replace(chip, run=absolute(chip.run), base=chip.base.absolute()),
    )


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
    )
