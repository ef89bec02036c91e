"""Networks that would give numbers of no meaning: they mix images, are enormous, or broken."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation_bench import evaluate, mixing_images, save_images, small_chip, without_batch_norm
from hil.core.errors import ConfigError, DatasetError
from hil.inference.networks.batch_dependence import require_independent_images
from hil.inference.networks.network import load_network, trace_network
from hil.inference.networks.weights import read_weights

torch = pytest.importorskip(
    "torch", reason="torch is not installed: pip install 'aimc-hil[inference]'"
)
torch.set_num_threads(1)

CONFIG, DATA = 3, 5
"""Exit codes."""
SHAPE = (1, 8, 8)


def _images(number: int = 4) -> Any:
    return torch.rand((number, *SHAPE), generator=torch.Generator().manual_seed(1))


def _training_normalisation() -> Any:
    """Batch normalisation that keeps no statistics: it takes those of the batch, always."""
    torch.manual_seed(0)
    norm = torch.nn.BatchNorm2d(3, track_running_stats=False)
    convolution = torch.nn.Conv2d(1, 3, 3)
    return torch.nn.Sequential(convolution, norm, torch.nn.Flatten(), torch.nn.Linear(108, 4))


def test_network_that_mixes_the_images_of_a_batch_is_refused() -> None:
    network = trace_network(mixing_images(), image_shape=SHAPE, source="mixing")
    with pytest.raises(ConfigError, match="depends on the others in its batch: image 0 alone"):
        require_independent_images(network, _images())


def test_normalisation_by_the_batch_is_named() -> None:
    with pytest.raises(ConfigError, match="1: batch_norm in training mode: its output depends"):
        trace_network(_training_normalisation(), image_shape=SHAPE, source="training")


def test_network_that_judges_image_by_image_is_taken() -> None:
    network = trace_network(without_batch_norm(), image_shape=SHAPE, source="linear")
    require_independent_images(network, _images())
    require_independent_images(network, _images(1))


def test_mixing_network_is_refused_by_the_command(tmp_path: Path) -> None:
    data = tmp_path / "images.npz"
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 1)).astype(np.uint8)
    np.savez(data, images=pixels, labels=np.arange(12) % 10)
    ended = evaluate(
        "--model", "evaluation_bench:mixing_images", "--device", small_chip(tmp_path),
        "--data", data, "--out", tmp_path / "out",
    )  # fmt: skip
    assert ended.exit_code == CONFIG
    assert (
        "evaluation_bench:mixing_images: what it says of an image depends on the others in its "
        "batch: image 0 alone and among 4 have logits that differ by"
    ) in ended.stderr


def _linear(**changed: float) -> Any:
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    with torch.no_grad():
        for name, value in changed.items():
            tensor = dict(module.state_dict())[name.replace("_", ".", 1)]
            tensor.view(-1)[1] = value
    return torch.nn.Sequential(*module, torch.nn.Flatten(), torch.nn.Linear(72, 4))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"0_weight": 1e30}, r"weight 1e\+30 at \(0, 0, 0, 1\)"),
        ({"0_weight": -2e15}, r"weight -2e\+15 at \(0, 0, 0, 1\)"),
        ({"0_bias": 1e30}, r"bias 1e\+30 at \(1,\)"),
        ({"1_weight": 1e30}, r"gamma of batch normalisation 1e\+30 at \(1,\)"),
        ({"1_running_var": 1e30}, r"variance of batch normalisation 1e\+30 at \(1,\)"),
    ],
)
def test_enormous_values_are_named_with_their_layer(changed: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError, match=f"layer 0: {words}: must be at most 1e.15 in magnitude"):
        trace_network(_linear(**changed), image_shape=SHAPE, source="enormous")


def test_values_at_the_limit_are_taken() -> None:
    network = trace_network(_linear(**{"0_weight": 9e14}), image_shape=SHAPE, source="large")
    assert [layer.name for layer in network.layers] == ["0", "3"]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A whole exported program."""
    path = tmp_path_factory.mktemp("program") / "whole.pt2"
    images = ({0: torch.export.Dim("images")},)
    torch.export.save(
        torch.export.export(without_batch_norm(), (torch.zeros(2, *SHAPE),), dynamic_shapes=images),
        path,
    )
    return path.read_bytes()


def _other_zip(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "nothing")
    return file.getvalue()


def _cut(share: float) -> Callable[[bytes], bytes]:
    return lambda whole: whole[: int(share * len(whole))]


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (_cut(0.0), "is no program of torch.export.save"),
        (_cut(0.3), "is no program of torch.export.save"),
        (_cut(0.97), "is no program of torch.export.save"),
        (lambda _: np.random.default_rng(3).bytes(4000), "is no program of torch.export.save"),
        (lambda _: _other_zip(), "holds no models/model.json"),
        (lambda _: _other_zip("book/chapter.txt"), "holds no models/model.json"),
        (lambda _: _other_zip("net/version"), "holds no models/model.json"),
    ],
    ids=["empty", "cut early", "cut late", "random", "empty zip", "other zip", "half a program"],
)  # fmt: skip
def test_program_that_is_none_ends_in_one_line(
    program: bytes, broken: Callable[[bytes], bytes], words: str, tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = tmp_path / "broken.pt2"
    path.write_bytes(broken(program))
    ended = evaluate(
        "--model", path, "--data", save_images(tmp_path / "images.npz"), "--out", tmp_path / "out",
        "--device", small_chip(tmp_path),
    )  # fmt: skip
    assert ended.exit_code == DATA, ended.output
    assert words in ended.stderr
    assert str(path) in ended.stderr
    assert "Traceback" not in ended.output + capfd.readouterr().err


def _flip_in(whole: bytes, member: str) -> bytes:
    """Change one bit of the content of a member that is stored as it is."""
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(member))
        content = archive.read(name)
    place = whole.index(content) + len(content) // 2
    return whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]


def test_program_with_a_changed_weight_is_damaged(program: bytes, tmp_path: Path) -> None:
    path = tmp_path / "changed.pt2"
    path.write_bytes(_flip_in(program, "data/weights/weight_0"))
    with pytest.raises(
        DatasetError, match=r"is damaged: .*weight_0 is not what its check sum says"
    ):
        load_network(str(path), None, image_shape=SHAPE)
    path.write_bytes(program)
    assert load_network(str(path), None, image_shape=SHAPE).classes == 10


def test_weights_with_a_changed_bit_are_damaged(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"1.weight": torch.rand(10, 64), "1.bias": torch.rand(10)}, path)
    whole = path.read_bytes()
    assert sorted(read_weights(path)) == ["1.bias", "1.weight"]
    path.write_bytes(_flip_in(whole, "data/0"))
    with pytest.raises(DatasetError, match=r"is damaged: .*data/0 is not what its check sum says"):
        read_weights(path)
