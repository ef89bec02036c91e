"""How long this computer computes and stores for a step: measured on made-up readouts."""

import hashlib
import io
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import h5py
import numpy as np
import numpy.typing as npt

from hil.campaign.config.sections import CampaignConfig
from hil.core.errors import CalibrationError
from hil.core.readout import ChipGeometry
from hil_calibration.calibrate import SEARCH_VECTORS, CoreCalibration, calibrate_core
from hil_calibration.exact_moments import ExactMoments
from hil_calibration.expected import expected_outputs
from hil_calibration.nmpu import saturated_inputs
from hil_calibration.quality import is_calibrated, measure_quality
from hil_calibration.stimulus import gaussian_weights, uniform_inputs
from hil_calibration.verify import column_rms, correct_all_ways, errors_by_correction
from hil_datasets.step_files.schema import STEP_DATASETS
from hil_datasets.step_files.tree import describe

ResultT = TypeVar("ResultT")

_MOST_VECTORS = SEARCH_VECTORS
"""Vectors that are computed with; more take in proportion longer."""
_TRIAL_BYTES = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPace:
    """What this computer takes, in seconds."""

    calibration_vector_s: float
    """For each vector that the fit sees."""
    fit_s: float
    """For each fit."""
    verification_vector_s: float
    """For each vector held out."""
    byte_s: float
    """For each byte that is stored, hashed and synced."""
    sync_s: float
    """For each file that is synced."""
    layout_s: float
    """For the datasets of each step file, whatever their size."""


@dataclass(frozen=True, slots=True)
class _Readouts:
    inputs: npt.NDArray[np.int8]
    counts: npt.NDArray[np.uint16]
    expected: npt.NDArray[np.int32]


def measure_host(
    config: CampaignConfig,
    geometry: ChipGeometry,
    *,
    folder: Path,
    clock: Callable[[], float] = time.perf_counter,
) -> HostPace:
    """Fit made-up readouts of a campaign's size, and write a file like its steps.

    Parameters
    ----------
    config
        The campaign.
    geometry
        Size of the chip.
    folder
        A folder on the disk that the run goes to; a file without a name is written and given back.
    clock
        Monotonic seconds.
    """
    rng = np.random.default_rng(0)
    weights = gaussian_weights(rng, rows=geometry.rows, columns=geometry.columns)
    vectors = min(_MOST_VECTORS, max(config.vectors.calibration, config.vectors.verification))
    readouts, block_s = _timed(clock, lambda: _read(rng, config, geometry, weights, vectors))
    moments, sums_s = _timed(clock, lambda: ExactMoments.of(readouts.counts, readouts.expected))
    calibration: CoreCalibration | None = None
    began_s = clock()
    with suppress(CalibrationError):  # a format that holds no column: its steps end here, too
        calibration = _fit(moments, readouts, config, geometry)
    fit_s = clock() - began_s
    judge_s = 0.0
    if calibration is not None:
        fitted = calibration
        _, judge_s = _timed(clock, lambda: _judge(readouts, fitted, config, geometry))
    byte_s, sync_s = _storage_pace(folder, clock)
    used = min(SEARCH_VECTORS, config.vectors.calibration)
    return HostPace(
        calibration_vector_s=(block_s + sums_s) / vectors,
        # The searches go through a sample of the readouts.
        fit_s=fit_s * max(1.0, used / vectors),
        verification_vector_s=(block_s + judge_s) / vectors,
        byte_s=byte_s,
        sync_s=sync_s,
        layout_s=_timed(clock, _make_layout)[1],
    )


def _read(
    rng: np.random.Generator,
    config: CampaignConfig,
    geometry: ChipGeometry,
    weights: npt.NDArray[np.int8],
    vectors: int,
) -> _Readouts:
    inputs = uniform_inputs(rng, vectors=vectors, rows=geometry.rows, zeros=config.vectors.zeros)
    expected = expected_outputs(inputs, weights)
    # Lines with an offset and noise, within the codes that the counter and the NMPU take.
    top = min(1 << config.nmpu.in_bits, 1 << geometry.counter_bits) - 2
    scale = 0.7 * top / max(1, int(np.abs(expected).max()))
    lines = np.stack([np.maximum(expected, 0), np.maximum(-expected, 0)], axis=1) * scale
    noisy = lines + 0.05 * top + rng.normal(0.0, 1.0, size=lines.shape)
    counts = np.clip(np.rint(noisy), 0, top).astype(np.uint16)
    return _Readouts(inputs, counts, expected)


def _fit(
    moments: ExactMoments, readouts: _Readouts, config: CampaignConfig, geometry: ChipGeometry
) -> CoreCalibration:
    return calibrate_core(
        moments.to_moments(),
        fmt=config.nmpu,
        saturated_counts=saturated_inputs(
            readouts.counts, in_bits=config.nmpu.in_bits, counter_bits=geometry.counter_bits
        ),
        sample_counts=readouts.counts,
        sample_expected=readouts.expected,
        largest_expected=float(np.abs(readouts.expected).max()),
        headroom=config.calibration.headroom,
        limits=config.calibration.limits,
    )


def _judge(
    readouts: _Readouts,
    calibration: CoreCalibration,
    config: CampaignConfig,
    geometry: ChipGeometry,
) -> None:
    expected = readouts.expected / calibration.output_lsb
    outputs = correct_all_ways(
        readouts.counts,
        global_gain=calibration.global_gain,
        correction=calibration.correction,
        fmt=calibration.fmt,
        registers=calibration.registers,
    )
    column_rms(outputs, expected)
    errors_by_correction(outputs, expected, is_calibrated(calibration.flags))
    measure_quality(
        readouts.counts,
        expected,
        calibration.correction,
        clip_code=min(1 << config.nmpu.in_bits, (1 << geometry.counter_bits) - 1),
        noise=None,
        condition=calibration.condition,
        glitch_share=calibration.glitch_share,
    )


def _storage_pace(folder: Path, clock: Callable[[], float]) -> tuple[float, float]:
    """Return seconds per byte and per sync; 0 where the folder cannot be written."""
    content = bytes(_TRIAL_BYTES)
    there = folder.absolute()
    while not there.is_dir() and there != there.parent:
        there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            _, sync_s = _timed(clock, lambda: _write(file, content[:4096]))
            began_s = clock()
            # As a part, and as the finished copy of it; its readouts are hashed, it is sealed, and
            # both are checked for the summary at the end.
            for _ in range(2):
                _write(file, content)
                file.seek(0)
                stored = file.read(len(content))
                for _ in range(2):
                    hashlib.sha256(stored).digest()
            return (clock() - began_s) / len(content), sync_s
    except OSError:
        return 0.0, 0.0


def _write(file: BinaryIO, content: bytes) -> None:
    file.write(content)
    file.flush()
    os.fsync(file.fileno())


def _make_layout() -> None:
    """Make every dataset of a step file, without its content."""
    with h5py.File(io.BytesIO(), "w") as file:
        for spec in STEP_DATASETS:
            shape = (1,) * len(spec.axes)
            describe(file.create_dataset(spec.path, shape=shape, dtype=spec.dtype), spec)


def _timed(clock: Callable[[], float], operation: Callable[[], ResultT]) -> tuple[ResultT, float]:
    began_s = clock()
    result = operation()
    return result, clock() - began_s
