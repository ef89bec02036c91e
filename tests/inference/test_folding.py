"""Cores calibrated with a network's own inputs, and normalisation folded into their correction."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hil.core.errors import CalibrationError, ConfigError
from hil.core.nmpu_format import NmpuFormat
from hil.inference.corrections.calibrating import (
    CalibrationTerms,
    calibrate_tiles,
    sample_inputs,
    search_counts,
    vectors_used,
)
from hil.inference.networks.layers import AnalogLayer
from hil.inference.networks.network import trace_network
from hil.inference.placing.folding import (
    describe_folding,
    fold_layers,
    folded_layers,
    output_affine,
)
from hil.inference.placing.mapping import map_layers
from hil.inference.placing.quantised import program_tiles, quantise_layer, quantise_layers
from hil.inference.placing.ranges import last_node, measure_ranges
from hil_calibration.fold import BatchNorm
from hil_calibration.ldpu import apply_ldpu
from hil_calibration.nmpu import apply_nmpu
from inference_chip import KnownCores

torch = pytest.importorskip(
    "torch", reason="torch is not installed: pip install 'aimc-hil[inference]'"
)
torch.set_num_threads(1)

TERMS = CalibrationTerms(fmt=NmpuFormat(), headroom=1.5)
COUNTS_PER_PRODUCT = 1 / 300


def _network() -> Any:
    torch.manual_seed(3)
    wide = torch.nn.Conv2d(6, 5, 3, bias=False)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(2, 6, 3, padding=1),
        torch.nn.BatchNorm2d(6),
        torch.nn.ReLU(),
        wide,
        torch.nn.BatchNorm2d(5),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(180, 3),
    )
    with torch.no_grad():
        module[1].running_var.fill_(0.4)
        module[1].running_mean.copy_(torch.tensor([0.1, -0.1, 0.2, 0.0, -0.2, 0.1]))
        module[1].weight.copy_(torch.tensor([1.0, -0.8, 1.2, 0.9, 1.1, -1.0]))
        module[1].bias.copy_(torch.tensor([0.2, 0.1, -0.1, 0.0, 0.3, -0.2]))
    return trace_network(module, image_shape=(2, 8, 8), source="two blocks")


class _Bench:
    """A network on cores of 40 rows: the second layer (54 rows) needs two along the rows."""

    def __init__(self, gain: float = COUNTS_PER_PRODUCT) -> None:
        self.network = _network()
        self.images = torch.randn(64, 2, 8, 8, generator=torch.Generator().manual_seed(1))
        self.ranges = measure_ranges(self.network, self.images)
        self.quantised = quantise_layers(self.network.layers, self.ranges.inputs(self.network))
        self.tiles = map_layers(self.network.layers, rows=40, columns=8)
        self.samples = sample_inputs(
            self.network, self.quantised, self.ranges, self.images, vectors=500, seed=1
        )
        self.cores = KnownCores(gain=gain, offset=11.0, size=48)
        self.cores.facts = replace(self.cores.facts, counter_bits=12)
        self.cores.program(program_tiles(self.quantised, self.tiles))

    def calibrate(self) -> Any:
        return calibrate_tiles(self.quantised, self.tiles, self.cores, self.samples, TERMS)


@pytest.fixture(scope="module")
def bench() -> _Bench:
    return _Bench()


def test_sampled_inputs_are_those_that_the_layers_get(bench: _Bench) -> None:
    assert {key: found.shape for key, found in bench.samples.items()} == {
        (0, 0): (500, 18),
        (1, 0): (500, 54),
        (2, 0): (64, 180),
    }
    first = torch.nn.functional.unfold(bench.images, 3, padding=1).transpose(1, 2).reshape(-1, 18)
    step = bench.ranges.inputs(bench.network)[0] / 127
    possible = {tuple(row) for row in torch.round(first / step).clamp(-127, 127).tolist()}
    assert all(tuple(map(float, row)) in possible for row in bench.samples[0, 0])
    # What comes through a ReLU is not negative.
    assert bench.samples[1, 0].min() == 0
    assert vectors_used(bench.tiles, bench.samples) == {
        0: 500, 1: 500, 2: 500, 3: 64, 4: 64, 5: 64, 6: 64, 7: 64,
    }  # fmt: skip


def test_calibration_finds_the_gain_of_every_core(bench: _Bench) -> None:
    for core, found in bench.calibrate().items():
        counts_per_product = 1 / (found.correction.a_p * found.output_lsb)
        assert counts_per_product == pytest.approx(COUNTS_PER_PRODUCT, rel=0.05), core
        assert (found.flags & 0b111).max() == 0


def test_core_that_does_not_answer_is_named_with_its_layer(bench: _Bench) -> None:
    bench.cores.dead_cores = {2}
    try:
        with pytest.raises(CalibrationError, match=r"core 2, layer 3: no column responds"):
            bench.calibrate()
    finally:
        bench.cores.dead_cores = set()


def test_core_of_pruned_weights_says_nothing(bench: _Bench) -> None:
    one = bench.quantised[0]
    pruned = quantise_layer(replace(one.layer, weight=0 * one.layer.weight), 1.0)
    found = calibrate_tiles([pruned], bench.tiles[:1], bench.cores, bench.samples, TERMS)
    counts = np.full((3, 2, 6), 500, dtype=np.uint16)
    assert found[0].correction.apply(counts).tolist() == [[0.0] * 6] * 3
    assert apply_nmpu(counts[:, 0], counts[:, 1], found[0].registers, found[0].fmt).max() == 0


def test_no_images_no_calibration(bench: _Bench) -> None:
    with pytest.raises(ConfigError, match="no images to calibrate"):
        sample_inputs(bench.network, bench.quantised, bench.ranges, torch.zeros(0, 2, 8, 8))


def test_each_layer_says_where_it_is_normalised(bench: _Bench) -> None:
    foldings = fold_layers(
        bench.quantised, bench.tiles, bench.calibrate(), bench.ranges, fmt=TERMS.fmt, headroom=1.5
    )
    assert describe_folding(foldings).splitlines() == [
        "normalised by the chip's units: 0",
        "digital, partial sums of several cores come first: 3",
        "digital, no normalisation or ReLU follows: 7",
    ]
    assert folded_layers(foldings) == {0}


def test_folded_units_give_the_normalised_rectified_outputs(bench: _Bench) -> None:
    folded, *_ = fold_layers(
        bench.quantised, bench.tiles, bench.calibrate(), bench.ranges, fmt=TERMS.fmt, headroom=1.5
    )
    tile = folded.tiles[0]
    layer = bench.network.layers[0]
    inputs = bench.samples[0, 0]
    counts = bench.cores.counts(0, torch.from_numpy(inputs), first=0).numpy().astype(np.uint16)
    p_counts, n_counts = counts[:, 0].copy(), counts[:, 1].copy()
    values = inputs.astype(float) * (bench.ranges.inputs(bench.network)[0] / 127)
    exact = values @ layer.weight.reshape(6, -1).T + layer.bias
    norm = layer.batch_norm
    assert norm is not None
    exact = (exact - norm.mean) / np.sqrt(norm.variance + norm.eps) * norm.gamma + norm.beta
    limit = bench.ranges.limits[last_node(layer)]
    exact = np.clip(exact, 0, limit)
    step = tile.nmpu.output_lsb
    assert limit / 127 <= step <= 2 * limit / 127
    nmpu = apply_nmpu(p_counts, n_counts, tile.nmpu.registers, tile.nmpu.fmt, relu=True) * step
    fp16 = apply_ldpu(p_counts, n_counts, tile.fp16, relu=True) * step
    size = np.linalg.norm(exact)
    assert np.linalg.norm(fp16 - exact) / size < 0.03
    assert np.linalg.norm(nmpu - exact) / size < 0.04


def test_searched_counts_are_those_of_the_first_vectors(bench: _Bench) -> None:
    bench.cores.asked.clear()
    found = search_counts(bench.tiles, bench.cores, bench.samples)
    # All 500 sampled vectors are fewer than the 512 that a search looks at.
    assert bench.cores.asked[:2] == [(0, 0, 500, 18), (1, 0, 500, 27)]
    assert found[0].shape == (500, 2, 6)
    gathered = bench.cores.counts(0, torch.from_numpy(bench.samples[0, 0]), first=0).numpy()
    assert found[0].tolist() == gathered.tolist()


def test_codes_searched_on_readouts_are_nearer_than_each_gains_nearest() -> None:
    bench = _Bench(gain=1 / 60)  # some hundred counts: half a step of a scale is whole codes
    calibrations = bench.calibrate()
    counts = search_counts(bench.tiles, bench.cores, bench.samples)
    distances = []
    for given in (None, counts):
        folded, *_ = fold_layers(
            bench.quantised,
            bench.tiles,
            calibrations,
            bench.ranges,
            fmt=TERMS.fmt,
            headroom=1.0,
            sample_counts=given,
        )
        nmpu = folded.tiles[0].nmpu
        seen = counts[0].astype(float)
        a_p, a_n, b = nmpu.correction.a_p, nmpu.correction.a_n, nmpu.correction.b
        wanted = np.clip(seen[:, 0] * a_p - seen[:, 1] * a_n + b, -128, 127)
        p_counts, n_counts = counts[0][:, 0].copy(), counts[0][:, 1].copy()
        codes = apply_nmpu(p_counts, n_counts, nmpu.registers, nmpu.fmt)
        distances.append(np.sqrt(np.mean((codes - wanted) ** 2, axis=0)))
    nearest, searched = distances
    assert nearest.max() > 0.5
    # Rounding a number costs a step over the root of 12: 0.289.
    assert searched.max() < 0.31


def test_column_that_says_nothing_keeps_its_folded_offset(bench: _Bench) -> None:
    one = bench.quantised[0]
    pruned = quantise_layer(replace(one.layer, weight=0 * one.layer.weight), 1.0)
    dead = calibrate_tiles([pruned], bench.tiles[:1], bench.cores, bench.samples, TERMS)
    folded, *_ = fold_layers(
        [pruned],
        bench.tiles[:1],
        dead,
        bench.ranges,
        fmt=TERMS.fmt,
        headroom=1.0,
        sample_counts=search_counts(bench.tiles[:1], bench.cores, bench.samples),
    )
    norm, bias = one.layer.batch_norm, one.layer.bias
    assert norm is not None
    assert bias is not None
    constant = (bias - norm.mean) / np.sqrt(norm.variance + norm.eps) * norm.gamma + norm.beta
    nmpu = folded.tiles[0].nmpu
    counts = np.full((1, 2, 6), 100, dtype=np.uint16)
    codes = apply_nmpu(counts[:, 0], counts[:, 1], nmpu.registers, nmpu.fmt)
    assert codes[0] * nmpu.output_lsb == pytest.approx(constant, abs=0.6 * nmpu.output_lsb)


def test_offset_that_the_register_does_not_hold_keeps_a_layer_digital(bench: _Bench) -> None:
    one = bench.quantised[0]
    norm = one.layer.batch_norm
    assert norm is not None
    limit = bench.ranges.limits[last_node(one.layer)]
    shifted = replace(norm, beta=norm.beta + 1.1 * limit)
    moved = replace(one, layer=replace(one.layer, batch_norm=shifted))
    folding, *_ = fold_layers(
        [moved], bench.tiles[:1], bench.calibrate(), bench.ranges, fmt=TERMS.fmt, headroom=1.5
    )
    assert not folding.is_folded
    assert "more than 2 times as coarse" in folding.reason
    wide = NmpuFormat(off_bits=11, off_int=10)
    folding, *_ = fold_layers(
        [moved], bench.tiles[:1], bench.calibrate(), bench.ranges, fmt=wide, headroom=1.5
    )
    assert folding.is_folded


def test_bias_and_normalisation_are_one_affine_map_of_products() -> None:
    # Weights 2 and -0.5, steps 2 / 127 and 0.5 / 127; inputs in steps of 1 / 2.
    layer = AnalogLayer(
        name="l",
        node="linear",
        weight=np.array([[2.0], [-0.5]], dtype=np.float32),
        bias=np.array([1.0, 3.0], dtype=np.float32),
        batch_norm=BatchNorm(
            gamma=np.array([3.0, -1.0]),
            beta=np.array([0.5, 0.25]),
            mean=np.array([1.0, 2.0]),
            variance=np.array([8.0, 0.0]),
            eps=1.0,
        ),
    )
    gain, offset = output_affine(quantise_layer(layer, 63.5))
    # (2 x + 1 - 1) * 3 / 3 + 0.5, and -(-0.5 x + 3 - 2) + 0.25; x = input code / 2.
    assert gain * 127 == pytest.approx([1.0, -0.25])
    assert offset == pytest.approx([0.5, -0.75])
    plain = replace(layer, batch_norm=None)
    gain, offset = output_affine(quantise_layer(plain, 63.5))
    assert gain * 127 == pytest.approx([1.0, 0.25])
    assert offset == pytest.approx([1.0, 3.0])
