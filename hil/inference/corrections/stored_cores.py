"""Corrections of cores from stored coefficients alone: no readout of the chip as it is now.

The float correction and the global gain are the stored ones. The FP16 unit and the NMPU get theirs
for the output step of the layer that a core holds now, which is not the step that the run chose for
its own outputs. Register codes are searched for as ever, on counts; these are not read but
predicted: what the counters would show for the network's activations if the stored gains held.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from hil.core.correction import Correction
from hil.core.errors import CalibrationError
from hil.core.readout import ReadMode
from hil.inference.computing.readings import ChipFacts
from hil.inference.corrections.calibrated import CalibratedCores
from hil.inference.corrections.calibrating import CalibrationTerms
from hil.inference.corrections.prepared import PreparedNetwork
from hil.inference.placing.folding import FoldedTile, fold_layers, search_codes
from hil_calibration.calibrate import SEARCH_VECTORS, CoreCalibration, choose_output_lsb
from hil_calibration.expected import expected_outputs
from hil_calibration.fold import BatchNorm, fold_batch_norm
from hil_calibration.held_columns import require_format_of_most
from hil_calibration.ldpu import LdpuCoefficients
from hil_calibration.quality import is_calibrated

CountArray = npt.NDArray[np.uint16]
_UINT16 = np.iinfo(np.uint16).max


def stored_cores(
    prepared: PreparedNetwork,
    calibrations: Mapping[int, CoreCalibration],
    facts: ChipFacts,
    terms: CalibrationTerms,
) -> CalibratedCores:
    """Make the corrections of all cores from stored calibrations.

    Parameters
    ----------
    prepared
        The network.
    calibrations
        What was stored of every core in use, by core, cut to the columns in use.
    facts
        The chip.
    terms
        For which registers.

    Returns
    -------
    The stored calibrations as they are, units for the network's output steps, and what is folded.

    Raises
    ------
    CalibrationError
        If the format cannot hold most columns of a core: with the core and its layer.
    """
    units, counts = {}, {}
    for tile in prepared.tiles:
        one, stored = prepared.quantised[tile.layer], calibrations[tile.core]
        inputs = np.ascontiguousarray(prepared.samples[tile.layer, tile.group][:, tile.rows])
        top = (1 << facts.counter_bits) - 1
        predicted = predict_counts(
            stored, one.tile_codes(tile), inputs[:SEARCH_VECTORS], facts.read_mode, top=top
        )
        expected = expected_outputs(inputs, one.tile_codes(tile))
        try:
            units[tile.core] = _unit_for(stored, float(np.abs(expected).max()), predicted, terms)
        except CalibrationError as error:
            message = f"core {tile.core}, layer {one.layer.name}: {error}"
            raise CalibrationError(message) from error
        counts[tile.core] = predicted
    foldings = fold_layers(
        prepared.quantised,
        prepared.tiles,
        calibrations,
        prepared.ranges,
        fmt=terms.fmt,
        headroom=terms.headroom,
        sample_counts=counts,
    )
    return CalibratedCores(
        calibrations=calibrations, units=units, foldings=foldings, nominal_gain=facts.nominal_gain
    )


def predict_counts(
    stored: CoreCalibration,
    weight_codes: npt.NDArray[np.int8],
    input_codes: npt.NDArray[np.int8],
    read_mode: ReadMode,
    *,
    top: int,
) -> CountArray:
    """Return the counts that a stored correction would turn into the exact products.

    Parameters
    ----------
    stored
        The calibration of the core.
    weight_codes
        What the core holds, shape (row, column).
    input_codes
        Input vectors, shape (vector, row).
    read_mode
        Whether positive and negative products are counted apart, or their difference.
    top
        Highest count.

    Returns
    -------
    Shape (vector, polarity, column). An offset is taken to be of the counter that shows it as
    counts above 0, since none counts below. A gain of 0 leaves its counter at 0.
    """
    weights, inputs = weight_codes.astype(np.float64), input_codes.astype(np.float64)
    net = inputs @ weights
    magnitude = np.abs(net)
    if read_mode is ReadMode.FOUR_PHASE:
        magnitude = np.abs(inputs) @ np.abs(weights)
    found, step = stored.correction, stored.output_lsb
    is_swapped = (found.a_p < 0) | (found.a_n < 0)
    signed = np.where(is_swapped, -net, net)
    offset = np.where(is_swapped, -found.b, found.b)
    counts = np.stack(
        [
            _counted((magnitude + signed) / 2, np.abs(found.a_p) * step, -offset * step),
            _counted((magnitude - signed) / 2, np.abs(found.a_n) * step, offset * step),
        ],
        axis=1,
    )
    return np.rint(counts).clip(0, min(top, _UINT16)).astype(np.uint16)


def _counted(
    products: npt.NDArray[np.float64],
    gain: npt.NDArray[np.float64],
    offset: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Return counts (vector, column) of products, and of an offset where it is positive."""
    per_product = np.divide(1.0, gain, out=np.zeros_like(gain), where=gain > 0)
    return np.asarray((products + np.maximum(offset, 0.0)) * per_product)


def _unit_for(
    stored: CoreCalibration, largest_expected: float, counts: CountArray, terms: CalibrationTerms
) -> FoldedTile:
    """Return a stored correction in the arithmetic of the units, for an output step of its own."""
    fmt, headroom, found = terms.fmt, terms.headroom, stored.correction
    if fmt.shared_scale and not np.array_equal(found.a_p, found.a_n):
        raise CalibrationError(
            "the stored correction has gains of its own for P and N, and shared_scale holds one: "
            "leave out shared_scale, or calibrate with it (hil run, [nmpu])"
        )
    products = _scaled(found, stored.output_lsb)
    step = choose_output_lsb(products, fmt, largest_expected=largest_expected, headroom=headroom)
    step = step or stored.output_lsb  # nothing is expected, and nothing is calibrated
    scaled = _scaled(found, stored.output_lsb / step)
    columns = np.ones(found.b.shape)
    nearest = fold_batch_norm(
        scaled,
        BatchNorm(gamma=columns, beta=0 * columns, mean=0 * columns, variance=columns, eps=0.0),
        fmt,
        input_lsb=step,
        output_range=step * fmt.highest_output,
        headroom=headroom,
    )
    require_format_of_most(
        scaled,
        nearest.fmt,
        is_calibrated=is_calibrated(stored.flags),
        counts=counts,
        saturated_share=terms.limits.saturated_share,
        headroom=headroom,
    )
    return FoldedTile(
        nmpu=search_codes(nearest, counts, headroom=headroom),
        fp16=LdpuCoefficients.from_correction(scaled),
    )


def _scaled(correction: Correction, factor: float) -> Correction:
    return Correction(
        a_p=correction.a_p * factor, a_n=correction.a_n * factor, b=correction.b * factor
    )
