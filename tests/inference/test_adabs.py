"""Batch normalisation whose statistics are measured on the chip as it is now."""

from typing import Any

import numpy as np
import pytest

from hil.core.errors import ConfigError
from hil.core.nmpu_format import NmpuFormat
from hil.inference.computing.execution import Execution
from hil.inference.computing.multiplying import ChipLayers, ExactLayers
from hil.inference.conditions.adabs import adapt_batch_norms
from hil.inference.corrections.calibrating import CalibrationTerms, calibrate_tiles, sample_inputs
from hil.inference.networks.network import trace_network
from hil.inference.placing.folding import fold_layers
from hil.inference.placing.mapping import map_layers
from hil.inference.placing.quantised import program_tiles, quantise_layers
from hil.inference.placing.ranges import measure_ranges
from inference_chip import KnownCores, Subtraction

torch = pytest.importorskip(
    "torch", reason="torch is not installed: pip install 'aimc-hil[inference]'"
)
torch.set_num_threads(1)
CPU = torch.device("cpu")
DRIFTED = 0.7


class _Shrunk:
    """Exact products of which drift has left a share."""

    folded: frozenset[int] = frozenset()

    def __init__(self, bench: "_Bench", share: float) -> None:
        self._exact = ExactLayers(bench.quantised, CPU)
        self._share = share

    def outputs(self, place: int, input_codes: Any, *, first: int) -> Any:
        return self._exact.outputs(place, input_codes, first=first) * self._share


class _Bench:
    def __init__(self) -> None:
        torch.manual_seed(5)
        module = torch.nn.Sequential(
            torch.nn.Conv2d(2, 6, 3, padding=1, bias=False),
            torch.nn.BatchNorm2d(6),
            torch.nn.ReLU(),
            torch.nn.Conv2d(6, 5, 3, bias=False),
            torch.nn.BatchNorm2d(5),
            torch.nn.ReLU(),
            torch.nn.Flatten(),
            torch.nn.Linear(180, 3, bias=False),
        )
        with torch.no_grad():
            module[1].weight.copy_(torch.tensor([1.0, -0.8, 1.2, 0.9, 1.1, -1.0]))
            module[1].bias.copy_(torch.tensor([0.2, 0.1, -0.1, 0.0, 0.3, -0.2]))
            module[4].bias.copy_(torch.tensor([0.5, 0.1, 0.2, 0.3, 0.4]))
        self.network = trace_network(module, image_shape=(2, 8, 8), source="two blocks")
        self.images = torch.randn(24, 2, 8, 8, generator=torch.Generator().manual_seed(1))
        self.ranges = measure_ranges(self.network, self.images)
        self.quantised = quantise_layers(self.network.layers, self.ranges.inputs(self.network))

    def adapt(self, share: float = 1.0, images: Any = None) -> Any:
        return adapt_batch_norms(
            self.network,
            self.quantised,
            self.ranges,
            _Shrunk(self, share),
            self.images if images is None else images,
            device=CPU,
        )

    def logits(self, share: float, instead: Any = None) -> Any:
        execution = Execution(
            self.network,
            self.quantised,
            self.ranges,
            _Shrunk(self, share),
            device=CPU,
            instead=instead,
        )
        return execution.run(self.images).numpy()


@pytest.fixture(scope="module")
def bench() -> _Bench:
    return _Bench()


def test_statistics_are_those_of_what_the_chip_says(bench: _Bench) -> None:
    first, *_ = bench.adapt(DRIFTED).batch_norms.values()
    step = bench.quantised[0].input_scale
    codes = np.clip(np.rint(bench.images.numpy() / np.float32(step)), -127, 127)
    padded = np.pad(codes, ((0, 0), (0, 0), (1, 1), (1, 1)))
    patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    weights = bench.quantised[0].weight_codes[0].T.reshape(6, 2, 3, 3).astype(np.float64)
    products = np.einsum("bchwij,ocij->bohw", patches, weights)
    said = products * bench.quantised[0].product_scale[:, None, None] * DRIFTED
    assert first.mean == pytest.approx(said.mean(axis=(0, 2, 3)), rel=1e-4, abs=1e-6)
    assert first.variance == pytest.approx(said.var(axis=(0, 2, 3)), rel=1e-4)
    assert first.beta == pytest.approx([0.2, 0.1, -0.1, 0.0, 0.3, -0.2])


def test_every_normalisation_is_measured_behind_the_others_measured_before(bench: _Bench) -> None:
    adapted = bench.adapt(DRIFTED)
    left: dict[str, Any] = {}

    def watch(name: str, compute: Any) -> Any:
        def watched(arguments: tuple[Any, ...]) -> Any:
            left[name] = compute(arguments)
            return left[name]

        return watched

    instead = {name: watch(name, one) for name, one in adapted.computations(CPU).items()}
    bench.logits(DRIFTED, instead)
    assert len(left) == 2
    for name, norm in adapted.batch_norms.items():
        values = left[name].numpy().astype(np.float64)
        # Normalised by their own statistics, values have the mean and deviation that were learned.
        assert values.mean(axis=(0, 2, 3)) == pytest.approx(norm.beta, abs=1e-4)
        assert values.std(axis=(0, 2, 3)) == pytest.approx(abs(norm.gamma), rel=2e-3)


def test_common_loss_of_every_core_is_undone(bench: _Bench) -> None:
    fresh = bench.logits(1.0, bench.adapt(1.0).computations(CPU))
    drifted = bench.logits(DRIFTED, bench.adapt(DRIFTED).computations(CPU))
    without = bench.logits(DRIFTED)
    # The linear layer has no normalisation: what it says shrinks, all classes alike.
    assert drifted / DRIFTED == pytest.approx(fresh, abs=0.03 * float(abs(fresh).max()))
    assert abs(without / DRIFTED - fresh).max() > 0.1 * abs(fresh).max()


def test_channel_that_fell_silent_does_not_become_loud(bench: _Bench) -> None:
    trained = bench.network.layers[0].batch_norm
    assert trained is not None
    first, *_ = bench.adapt(1e-4).batch_norms.values()
    assert first.variance == pytest.approx(0.01 * trained.variance)


def test_adapted_layers_are_folded_with_the_new_statistics(bench: _Bench) -> None:
    tiles = map_layers(bench.network.layers, rows=256, columns=8)
    cores = KnownCores(gain=1 / 300, offset=11.0, size=256)
    cores.program(program_tiles(bench.quantised, tiles))
    samples = sample_inputs(bench.network, bench.quantised, bench.ranges, bench.images, vectors=500)
    terms = CalibrationTerms(fmt=NmpuFormat())
    calibrations = calibrate_tiles(bench.quantised, tiles, cores, samples, terms)
    trained, measured = (
        fold_layers(quantised, tiles, calibrations, bench.ranges, fmt=terms.fmt, headroom=1.0)
        for quantised in (bench.quantised, bench.adapt(DRIFTED).quantised)
    )
    before, after = (found[0].tiles[0].nmpu for found in (trained, measured))
    gain_before = before.correction.a_p * before.output_lsb
    gain_after = after.correction.a_p * after.output_lsb
    fresh = bench.adapt(1.0).quantised[0].layer.batch_norm
    old = bench.network.layers[0].batch_norm
    assert fresh is not None
    assert old is not None
    assert gain_after / gain_before == pytest.approx(fresh.gain / old.gain / DRIFTED, rel=1e-3)


def test_only_so_many_images_are_taken_at_once(
    bench: _Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hil.inference.conditions.adabs.MOST_IMAGES", 10)
    few = bench.adapt(images=bench.images[:10]).batch_norms
    for name, norm in bench.adapt().batch_norms.items():
        assert norm.mean.tolist() == few[name].mean.tolist()


def test_without_images_there_are_no_statistics(bench: _Bench) -> None:
    with pytest.raises(ConfigError, match="no images to measure the statistics"):
        bench.adapt(images=bench.images[:0])


def test_network_without_normalisation_is_refused() -> None:
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    plain = trace_network(module, image_shape=(1, 2, 2), source="plain")
    images = torch.ones(2, 1, 2, 2)
    ranges = measure_ranges(plain, images)
    quantised = quantise_layers(plain.layers, ranges.inputs(plain))
    with pytest.raises(ConfigError, match=r"plain: .*no batch normalisation"):
        adapt_batch_norms(plain, quantised, ranges, ExactLayers(quantised, CPU), images, device=CPU)


def test_folded_normalisation_cannot_be_measured(bench: _Bench) -> None:
    tiles = map_layers(bench.network.layers)
    cores = KnownCores()
    chip = ChipLayers(
        bench.quantised,
        tiles,
        cores,
        {tile.core: Subtraction() for tile in tiles},
        folded=frozenset({0}),
    )
    with pytest.raises(ValueError, match="fold nothing"):
        adapt_batch_norms(
            bench.network, bench.quantised, bench.ranges, chip, bench.images, device=CPU
        )
