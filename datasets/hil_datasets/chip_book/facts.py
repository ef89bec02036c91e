"""What a campaign and a finished step are, in the few words that a chip's book keeps."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.core.readout import ReadMode
from hil_datasets.step import StepConclusion


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignFacts:
    """What a campaign is, as its chip's book tells it."""

    run: str
    """Folder of the run, as an absolute path."""
    title: str
    """Title of the campaign."""
    campaign_sha256: str
    """Hash of the campaign file."""
    resource: str
    """Resource string of the device."""
    firmware: str
    """Fourth field of ``*IDN?``."""
    is_mock: bool = False
    """Whether the chip is simulated, where the resource does not say so."""
    is_resumed: bool = False
    """Whether the run had begun before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationFacts:
    """What a finished step found, in a few numbers."""

    core: int
    """Core number."""
    read_mode: ReadMode
    """Read mode."""
    step: str
    """Name of the step."""
    raw_sha256: str
    """Hash of what was sent and read."""
    temperature_c: float
    """Temperature when the step began, degrees Celsius."""
    output_lsb: float
    """Size of one output code, in product units."""
    columns: int
    """Columns that carry a fitted correction."""
    median_gain_p: float
    """Median gain of P over them, output LSB per count; NaN if there are none."""
    median_gain_n: float
    """Median gain of N, likewise."""
    median_offset: float
    """Median offset, output LSB."""
    errors: Mapping[str, float]
    """Relative L2 error of each correction."""


def summarize_calibration(
    conclusion: StepConclusion,
    calibrated: npt.NDArray[np.bool_],
    *,
    core: int,
    read_mode: ReadMode,
    step: str,
    raw_sha256: str,
    temperature_c: float,
) -> CalibrationFacts:
    """Return the few numbers of a step that a chip's book keeps.

    Parameters
    ----------
    conclusion
        What the step concluded.
    calibrated
        Which columns carry a fitted correction, shape (column,).
    core, read_mode, step, raw_sha256, temperature_c
        As in `CalibrationFacts`.
    """
    correction = conclusion.correction

    def median(values: npt.NDArray[np.float64]) -> float:
        return float(np.median(values[calibrated])) if calibrated.any() else float("nan")

    return CalibrationFacts(
        core=core,
        read_mode=read_mode,
        step=step,
        raw_sha256=raw_sha256,
        temperature_c=temperature_c,
        output_lsb=conclusion.output_lsb,
        columns=int(calibrated.sum()),
        median_gain_p=median(correction.a_p),
        median_gain_n=median(correction.a_n),
        median_offset=median(correction.b),
        errors=conclusion.errors,
    )


def digest_weights(weights: npt.NDArray[np.int8]) -> str:
    """Return ``sha256:`` and the hash of weights (row, column): the shape, then the elements.

    Examples
    --------
    >>> digest_weights(np.zeros((1, 2), np.int8))[:19]
    'sha256:2a48c1bad234'
    """
    digest = hashlib.sha256(repr(weights.shape).encode())
    digest.update(np.ascontiguousarray(weights, dtype="<i1").data)
    return f"sha256:{digest.hexdigest()}"
