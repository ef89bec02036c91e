"""A network on a chip under one NMPU format after the other: how many images it gets wrong.

The chip, its noise, the images and the inputs that calibrate are the same for every format: only
registers, and what follows from their codes, differ. Cores are read anew for each format, because
what a layer gets depends on what the format made of the layers before; the readouts that the codes
are searched for on do not, and are read once.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hil.core.errors import CalibrationError
from hil.core.nmpu_format import NmpuFormat
from hil.explore.evaluate import FormatResult
from hil.inference.computing.execution import Execution
from hil.inference.computing.readings import CoreReadings
from hil.inference.conditions.comparing import compare_paired
from hil.inference.conditions.corrected_layers import calibrate_cores, corrected_layers
from hil.inference.corrections.calibrated import CalibratedCores
from hil.inference.corrections.calibrating import CalibrationTerms, search_counts
from hil.inference.corrections.kinds import CorrectionKind
from hil.inference.corrections.prepared import PreparedNetwork
from hil.inference.placing.quantised import program_tiles
from hil_calibration.quality import is_calibrated

if TYPE_CHECKING:
    import torch

_BASELINES = {
    "uncorrected": CorrectionKind.GLOBAL,
    "float": CorrectionKind.FLOAT,
    "fp16": CorrectionKind.FP16,
}
"""What formats are compared with, under the names of a study."""
Predictions = npt.NDArray[np.int64]


class AccuracyTrial:
    """A network on programmed cores, ready for any number of formats.

    Parameters
    ----------
    prepared
        The network.
    readings
        Who multiplies; the cores are programmed here.
    images
        What it is judged by, as the network takes them.
    labels
        The right classes, shape (image,).
    base
        The format that the baselines are computed with, shift 0.
    headroom
        Factor left in the scale registers, 1 <= headroom.
    seed
        Of the bootstrap.
    """

    def __init__(
        self,
        prepared: PreparedNetwork,
        readings: CoreReadings,
        *,
        images: "torch.Tensor",
        labels: Predictions,
        base: NmpuFormat,
        headroom: float = 1.0,
        seed: int = 0,
    ) -> None:
        self._prepared, self._readings = prepared, readings
        self._images, self._labels = images, labels
        self._base, self._headroom, self._seed = base, headroom, seed
        readings.program(program_tiles(prepared.quantised, prepared.tiles))
        self._search_counts = search_counts(prepared.tiles, readings, prepared.samples)
        self._references: Mapping[str, Predictions] | None = None

    def evaluate(self, fmt: NmpuFormat, *, step: str, raw_sha256: str) -> FormatResult:
        """Calibrate for a format, and count the images that the network gets wrong with it.

        Parameters
        ----------
        fmt
            The format, shift 0.
        step, raw_sha256
            What the result is stored under.
        """
        text = fmt.to_text()
        try:
            cores = self._calibrate(fmt)
        except CalibrationError as error:
            return FormatResult(
                format_text=text, step=step, raw_sha256=raw_sha256, refusal=str(error)
            )
        predictions = self._predict(CorrectionKind.NMPU, cores)
        errors = {"nmpu": self._share_wrong(predictions)}
        references = self._find_references()
        if fmt == self._base:
            errors |= {name: self._share_wrong(one) for name, one in references.items()}
        return FormatResult(
            format_text=text,
            step=step,
            raw_sha256=raw_sha256,
            columns=sum(int(is_calibrated(one.flags).sum()) for one in cores.calibrations.values()),
            errors=errors,
            lost=self._lost(predictions, references),
        )

    def _calibrate(self, fmt: NmpuFormat) -> CalibratedCores:
        terms = CalibrationTerms(fmt=fmt, headroom=self._headroom)
        return calibrate_cores(
            self._prepared, self._readings, terms, sample_counts=self._search_counts
        )

    def _predict(self, kind: CorrectionKind, cores: CalibratedCores) -> Predictions:
        prepared, readings = self._prepared, self._readings
        execution = Execution(
            prepared.network,
            prepared.quantised,
            prepared.ranges,
            corrected_layers(prepared, readings, kind, cores),
            device=readings.device,
        )
        return execution.run(self._images).argmax(dim=1).numpy().astype(np.int64)

    def _find_references(self) -> Mapping[str, Predictions]:
        """Return what the baselines predict; nothing where the base format holds no core."""
        if self._references is None:
            try:
                cores = self._calibrate(self._base)
            except CalibrationError:
                self._references = {}
            else:
                self._references = {
                    name: self._predict(kind, cores) for name, kind in _BASELINES.items()
                }
        return self._references

    def _share_wrong(self, predictions: Predictions) -> float:
        return float(np.mean(predictions != self._labels))

    def _lost(
        self, predictions: Predictions, references: Mapping[str, Predictions]
    ) -> dict[str, float]:
        if "float" not in references:
            return {}
        found = compare_paired(predictions, references["float"], self._labels, seed=self._seed)
        return {"drop": found.drop, "low": found.low, "high": found.high}
