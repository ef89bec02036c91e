"""Calibrating every core with the real activations of the network.

The network is computed exactly, in codes, for images that calibrate; each layer's input vectors are
sampled at random. A core multiplies its own, and the same fit as in a campaign makes its
correction: what the core is calibrated for is what it will see.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hil.core.correction import ColumnFlag, Correction
from hil.core.errors import CalibrationError, ConfigError, Problem
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.inference.computing.execution import Execution
from hil.inference.computing.multiplying import ExactLayers
from hil.inference.computing.readings import CoreReadings
from hil.inference.networks.patches import input_vectors
from hil.inference.placing.quantised import QuantisedLayer
from hil.inference.placing.ranges import Ranges
from hil.inference.placing.tiles import Tile
from hil_calibration.calibrate import SEARCH_VECTORS, CoreCalibration, calibrate_core
from hil_calibration.expected import expected_outputs
from hil_calibration.moments import ColumnMoments
from hil_calibration.nmpu import saturated_inputs
from hil_calibration.quality import QualityLimits

if TYPE_CHECKING:
    import torch

    from hil.inference.networks.network import Network

CALIBRATION_VECTORS = 4096
"""Input vectors that calibrate a core: the gains' standard errors are far below their codes."""

InputSamples = Mapping[tuple[int, int], npt.NDArray[np.int8]]
"""Sampled input vectors (vector, row) by layer and group, in random order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationTerms:
    """How to fit, and for which registers."""

    fmt: NmpuFormat
    """The NMPU's format, shift 0."""
    headroom: float = 1.0
    """Factor left in the scale registers, 1 <= headroom. None is needed: every calibration chooses
    the output steps anew, and finer steps and scales are worth more."""
    limits: QualityLimits = field(default_factory=QualityLimits)
    """Where a column stops being like the others."""


def sample_inputs(
    network: "Network",
    quantised: Sequence[QuantisedLayer],
    ranges: Ranges,
    images: "torch.Tensor",
    *,
    vectors: int = CALIBRATION_VECTORS,
    seed: int = 0,
) -> InputSamples:
    """Sample the input vectors of every layer.

    Parameters
    ----------
    network, quantised, ranges
        The network, its layers in codes, and the ranges of its tensors.
    images
        Images that calibrate, as the network takes them, at least one.
    vectors
        Most input vectors of one layer and group; fewer where the images give no more.
    seed
        Of the choice.

    Raises
    ------
    ConfigError
        If there are no images.
    """
    import torch  # noqa: PLC0415 - the extra `inference`

    if not len(images):
        message = "there are no images to calibrate the cores with"
        raise ConfigError("calibration images", [Problem("", message)])
    device = torch.device("cpu")
    sampler = _Sampler(quantised, device, share=vectors / len(images), seed=seed)
    Execution(network, quantised, ranges, sampler, device=device).run(images)
    return {key: sampler.sample(key, vectors) for key in sampler.parts}


class _Sampler(ExactLayers):
    """Exact products, and a random sample of the vectors that were multiplied."""

    def __init__(
        self,
        quantised: Sequence[QuantisedLayer],
        device: "torch.device",
        *,
        share: float,
        seed: int,
    ) -> None:
        super().__init__(quantised, device)
        self._layers = quantised
        self._share = share
        self._rng = np.random.default_rng(seed)
        self.parts: dict[tuple[int, int], list[npt.NDArray[np.int8]]] = {}

    def outputs(self, place: int, input_codes: "torch.Tensor", *, first: int) -> "torch.Tensor":
        import torch  # noqa: PLC0415 - the extra `inference`

        layer = self._layers[place].layer
        wanted = int(np.ceil(self._share * len(input_codes)))
        for group in range(layer.groups):
            found = input_vectors(layer, input_codes, group)
            chosen = self._rng.permutation(len(found))[:wanted]
            part = found[torch.from_numpy(chosen)].cpu().numpy()
            self.parts.setdefault((place, group), []).append(part)
        return super().outputs(place, input_codes, first=first)

    def sample(self, key: tuple[int, int], vectors: int) -> npt.NDArray[np.int8]:
        found = np.concatenate(self.parts[key])
        return np.asarray(found[self._rng.permutation(len(found))[:vectors]])


def calibrate_tiles(
    quantised: Sequence[QuantisedLayer],
    tiles: Sequence[Tile],
    readings: CoreReadings,
    samples: InputSamples,
    terms: CalibrationTerms,
) -> dict[int, CoreCalibration]:
    """Calibrate every core with the vectors sampled for its layer, numbered from 0.

    Parameters
    ----------
    quantised
        The layers in codes.
    tiles
        Where they are; the cores are programmed.
    readings
        Who multiplies.
    samples
        What `sample_inputs` returned.
    terms
        How to fit.

    Returns
    -------
    By core. A core whose expected outputs are all 0 gets a correction that says 0.

    Raises
    ------
    CalibrationError
        If the readouts of a core allow no calibration: with the core and its layer.
    """
    found = {}
    silent = silent_layers(quantised, samples)
    for tile in tiles:
        one = quantised[tile.layer]
        try:
            _require_changing_outputs(one, tile, samples, silent)
            found[tile.core] = _calibrate(one, tile, readings, samples, terms)
        except CalibrationError as error:
            message = f"core {tile.core}, layer {one.layer.name}: {error}"
            raise CalibrationError(message) from error
    return found


def silent_layers(quantised: Sequence[QuantisedLayer], samples: InputSamples) -> list[str]:
    """Return the layers whose weights or sampled inputs are all 0, by name, in their order."""
    return [
        one.layer.name
        for place, one in enumerate(quantised)
        if not one.weight_codes.any()
        or not any(samples[place, group].any() for group in range(one.layer.groups))
    ]


def _require_changing_outputs(
    one: QuantisedLayer, tile: Tile, samples: InputSamples, silent: Sequence[str]
) -> None:
    inputs = samples[tile.layer, tile.group][:, tile.rows]
    expected = expected_outputs(np.ascontiguousarray(inputs), one.tile_codes(tile))
    if len(expected) < 2 or not expected.any() or (expected != expected[0]).any():
        return
    why = f"the outputs of layer {silent[0]} are 0 for all of them; " if silent else ""
    raise CalibrationError(
        f"its outputs are the same for all calibration images, so nothing can be fitted: {why}"
        "give the weights that were trained, and images that differ"
    )


def vectors_used(tiles: Sequence[Tile], samples: InputSamples) -> dict[int, int]:
    """Return how many vectors each core multiplies to be calibrated."""
    return {tile.core: len(samples[tile.layer, tile.group]) for tile in tiles}


def search_counts(
    tiles: Sequence[Tile], readings: CoreReadings, samples: InputSamples
) -> dict[int, npt.NDArray[np.uint16]]:
    """Read the cores with the first vectors that calibrated them, for searching register codes.

    On a model of a chip these are the readouts that the calibration saw, noise included.

    Returns
    -------
    By core, counts (vector, polarity, column).
    """
    import torch  # noqa: PLC0415 - the extra `inference`

    found = {}
    for tile in tiles:
        inputs = samples[tile.layer, tile.group][:SEARCH_VECTORS, tile.rows]
        given = torch.from_numpy(np.ascontiguousarray(inputs)).to(readings.device)
        counts = readings.counts(tile.core, given, first=0)
        found[tile.core] = counts.cpu().numpy().astype(np.uint16)
    return found


def _calibrate(
    one: QuantisedLayer,
    tile: Tile,
    readings: CoreReadings,
    samples: InputSamples,
    terms: CalibrationTerms,
) -> CoreCalibration:
    import torch  # noqa: PLC0415 - the extra `inference`

    inputs = np.ascontiguousarray(samples[tile.layer, tile.group][:, tile.rows])
    expected = expected_outputs(inputs, one.tile_codes(tile))
    if not expected.any():
        return _silent(tile.column_count, terms.fmt)
    given = torch.from_numpy(inputs).to(readings.device)
    counts = readings.counts(tile.core, given, first=0).cpu().numpy().astype(np.uint16)
    fmt = terms.fmt
    return calibrate_core(
        ColumnMoments.of(counts, expected),
        fmt=fmt,
        saturated_counts=saturated_inputs(
            counts, in_bits=fmt.in_bits, counter_bits=readings.facts.counter_bits
        ),
        sample_counts=counts[:SEARCH_VECTORS],
        sample_expected=expected[:SEARCH_VECTORS],
        largest_expected=float(np.abs(expected).max()),
        headroom=terms.headroom,
        limits=terms.limits,
        clip_code=min(1 << fmt.in_bits, (1 << readings.facts.counter_bits) - 1),
    )


def _silent(columns: int, fmt: NmpuFormat) -> CoreCalibration:
    """Return the correction of a core that shall never say anything: every output is 0.

    Pruned weights and channels whose ReLU never lets anything through leave such cores.
    """
    zeros = np.zeros(columns)
    registers = NmpuRegisters(
        scale_p=np.zeros(columns, dtype=np.uint8),
        scale_n=np.zeros(columns, dtype=np.uint8),
        offset=np.zeros(columns, dtype=np.int16),
        swap=np.zeros(columns, dtype=np.bool_),
    )
    return CoreCalibration(
        output_lsb=1.0,
        global_gain=0.0,
        correction=Correction(a_p=zeros, a_n=zeros, b=zeros),
        a_p_se=zeros,
        a_n_se=zeros,
        b_se=zeros,
        residual_rms=zeros,
        r_squared=zeros,
        condition=zeros,
        glitch_share=zeros,
        saturated_counts=np.zeros(columns, dtype=np.int64),
        flags=np.full(columns, ColumnFlag.UNUSED, dtype=np.uint16),
        fmt=fmt,
        registers=registers,
    )
