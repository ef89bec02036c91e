"""The layers of a network that go onto cores, and the operations that cannot."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hil.core.errors import ConfigError, DatasetError
from hil.inference.networks.network import Network, load_network, trace_network
from network_files import real_file

torch = pytest.importorskip(
    "torch", reason="torch is not installed: pip install 'aimc-hil[inference]'"
)
nn = torch.nn
functional = torch.nn.functional


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def _network(*modules: Any) -> Network:
    """Return a network of modules for images (2, 8, 8), ended by a mean and a linear layer."""
    return trace_network(nn.Sequential(*modules), image_shape=(2, 8, 8), source="network")


def _head(channels: int) -> tuple[Any, ...]:
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 3)


def test_resnet20_has_these_layers() -> None:
    path = real_file("resnet20-12fca82f.th")
    layers = load_network("resnet20", path, image_shape=(3, 32, 32)).layers
    names = ["conv1"] + [
        f"layer{stage}.{block}.conv{place}"
        for stage in (1, 2, 3)
        for block in (0, 1, 2)
        for place in (1, 2)
    ]
    assert [layer.name for layer in layers] == [*names, "linear"]
    assert [(layer.rows, layer.columns) for layer in layers] == [
        (27, 16), *[(144, 16)] * 6, (144, 32), *[(288, 32)] * 5,
        (288, 64), *[(576, 64)] * 5, (64, 10),
    ]  # fmt: skip
    strides = {layer.name: layer.stride for layer in layers if layer.stride != (1, 1)}
    assert strides == {"layer2.0.conv1": (2, 2), "layer3.0.conv1": (2, 2)}
    assert {layer.padding for layer in layers[:-1]} == {(1, 1)}
    assert [layer.relu_node is not None for layer in layers] == [True] + [True, False] * 9 + [False]
    assert all(layer.batch_norm is not None for layer in layers[:-1])


def test_weights_of_a_layer_are_those_of_the_file() -> None:
    path = real_file("resnet20-12fca82f.th")
    state = torch.load(path, weights_only=True, map_location="cpu")["state_dict"]
    layer = load_network("resnet20", path, image_shape=(3, 32, 32)).layers[18]
    assert layer.name == "layer3.2.conv2"
    wanted = state["module.layer3.2.conv2.weight"].numpy()
    np.testing.assert_array_equal(layer.weight, wanted)
    assert layer.batch_norm is not None
    variance = state["module.layer3.2.bn2.running_var"].numpy().astype(np.float64)
    np.testing.assert_array_equal(layer.batch_norm.variance, variance)


def test_resnet14_has_convolutions_in_its_shortcuts() -> None:
    layers = load_network(
        "resnet14", real_file("resnet14_cifar10.pth"), image_shape=(3, 32, 32)
    ).layers
    found = {layer.name: layer for layer in layers}["layer2.0.shortcut.0"]
    assert (found.weight.shape, found.stride, found.padding) == ((32, 16, 1, 1), (2, 2), (0, 0))


def test_geometry_is_that_of_the_convolution() -> None:
    convolution = nn.Conv2d(2, 6, (3, 2), (2, 1), padding=(1, 0), dilation=(1, 3), groups=2)
    layer = _network(convolution, *_head(6)).layers[0]
    assert layer.weight.shape == (6, 1, 3, 2)
    assert (layer.stride, layer.padding) == ((2, 1), (1, 0))
    assert (layer.dilation, layer.groups) == ((1, 3), 2)
    assert (layer.rows, layer.columns) == (6, 3)
    assert layer.bias is not None


def test_same_padding_becomes_zeros_on_each_side() -> None:
    convolution = nn.Conv2d(2, 4, (3, 5), padding="same", dilation=2)
    assert _network(convolution, *_head(4)).layers[0].padding == (2, 4)


def test_valid_padding_is_none() -> None:
    assert _network(nn.Conv2d(2, 4, 3, padding="valid"), *_head(4)).layers[0].padding == (0, 0)


def test_batch_norm_without_gain_has_gain_one() -> None:
    layer = _network(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4, affine=False), *_head(4)).layers[0]
    assert layer.batch_norm is not None
    assert layer.batch_norm.gamma.tolist() == [1.0] * 4
    assert layer.batch_norm.beta.tolist() == [0.0] * 4


def test_relu_without_batch_norm_follows_directly() -> None:
    layer = _network(nn.Conv2d(2, 4, 3), nn.ReLU(inplace=True), *_head(4)).layers[0]
    assert layer.batch_norm is None
    assert layer.relu_node == "relu"


def test_relu_before_batch_norm_is_all_that_follows() -> None:
    layer = _network(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), *_head(4)).layers[0]
    assert layer.batch_norm is None
    assert layer.relu_node == "relu"


class _Twice(nn.Module):  # type: ignore[misc, name-defined]
    """Uses the convolution's output twice, before its ReLU and after it."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 4, 3)
        self.linear = nn.Linear(4, 3)

    def forward(self, values: Any) -> Any:
        values = self.convolution(values)
        return self.linear((functional.relu(values) + values).mean((2, 3)))


def test_relu_is_not_the_layers_where_something_else_uses_its_input() -> None:
    network = trace_network(_Twice(), image_shape=(2, 8, 8), source="network")
    assert network.layers[0].relu_node is None


class _Shared(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 2, 3)
        self.linear = nn.Linear(2, 3)

    def forward(self, values: Any) -> Any:
        return self.linear(self.convolution(self.convolution(values)).mean((2, 3)))


def test_module_that_is_used_twice_is_two_layers() -> None:
    network = trace_network(_Shared(), image_shape=(2, 8, 8), source="network")
    assert [layer.name for layer in network.layers] == ["convolution", "convolution@2", "linear"]


def test_weights_that_are_computed_from_weights_are_a_layers() -> None:
    convolution = nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 4, 3))
    wanted = convolution.weight.detach().numpy().copy()
    layer = _network(convolution, *_head(4)).layers[0]
    np.testing.assert_allclose(layer.weight, wanted, rtol=1e-6)
    assert layer.name == "0"


class _Recurrent(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self, recurrent: Any) -> None:
        super().__init__()
        self.memory = recurrent
        self.linear = nn.Linear(4, 3)

    def forward(self, values: Any) -> Any:
        return self.linear(self.memory(values.flatten(2))[0][:, -1])


class _Product(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.ones(128, 3))

    def forward(self, values: Any) -> Any:
        return values.flatten(1) @ self.matrix


class _Embedded(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(4, 3)

    def forward(self, values: Any) -> Any:
        return self.table(values.flatten(1).argmax(1) % 4)


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (
            nn.Sequential(nn.ConvTranspose2d(2, 4, 3), *_head(4)),
            r"0: ConvTranspose2d \(conv_transpose2d\) cannot go onto cores; Conv2d and Linear can",
        ),
        (
            nn.Sequential(nn.Flatten(2), nn.Conv1d(2, 4, 3), nn.Flatten(), nn.Linear(248, 3)),
            r"1: Conv1d \(conv1d\) cannot go onto cores",
        ),
        (_Recurrent(nn.LSTM(64, 4, batch_first=True)), r"memory: LSTM \(lstm\) cannot go"),
        (_Recurrent(nn.GRU(64, 4, batch_first=True)), r"memory: GRU \(gru\) cannot go"),
        (_Embedded(), r"table: Embedding \(embedding\) cannot go"),
        (_Product(), r"matrix: .*matmul.* cannot go onto cores"),
        (
            nn.Sequential(nn.Conv2d(2, 4, 2, padding="same"), *_head(4)),
            "0: padding 'same' of an even kernel is not symmetric",
        ),
        (
            nn.Sequential(
                nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), *_head(4)
            ),
            "1: batch_norm in training mode: .* keep running statistics",
        ),
        (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), "has no Conv2d and no Linear"),
    ],
    ids=["transposed", "1d", "lstm", "gru", "embedding", "matmul", "same", "statistics", "none"],
)
def test_operation_that_cannot_be_mapped_is_named(module: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        trace_network(module, image_shape=(2, 8, 8), source="network")


def test_every_operation_that_cannot_be_mapped_is_named() -> None:
    with pytest.raises(ConfigError, match="network: 2 problems:") as caught:
        _network(nn.ConvTranspose2d(2, 4, 3), nn.ConvTranspose2d(4, 4, 3), *_head(4))
    assert [problem.where for problem in caught.value.problems] == ["0", "1"]


def test_decomposed_program_says_how_to_export_it(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(128, 3)).eval()
    images = {0: torch.export.Dim("images", min=1, max=4096)}
    program = torch.export.export(module, (torch.zeros(2, 2, 8, 8),), dynamic_shapes=(images,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own
        torch.export.save(program.run_decompositions(), tmp_path / "small.pt2")
    with pytest.raises(ConfigError, match=r"1: is addmm: export the network without run_decompo"):
        load_network(str(tmp_path / "small.pt2"), None, image_shape=(2, 8, 8))


class _Branch(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(128, 3)

    def forward(self, values: Any) -> Any:
        return self.linear(values.flatten(1)) if values.sum() >= 0 else values.flatten(1)[:, :3]


def test_network_whose_way_depends_on_the_image_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"torch\.export cannot make one graph of it"):
        trace_network(_Branch(), image_shape=(2, 8, 8), source="network")


def test_network_with_another_output_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"output for 3 images is \(3, 4, 6, 6\), must be one"):
        _network(nn.Conv2d(2, 4, 3))


def test_network_with_too_few_classes_is_refused() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(128, 3))
    with pytest.raises(ConfigError, match="has 3 logits, the labels need 10"):
        trace_network(module, image_shape=(2, 8, 8), source="network", classes=10)


def test_running_statistics_that_are_not_finite_are_named() -> None:
    norm = nn.BatchNorm2d(4)
    norm.running_var[2] = float("inf")
    with pytest.raises(DatasetError, match=r"1\.running_var: inf at \(2,\): every weight must"):
        _network(nn.Conv2d(2, 4, 3), norm, *_head(4))


def test_batch_may_have_any_size() -> None:
    network = _network(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), *_head(4))
    with torch.inference_mode():
        shapes = [tuple(network.graph(torch.ones(size, 2, 8, 8)).shape) for size in (1, 5, 300)]
    assert shapes == [(1, 3), (5, 3), (300, 3)]


def test_doubles_become_single_precision() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(128, 3)).double()
    network = trace_network(module, image_shape=(2, 8, 8), source="network")
    assert network.layers[0].weight.dtype == np.float32
