"""How large the values between layers become, from images that calibrate."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from hil.core.errors import ConfigError, Problem
from hil.inference.networks.graph_walk import walk_graph
from hil.inference.networks.layers import AnalogLayer
from hil.inference.placing.value_range import RangeRule, ValueRange

if TYPE_CHECKING:
    import torch

    from hil.inference.networks.network import Network

_BATCH = 32
"""Images that are computed at once; the moving average is one over such batches."""
_SUMS = ("aten.add.Tensor", "aten.add_.Tensor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranges:
    """Magnitude that the largest code stands for, of every tensor that becomes codes."""

    limits: Mapping[str, float]
    """By name of the node of the graph that makes the tensor."""
    rule: RangeRule
    """How they were chosen."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "limits", MappingProxyType(dict(self.limits)))

    def inputs(self, network: "Network") -> tuple[float, ...]:
        """Return the ranges of the inputs of the layers, in their order."""
        made_by = input_nodes(network.graph)
        return tuple(self.limits[made_by[layer.node]] for layer in network.layers)

    def outputs(self, network: "Network") -> tuple[float, ...]:
        """Return the ranges of what leaves the layers, normalised and through their ReLU."""
        return tuple(self.limits[last_node(layer)] for layer in network.layers)


def measure_ranges(
    network: "Network", images: "torch.Tensor", rule: RangeRule = RangeRule.PERCENTILE
) -> Ranges:
    """Measure the ranges of the network's own floating-point values.

    Parameters
    ----------
    network
        The network.
    images
        Images that calibrate, as the network takes them, at least one.
    rule
        How a range follows from the values.

    Raises
    ------
    ConfigError
        If there are no images, or a value is not finite.
    """
    import torch  # noqa: PLC0415 - the extra `inference`

    if not len(images):
        message = "there are no images to measure the ranges of activations with"
        raise ConfigError("calibration images", [Problem("", message)])
    made_by = input_nodes(network.graph)
    names = {made_by[layer.node] for layer in network.layers}
    names |= {last_node(layer) for layer in network.layers}
    names |= set(sum_nodes(network.graph).values())
    seen = {name: ValueRange() for name in names}

    def observe(name: str, value: Any) -> None:
        if name in seen:
            if not torch.isfinite(value).all():
                message = f"{name}: holds values that are not finite for the calibration images"
                raise ConfigError("network", [Problem("", message)])
            seen[name].add(value)

    with torch.inference_mode():
        for first in range(0, len(images), _BATCH):
            walk_graph(network.graph, images[first : first + _BATCH], observe=observe)
    return Ranges(limits={name: one.limit(rule) for name, one in seen.items()}, rule=rule)


def last_node(layer: AnalogLayer) -> str:
    """Return the node that makes what leaves a layer: its ReLU, normalisation or product."""
    return layer.relu_node or layer.batch_norm_node or layer.node


def input_nodes(graph: Any) -> dict[str, str]:
    """Return, for every node with tensors before it, the name of the first of them."""
    return {
        node.name: node.all_input_nodes[0].name
        for node in graph.graph.nodes
        if node.all_input_nodes
    }


def sum_nodes(graph: Any) -> dict[str, str]:
    """Return the sums of two tensors of activations of a graph; sums of integers are none.

    Returns
    -------
    By name of the sum, the name of the node whose values are the codes of the sum: its ReLU where
    nothing else takes the sum, or the sum itself.
    """
    found = {}
    for node in graph.graph.nodes:
        if node.op != "call_function" or str(node.target) not in _SUMS:
            continue
        if len(node.args) < 2 or node.kwargs or not all(map(_is_computed, node.args[:2])):
            continue
        users = list(node.users)
        is_relu = len(users) == 1 and str(users[0].target).startswith("aten.relu")
        found[node.name] = users[0].name if is_relu else node.name
    return found


def _is_computed(argument: Any) -> bool:
    """Tell whether an argument of a node is a tensor of real numbers that is computed."""
    if getattr(argument, "op", None) not in {"call_function", "placeholder"}:
        return False
    value = getattr(argument, "meta", {}).get("val")
    return value is None or (hasattr(value, "is_floating_point") and value.is_floating_point())
