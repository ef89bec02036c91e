"""Corrections of whole cores, made from their calibrations."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hil.core.correction import Correction
from hil.core.errors import CalibrationError
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.inference.corrections.calibrated import CalibratedCores
from hil.inference.corrections.kinds import CorrectionKind
from hil.inference.corrections.making import load_corrections, make_corrections
from hil.inference.placing.folding import FoldedTile, LayerFolding
from hil_calibration.calibrate import CoreCalibration
from hil_calibration.fold import FoldedBatchNorm
from hil_calibration.ldpu import LdpuCoefficients

torch = pytest.importorskip(
    "torch", reason="torch is not installed: pip install 'aimc-hil[inference]'"
)
torch.set_num_threads(1)

CPU = torch.device("cpu")
COUNTS = torch.tensor([[[100, 10], [20, 60]]], dtype=torch.int32)
"""One vector: P is 100 and 10, N is 20 and 60."""


def _registers(scale_p: list[int], scale_n: list[int], offset: list[int]) -> NmpuRegisters:
    return NmpuRegisters(
        scale_p=np.array(scale_p, np.uint8),
        scale_n=np.array(scale_n, np.uint8),
        offset=np.array(offset, np.int16),
        swap=np.zeros(len(offset), np.bool_),
    )


def _calibration() -> CoreCalibration:
    """Two columns: outputs are 0.5 P - 0.25 N + 3 and 2 P - N - 1, of 8 products each."""
    zeros = np.zeros(2)
    return CoreCalibration(
        output_lsb=8.0,
        global_gain=1.5,
        correction=Correction(
            a_p=np.array([0.5, 2.0]), a_n=np.array([0.25, 1.0]), b=np.array([3.0, -1.0])
        ),
        a_p_se=zeros,
        a_n_se=zeros,
        b_se=zeros,
        residual_rms=zeros,
        r_squared=zeros,
        condition=zeros,
        glitch_share=zeros,
        saturated_counts=np.zeros(2, np.int64),
        flags=np.zeros(2, np.uint16),
        fmt=NmpuFormat(),
        registers=_registers([64, 255], [32, 128], [6, -2]),
    )


def _folding(*, relu: bool) -> LayerFolding:
    """The same core, normalised: outputs are P - N - 10 and P - N + 1, of 0.25 each."""
    halves = np.ones(2, np.float16)
    nmpu = FoldedBatchNorm(
        correction=Correction(a_p=np.ones(2), a_n=np.ones(2), b=np.array([-10.0, 1.0])),
        output_lsb=0.25,
        relu=relu,
        fmt=NmpuFormat(),
        registers=_registers([128, 128], [128, 128], [-20, 2]),
        error_bound=np.zeros(2),
    )
    fp16 = LdpuCoefficients(
        scale_p=halves,
        scale_n=halves,
        offset=0 * halves,
        bn_scale=halves,
        bn_offset=np.array([-10, 1], np.float16),
    )
    return LayerFolding(name="conv", tiles={4: FoldedTile(nmpu=nmpu, fp16=fp16)}, reason="")


def _outputs(kind: str, *, nominal_gain: float | None = 5.0, **more: Any) -> list[list[float]]:
    cores = CalibratedCores(calibrations={4: _calibration()}, nominal_gain=nominal_gain, **more)
    made = make_corrections(CorrectionKind(kind), cores, device=CPU)
    assert list(made) == [4]
    found: list[list[float]] = made[4].outputs(COUNTS).tolist()
    return found


@pytest.mark.parametrize(
    ("kind", "products"),
    [
        ("none", [80 * 5.0, -50 * 5.0]),
        ("global", [80 * 12.0, -50 * 12.0]),
        ("float", [(50 - 5 + 3) * 8.0, (20 - 60 - 1) * 8.0]),
        ("fp16", [48 * 8.0, -41 * 8.0]),
        # 255 of 128 is 1.9921875: 19.921875 - 60 - 1 rounds to -41.
        ("nmpu", [48 * 8.0, -41 * 8.0]),
    ],
)
def test_each_correction_computes_what_its_name_says(kind: str, products: list[float]) -> None:
    assert _outputs(kind) == [products]


def test_folded_units_give_what_leaves_the_layer() -> None:
    folded = (_folding(relu=False),)
    for kind in ("fp16", "nmpu"):
        assert _outputs(kind, foldings=folded) == [[70 * 0.25, -49 * 0.25]]
    assert _outputs("float", foldings=folded) == [[48 * 8.0, -41 * 8.0]]


def test_folded_relu_clips_at_0_in_both_units() -> None:
    for kind in ("fp16", "nmpu"):
        assert _outputs(kind, foldings=(_folding(relu=True),)) == [[70 * 0.25, 0.0]]


def test_gain_in_the_middle_stands_for_a_nominal_one_that_nobody_says() -> None:
    # Products per count: 4, 2, 16 and 8, of which the middle is 6.
    assert _outputs("none", nominal_gain=None) == [[80 * 6.0, -50 * 6.0]]


def test_no_gain_at_all_is_an_error() -> None:
    zeros = Correction(a_p=np.zeros(2), a_n=np.zeros(2), b=np.zeros(2))
    cores = CalibratedCores(calibrations={0: replace(_calibration(), correction=zeros)})
    with pytest.raises(CalibrationError, match="no column was calibrated"):
        make_corrections(CorrectionKind.NONE, cores, device=CPU)


def test_only_the_nmpu_may_be_the_chips_own() -> None:
    cores = CalibratedCores(calibrations={4: _calibration()}, nominal_gain=1.0)
    for kind in CorrectionKind:
        made = make_corrections(kind, cores, device=CPU)
        assert made[4].uses_chip_codes == (kind == "nmpu")


def test_codes_of_the_chip_stand_for_what_was_computed_here() -> None:
    cores = CalibratedCores(calibrations={4: _calibration()}, foldings=(_folding(relu=True),))
    made = make_corrections(CorrectionKind.NMPU, cores, device=CPU)[4]
    codes = torch.tensor([[70, -49]], dtype=torch.int8)  # a chip's unit has no ReLU
    assert made.of_codes(codes).tolist() == [[17.5, 0.0]]


def test_loading_gives_the_chip_format_and_registers_of_the_nmpu() -> None:
    class Loaded:
        def __init__(self) -> None:
            self.seen: list[Any] = []

        def load(self, core: int, fmt: NmpuFormat, registers: NmpuRegisters) -> None:
            self.seen.append((core, fmt, registers))

    chip: Any = Loaded()
    cores = CalibratedCores(calibrations={4: _calibration()}, nominal_gain=1.0)
    for kind in CorrectionKind:
        load_corrections(chip, make_corrections(kind, cores, device=CPU))
    assert chip.seen == [(4, NmpuFormat(), _registers([64, 255], [32, 128], [6, -2]))]
