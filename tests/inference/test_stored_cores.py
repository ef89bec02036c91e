"""Corrections from stored coefficients, on cores whose counts the test decides."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from hil.core.correction import Correction
from hil.core.errors import CalibrationError
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ReadMode
from hil.inference.computing.execution import Execution
from hil.inference.conditions.corrected_layers import corrected_layers
from hil.inference.corrections.calibrating import CalibrationTerms
from hil.inference.corrections.kinds import CorrectionKind
from hil.inference.corrections.prepared import PreparedNetwork, prepare_network
from hil.inference.corrections.stored_cores import predict_counts, stored_cores
from hil.inference.networks.network import trace_network
from hil.inference.placing.mapping import map_layers
from hil.inference.placing.quantised import program_tiles
from hil.inference.placing.value_range import RangeRule
from hil_calibration.calibrate import CoreCalibration
from inference_chip import KnownCores, torch

TERMS = CalibrationTerms(fmt=NmpuFormat())
CORES = KnownCores(gain=1 / 64)


class LoadedCores(KnownCores):
    """Cores without units of their own."""

    def load(self, core: int, fmt: Any, registers: Any) -> None:
        pass

    def corrected(self, core: int, input_codes: Any, *, first: int) -> Any | None:
        return None


def stored(
    a_p: list[float],
    a_n: list[float],
    b: list[float],
    *,
    output_lsb: float = 32.0,
    global_gain: float = 1.0,
) -> CoreCalibration:
    """Return what a run could have stored; its register codes are of no use here."""
    columns = len(b)
    zeros: npt.NDArray[np.float64] = np.zeros(columns)
    codes = np.zeros(columns, np.uint8)
    return CoreCalibration(
        output_lsb=output_lsb,
        global_gain=global_gain,
        correction=Correction(a_p=np.array(a_p), a_n=np.array(a_n), b=np.array(b)),
        a_p_se=zeros,
        a_n_se=zeros,
        b_se=zeros,
        residual_rms=zeros,
        r_squared=zeros,
        condition=zeros,
        glitch_share=zeros,
        saturated_counts=np.zeros(columns, np.int64),
        flags=np.zeros(columns, np.uint16),
        fmt=NmpuFormat(),
        registers=NmpuRegisters(
            scale_p=codes, scale_n=codes, offset=np.zeros(columns, np.int16),
            swap=np.zeros(columns, np.bool_),
        ),
    )  # fmt: skip


def _counts(one: CoreCalibration, mode: ReadMode = ReadMode.FOUR_PHASE) -> list[Any]:
    """Of one vector: products 5 * 2 = 10 in P, 7 * 3 = 21 in N."""
    weights: npt.NDArray[np.int8] = np.array([[2], [-3]], np.int8)
    inputs: npt.NDArray[np.int8] = np.array([[5, 7]], np.int8)
    found: list[Any] = predict_counts(one, weights, inputs, mode, top=4095)[0, :, 0].tolist()
    return found


@pytest.mark.parametrize(
    ("correction", "mode", "counts"),
    [
        # An output code is 4 products: a count of P is 2 of them, a count of N is 1.
        (([0.5], [0.25], [0.0]), ReadMode.FOUR_PHASE, [5, 21]),
        (([0.5], [0.25], [0.0]), ReadMode.ONE_PHASE, [0, 11]),
        # Four products too few: P has an offset of 2 counts.
        (([0.5], [0.25], [-1.0]), ReadMode.FOUR_PHASE, [7, 21]),
        (([0.5], [0.25], [1.0]), ReadMode.FOUR_PHASE, [5, 25]),
        # Negative gains: P counts the negative products.
        (([-0.5], [-0.25], [0.0]), ReadMode.FOUR_PHASE, [10, 10]),  # 21 / 2 rounds to even
        (([0.5], [0.0], [0.0]), ReadMode.FOUR_PHASE, [5, 0]),
        (([0.0001], [0.25], [0.0]), ReadMode.FOUR_PHASE, [4095, 21]),
    ],
)
def test_predicted_counts_are_those_that_the_correction_makes_the_products_of(
    correction: tuple[list[float], ...], mode: ReadMode, counts: list[int]
) -> None:
    assert _counts(stored(*correction, output_lsb=4.0), mode) == counts


def _prepared() -> PreparedNetwork:
    """Each of four logits is one pixel; pixels are 0 or 1: codes 0 or 127, products 0 or 16129."""
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 4, bias=False))
    with torch.no_grad():
        module[1].weight.copy_(torch.eye(4))
    network = trace_network(module, image_shape=(1, 2, 2), source="four pixels")
    tiles = map_layers(network.layers, rows=300, columns=300, cores=1)
    images = torch.cat([torch.eye(4).reshape(4, 1, 2, 2), torch.ones(1, 1, 2, 2)])
    return prepare_network(network, tiles, images, rule=RangeRule.MAX)


def _logits(
    one: CoreCalibration, kind: CorrectionKind, terms: CalibrationTerms = TERMS
) -> npt.NDArray[np.float64]:
    """Return the logits of an image whose pixels are all 1: 252 counts in each column."""
    prepared, cores = _prepared(), LoadedCores(gain=1 / 64)
    cores.program(program_tiles(prepared.quantised, prepared.tiles))
    made = stored_cores(prepared, {0: one}, cores.facts, terms)
    execution = Execution(
        prepared.network,
        prepared.quantised,
        prepared.ranges,
        corrected_layers(prepared, cores, kind, made),
        device=cores.device,
    )
    logits = execution.run(torch.ones(1, 1, 2, 2))
    return np.asarray(logits[0].numpy(), np.float64)


GAINS = [2.0, 4.0, 1.0, 2.0]
"""Output codes of 32 products per count: 64, 128, 32 and 64 products."""
TRUE = 252 * 64 / 16129
"""What the right gain, 64 products per count, says of a pixel of 1: 252 counts of 16129 / 64."""


def test_float_is_the_stored_correction() -> None:
    """Column 1 was stored with twice the gain, column 2 with half, column 3 with an offset."""
    found = _logits(stored(GAINS, [0.1] * 4, [0.0, 0.0, 0.0, 25.0]), CorrectionKind.FLOAT)
    expected = [TRUE, 2 * TRUE, TRUE / 2, TRUE + 25 * 32 / 16129]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_global_gain_is_the_stored_one() -> None:
    found = _logits(stored([9.0] * 4, [9.0] * 4, [0.0] * 4, global_gain=6.0), CorrectionKind.GLOBAL)
    np.testing.assert_allclose(found, [3 * TRUE] * 4, rtol=1e-6)


@pytest.mark.parametrize("kind", [CorrectionKind.FP16, CorrectionKind.NMPU])
@pytest.mark.parametrize("output_lsb", [32.0, 8.0, 1024.0])
def test_units_hold_the_stored_correction_for_the_networks_own_output_step(
    kind: CorrectionKind, output_lsb: float
) -> None:
    """The largest output expected, 16129 products, is code 127; what the run's step was is nothing.

    A step of 127 products is 0.008, and a code of a scale makes two steps of 252 counts; column 1
    says twice as much as 127 codes and is clipped.
    """
    gains = [gain * 32 / output_lsb for gain in GAINS]
    one = stored(gains, [0.1] * 4, [0.0] * 4, output_lsb=output_lsb)
    found = _logits(one, kind)
    np.testing.assert_allclose(found, [TRUE, 1.0, TRUE / 2, TRUE], atol=0.016)


def test_changed_gain_changes_its_own_column_only() -> None:
    right = stored([2.0] * 4, [2.0] * 4, [0.0] * 4)
    changed = stored([2.0, 1.0, 2.0, 2.0], [2.0] * 4, [0.0] * 4)
    for kind in (CorrectionKind.FLOAT, CorrectionKind.FP16, CorrectionKind.NMPU):
        before, after = _logits(right, kind), _logits(changed, kind)
        np.testing.assert_allclose(before, [TRUE] * 4, atol=0.009)
        assert after[[0, 2, 3]].tolist() == before[[0, 2, 3]].tolist()
        assert after[1] == pytest.approx(TRUE / 2, abs=0.009)


def test_stored_values_stay_as_they_were_stored() -> None:
    one = stored(GAINS, [0.1] * 4, [0.5] * 4)
    made = stored_cores(_prepared(), {0: one}, CORES.facts, TERMS)
    assert made.calibrations[0] is one
    assert made.own_units[0].nmpu.output_lsb == pytest.approx(127.0)


def test_gains_of_p_and_n_do_not_fit_one_shared_scale() -> None:
    terms = CalibrationTerms(fmt=NmpuFormat(shared_scale=True))
    with pytest.raises(CalibrationError, match=r"core 0, layer 1: .* shared_scale holds one"):
        _logits(stored(GAINS, [0.1] * 4, [0.0] * 4), CorrectionKind.NMPU, terms)


def test_core_that_is_to_say_nothing_needs_no_gain() -> None:
    found = _logits(stored([0.0] * 4, [0.0] * 4, [0.0] * 4), CorrectionKind.NMPU)
    assert found.tolist() == [0.0] * 4
