"""The corrections of all cores, made from their calibrations."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from hil.core.errors import CalibrationError
from hil.inference.computing.multiplying import TileCorrection
from hil.inference.computing.readings import CoreReadings
from hil.inference.corrections.affine import AffineCorrection
from hil.inference.corrections.calibrated import CalibratedCores
from hil.inference.corrections.fp16_tensor import Fp16Correction
from hil.inference.corrections.kinds import CorrectionKind
from hil.inference.corrections.nmpu_tensor import NmpuCorrection
from hil_calibration.calibrate import CoreCalibration
from hil_calibration.ldpu import LdpuCoefficients

if TYPE_CHECKING:
    import torch


def make_corrections(
    kind: CorrectionKind, cores: CalibratedCores, *, device: "torch.device"
) -> dict[int, TileCorrection]:
    """Return the correction of every calibrated core, by core.

    What was folded is in those of the FP16 unit and of the NMPU; their output codes then stand for
    what leaves the layer. Such layers are to be named to `ChipLayers` as folded.

    Parameters
    ----------
    kind
        Which.
    cores
        Their calibrations.
    device
        Where tensors are.

    Raises
    ------
    CalibrationError
        If the nominal gain is asked for, nobody says it, and no column was calibrated.
    """
    kind = CorrectionKind(kind)
    if kind is CorrectionKind.NONE:
        gain = cores.nominal_gain or _median_gain(cores.calibrations)
        return {
            core: AffineCorrection.of_gain(gain, one.flags.size, device)
            for core, one in cores.calibrations.items()
        }
    units = cores.own_units
    found: dict[int, TileCorrection] = {}
    for core, one in cores.calibrations.items():
        tile = units.get(core)
        if kind is CorrectionKind.GLOBAL:
            gain = one.global_gain * one.output_lsb
            found[core] = AffineCorrection.of_gain(gain, one.flags.size, device)
        elif kind is CorrectionKind.FLOAT:
            found[core] = AffineCorrection.of_calibration(one, device)
        elif kind is CorrectionKind.FP16:
            found[core] = Fp16Correction(
                LdpuCoefficients.from_correction(one.correction) if tile is None else tile.fp16,
                output_lsb=one.output_lsb if tile is None else tile.nmpu.output_lsb,
                relu=tile is not None and tile.nmpu.relu,
                device=device,
            )
        else:
            found[core] = NmpuCorrection(
                fmt=one.fmt if tile is None else tile.nmpu.fmt,
                registers=one.registers if tile is None else tile.nmpu.registers,
                output_lsb=one.output_lsb if tile is None else tile.nmpu.output_lsb,
                relu=tile is not None and tile.nmpu.relu,
                device=device,
            )
    return found


def load_corrections(readings: CoreReadings, corrections: Mapping[int, TileCorrection]) -> None:
    """Load what the chip's own units hold; those in float and FP16 are computed here.

    To be called after `make_corrections` and before the network is computed: a chip that corrects
    by itself has other registers otherwise.

    Raises
    ------
    DeviceError, TransportError
        If the chip refuses, or its link fails.
    """
    for core, one in corrections.items():
        if isinstance(one, NmpuCorrection):
            readings.load(core, one.fmt, one.registers)


def _median_gain(calibrations: Mapping[int, CoreCalibration]) -> float:
    """Return the middle one of all fitted gains, products per count; unfitted ones are 0."""
    gains = [
        gain * one.output_lsb
        for one in calibrations.values()
        for gain in (one.correction.a_p, one.correction.a_n)
    ]
    every = np.concatenate(gains) if gains else np.zeros(0)
    fitted = every[every > 0]
    if not fitted.size:
        message = "no column was calibrated: there is no gain that could stand for the nominal one"
        raise CalibrationError(message)
    return float(np.median(fitted))
