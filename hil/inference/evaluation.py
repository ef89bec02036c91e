"""A whole evaluation: prepare, program, calibrate, and predict under one condition after the other.

Every condition sees the same images and, on a model of a chip, the same noise: the vectors of a
core have the same numbers each time. Conditions that a folder holds already are not computed again.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from hil.inference.calibrating import (
    CalibrationTerms,
    InputSamples,
    calibrate_tiles,
    sample_inputs,
    vectors_used,
)
from hil.inference.execution import Execution
from hil.inference.graph_walk import walk_graph
from hil.inference.multiplying import ChipLayers, ExactLayers, LayerMultiplier, TileCorrection
from hil.inference.outcome import Condition, ConditionResult
from hil.inference.quantised import QuantisedLayer, program_tiles, quantise_layers
from hil.inference.ranges import Ranges, measure_ranges
from hil.inference.readings import CoreReadings
from hil.inference.store import EvaluationFolder
from hil.inference.tally import LayerTally
from hil.inference.tiles import Tile
from hil.inference.value_range import RangeRule
from hil_calibration.calibrate import CoreCalibration

if TYPE_CHECKING:
    import torch

    from hil.inference.network import Network

_BATCH = 64
"""Images between two signs of progress."""
_RECALIBRATED = frozenset({"global", "float", "fp16", "nmpu"})
"""Corrections that a new calibration changes."""

Predictions = npt.NDArray[np.int64]
MakeCorrections = Callable[
    [str, Mapping[int, CoreCalibration] | None], Mapping[int, TileCorrection]
]
"""Makes the corrections of all cores, by core, from the name of one and the calibrations."""


class EvaluationObserver(Protocol):
    """Who is told how an evaluation goes."""

    def on_plan(self, *, images: int) -> None:
        """Hear how many images are to be predicted, all conditions together."""
        ...

    def on_stage(self, words: str) -> None:
        """Hear what begins now."""
        ...

    def on_images(self, images: int) -> None:
        """Hear that so many more images were predicted, or were known before."""
        ...


@dataclass(frozen=True, kw_only=True)
class PreparedNetwork:
    """A network in codes, placed on cores, and what calibrates it."""

    network: "Network"
    """The network."""
    quantised: tuple[QuantisedLayer, ...]
    """Its layers in codes."""
    ranges: Ranges
    """Of the tensors that become codes."""
    tiles: tuple[Tile, ...]
    """Where its layers are."""
    samples: InputSamples
    """Input vectors that calibrate."""


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """What the network predicts without any chip; classes, shape (image,)."""

    as_float: Predictions
    """In float32."""
    with_int8_weights: Predictions
    """With int8 weights, float32 otherwise."""
    with_int8: Predictions
    """With int8 weights and inputs, exact products."""


@dataclass(frozen=True, kw_only=True)
class EvaluationPlan:
    """What is evaluated."""

    corrections: tuple[str, ...]
    """Names, in the order of the table."""
    ages_s: tuple[float, ...] = ()
    """Ages besides fresh, ascending."""
    terms: CalibrationTerms = field(repr=False)
    """How cores are calibrated."""

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Return every condition, by age."""
        fresh = [Condition(correction=name) for name in self.corrections]
        aged = [
            Condition(correction=name, age_s=age_s, is_recalibrated=is_recalibrated)
            for age_s in self.ages_s
            for is_recalibrated in (False, True)
            for name in self.corrections
            if not is_recalibrated or name in _RECALIBRATED
        ]
        return (*fresh, *aged)


def prepare_network(
    network: "Network",
    tiles: tuple[Tile, ...],
    calibration_images: "torch.Tensor",
    *,
    rule: RangeRule = RangeRule.PERCENTILE,
    seed: int = 0,
) -> PreparedNetwork:
    """Turn a network into codes, and sample the inputs that calibrate its cores.

    Raises
    ------
    ConfigError
        If there are no images, or a value is not finite.
    """
    ranges = measure_ranges(network, calibration_images, rule)
    quantised = quantise_layers(network.layers, ranges.inputs(network))
    return PreparedNetwork(
        network=network,
        quantised=quantised,
        ranges=ranges,
        tiles=tiles,
        samples=sample_inputs(network, quantised, ranges, calibration_images, seed=seed),
    )


def predict_baselines(
    prepared: PreparedNetwork, images: "torch.Tensor", observer: EvaluationObserver
) -> Baselines:
    """Predict without any chip: in float32, with int8 weights, and with int8 inputs too."""
    import torch  # noqa: PLC0415 - the extra `inference`

    graph, quantised = prepared.network.graph, prepared.quantised
    weights_only = {one.layer.node: _with_int8_weights(one) for one in quantised}
    cpu = torch.device("cpu")
    exact = _execution(prepared, ExactLayers(quantised, cpu), cpu)
    observer.on_stage("float32 and int8, no chip")
    return Baselines(
        as_float=_classes(images, lambda part, _: walk_graph(graph, part), observer),
        with_int8_weights=_classes(
            images, lambda part, _: walk_graph(graph, part, compute=weights_only), observer
        ),
        with_int8=_classes(images, lambda part, first: exact.run(part, first=first), observer),
    )


def evaluate_conditions(
    plan: EvaluationPlan,
    prepared: PreparedNetwork,
    readings: CoreReadings,
    make_corrections: MakeCorrections,
    images: "torch.Tensor",
    *,
    folder: EvaluationFolder,
    observer: EvaluationObserver,
) -> Iterator[ConditionResult]:
    """Program the cores, and predict under every condition; each result is stored at once.

    Raises
    ------
    CalibrationError
        If the readouts of a core allow no calibration.
    DatasetError
        If a result cannot be stored, or a stored one is damaged.
    """
    known = {condition: folder.find(condition) for condition in plan.conditions}
    if all(known.values()):
        for found in known.values():
            observer.on_images(len(images))
            if found is not None:
                yield found
        return
    observer.on_stage("programming and calibrating")
    readings.program(program_tiles(prepared.quantised, prepared.tiles))
    first = newest = _calibrate(plan, prepared, readings)
    newest_s = now_s = 0.0
    for condition in plan.conditions:
        stored = known[condition]
        if stored is not None:
            observer.on_images(len(images))
            yield stored
            continue
        if condition.age_s > now_s:
            readings.advance_time(condition.age_s - now_s)
            now_s = condition.age_s
        if condition.is_recalibrated and newest_s != now_s:
            observer.on_stage("calibrating again")
            newest, newest_s = _calibrate(plan, prepared, readings), now_s
        calibrations = newest if condition.is_recalibrated else first
        corrections = make_corrections(condition.correction, calibrations)
        observer.on_stage(condition.name.replace("_", " "))
        result = _predict(condition, prepared, readings, corrections, images, observer)
        folder.keep(result)
        yield result


def _calibrate(
    plan: EvaluationPlan, prepared: PreparedNetwork, readings: CoreReadings
) -> dict[int, CoreCalibration]:
    return calibrate_tiles(
        prepared.quantised, prepared.tiles, readings, prepared.samples, plan.terms
    )


def _predict(
    condition: Condition,
    prepared: PreparedNetwork,
    readings: CoreReadings,
    corrections: Mapping[int, TileCorrection],
    images: "torch.Tensor",
    observer: EvaluationObserver,
) -> ConditionResult:
    begun = time.monotonic()
    tally = LayerTally(len(prepared.quantised), clip_code=(1 << readings.counter_bits) - 1)
    multiplier = ChipLayers(
        prepared.quantised,
        prepared.tiles,
        readings,
        corrections,
        vectors_before=vectors_used(prepared.tiles, prepared.samples),
        tally=tally,
    )
    execution = _execution(prepared, multiplier, readings.device, tally)
    predictions = _classes(images, lambda part, first: execution.run(part, first=first), observer)
    return ConditionResult(
        condition=condition,
        predictions=predictions,
        layer_errors=tally.errors,
        layer_saturation=tally.saturation,
        seconds=time.monotonic() - begun,
    )


def _execution(
    prepared: PreparedNetwork,
    multiplier: LayerMultiplier,
    device: "torch.device",
    tally: LayerTally | None = None,
) -> Execution:
    return Execution(
        prepared.network,
        prepared.quantised,
        prepared.ranges,
        multiplier,
        device=device,
        tally=tally,
    )


def _classes(
    images: "torch.Tensor",
    logits: Callable[["torch.Tensor", int], "torch.Tensor"],
    observer: EvaluationObserver,
) -> Predictions:
    import torch  # noqa: PLC0415 - the extra `inference`

    found = []
    with torch.inference_mode():
        for first in range(0, len(images), _BATCH):
            part = images[first : first + _BATCH]
            found.append(logits(part, first).argmax(dim=1).cpu().numpy())
            observer.on_images(len(part))
    return np.concatenate(found).astype(np.int64)


def _with_int8_weights(one: QuantisedLayer) -> Callable[[tuple[object, ...]], object]:
    """Return the layer's own operation with its weights rounded to codes."""
    import torch  # noqa: PLC0415 - the extra `inference`

    layer = one.layer
    codes = one.weight_codes.transpose(0, 2, 1).reshape(layer.outputs, -1)
    scale = one.weight_scale[:, None]
    weight = torch.tensor((codes * scale).reshape(layer.weight.shape), dtype=torch.float32)
    bias = None if layer.bias is None else torch.tensor(layer.bias)

    def compute(arguments: tuple[object, ...]) -> object:
        if not layer.is_convolution:
            return torch.nn.functional.linear(arguments[0], weight, bias)
        return torch.nn.functional.conv2d(
            arguments[0], weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups
        )

    return compute
