"""Networks from every source: what is read, that it computes the same, and what is refused."""

import hashlib
import json
import pickle
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hil.core.errors import ConfigError, DatasetError
from hil.inference.image_data.images import Normalisation, load_images
from hil.inference.networks.network import Network, load_network
from network_files import real_file

torch = pytest.importorskip(
    "torch", reason="torch is not installed: pip install 'aimc-hil[inference]'"
)
nn = torch.nn

CIFAR = (3, 32, 32)
IMAGENET = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def _save(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def _mlp_weights() -> dict[str, Any]:
    return {
        "fc1.weight": torch.ones(4, 12),
        "fc1.bias": torch.zeros(4),
        "fc2.weight": torch.tensor([[1.0] * 4, [-1.0] * 4, [2.0] * 4]),
        "fc2.bias": torch.tensor([0.0, 1.0, 2.0]),
    }


def _load_mlp(path: Path) -> Network:
    return load_network("mlp", path, image_shape=(3, 2, 2))


def _program(path: Path, module: Any, *, images: int = 2, **options: Any) -> Path:
    if not options:
        options = {"dynamic_shapes": ({0: torch.export.Dim("images", min=1, max=4096)},)}
    program = torch.export.export(module.eval(), (torch.zeros(images, 3, 8, 8),), **options)
    torch.export.save(program, path)
    return path


def _small() -> Any:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)
    )


@pytest.mark.parametrize(
    ("model", "file", "correct"),
    [
        ("resnet14", "resnet14_cifar10.pth", 116),
        ("resnet20", "resnet20-12fca82f.th", 120),
        ("resnet32", "resnet32-d509ac18.th", 120),
    ],
)
def test_real_network_sorts_the_first_128_images(model: str, file: str, correct: int) -> None:
    network = load_network(model, real_file(file), image_shape=CIFAR)
    images = load_images(real_file("cifar10_test_lossless_1017.npz")).first(128)
    with torch.inference_mode():
        found = network.graph(images.tensor(IMAGENET)).argmax(1).numpy()
    assert int((found == images.labels).sum()) == correct
    assert network.classes == 10


def test_digest_is_that_of_the_file() -> None:
    path = real_file("resnet20-12fca82f.th")
    network = load_network("resnet20", path, image_shape=CIFAR)
    assert network.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_mlp_takes_its_widths_from_the_weights(tmp_path: Path) -> None:
    network = _load_mlp(_save(tmp_path / "mlp.pt", _mlp_weights()))
    # 12 pixels of 0.5 are 6 in each of the 4 hidden units.
    logits = network.graph(torch.full((1, 3, 2, 2), 0.5))
    assert logits.tolist() == [[24.0, -23.0, 50.0]]
    assert [layer.weight.shape for layer in network.layers] == [(4, 12), (3, 4)]


def test_safetensors_are_the_same_weights(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file(_mlp_weights(), tmp_path / "mlp.safetensors")
    network = _load_mlp(tmp_path / "mlp.safetensors")
    assert network.graph(torch.full((1, 3, 2, 2), 0.5)).tolist() == [[24.0, -23.0, 50.0]]


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod."])
def test_prefixes_of_wrappers_are_removed(tmp_path: Path, prefix: str) -> None:
    weights = {prefix + key: value for key, value in _mlp_weights().items()}
    network = _load_mlp(_save(tmp_path / "mlp.pt", {"state_dict": weights, "epoch": 7}))
    assert network.classes == 3


def test_resnet9_is_built_for_weights_with_dropout_before_the_linear_layer(tmp_path: Path) -> None:
    from hil.inference.networks.architectures.resnet9 import ResNet9  # noqa: PLC0415 - it imports torch

    weights = {
        key.replace("classifier.2", "classifier.3"): value
        for key, value in ResNet9(channels=3, classes=7).state_dict().items()
    }
    network = load_network("resnet9", _save(tmp_path / "nine.pt", weights), image_shape=CIFAR)
    assert network.classes == 7
    assert [layer.outputs for layer in network.layers] == [64, 128, 128, 128, 256, 512, 512, 512, 7]


@pytest.mark.parametrize(("model", "layers"), [("resnet44", 44), ("resnet56", 56)])
def test_deeper_resnets_have_their_layers(tmp_path: Path, model: str, layers: int) -> None:
    from hil.inference.networks.architectures.cifar_resnet import CifarResNet  # noqa: PLC0415 - it imports torch

    module = CifarResNet((layers - 2) // 6, channels=3, classes=10, is_padded=True)
    path = _save(tmp_path / "weights.pt", module.state_dict())
    assert len(load_network(model, path, image_shape=CIFAR).layers) == layers


def test_factory_is_called_and_keeps_its_own_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_networks.py").write_text(
        "import torch\n"
        "def double():\n"
        "    layer = torch.nn.Linear(2, 2, bias=False)\n"
        "    torch.nn.init.eye_(layer.weight)\n"
        "    with torch.no_grad():\n"
        "        layer.weight *= 2\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), layer)\n"
        "def number():\n"
        "    return 3\n"
        "def broken():\n"
        "    raise RuntimeError('no such checkpoint')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    network = load_network("my_networks:double", None, image_shape=(1, 1, 2))
    assert network.graph(torch.tensor([[[[3.0, 4.0]]]])).tolist() == [[6.0, 8.0]]
    for name, reason in (
        ("number", "made a int, must make a torch.nn.Module"),
        ("broken", "must return a network: no such checkpoint"),
        ("doubl", "has no 'doubl'; did you mean 'double'?"),
    ):
        with pytest.raises(ConfigError, match=re.escape(reason)):
            load_network(f"my_networks:{name}", None, image_shape=(1, 1, 2))
    sys.modules.pop("my_networks")


def test_module_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="no_such_module:make: cannot be imported"):
        load_network("no_such_module:make", None, image_shape=CIFAR)


def test_exported_program_computes_the_same(tmp_path: Path) -> None:
    module = _small()
    network = load_network(
        str(_program(tmp_path / "small.pt2", module)), None, image_shape=(3, 8, 8)
    )
    images = torch.rand(7, 3, 8, 8)
    with torch.inference_mode():
        np.testing.assert_array_equal(network.graph(images).numpy(), module(images).numpy())
    assert [layer.name for layer in network.layers] == ["0", "4"]
    assert network.layers[0].batch_norm is not None
    assert network.layers[0].relu_node == "relu"


def test_weights_replace_those_of_an_exported_program(tmp_path: Path) -> None:
    path = _program(tmp_path / "small.pt2", _small())
    other = _small()
    weights = _save(tmp_path / "other.pt", other.state_dict())
    network = load_network(str(path), weights, image_shape=(3, 8, 8))
    np.testing.assert_array_equal(network.layers[1].weight, other[4].weight.detach().numpy())


def test_exported_program_of_a_fixed_batch_is_refused(tmp_path: Path) -> None:
    path = _program(tmp_path / "fixed.pt2", _small(), images=2, dynamic_shapes=None)
    with pytest.raises(ConfigError, match=r"takes exactly 2 images at a time: export it with"):
        load_network(str(path), None, image_shape=(3, 8, 8))


def _change(source: Path, target: Path, change: Any) -> Path:
    """Write an archive again, with the content of each file changed; None leaves it out."""
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(target, "w") as after:
        for name in before.namelist():
            after.writestr(name, change(name, before.read(name)))
    return target


class _Marker:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (self.path,)


def _hostile_inputs(name: str, content: bytes, marker: Path) -> bytes:
    return pickle.dumps(_Marker(marker)) if name.endswith("sample_inputs/model.pt") else content


def _hostile_size(name: str, content: bytes, marker: Path) -> bytes:
    code = f"__import__('os').mkdir('{marker}')"
    symbol = re.compile(rb"\"expr_str\": \"[^\"]*\"")
    return symbol.sub(b'"expr_str": ' + json.dumps(code).encode(), content)


def _hostile_pickle(name: str, content: bytes, marker: Path) -> bytes:
    if name.endswith("weight_0"):
        return pickle.dumps(_Marker(marker))
    return content.replace(b'"use_pickle": false', b'"use_pickle": true')


def _hostile_target(name: str, content: bytes, marker: Path) -> bytes:
    return content.replace(b"torch.ops.aten.relu.default", b"torch.hub.os.mkdir")


@pytest.mark.parametrize(
    "change", [_hostile_inputs, _hostile_size, _hostile_pickle, _hostile_target]
)
def test_exported_program_that_could_run_code_is_refused(tmp_path: Path, change: Any) -> None:
    marker = tmp_path / "was here"
    source = _program(tmp_path / "small.pt2", _small())
    hostile = _change(
        source, tmp_path / "hostile.pt2", lambda name, content: change(name, content, marker)
    )
    with pytest.raises(DatasetError, match=r"hostile\.pt2: "):
        load_network(str(hostile), None, image_shape=(3, 8, 8))
    assert not marker.exists()


def test_exported_program_with_a_compiled_library_is_refused(tmp_path: Path) -> None:
    path = _program(tmp_path / "small.pt2", _small())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("small/data/aotinductor/model/code.so", b"\x7fELF")
    with pytest.raises(DatasetError, match=r"holds data/aotinductor/model/code\.so"):
        load_network(str(path), None, image_shape=(3, 8, 8))


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04"])
def test_damaged_program_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "damaged.pt2").write_bytes(content)
    with pytest.raises(DatasetError, match=r"is no program of torch\.export\.save"):
        load_network(str(tmp_path / "damaged.pt2"), None, image_shape=(3, 8, 8))


def test_onnx_says_what_to_do_instead() -> None:
    with pytest.raises(ConfigError, match=r"ONNX files are not read; export the PyTorch network"):
        load_network("network.onnx", None, image_shape=CIFAR)


def test_unknown_model_lists_what_there_is() -> None:
    with pytest.raises(ConfigError, match="no such model; give one of resnet14, resnet20"):
        load_network("resnet18", None, image_shape=CIFAR)


def test_built_in_architecture_needs_weights() -> None:
    with pytest.raises(ConfigError, match="resnet20: a built-in architecture has no weights"):
        load_network("resnet20", None, image_shape=CIFAR)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"fc2.weight": torch.ones(3, 5)}, r"layers.1.weight: shape \(3, 5\), the network has"),
        ({"fc1.weight": torch.ones(4, 11)}, r"shape \(4, 11\), the network has \(4, 12\)"),
        ({"fc1.bias": torch.tensor([0, 0, float("nan"), 0])}, r"fc1.bias: nan at \(2,\)"),
        ({"fc2.weight": torch.full((3, 4), float("-inf"))}, r"fc2.weight: -inf at \(0, 0\)"),
        ({"fc1.scale": torch.ones(4)}, "layers.0.scale: the file has it, the network has not"),
        ({"epoch": 7}, "epoch: is a int, must be a tensor"),
    ],
    ids=["shape", "image size", "nan", "infinite", "unknown key", "number"],
)
def test_wrong_weights_are_named(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    path = _save(tmp_path / "wrong.pt", _mlp_weights() | change)
    with pytest.raises(DatasetError, match=reason):
        _load_mlp(path)


def test_first_key_of_another_architecture_is_named() -> None:
    with pytest.raises(DatasetError, match=r"layer1\.3\.conv1\.weight: the network has it, the"):
        load_network("resnet32", real_file("resnet20-12fca82f.th"), image_shape=CIFAR)


def test_weights_of_fewer_classes_than_wanted_are_refused() -> None:
    with pytest.raises(ConfigError, match="has 10 logits, the labels need 100"):
        load_network("resnet20", real_file("resnet20-12fca82f.th"), image_shape=CIFAR, classes=100)


def test_pickled_weights_that_run_code_are_refused(tmp_path: Path) -> None:
    marker = tmp_path / "was here"
    path = _save(tmp_path / "hostile.pt", {"fc1.weight": _Marker(marker)})
    with pytest.raises(DatasetError, match=r"could run code and is not opened: save model\.state"):
        _load_mlp(path)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04", b"\xff" * 64])
def test_damaged_weights_are_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=rf"{name}: (is no|holds more than tensors)"):
        _load_mlp(tmp_path / name)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nothing\.pt: no such file"):
        _load_mlp(tmp_path / "nothing.pt")


def test_images_of_another_size_are_refused(tmp_path: Path) -> None:
    path = _program(tmp_path / "small.pt2", _small())
    expected = "does not take images of 9 x 9 pixels and 3 channels"
    with pytest.raises(ConfigError, match=expected):
        load_network(str(path), None, image_shape=(3, 9, 9))
