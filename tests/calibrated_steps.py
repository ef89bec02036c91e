"""Calibrations whose gains, offsets and standard errors are given, without any readouts."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

import example_steps as example
from hil.core.correction import Correction
from hil.core.nmpu_format import NmpuRegisters
from hil.core.readout import ReadMode
from hil_datasets.circumstance import Circumstance
from hil_datasets.run_source import StepFacts
from hil_datasets.step import StepConclusion, StepKey, StepKind

FOUR_PHASE = StepKey(0, ReadMode.FOUR_PHASE)


def concluded(
    gain_p: Any,
    gain_n: Any,
    offset: Any,
    *,
    gain_error: float = 5.0,
    offset_error: float = 50.0,
    output_lsb: float = 8.0,
    flags: npt.NDArray[np.uint16] | None = None,
) -> StepConclusion:
    """Return a conclusion with these gains (products per count) and offsets (products)."""
    gain_p, gain_n, offset = (np.array(part, np.float64) for part in (gain_p, gain_n, offset))
    columns = len(gain_p)
    registers = NmpuRegisters(
        scale_p=np.full(columns, 100, np.uint8),
        scale_n=np.full(columns, 100, np.uint8),
        offset=np.zeros(columns, np.int16),
        swap=np.zeros(columns, np.bool_),
    )
    return replace(
        example.CONCLUSION,
        output_lsb=output_lsb,
        correction=Correction(
            a_p=gain_p / output_lsb, a_n=gain_n / output_lsb, b=offset / output_lsb
        ),
        a_p_se=np.full(columns, gain_error / output_lsb),
        a_n_se=np.full(columns, gain_error / output_lsb),
        b_se=np.full(columns, offset_error / output_lsb),
        registers=registers,
        flags=np.zeros(columns, np.uint16) if flags is None else flags,
        outputs=None,
        quality=None,
    )


def calibration(
    conclusion: StepConclusion,
    *,
    raw_sha256: str = "ab" * 32,
    key: StepKey = FOUR_PHASE,
    temperature_c: float = 25.0,
    age_s: float = math.nan,
    utc: str = "2026-01-02T03:04:05+00:00",
) -> StepFacts:
    """Return a calibration that has concluded this."""
    return StepFacts(
        key=key,
        origin=replace(
            example.ORIGIN,
            temperature_c=temperature_c,
            measured_utc=utc,
            circumstance=Circumstance(kind=StepKind.CALIBRATE, visit=key.visit, age_s=age_s),
        ),
        conclusion=conclusion,
        raw_sha256=raw_sha256,
    )
