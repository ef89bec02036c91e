"""A network computed with its layers on cores, everything else as the graph says.

Strategy: the graph is walked node by node. At a layer, the input becomes int8 codes, who multiplies
is asked, and the products become values: times the step of the output, plus the bias. Where
normalisation and ReLU are folded into the correction, their nodes pass on what they get. Sums of
two tensors are those of the FP16 unit behind the columns, or of float32, by choice.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from hil.inference.computing.multiplying import ExactLayers, LayerMultiplier
from hil.inference.computing.tally import LayerTally
from hil.inference.networks.graph_walk import Compute, walk_graph
from hil.inference.networks.patches import output_shape
from hil.inference.placing.folding import output_affine
from hil.inference.placing.quantised import QuantisedLayer, quantise_inputs
from hil.inference.placing.ranges import Ranges, last_node, sum_nodes
from hil.inference.placing.value_range import LARGEST_CODE

if TYPE_CHECKING:
    import torch

    from hil.inference.networks.network import Network

_BATCH_VALUES = 1 << 23
"""Input values of the images computed at once, times some ten for the layers' own tensors."""
_LARGEST_BATCH = 128


class SumArithmetic(StrEnum):
    """How two tensors are added, as at the end of a residual block."""

    INT8 = "int8"
    """As the FP16 unit does: the neighbour's int8 codes are added in FP16, the sum is rounded to
    int8 codes."""
    FLOAT = "float"
    """In float32, not rounded."""


class Execution:
    """A network whose layers are multiplied elsewhere.

    Parameters
    ----------
    network
        The network.
    quantised
        Its layers in codes, in the network's order.
    ranges
        Ranges of the tensors that become codes.
    multiplier
        Who multiplies.
    device
        Where its tensors are.
    sums
        How two tensors are added.
    tally
        Is told what leaves each layer and what should, if given.
    instead
        What computes further nodes, by name, such as normalisations that were estimated again.
    """

    def __init__(
        self,
        network: "Network",
        quantised: Sequence[QuantisedLayer],
        ranges: Ranges,
        multiplier: LayerMultiplier,
        *,
        device: "torch.device",
        sums: SumArithmetic = SumArithmetic.INT8,
        tally: LayerTally | None = None,
        instead: Mapping[str, Compute] | None = None,
    ) -> None:
        self._graph = network.graph
        self._quantised = quantised
        self._ranges = ranges
        self._multiplier = multiplier
        self._device = device
        self._tally = tally
        self._first = 0
        self._exact = ExactLayers(quantised, device)
        self._expected: dict[str, tuple[int, torch.Tensor]] = {}
        self._compute = dict(instead or {}) | self._computations(sums)

    def run(
        self, images: "torch.Tensor", *, first: int = 0, at_once: int | None = None
    ) -> "torch.Tensor":
        """Compute the network's output.

        Parameters
        ----------
        images
            float32 (image, channel, row, column), as the network takes them.
        first
            Number of the first image: the noise of an image follows from its number.
        at_once
            Images whose values between two layers are in memory together; chosen if None.

        Returns
        -------
        float32 (image, class), on the CPU.
        """
        import torch  # noqa: PLC0415 - the extra `inference`

        values = max(1, images[:1].numel())
        batch = at_once or max(1, min(_LARGEST_BATCH, _BATCH_VALUES // values))
        logits = []
        with torch.inference_mode():
            for start in range(0, len(images), batch):
                self._first = first + start
                part = images[start : start + batch].to(self._device)
                observe = None if self._tally is None else self._observe
                found = walk_graph(self._graph, part, compute=self._compute, observe=observe)
                logits.append(found.to("cpu", torch.float32))
        return torch.cat(logits)

    def _computations(self, sums: SumArithmetic) -> dict[str, Compute]:
        found: dict[str, Compute] = {}
        for place, one in enumerate(self._quantised):
            found[one.layer.node] = self._layer_computation(place, one)
            if place in self._multiplier.folded:
                for name in (one.layer.batch_norm_node, one.layer.relu_node):
                    if name is not None:
                        found[name] = _pass_on
        if sums is SumArithmetic.INT8:
            order = {node.name: place for place, node in enumerate(self._graph.graph.nodes)}
            named = {node.name: node for node in self._graph.graph.nodes}
            for name, result in sum_nodes(self._graph).items():
                own, neighbour = (order[node.name] for node in named[name].args[:2])
                step = self._ranges.limits[result] / LARGEST_CODE
                found[name] = _sum_computation(step, is_second_own=neighbour > own)
        return found

    def _layer_computation(self, place: int, one: QuantisedLayer) -> Compute:
        import torch  # noqa: PLC0415 - the extra `inference`

        layer = one.layer
        scale = torch.tensor(one.product_scale, dtype=torch.float32, device=self._device)
        bias = 0.0 if layer.bias is None else torch.tensor(layer.bias, device=self._device)

        def compute(arguments: tuple[Any, ...]) -> Any:
            codes = quantise_inputs(arguments[0], one.input_scale)
            shape = output_shape(layer, codes)
            outputs = self._multiplier.outputs(place, codes, first=self._first)
            if place not in self._multiplier.folded:
                outputs = outputs.mul_(scale).add_(bias)
            if self._tally is not None:
                self._expect(place, codes, shape)
            return _in_shape(outputs, shape)

        return compute

    def _expect(self, place: int, codes: "torch.Tensor", shape: tuple[int, ...]) -> None:
        """Keep what should leave a layer until it has."""
        import torch  # noqa: PLC0415 - the extra `inference`

        layer = self._quantised[place].layer
        products = self._exact.outputs(place, codes, first=self._first)
        gain, offset = (
            torch.tensor(part, dtype=torch.float32, device=self._device)
            for part in output_affine(self._quantised[place])
        )
        values = products.mul_(gain).add_(offset)
        if layer.relu_node is not None:
            values.relu_()
        self._expected[last_node(layer)] = (place, _in_shape(values, shape))

    def _observe(self, name: str, value: Any) -> None:
        if name in self._expected and self._tally is not None:
            place, expected = self._expected.pop(name)
            self._tally.add_outputs(place, value, expected)


def _in_shape(vectors: "torch.Tensor", shape: tuple[int, ...]) -> "torch.Tensor":
    """Bring (vector, output) into the shape that a layer's output has."""
    if len(shape) == 4:
        images, outputs, rows, columns = shape
        return vectors.reshape(images, rows, columns, outputs).permute(0, 3, 1, 2).contiguous()
    return vectors.reshape(shape)


def _pass_on(arguments: tuple[Any, ...]) -> Any:
    return arguments[0]


def _sum_computation(step: float, *, is_second_own: bool) -> Compute:
    """Return the sum of the FP16 unit: its own value in FP16, and a neighbour's int8 codes."""
    import torch  # noqa: PLC0415 - the extra `inference`

    def compute(arguments: tuple[Any, ...]) -> Any:
        own, neighbour = arguments[:2]
        if is_second_own:
            own, neighbour = neighbour, own
        codes = quantise_inputs(neighbour, step).to(torch.float16)
        total = torch.div(own, step).to(torch.float16).add(codes).to(torch.float32)
        return total.round_().clamp_(-LARGEST_CODE, LARGEST_CODE).mul_(step)

    return compute
