"""A network judges formats: what it gets wrong, what is compared, what is refused."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="torch is not installed: pip install 'aimc-hil[inference]'"
)
torch.set_num_threads(1)

from hil.core.nmpu_format import NmpuFormat, NmpuRegisters  # noqa: E402 - torch first, or no test at all
from hil.explore.accuracy_trial import AccuracyTrial  # noqa: E402
from hil.explore.evaluate import FormatResult  # noqa: E402
from hil.inference.corrections.prepared import prepare_network  # noqa: E402
from hil.inference.networks.network import trace_network  # noqa: E402
from hil.inference.placing.mapping import map_layers  # noqa: E402
from inference_chip import KnownCores  # noqa: E402

BASE = NmpuFormat(off_int=8, off_bits=9)


class _Model(KnownCores):
    """Cores without a unit of their own, as every model of a chip."""

    def load(self, core: int, fmt: NmpuFormat, registers: NmpuRegisters) -> None:
        pass

    def corrected(self, core: int, input_codes: Any, *, first: int) -> None:
        return None


class _Bench:
    """A network of two layers that tells which of four blocks of inputs is the largest."""

    def __init__(self) -> None:
        torch.manual_seed(2)
        module = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(32, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4)
        )
        self.images = torch.randn(300, 2, 4, 4, generator=torch.Generator().manual_seed(3))
        with torch.no_grad():
            self.labels = module(self.images).argmax(1).numpy().astype(np.int64)
        network = trace_network(module, image_shape=(2, 4, 4), source="blocks")
        tiles = map_layers(network.layers, rows=64, columns=32)
        self.prepared = prepare_network(network, tiles, self.images[:100])
        cores = _Model(gain=1 / 60, offset=11.0, size=64)
        self.trial = AccuracyTrial(
            self.prepared, cores, images=self.images, labels=self.labels, base=BASE
        )

    def evaluate(self, fmt: NmpuFormat) -> FormatResult:
        return self.trial.evaluate(fmt, step="four_phase", raw_sha256="ab")


@pytest.fixture(scope="module")
def bench() -> _Bench:
    return _Bench()


@pytest.fixture(scope="module")
def base(bench: _Bench) -> Any:
    return bench.evaluate(BASE)


def test_base_format_brings_what_it_is_compared_with(base: FormatResult) -> None:
    assert sorted(base.errors) == ["float", "fp16", "nmpu", "uncorrected"]
    # Cores without noise: only the rounding of codes is between them and the network itself.
    assert all(0 <= error <= 0.05 for error in base.errors.values())
    assert base.columns == 20
    assert base.refusal == ""


def test_two_bits_of_scale_cost_images(bench: _Bench, base: FormatResult) -> None:
    coarse = bench.evaluate(NmpuFormat(scale_int=1, scale_frac=1, off_int=8, off_bits=9))
    assert sorted(coarse.errors) == ["nmpu"]
    assert coarse.errors["nmpu"] >= base.errors["nmpu"]
    coarser = bench.evaluate(NmpuFormat(out_bits=3, off_int=8, off_bits=9))
    assert coarser.errors["nmpu"] > base.errors["float"] + 0.05


def test_loss_is_paired_with_the_float_correction(bench: _Bench, base: FormatResult) -> None:
    coarse = bench.evaluate(NmpuFormat(out_bits=3, off_int=8, off_bits=9))
    assert coarse.lost["drop"] == pytest.approx(coarse.errors["nmpu"] - base.errors["float"])
    assert coarse.lost["low"] <= coarse.lost["drop"] <= coarse.lost["high"]
    # 300 images, each of which counts a 300th.
    assert 300 * coarse.lost["drop"] == pytest.approx(round(300 * coarse.lost["drop"]))


def test_format_that_cannot_hold_the_cores_is_refused_with_the_reason(bench: _Bench) -> None:
    narrow = bench.evaluate(NmpuFormat(in_bits=3))
    assert narrow.errors == {}
    assert "core 0, layer 1: the NMPU format cannot hold this correction" in narrow.refusal


def test_same_format_gives_the_same_result_again(bench: _Bench, base: FormatResult) -> None:
    assert bench.evaluate(BASE) == base
