"""A network made ready for cores: in codes, placed, with the inputs that calibrate them."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hil.inference.corrections.calibrating import InputSamples, sample_inputs
from hil.inference.placing.quantised import QuantisedLayer, quantise_layers
from hil.inference.placing.ranges import Ranges, measure_ranges
from hil.inference.placing.tiles import Tile
from hil.inference.placing.value_range import RangeRule

if TYPE_CHECKING:
    import torch

    from hil.inference.networks.network import Network


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
    calibration_images: "torch.Tensor" = field(repr=False)
    """Images that they come from, as the network takes them."""


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
        calibration_images=calibration_images,
    )
