"""Networks that would be computed wrongly in silence: each is computed right, or refused."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hil.core.errors import CalibrationError, ConfigError
from hil.core.nmpu_format import NmpuFormat

torch = pytest.importorskip(
    "torch", reason="torch is not installed: pip install 'aimc-hil[inference]'"
)

from hil.inference.computing.backends.ideal import IdealReadings  # noqa: E402 - after the skip
from hil.inference.computing.execution import Execution, SumArithmetic  # noqa: E402
from hil.inference.computing.multiplying import ExactLayers  # noqa: E402
from hil.inference.conditions.predicting import classes_of  # noqa: E402
from hil.inference.corrections.calibrating import CalibrationTerms, calibrate_tiles  # noqa: E402
from hil.inference.corrections.prepared import prepare_network  # noqa: E402
from hil.inference.networks.graph_walk import walk_graph  # noqa: E402
from hil.inference.networks.network import Network, load_network, trace_network  # noqa: E402
from hil.inference.placing.mapping import map_layers  # noqa: E402
from hil.inference.placing.quantised import program_tiles, quantise_layers  # noqa: E402
from hil.inference.placing.ranges import measure_ranges, sum_nodes  # noqa: E402

nn = torch.nn
SHAPE = (1, 4, 4)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


class _Around(nn.Module):  # type: ignore[name-defined,misc] # torch is imported by name
    """A small convolution and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
            nn.Linear(64, 6),
        )  # fmt: skip

    def forward(self, images: Any) -> Any:
        return self.body(images)


class _ScalesItsInput(_Around):
    def forward(self, images: Any) -> Any:
        images -= 0.5
        images *= 2
        return self.body(images)


class _AddsOnAView(_Around):
    def forward(self, images: Any) -> Any:
        logits = self.body(images)
        taken = logits.clone()
        part = taken[:, :3]
        part.add_(logits[:, :3].abs() * 3 + 5)
        return taken


class _AddsInAFeatureMap(_Around):
    def forward(self, images: Any) -> Any:
        found = self.body[1](self.body[0](images))
        part = found[:, :2]
        part.add_(found[:, 2:])
        return self.body[4](self.body[3](self.body[2](found)))


class _AddsIndices(_Around):
    def forward(self, images: Any) -> Any:
        places = torch.arange(3) + torch.arange(3)
        return self.body(images)[:, places]


class _AddsAProduct(_Around):
    def forward(self, images: Any) -> Any:
        logits = self.body(images)
        return torch.addcmul(logits, logits, logits)


class _Negated(_Around):
    def forward(self, images: Any) -> Any:
        return -self.body(images)


class _Scaled(_Around):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, images: Any) -> Any:
        return self.body(images * self.factor)


class _Counts(_Around):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, images: Any) -> Any:
        self.seen += 1
        return self.body(images) * self.seen


class _Random(_Around):
    def forward(self, images: Any) -> Any:
        logits = self.body(images)
        return logits + torch.randn_like(logits)


class _DropsAlways(_Around):
    def forward(self, images: Any) -> Any:
        return nn.functional.dropout(self.body(images), 0.5, training=True)


class _RandomWeights(_Around):
    def forward(self, images: Any) -> Any:
        noise = torch.randn_like(self.body[4].weight)
        return nn.functional.linear(self.body[3](images.repeat(1, 4, 1, 1)), noise)


def _traced(module: Any, *, shape: tuple[int, int, int] = SHAPE) -> Network:
    return trace_network(module, image_shape=shape, source="trap")


def _int8_logits(network: Network, images: Any) -> Any:
    ranges = measure_ranges(network, images)
    quantised = quantise_layers(network.layers, ranges.inputs(network))
    exact = ExactLayers(quantised, torch.device("cpu"))
    return Execution(
        network, quantised, ranges, exact, device=torch.device("cpu"), sums=SumArithmetic.INT8
    ).run(images)


@pytest.mark.parametrize(
    "kind", [_ScalesItsInput, _AddsOnAView, _AddsInAFeatureMap, _AddsIndices, _AddsAProduct]
)
def test_int8_is_close_to_the_module_and_images_stay_as_they_are(kind: Any) -> None:
    module = kind().eval()
    images = torch.rand(40, *SHAPE)
    with torch.no_grad():
        expected = module(images.clone())
    before = images.clone()
    network = _traced(module)
    with torch.no_grad():
        walked = walk_graph(network.graph, images)
        in_codes = _int8_logits(network, images)
    assert torch.equal(images, before)
    torch.testing.assert_close(walked, expected)
    error = (in_codes - expected).norm() / expected.norm()
    assert float(error) < 0.05  # a sum that is lost is an error of more than a third


class _Views(_Around):
    def forward(self, images: Any) -> Any:
        found = self.body[2](self.body[1](self.body[0](images)))
        return self.body[4](found.view(found.shape[0], -1))


@pytest.mark.parametrize("kind", [_Views, _ScalesItsInput])
def test_images_may_lie_in_memory_channel_by_channel_or_pixel_by_pixel(kind: Any) -> None:
    module = kind()
    module.body[0] = nn.Conv2d(3, 4, 3, padding=1)
    network = _traced(module, shape=(3, 4, 4))
    images = torch.rand(5, 3, 4, 4)
    with torch.no_grad():
        found = [
            walk_graph(network.graph, images.contiguous(memory_format=order))
            for order in (torch.contiguous_format, torch.channels_last)
        ]
    torch.testing.assert_close(found[0], found[1])


def test_normalisation_still_follows_its_layer_in_a_network_that_works_in_place() -> None:
    module = _ScalesItsInput()
    module.body[2] = nn.ReLU(inplace=True)
    first, last = _traced(module).layers
    assert (first.name, last.name) == ("body.0", "body.4")
    assert first.batch_norm is not None
    assert first.batch_norm.eps == 1e-5
    assert first.relu_node is not None


def test_sums_of_indices_are_no_sums_of_activations() -> None:
    assert sum_nodes(_traced(_AddsIndices()).graph) == {}


def test_network_that_changes_its_own_buffer_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"seen: .*changes .* as it computes"):
        _traced(_Counts())


@pytest.mark.parametrize(
    ("kind", "operation"),
    [(_Random, "randn_like"), (_DropsAlways, "dropout"), (_RandomWeights, "randn_like")],
)
def test_operation_that_draws_random_numbers_is_refused_by_name(kind: Any, operation: str) -> None:
    with pytest.raises(ConfigError, match=rf"{operation}\b.*chance"):
        _traced(kind())


def test_dropout_that_is_switched_off_is_taken() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 3), nn.RReLU())
    assert len(_traced(module).layers) == 1


def test_attention_without_dropout_is_taken() -> None:
    class Attention(_Around):
        def forward(self, images: Any) -> Any:
            found = nn.functional.scaled_dot_product_attention(images, images, images)
            return self.body(found)

    assert len(_traced(Attention()).layers) == 2


def _digest(module: Any) -> str:
    torch.manual_seed(0)
    return _traced(module).program_sha256


def _seeded(kind: Any, *arguments: Any) -> Any:
    torch.manual_seed(0)
    return kind(*arguments)


def test_hash_of_a_network_is_of_operations_arguments_and_constants() -> None:
    plain = _digest(_seeded(_Around))
    others = {
        "operation": _digest(_seeded(_Negated)),
        "argument": _digest(_seeded(_Scaled, 2.0)),
        "other argument": _digest(_seeded(_Scaled, 2.5)),
    }
    changed = _seeded(_Around)
    changed.body[4].weight.data[0, 0] += 1
    others["weight"] = _digest(changed)
    assert _digest(_seeded(_Around)) == plain
    assert len({plain, *others.values()}) == 5


def test_hash_of_an_exported_program_is_of_its_graph(tmp_path: Path) -> None:
    found = []
    for kind in (_Around, _Negated):
        module = _seeded(kind).eval()
        program = torch.export.export(
            module,
            (torch.zeros(2, *SHAPE),),
            dynamic_shapes=({0: torch.export.Dim("images", min=1, max=4096)},),
        )
        torch.export.save(program, tmp_path / "network.pt2")
        torch.save(module.state_dict(), tmp_path / "weights.pth")
        network = load_network(
            str(tmp_path / "network.pt2"), tmp_path / "weights.pth", image_shape=SHAPE
        )
        found.append((network.weights_sha256, network.program_sha256))
    assert found[0][1] != found[1][1]


def test_exported_program_that_scales_its_input_leaves_the_images(tmp_path: Path) -> None:
    module = _ScalesItsInput().eval()
    program = torch.export.export(
        module,
        (torch.zeros(2, *SHAPE),),
        dynamic_shapes=({0: torch.export.Dim("images", min=1, max=4096)},),
    )
    torch.export.save(program, tmp_path / "network.pt2")
    network = load_network(str(tmp_path / "network.pt2"), None, image_shape=SHAPE)
    images = torch.full((3, *SHAPE), 0.25)
    with torch.no_grad():
        walk_graph(network.graph, images)
    assert (images == 0.25).all()


def test_logits_that_are_not_numbers_name_the_condition_and_the_image() -> None:
    logits = torch.tensor([[1.0, 2.0], [float("nan"), 0.0]])
    with pytest.raises(ConfigError, match=r"nmpu 3600s: .*image 11 "):
        classes_of(logits, condition="nmpu 3600s", first=10)
    found = classes_of(torch.tensor([[-float("inf"), 2.0]]), condition="", first=0)
    np.testing.assert_array_equal(found, [1])


def test_negative_variance_is_named() -> None:
    module = _Around()
    module.body[1].running_var[2] = -1.0
    with pytest.raises(ConfigError, match=r"body\.1\.running_var: -1 at 2: .*at least 0"):
        _traced(module)


def test_factory_that_ends_the_process_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "leaving_network.py").write_text("import sys\ndef leave():\n    sys.exit(0)\n")
    (tmp_path / "leaving_module.py").write_text("raise SystemExit(0)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for model, reason in (
        ("leaving_network:leave", "ends the process"),
        ("leaving_module:anything", "ends the process"),
    ):
        with pytest.raises(ConfigError, match=reason):
            load_network(model, None, image_shape=SHAPE)
    sys.modules.pop("leaving_network", None)


def test_layer_without_outputs_is_named_where_nothing_can_be_calibrated_behind_it() -> None:
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 6)
    )
    module[0].weight.data.zero_()
    module[1].bias.data.fill_(1.0)
    network = _traced(module)
    tiles = map_layers(network.layers, rows=32, columns=32, cores=4)
    prepared = prepare_network(network, tiles, torch.rand(20, *SHAPE))
    readings = IdealReadings(device=torch.device("cpu"))
    readings.program(program_tiles(prepared.quantised, tiles))
    with pytest.raises(
        CalibrationError,
        match=r"layer 4: its outputs are the same for all calibration images, .* layer 0 are 0",
    ):
        calibrate_tiles(
            prepared.quantised, tiles, readings, prepared.samples,
            CalibrationTerms(fmt=NmpuFormat()),
        )  # fmt: skip
