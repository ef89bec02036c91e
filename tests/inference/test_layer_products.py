"""Layers on exact cores equal torch's own convolution and linear layer, integer for integer."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.inference.computing.multiplying import ChipLayers, ExactLayers
from hil.inference.networks.layers import AnalogLayer
from hil.inference.placing.mapping import map_layers
from hil.inference.placing.quantised import program_tiles, quantise_layer
from inference_chip import KnownCores, Subtraction, integer_convolution

torch = pytest.importorskip(
    "torch", reason="torch is not installed: pip install 'aimc-hil[inference]'"
)

torch.set_num_threads(1)


def _on_cores(
    layer: AnalogLayer, codes: Any, *, rows: int, columns: int, size: int = 300
) -> tuple[Any, KnownCores]:
    """Return the products (vector, output) of a layer cut into tiles of a size."""
    one = quantise_layer(layer, 127.0)
    tiles = map_layers([layer], rows=rows, columns=columns, cores=100_000)
    cores = KnownCores(size=size)
    cores.program(program_tiles([one], tiles))
    corrections = {tile.core: Subtraction() for tile in tiles}
    return ChipLayers([one], tiles, cores, corrections).outputs(0, codes, first=0), cores


def _vectors(images: Any) -> Any:
    """Bring (image, channel, row, column) to (vector, channel)."""
    return images.permute(0, 2, 3, 1).reshape(-1, images.shape[1])


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    groups=st.integers(1, 3),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 3)),
    tile=st.tuples(st.integers(1, 30), st.integers(1, 5)),
)
def test_convolution_on_cores_is_torchs(  # noqa: PLR0917 - what hypothesis draws
    seed: int, groups: int, kernel: tuple[int, int], stride: tuple[int, int],
    padding: tuple[int, int], dilation: tuple[int, int], tile: tuple[int, int],
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    layer = integer_convolution(
        rng, channels=2 * groups, outputs=3 * groups, kernel=kernel, groups=groups,
        stride=stride, padding=padding, dilation=dilation,
    )  # fmt: skip
    images = torch.from_numpy(rng.integers(-127, 128, size=(2, 2 * groups, 9, 7)).astype(np.int8))
    expected = torch.nn.functional.conv2d(
        images.to(torch.float64), torch.tensor(layer.weight, dtype=torch.float64), None,
        stride, padding, dilation, groups,
    )  # fmt: skip
    found, _ = _on_cores(layer, images, rows=tile[0], columns=tile[1], size=40)
    exact = ExactLayers([quantise_layer(layer, 127.0)], torch.device("cpu"))
    assert torch.equal(found.to(torch.float64), _vectors(expected))
    assert torch.equal(exact.outputs(0, images, first=0), found)


@pytest.mark.parametrize("shape", [(5, 70), (2, 3, 70)], ids=["vectors", "sequences"])
def test_linear_layer_on_cores_is_torchs(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    weight = rng.integers(-127, 128, size=(11, 70)).astype(np.float32)
    weight[:, 0] = 127
    layer = AnalogLayer(name="linear", node="linear", weight=weight)
    codes = torch.from_numpy(rng.integers(-127, 128, size=shape).astype(np.int8))
    expected = codes.reshape(-1, 70).numpy().astype(np.int64) @ weight.T.astype(np.int64)
    found, _ = _on_cores(layer, codes, rows=32, columns=4)
    assert np.array_equal(found.numpy(), expected)


def test_rows_and_columns_that_pad_a_core_change_nothing() -> None:
    rng = np.random.default_rng(2)
    layer = integer_convolution(rng, channels=4, outputs=6, padding=(1, 1))
    codes = torch.from_numpy(rng.integers(-127, 128, size=(2, 4, 8, 8)).astype(np.int8))
    tight, _ = _on_cores(layer, codes, rows=36, columns=6, size=36)
    loose, _ = _on_cores(layer, codes, rows=36, columns=6, size=256)
    cut, _ = _on_cores(layer, codes, rows=5, columns=2, size=256)
    assert torch.equal(tight, loose)
    assert torch.equal(tight, cut)


def test_sums_beyond_what_float32_holds_are_exact() -> None:
    layer = AnalogLayer(
        name="linear", node="linear", weight=np.full((1, 4097), 127, dtype=np.float32)
    )
    codes = torch.full((1, 4097), 127, dtype=torch.int8)
    codes[0, 0] = 126
    exact = ExactLayers([quantise_layer(layer, 127.0)], torch.device("cpu"))
    # 4096 * 16129 + 16002 = 66080386, which float32 rounds to a multiple of 4.
    assert exact.outputs(0, codes, first=0).item() == 66_080_384.0


class _SilentCores(KnownCores):
    """Notes what it is asked for, and multiplies nothing."""

    def counts(self, core: int, input_codes: Any, *, first: int) -> Any:
        vectors, rows = input_codes.shape
        self.asked.append((core, first, vectors, rows))
        return torch.zeros((vectors, 2, self._columns[core]), dtype=torch.int32)


def test_memory_of_a_request_does_not_grow_with_the_images() -> None:
    layer = integer_convolution(np.random.default_rng(3), channels=8, outputs=4, padding=(1, 1))
    one = quantise_layer(layer, 127.0)
    tiles = map_layers([layer])
    cores = _SilentCores()
    cores.program(program_tiles([one], tiles))
    chip = ChipLayers([one], tiles, cores, {0: Subtraction()})
    chip.outputs(0, torch.zeros((700, 8, 32, 32), dtype=torch.int8), first=0)
    # A vector has 72 inputs, and 8 numbers for each of 4 columns: 2**25 values are 315 images.
    images = [vectors / 1024 for _, _, vectors, _ in cores.asked]
    assert images == [315, 315, 70]


def test_vectors_of_a_core_are_numbered_through_all_images() -> None:
    layer = integer_convolution(np.random.default_rng(4), channels=2, outputs=3, stride=(2, 2))
    one = quantise_layer(layer, 127.0)
    tiles = map_layers([layer], rows=9, columns=3)
    cores = KnownCores()
    cores.program(program_tiles([one], tiles))
    corrections = {tile.core: Subtraction() for tile in tiles}
    multiplier = ChipLayers([one], tiles, cores, corrections, vectors_before={1: 1000})
    multiplier.outputs(0, torch.zeros((5, 2, 9, 9), dtype=torch.int8), first=7)
    # 4 x 4 vectors of an image; the seventh image begins at 112.
    assert [request[:3] for request in cores.asked] == [(0, 112, 80), (1, 1112, 80)]
