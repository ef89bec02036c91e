"""From the correction, coefficients, verification and quality of a step file to its conclusion."""

import math

import numpy as np

from hil.core.correction import ColumnFlag, ColumnQuality, Correction
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil_datasets.step import StepConclusion
from hil_datasets.step_files.quality_ranges import quality_misfit
from hil_datasets.step_files.schema import QUALITY_DATASETS
from hil_datasets.step_files.stored_json import read_count_or_none, read_errors, read_nmpu_format
from hil_datasets.step_files.stored_values import StoredValues

_KNOWN_FLAGS = sum(ColumnFlag)


def read_conclusion(values: StoredValues) -> StepConclusion:
    """Return what a step concluded.

    Raises
    ------
    DatasetError
        If a value is impossible.
    """
    arrays, attributes = values.arrays, values.attributes
    fmt = values.made("coefficients/nmpu", read_nmpu_format)
    values.check_codes("coefficients/flags", _KNOWN_FLAGS, "has bits that mean nothing")
    if not 0 < attributes["correction/output_lsb"] < math.inf:
        raise values.error("/correction", "attribute output_lsb: must be positive and finite")
    return StepConclusion(
        output_lsb=attributes["correction/output_lsb"],
        global_gain=values.finite("correction/global_gain"),
        correction=Correction(
            a_p=arrays["correction/a_p"],
            a_n=arrays["correction/a_n"],
            b=arrays["correction/b"],
        ),
        a_p_se=arrays["correction/a_p_errors"],
        a_n_se=arrays["correction/a_n_errors"],
        b_se=arrays["correction/b_errors"],
        residual_rms=arrays["correction/residual_rms"],
        r_squared=arrays["correction/r_squared"],
        saturated_counts=arrays["correction/saturated_counts"],
        fmt=fmt,
        registers=_registers(values, fmt),
        flags=arrays["coefficients/flags"],
        outputs=arrays.get("verification/outputs"),
        column_rms=arrays["verification/column_rms"],
        errors=read_step_errors(values),
        nmpu_mismatches=values.made("verification/nmpu_mismatches", read_count_or_none),
        errors_all_columns=values.made("verification/errors_all_columns", read_errors),
        quality=read_quality(values),
    )


def read_step_errors(values: StoredValues) -> dict[str, float]:
    """Return the error of each correction; raises what `read_conclusion` does."""
    return values.made("verification/errors", read_errors)


def read_quality(values: StoredValues) -> ColumnQuality | None:
    """Return how good the columns are, if it says so; raises what `read_conclusion` does."""
    if QUALITY_DATASETS[0] not in values.arrays:
        return None
    arrays = {path.rpartition("/")[2]: values.arrays[path] for path in QUALITY_DATASETS}
    for name, array in arrays.items():
        message = quality_misfit(name, array)
        if message:
            raise values.error(f"/quality/{name}", message)
    try:
        return ColumnQuality(**arrays)
    except ValueError as error:
        raise values.error("/quality", str(error)) from error


def _registers(values: StoredValues, fmt: NmpuFormat) -> NmpuRegisters:
    arrays = values.arrays
    values.check_codes("coefficients/swap", 1, "must be 0 or 1")
    registers = NmpuRegisters(
        scale_p=arrays["coefficients/scale_p"],
        scale_n=arrays["coefficients/scale_n"],
        offset=arrays["coefficients/offset"],
        swap=arrays["coefficients/swap"].astype(np.bool_),
    )
    try:
        registers.check_fits(fmt)
    except ValueError as error:
        raise values.error("/coefficients", str(error)) from error
    return registers
