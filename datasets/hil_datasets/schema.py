"""Every dataset of a step file: name, element type, axes, unit. The one table of it.

Readers check files against this table before they allocate anything; writers create from it; the
page ``docs/reference/run-directory.md`` is held to it by a test.
"""

from dataclasses import dataclass

FILE_FORMAT = "hil-step"
INDEX_FORMAT = "hil-campaign"
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """One dataset of a step file."""

    path: str
    """Path inside the file."""
    dtype: str
    """NumPy name of the element type."""
    axes: tuple[str, ...]
    """Names of the axes, outermost first."""
    units: str
    """Unit of an element, in words."""
    long_name: str
    """What it is, for plots and people."""


STEP_DATASETS = (
    DatasetSpec("weights", "int8", ("row", "column"), "weight code", "programmed weights"),
    DatasetSpec("inputs", "int8", ("vector", "row"), "input code", "input vectors"),
    DatasetSpec(
        "raw", "uint16", ("vector", "polarity", "column"), "count", "counter codes, P then N"
    ),
    DatasetSpec(
        "expected", "int32", ("vector", "column"), "product", "sum of input code * weight code"
    ),
    DatasetSpec("correction/a_p", "float64", ("column",), "output LSB / count", "gain of P"),
    DatasetSpec("correction/a_n", "float64", ("column",), "output LSB / count", "gain of N"),
    DatasetSpec("correction/b", "float64", ("column",), "output LSB", "offset"),
    DatasetSpec(
        "correction/a_p_se", "float64", ("column",), "output LSB / count", "standard error of a_p"
    ),
    DatasetSpec(
        "correction/a_n_se", "float64", ("column",), "output LSB / count", "standard error of a_n"
    ),
    DatasetSpec("correction/b_se", "float64", ("column",), "output LSB", "standard error of b"),
    DatasetSpec(
        "correction/residual_rms", "float64", ("column",), "output LSB", "residual of the fit"
    ),
    DatasetSpec("correction/r_squared", "float64", ("column",), "1", "share of variance explained"),
    DatasetSpec(
        "correction/saturated_counts", "int64", ("column",), "count", "clipped calibration counts"
    ),
    DatasetSpec("coefficients/scale_p", "uint8", ("column",), "register code", "NMPU scale of P"),
    DatasetSpec("coefficients/scale_n", "uint8", ("column",), "register code", "NMPU scale of N"),
    DatasetSpec("coefficients/offset", "int16", ("column",), "register code", "NMPU offset"),
    DatasetSpec("coefficients/swap", "uint8", ("column",), "bit", "P and N change places"),
    DatasetSpec("coefficients/flags", "uint16", ("column",), "bit field", "column flags"),
    DatasetSpec(
        "verification/outputs",
        "int8",
        ("verification_vector", "column"),
        "output LSB",
        "outputs of the device's own NMPU",
    ),
    DatasetSpec(
        "verification/column_rms",
        "float64",
        ("correction", "column"),
        "output LSB",
        "error per column: uncorrected, float, fp16, nmpu",
    ),
)

STEP_DATASET_BY_PATH = {spec.path: spec for spec in STEP_DATASETS}

RAW_DATASETS = ("weights", "inputs", "raw", "expected")
"""The datasets that were measured or sent, as against concluded."""
