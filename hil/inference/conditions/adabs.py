"""Batch normalisation whose statistics are estimated again on the chip as it is now: AdaBS.

What drift does to a layer is mostly one common factor, and normalisation divides by just that: the
standard deviation of what the layer says. So mean and variance of every normalisation are measured
on images that calibrate, sent through the chip with the corrections it has; weights, corrections
and what the network learned to scale and shift by stay. Each normalisation is measured with those
before it in place already, in one pass over all images.

Source: V. Joshi et al., Accurate deep neural network inference using computational phase-change
memory, Nat. Commun. 11, 2473 (2020): "adaptive batch normalization statistics update".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.core.errors import ConfigError, Problem
from hil.inference.computing.execution import Execution, SumArithmetic
from hil.inference.computing.multiplying import LayerMultiplier
from hil.inference.networks.graph import find_batch_norms
from hil.inference.networks.graph_walk import Compute
from hil.inference.placing.quantised import QuantisedLayer
from hil.inference.placing.ranges import Ranges
from hil_calibration.fold import BatchNorm

if TYPE_CHECKING:
    import torch

    from hil.inference.networks.network import Network

MOST_IMAGES = 256
"""Images that the statistics are measured on at most: all are in memory together."""
_LEAST_VARIANCE_SHARE = 0.01
"""Least variance that is believed, as a share of the trained one: a channel that says almost
nothing on the chip would have ten times its noise let through, and more."""


@dataclass(frozen=True, kw_only=True)
class AdaptedNorms:
    """Batch normalisations with the statistics of a chip."""

    quantised: tuple[QuantisedLayer, ...]
    """The layers with these normalisations: to fold, to multiply, and to execute."""
    batch_norms: Mapping[str, BatchNorm]
    """Every normalisation, by its node in the graph."""

    def computations(self, device: "torch.device") -> dict[str, Compute]:
        """Return what computes the normalisations, for `Execution(instead=...)`."""
        return {name: _normalise(norm, device) for name, norm in self.batch_norms.items()}


def adapt_batch_norms(
    network: "Network",
    quantised: Sequence[QuantisedLayer],
    ranges: Ranges,
    multiplier: LayerMultiplier,
    images: "torch.Tensor",
    *,
    device: "torch.device",
    sums: SumArithmetic = SumArithmetic.INT8,
    first: int = 0,
) -> AdaptedNorms:
    """Measure the statistics of every batch normalisation on the chip as it is now.

    Parameters
    ----------
    network, quantised, ranges
        The network, its layers in codes, and the ranges of its tensors.
    multiplier
        Who multiplies, with the corrections in use; no normalisation is folded into them.
    images
        Images that calibrate; the first `MOST_IMAGES` are taken.
    device, sums
        As for `Execution`.
    first
        Number of the first image, for the noise.

    Raises
    ------
    ConfigError
        If there are no images, or the network has no batch normalisation.
    ValueError
        If the multiplier has folded layers.
    """
    if multiplier.folded:
        raise ValueError("statistics are measured before normalisation: fold nothing into it")
    trained = find_batch_norms(network.graph)
    _require(network, images, trained)
    taken = images[:MOST_IMAGES]
    measured: dict[str, BatchNorm] = {}
    instead = {name: _measure(name, norm, measured, device) for name, norm in trained.items()}
    execution = Execution(
        network, quantised, ranges, multiplier, device=device, sums=sums, instead=instead
    )
    execution.run(taken, first=first, at_once=len(taken))
    return AdaptedNorms(
        quantised=tuple(_with_norm(one, measured) for one in quantised), batch_norms=measured
    )


def _require(network: "Network", images: "torch.Tensor", trained: Mapping[str, BatchNorm]) -> None:
    if not len(images):
        message = "there are no images to measure the statistics of batch normalisation with"
        raise ConfigError("calibration images", [Problem("", message)])
    if not trained:
        message = "has no batch normalisation whose statistics could be measured: leave AdaBS out"
        raise ConfigError(network.source, [Problem("", message)])


def _with_norm(one: QuantisedLayer, measured: Mapping[str, BatchNorm]) -> QuantisedLayer:
    node = one.layer.batch_norm_node
    if node is None or node not in measured:
        return one
    return replace(one, layer=replace(one.layer, batch_norm=measured[node]))


def _measure(
    name: str, trained: BatchNorm, measured: dict[str, BatchNorm], device: "torch.device"
) -> Compute:
    """Return a computation that measures what it normalises, and normalises by that."""
    import torch  # noqa: PLC0415 - the extra `inference`

    def compute(arguments: tuple[Any, ...]) -> Any:
        values = arguments[0]
        others = [axis for axis in range(values.ndim) if axis != 1]
        variance, mean = torch.var_mean(values.double(), dim=others, correction=0)
        least = _LEAST_VARIANCE_SHARE * trained.variance
        norm = replace(
            trained,
            mean=mean.cpu().numpy(),
            variance=np.maximum(variance.cpu().numpy(), least),
        )
        measured[name] = norm
        return _normalise(norm, device)(arguments)

    return compute


def _normalise(norm: BatchNorm, device: "torch.device") -> Compute:
    import torch  # noqa: PLC0415 - the extra `inference`

    gain = torch.tensor(norm.gain, dtype=torch.float32, device=device)
    offset = torch.tensor(norm.beta - norm.mean * norm.gain, dtype=torch.float32, device=device)

    def compute(arguments: tuple[Any, ...]) -> Any:
        values = arguments[0]
        shape = (1, -1, *([1] * (values.ndim - 2)))
        return values * gain.reshape(shape) + offset.reshape(shape)

    return compute
