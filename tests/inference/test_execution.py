"""A network with its layers on cores: what becomes of codes, sums, normalisation and noise."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hil.core.errors import ConfigError
from hil.inference.computing.execution import Execution, SumArithmetic
from hil.inference.computing.multiplying import ChipLayers, ExactLayers
from hil.inference.computing.tally import LayerTally
from hil.inference.networks.graph_walk import walk_graph
from hil.inference.networks.network import trace_network
from hil.inference.placing.mapping import map_layers
from hil.inference.placing.quantised import program_tiles, quantise_layers
from hil.inference.placing.ranges import Ranges, measure_ranges, sum_nodes
from hil.inference.placing.value_range import RangeRule
from inference_chip import KnownCores, Subtraction

torch = pytest.importorskip(
    "torch", reason="torch is not installed: pip install 'aimc-hil[inference]'"
)
torch.set_num_threads(1)
CPU = torch.device("cpu")


class _Residual(torch.nn.Module):  # type: ignore[misc, name-defined]
    """A residual block between a convolution and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(2, 4, 3, padding=1)
        self.second = torch.nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm = torch.nn.BatchNorm2d(4)
        self.last = torch.nn.Linear(4, 3)

    def forward(self, images: Any) -> Any:
        shortcut = torch.relu(self.first(images))
        found = torch.relu(self.norm(self.second(shortcut)) + shortcut)
        return self.last(found.mean(dim=(2, 3)))


@pytest.fixture(scope="module")
def network() -> Any:
    torch.manual_seed(0)
    module = _Residual()
    with torch.no_grad():
        module.norm.running_mean.copy_(torch.tensor([0.1, -0.2, 0.0, 0.3]))
        module.norm.running_var.copy_(torch.tensor([0.5, 2.0, 1.0, 0.25]))
        module.norm.weight.copy_(torch.tensor([1.0, -0.5, 2.0, 1.0]))
    return trace_network(module, image_shape=(2, 8, 8), source="residual")


@pytest.fixture(scope="module")
def images() -> Any:
    return torch.randn(12, 2, 8, 8, generator=torch.Generator().manual_seed(1))


def _quantised(network: Any, images: Any) -> tuple[Any, Ranges]:
    ranges = measure_ranges(network, images, RangeRule.MAX)
    return quantise_layers(network.layers, ranges.inputs(network)), ranges


def test_ranges_of_inputs_and_outputs_are_those_of_the_network(network: Any, images: Any) -> None:
    ranges = measure_ranges(network, images, RangeRule.MAX)
    assert ranges.inputs(network)[0] == pytest.approx(float(images.abs().max()))
    module_outputs = ranges.outputs(network)
    with torch.no_grad():
        logits = network.graph(images)
    assert module_outputs[-1] == pytest.approx(float(logits.abs().max()), rel=1e-5)
    # The block's input is what leaves the first layer, rectified: one tensor, one range.
    assert ranges.inputs(network)[1] == module_outputs[0]


def test_calibration_images_that_are_missing_or_not_finite_are_told(network: Any) -> None:
    with pytest.raises(ConfigError, match="no images to measure the ranges"):
        measure_ranges(network, torch.zeros(0, 2, 8, 8))
    with pytest.raises(ConfigError, match="not finite"):
        measure_ranges(network, torch.full((1, 2, 8, 8), torch.nan))


def test_network_in_codes_is_near_the_network(network: Any, images: Any) -> None:
    quantised, ranges = _quantised(network, images)
    with torch.no_grad():
        expected = network.graph(images)
    for sums in SumArithmetic:
        exact = ExactLayers(quantised, CPU)
        found = Execution(network, quantised, ranges, exact, device=CPU, sums=sums).run(images)
        assert found.shape == (12, 3)
        assert float((found - expected).norm() / expected.norm()) < 0.03


@pytest.mark.parametrize("size", [(7, 3), (36, 4)], ids=["many tiles", "one tile"])
def test_exact_cores_give_the_same_numbers_as_no_chip(
    network: Any, images: Any, size: tuple[int, int]
) -> None:
    quantised, ranges = _quantised(network, images)
    tiles = map_layers(network.layers, rows=size[0], columns=size[1])
    cores = KnownCores(size=40)
    cores.program(program_tiles(quantised, tiles))
    chip = ChipLayers(quantised, tiles, cores, {tile.core: Subtraction() for tile in tiles})
    tally = LayerTally(3, clip_code=100_000)
    on_chip = Execution(network, quantised, ranges, chip, device=CPU, tally=tally).run(images)
    exact = ExactLayers(quantised, CPU)
    without = Execution(network, quantised, ranges, exact, device=CPU).run(images)
    assert torch.equal(on_chip, without)
    assert tally.errors == pytest.approx([0, 0, 0], abs=1e-5)


def test_images_in_pieces_are_the_images_at_once(network: Any, images: Any) -> None:
    quantised, ranges = _quantised(network, images)
    tiles = map_layers(network.layers)
    cores = KnownCores()
    cores.program(program_tiles(quantised, tiles))
    chip = ChipLayers(quantised, tiles, cores, {tile.core: Subtraction() for tile in tiles})
    execution = Execution(network, quantised, ranges, chip, device=CPU)
    at_once = execution.run(images)
    pieces = torch.cat([execution.run(images[:5]), execution.run(images[5:], first=5)])
    # Floating-point sums of the digital rest may take another order.
    assert torch.allclose(at_once, pieces, rtol=1e-5, atol=1e-6)
    requests = [request[:3] for request in cores.asked]
    assert requests[:3] == [(0, 0, 768), (1, 0, 768), (2, 0, 12)]
    assert requests[6:] == [(0, 320, 448), (1, 320, 448), (2, 5, 7)]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_gpu_gives_the_cpus_numbers(network: Any, images: Any) -> None:
    quantised, ranges = _quantised(network, images)
    found = []
    for name in ("cpu", "cuda"):
        device = torch.device(name)
        exact = ExactLayers(quantised, device)
        found.append(Execution(network, quantised, ranges, exact, device=device).run(images))
    assert torch.allclose(found[0], found[1], rtol=1e-4, atol=1e-5)


class _Folded:
    """Says what leaves a layer, not its products."""

    folded = frozenset({1})

    def outputs(self, place: int, input_codes: Any, *, first: int) -> Any:
        vectors, outputs = (768, 4) if place < 2 else (12, 3)
        return torch.full((vectors, outputs), -1.0 if place == 1 else 0.0)


def test_nodes_of_a_folded_layer_pass_on_what_the_units_made(network: Any, images: Any) -> None:
    quantised, ranges = _quantised(network, images)
    layers = network.layers
    seen: dict[str, Any] = {}
    execution = Execution(
        network, quantised, ranges, _Folded(), device=CPU, sums=SumArithmetic.FLOAT
    )
    walk_graph(network.graph, images, compute=execution._compute, observe=seen.__setitem__)
    assert layers[1].batch_norm_node is not None
    assert seen[layers[1].batch_norm_node].unique().tolist() == [-1.0]
    # The first layer is not folded: its products of 0 get their bias, and the ReLU of the graph.
    bias = layers[0].bias
    assert bias is not None
    assert seen[layers[0].relu_node][0, :, 0, 0].tolist() == pytest.approx(np.maximum(bias, 0))


class _Sum(torch.nn.Module):  # type: ignore[misc, name-defined]
    """The first input channel through a layer, plus the second: a sum of two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.own = torch.nn.Linear(1, 1, bias=False)

    def forward(self, images: Any) -> Any:
        found = images[:, 0, 0, 1:2] + self.own(images[:, 0, 0, 0:1])
        return torch.relu(found)


def test_sum_of_the_fp16_unit_rounds_the_neighbour_then_the_sum() -> None:
    module = _Sum()
    with torch.no_grad():
        module.own.weight.fill_(1.0)
    network = trace_network(module, image_shape=(1, 1, 2), source="sum")
    (relu,) = sum_nodes(network.graph).values()
    limits = dict.fromkeys((node.name for node in network.graph.graph.nodes), 127.0 * 0.125)
    # Steps: 0.125 of the layer's inputs, 2 of the sum.
    limits[relu] = 254.0
    ranges = Ranges(limits=limits, rule=RangeRule.MAX)
    quantised = quantise_layers(network.layers, (127.0 * 0.125,))
    # Own value in steps of 2: 1.5, 0.4375, -3, 2.5; neighbour: 2.5 -> 2, 0.75 -> 1, 1 -> 1, 300.
    pairs = [[3.0, 5.0], [0.875, 1.5], [-6.0, 2.0], [5.0, 600.0]]
    images = torch.tensor(pairs).reshape(4, 1, 1, 2)
    exact = ExactLayers(quantised, CPU)
    unit = Execution(network, quantised, ranges, exact, device=CPU)
    # 3.5 -> 4 (even), 1.4375 -> 1, -2 -> 0 by the ReLU, 2.5 + 127 -> 127.
    assert unit.run(images).flatten().tolist() == [8.0, 2.0, 0.0, 254.0]
    plain = Execution(network, quantised, ranges, exact, device=CPU, sums=SumArithmetic.FLOAT)
    assert plain.run(images).flatten().tolist() == [8.0, 2.375, 0.0, 605.0]


def test_error_and_clipping_of_a_layer_are_counted() -> None:
    tally = LayerTally(3, clip_code=100)
    tally.add_outputs(0, torch.tensor([3.0, 4.0]), torch.tensor([0.0, 0.0]))
    tally.add_outputs(1, torch.tensor([3.0, 4.0]), torch.tensor([3.0, 3.0]))
    tally.add_outputs(1, torch.tensor([1.0]), torch.tensor([0.0]))
    tally.add_counts(2, torch.tensor([[99, 100], [101, 0]]))
    assert np.isnan(tally.errors[0])
    assert tally.errors[1] == pytest.approx(1 / 3)
    assert tally.saturation.tolist() == [0.0, 0.0, 0.5]


def test_names_of_sums_leave_parameters_and_numbers_out() -> None:
    def node(name: str, *args: Any, op: str = "call_function", target: str = "aten.relu") -> Any:
        return SimpleNamespace(name=name, op=op, target=target, args=args, kwargs={}, users={})

    image = node("x", op="placeholder")
    weight = node("w", op="get_attr")
    add = "aten.add.Tensor"
    nodes = [
        image,
        weight,
        node("number", image, 1, target=add),
        node("parameter", image, weight, target=add),
        node("sum", image, image, target=add),
    ]
    graph = SimpleNamespace(graph=SimpleNamespace(nodes=nodes))
    assert sum_nodes(graph) == {"sum": "sum"}
