"""The real ResNet-20 in int8 with exact products, where its weights and images are at hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hil.inference.computing.execution import Execution
from hil.inference.computing.multiplying import ExactLayers
from hil.inference.networks.graph_walk import walk_graph
from hil.inference.networks.network import load_network
from hil.inference.placing.mapping import map_layers
from hil.inference.placing.quantised import quantise_layers
from hil.inference.placing.ranges import measure_ranges

torch = pytest.importorskip(
    "torch", reason="torch is not installed: pip install 'aimc-hil[inference]'"
)

DATA = Path(__file__).parents[3] / "shared" / "data"
WEIGHTS = DATA / "resnet20-12fca82f.th"
TEST = DATA / "cifar10_test_lossless_1017.npz"
TRAINING = DATA / "cifar10_train_sub_5170.npz"


def _images(path: Path, count: int) -> tuple[Any, Any]:
    with np.load(path) as stored:
        pixels = torch.tensor(stored["images"][:count]).permute(0, 3, 1, 2) / 255
        labels = torch.tensor(stored["labels"][:count])
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
    return (pixels - mean[:, None, None]) / deviation[:, None, None], labels


@pytest.mark.skipif(
    not (WEIGHTS.is_file() and TEST.is_file() and TRAINING.is_file()),
    reason="the weights and images of ResNet-20 are not at hand",
)
def test_resnet20_in_int8_is_within_a_point_of_float() -> None:
    torch.set_num_threads(1)
    network = load_network("resnet20", WEIGHTS, image_shape=(3, 32, 32), classes=10)
    images, labels = _images(TEST, 200)
    ranges = measure_ranges(network, _images(TRAINING, 64)[0])
    quantised = quantise_layers(network.layers, ranges.inputs(network))
    cpu = torch.device("cpu")
    exact = ExactLayers(quantised, cpu)
    codes = Execution(network, quantised, ranges, exact, device=cpu).run(images).argmax(1)
    with torch.inference_mode():
        floats = walk_graph(network.graph, images).argmax(1)
    right, were_right = int((codes == labels).sum()), int((floats == labels).sum())
    assert abs(right - were_right) <= 2
    assert float((codes == floats).float().mean()) > 0.95
    # As counted by hand: 1 + 6 layers of one core, 1, 5 of two, one of two, 5 of three, 1.
    assert len(map_layers(network.layers)) == 36
