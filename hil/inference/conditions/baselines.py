"""What a network predicts without any chip: the ends between which a chip stands."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hil.core.array_types import read_only
from hil.inference.computing.execution import Execution, SumArithmetic
from hil.inference.computing.multiplying import ExactLayers
from hil.inference.conditions.observing import EvaluationObserver
from hil.inference.conditions.predicting import Predictions, predict_classes
from hil.inference.corrections.prepared import PreparedNetwork
from hil.inference.networks.graph_walk import Compute, walk_graph
from hil.inference.placing.quantised import QuantisedLayer

if TYPE_CHECKING:
    import torch

BASELINES = 3
"""How often every image is predicted for them."""


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """What the network predicts without any chip; classes, shape (image,)."""

    as_float: Predictions
    """In float32."""
    with_int8_weights: Predictions
    """With int8 weights, float32 otherwise."""
    with_int8: Predictions
    """With int8 weights and inputs, exact products."""

    def __post_init__(self) -> None:
        for name in ("as_float", "with_int8_weights", "with_int8"):
            object.__setattr__(self, name, read_only(getattr(self, name)))


def predict_baselines(
    prepared: PreparedNetwork,
    images: "torch.Tensor",
    observer: EvaluationObserver,
    *,
    sums: SumArithmetic = SumArithmetic.INT8,
    device: "torch.device | None" = None,
) -> Baselines:
    """Predict without any chip: in float32, with int8 weights, and with int8 inputs too.

    Parameters
    ----------
    prepared
        The network.
    images
        As the network takes them.
    observer
        Is told how it goes.
    sums
        How two tensors are added where inputs are int8.
    device
        Where exact products are computed; the CPU if None.
    """
    import torch  # noqa: PLC0415 - the extra `inference`

    graph, quantised = prepared.network.graph, prepared.quantised
    weights_only = {one.layer.node: _with_int8_weights(one) for one in quantised}
    where = device or torch.device("cpu")
    exact = Execution(
        prepared.network,
        quantised,
        prepared.ranges,
        ExactLayers(quantised, where),
        device=where,
        sums=sums,
    )
    observer.on_stage("float32 and int8, no chip")
    return Baselines(
        as_float=predict_classes(
            images, lambda part, _: walk_graph(graph, part), observer, condition="float32, no chip"
        ),
        with_int8_weights=predict_classes(
            images,
            lambda part, _: walk_graph(graph, part, compute=weights_only),
            observer,
            condition="int8 weights, no chip",
        ),
        with_int8=predict_classes(
            images,
            lambda part, first: exact.run(part, first=first),
            observer,
            condition="int8, exact",
        ),
    )


def _with_int8_weights(one: QuantisedLayer) -> Compute:
    """Return the layer's own operation with its weights rounded to codes."""
    import torch  # noqa: PLC0415 - the extra `inference`

    layer = one.layer
    codes = one.weight_codes.transpose(0, 2, 1).reshape(layer.outputs, -1)
    scale = one.weight_scale[:, None]
    weight = torch.tensor((codes * scale).reshape(layer.weight.shape), dtype=torch.float32)
    bias = None if layer.bias is None else torch.tensor(layer.bias)

    def compute(arguments: tuple[Any, ...]) -> Any:
        if not layer.is_convolution:
            return torch.nn.functional.linear(arguments[0], weight, bias)
        return torch.nn.functional.conv2d(
            arguments[0], weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups
        )

    return compute
