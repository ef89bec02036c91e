"""Every dataset and attribute of a step file: name, type, axes, unit. The one table of it.

Readers check files against these tables before they allocate anything; writers create from them;
the page ``docs/reference/run-directory.md`` is held to them by a test.
"""

from dataclasses import dataclass
from enum import StrEnum

from hil.core.correction import ColumnFlag

FILE_FORMAT = "hil-step"
INDEX_FORMAT = "hil-campaign"
FORMAT_VERSION = 2
"""What is written."""
READ_VERSIONS = (1, 2)
"""What is read."""


CORRECTION_NAMES = ("uncorrected", "float", "fp16", "nmpu")
"""The corrections that errors are stored of: the places along the axis ``correction_name``."""
CORRECTION_AXIS = "correction_name"
"""Not ``correction``: it lies beside the group of that name."""


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
    since: int = 1
    """Version of the format that had it first."""


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
        "correction/a_p_errors",
        "float64",
        ("column",),
        "output LSB / count",
        "standard error of a_p",
    ),
    DatasetSpec(
        "correction/a_n_errors",
        "float64",
        ("column",),
        "output LSB / count",
        "standard error of a_n",
    ),
    DatasetSpec("correction/b_errors", "float64", ("column",), "output LSB", "standard error of b"),
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
    DatasetSpec("coefficients/flags", "uint16", ("column",), "1", "column flags"),
    DatasetSpec(
        "quality/effective_bits", "float64", ("column",), "bit", "effective bits of the output"
    ),
    DatasetSpec("quality/inl", "float64", ("column",), "output LSB", "largest INL"),
    DatasetSpec(
        "quality/inl_edges",
        "float64",
        ("inl_edge", "polarity", "column"),
        "count",
        "borders of the bins of the INL curve",
    ),
    DatasetSpec(
        "quality/inl_curve",
        "float64",
        ("inl_bin", "polarity", "column"),
        "output LSB",
        "mean residual in each bin of the count",
    ),
    DatasetSpec(
        "quality/residual_rms", "float64", ("column",), "output LSB", "residual, held-out vectors"
    ),
    DatasetSpec(
        "quality/noise_rms", "float64", ("column",), "output LSB", "part that differs on repeats"
    ),
    DatasetSpec(
        "quality/saturated_share", "float64", ("column",), "1", "clipped counts, held-out vectors"
    ),
    DatasetSpec(
        "quality/outlier_share", "float64", ("column",), "1", "samples far off, held-out vectors"
    ),
    DatasetSpec(
        "quality/condition", "float64", ("column",), "1", "condition number of P and N in the fit"
    ),
    DatasetSpec(
        "quality/glitch_share", "float64", ("column",), "1", "calibration samples far off the line"
    ),
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
        (CORRECTION_AXIS, "column"),
        "output LSB",
        "error per column: uncorrected, float, fp16, nmpu",
    ),
    DatasetSpec("timing/first_vector", "int64", ("block",), "1", "first vector of the block"),
    DatasetSpec(
        "timing/began_s", "float64", ("block",), "s", "its first request, since the step began"
    ),
    DatasetSpec(
        "timing/ended_s", "float64", ("block",), "s", "its answer whole, since the step began"
    ),
    DatasetSpec(
        "timing/crc32c", "uint32", ("block",), "1", "CRC-32C of the block's counts as read", 2
    ),
    DatasetSpec(
        "timing/sequence", "int64", ("block",), "1", "which readout of the step it is, from 0", 2
    ),
    DatasetSpec("timing/quality", "uint8", ("block",), "1", "what befell the block", 2),
    DatasetSpec(
        "timing/fault_block", "int64", ("fault",), "1", "block that the link's fault fell into"
    ),
    DatasetSpec("timing/fault_kind", "int64", ("fault",), "1", "place in fault_kinds"),
    DatasetSpec("timing/fault_request", "int64", ("fault",), "1", "place in fault_requests"),
    DatasetSpec(
        "timing/fault_noticed_s", "float64", ("fault",), "s", "noticed, since the step began"
    ),
    DatasetSpec(
        "timing/fault_recovered_s", "float64", ("fault",), "s", "from noticing it to its end"
    ),
    DatasetSpec(
        "conditions/setpoint", "float64", ("quantity",), "see units", "what the campaign had set"
    ),
    DatasetSpec(
        "conditions/at_start", "float64", ("quantity",), "see units", "reading before the step"
    ),
    DatasetSpec(
        "conditions/at_end", "float64", ("quantity",), "see units", "reading after the last readout"
    ),
)

STEP_DATASET_BY_PATH = {spec.path: spec for spec in STEP_DATASETS}

QUALITY_DATASETS = tuple(spec.path for spec in STEP_DATASETS if spec.path.startswith("quality/"))
"""The numbers of `ColumnQuality`, under its names; files from before them have none."""

OPTIONAL_GROUPS = ("quality", "timing", "conditions", "circumstance", "provenance")
"""Groups that files from before them do not have; a part of one is none.

``conditions`` is missing as well where a campaign has no bench instruments, ``circumstance`` where
there is nothing to say: a calibration in visit 0, its age not known.
"""

RENAMED = {
    1: {
        "correction/a_p_errors": "correction/a_p_se",
        "correction/a_n_errors": "correction/a_n_se",
        "correction/b_errors": "correction/b_se",
    },
}
"""What a version calls otherwise: today's path to its own. With `since`, the whole migration."""

FLAG_MEANINGS = {
    "coefficients/flags": tuple(flag.name.lower() for flag in ColumnFlag if flag.name),
    "timing/quality": ("link_fault", "measured_again", "overflow", "restored"),
}
"""What the bits of a bit field mean, from the lowest; CF stores it as ``flag_meanings``."""

RAW_DATASETS = ("weights", "inputs", "raw", "expected")
"""The datasets that were measured or sent, as against concluded."""


class AttributeKind(StrEnum):
    """How an attribute is stored; every one is a scalar."""

    TEXT = "text"
    """UTF-8 string."""
    INTEGER = "integer"
    """64-bit integer."""
    REAL = "real"
    """64-bit float."""
    JSON = "JSON"
    """UTF-8 string that holds JSON."""


@dataclass(frozen=True, slots=True)
class AttributeSpec:
    """One attribute of a step file."""

    path: str
    """Group and name; without a group, an attribute of the file itself."""
    kind: AttributeKind
    """How it is stored."""
    meaning: str
    """What it says."""
    since: int = 1
    """Version of the format that had it first."""

    @property
    def owner(self) -> str:
        """Path of the object that carries it."""
        return "/" + self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        """Its name there."""
        return self.path.rpartition("/")[2]


_TEXT, _INTEGER, _REAL, _JSON = AttributeKind

STEP_ATTRIBUTES = (
    AttributeSpec("file_format", _TEXT, "`hil-step`"),
    AttributeSpec("format_version", _INTEGER, "2"),
    AttributeSpec("core", _INTEGER, "core number"),
    AttributeSpec("read_mode", _TEXT, "`one_phase` or `four_phase`"),
    AttributeSpec("title", _TEXT, "title of the campaign"),
    AttributeSpec("campaign_sha256", _TEXT, "SHA-256 of `campaign.toml`, byte for byte"),
    AttributeSpec("resource", _TEXT, "resource string of the device"),
    AttributeSpec("chip", _JSON, "answer to `*IDN?`: manufacturer, model, serial, firmware"),
    AttributeSpec("counter_bits", _INTEGER, "width of the counters; the highest code is overflow"),
    AttributeSpec("measured_utc", _TEXT, "when the step began, ISO 8601, UTC"),
    AttributeSpec("temperature_c", _REAL, "chip temperature when it began, degrees Celsius"),
    AttributeSpec("seed", _INTEGER, "seed of the campaign's own weights and vectors"),
    AttributeSpec(
        "calibration_vectors", _INTEGER, "how many vectors, from the first, the fit has seen"
    ),
    AttributeSpec("verification_vectors", _INTEGER, "how many follow them, held out"),
    AttributeSpec("rows_used", _INTEGER, "rows that carry inputs; the others are driven with 0"),
    AttributeSpec(
        "columns_used", _INTEGER, "columns that carry weights; the others are programmed with 0"
    ),
    AttributeSpec("first_row", _INTEGER, "row of the workload's matrix where the tile begins"),
    AttributeSpec("first_column", _INTEGER, "column of it where the tile begins"),
    AttributeSpec("software", _JSON, "name and version of what computed and stored"),
    AttributeSpec("host", _TEXT, "name of the computer"),
    AttributeSpec("raw_sha256", _TEXT, "content hash of what was sent and read"),
    AttributeSpec("correction/output_lsb", _REAL, "size of one output code, in product units"),
    AttributeSpec(
        "correction/global_gain", _REAL, "the one gain of `uncorrected`, output LSB / count"
    ),
    AttributeSpec("correction/id", _TEXT, "id of the correction, a content hash", 2),
    AttributeSpec("correction/parents", _JSON, "`raw_sha256` that it was made from", 2),
    AttributeSpec("coefficients/id", _TEXT, "id of the register codes, a content hash", 2),
    AttributeSpec("coefficients/parents", _JSON, "id of the correction they were made from", 2),
    AttributeSpec("coefficients/nmpu", _JSON, "every NMPU parameter, the tile's shift among them"),
    AttributeSpec(
        "verification/errors",
        _JSON,
        "relative L2 error per correction, over calibrated columns; `null` if there is none",
    ),
    AttributeSpec(
        "verification/errors_all_columns", _JSON, "the same over every column that carries weights"
    ),
    AttributeSpec(
        "verification/nmpu_mismatches",
        _JSON,
        "outputs of the device that differ from the integer model; `null` if not compared",
    ),
    AttributeSpec("timing/began_utc", _TEXT, "when the step began, ISO 8601, UTC, microseconds"),
    AttributeSpec(
        "timing/since_run_began_s", _REAL, "when it began, monotonic seconds since the run did"
    ),
    AttributeSpec("timing/fault_kinds", _JSON, "names of the kinds of faults that happened"),
    AttributeSpec("timing/fault_requests", _JSON, "requests that met them, without their blocks"),
    AttributeSpec("conditions/instruments", _JSON, "name of the instrument of each quantity"),
    AttributeSpec("conditions/quantities", _JSON, "name of each quantity of it"),
    AttributeSpec("conditions/units", _JSON, "unit of each quantity; empty if it has none"),
    AttributeSpec(
        "circumstance/kind",
        _TEXT,
        "`program`, `calibrate`, `probe`, `verify` or `characterise`",
    ),
    AttributeSpec("circumstance/visit", _INTEGER, "number of the visit, from 0"),
    AttributeSpec(
        "circumstance/age_s", _REAL, "seconds since the core was programmed; NaN if not known"
    ),
    AttributeSpec(
        "circumstance/correction_of",
        _JSON,
        "`step` and `raw_sha256` of the calibration whose correction it carries; or `null`",
    ),
    AttributeSpec(
        "provenance/campaign", _TEXT, "the campaign as it was resolved, canonical JSON", 2
    ),
    AttributeSpec("provenance/resolved_sha256", _TEXT, "SHA-256 of that text", 2),
    AttributeSpec(
        "provenance/commit",
        _TEXT,
        "commit of the software, `+dirty` where files were changed; empty if it has none",
        2,
    ),
    AttributeSpec("provenance/packages", _JSON, "versions of the packages it works with", 2),
    AttributeSpec(
        "provenance/instruments", _JSON, "identity and settings of each bench instrument", 2
    ),
)


def datasets_of(version: int) -> dict[str, DatasetSpec]:
    """Return the datasets that a version has, by the paths that it gives them."""
    renamed = RENAMED.get(version, {})
    return {
        renamed.get(spec.path, spec.path): spec for spec in STEP_DATASETS if spec.since <= version
    }


def attributes_of(version: int) -> tuple[AttributeSpec, ...]:
    """Return the attributes that a version has."""
    return tuple(spec for spec in STEP_ATTRIBUTES if spec.since <= version)
