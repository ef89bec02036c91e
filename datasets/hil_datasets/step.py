"""One finished step, as a value: what was sent, what was read, what was concluded."""

import hashlib
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hil.core.correction import ColumnQuality, Correction
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ChipIdentity, ReadMode
from hil_datasets.circumstance import FIRST_CALIBRATION, Circumstance
from hil_datasets.provenance import Provenance
from hil_datasets.step_conditions import Condition
from hil_datasets.step_kind import StepKind as StepKind  # noqa: PLC0414 - one of the words of a step
from hil_datasets.step_timing import StepTiming


@dataclass(frozen=True, slots=True)
class StepKey:
    """What tells one step of a campaign from another.

    A visit is one pass over the cores under one circumstance: instrument settings, or a time since
    programming. A campaign that changes nothing has only visit 0.

    Examples
    --------
    >>> StepKey(3, ReadMode.FOUR_PHASE).name
    'core03_four_phase'
    >>> StepKey(3, ReadMode.FOUR_PHASE, visit=7, kind=StepKind.PROBE).name
    'core03_four_phase_visit07_probe'
    """

    core: int
    """Core number."""
    read_mode: ReadMode
    """Read mode."""
    visit: int = 0
    """Number of the visit, from 0."""
    kind: StepKind = StepKind.CALIBRATE
    """What the step does."""

    @property
    def name(self) -> str:
        """Name of the step, and of its file without the suffix."""
        visit = f"_visit{self.visit:02d}" if self.visit else ""
        kind = "" if self.kind is StepKind.CALIBRATE else f"_{self.kind}"
        return f"core{self.core:02d}_{self.read_mode}{visit}{kind}"

    def __lt__(self, other: "StepKey") -> bool:
        """Sort by core, read mode, visit, and the order of kinds within a visit."""
        return self._order < other._order

    @property
    def _order(self) -> tuple[int, str, int, int]:
        return self.core, self.read_mode, self.visit, self.kind.place


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOrigin:
    """Where a step's data come from: everything needed to ask again."""

    title: str
    """Title of the campaign."""
    campaign_sha256: str
    """Hash of the campaign file, byte for byte."""
    resource: str
    """Resource string of the device."""
    chip: ChipIdentity
    """Who the device said it was."""
    counter_bits: int
    """Width of its counters."""
    measured_utc: str
    """When the step began, ISO 8601, UTC."""
    temperature_c: float
    """Chip temperature when it began, degrees Celsius."""
    seed: int
    """Seed of the campaign's own weights and vectors."""
    calibration_vectors: int
    """How many of the vectors, from the first, the fit has seen."""
    verification_vectors: int
    """How many follow them, held out."""
    rows_used: int
    """Rows that carry inputs; the others are driven with 0."""
    columns_used: int
    """Columns that carry weights; the others are programmed with 0."""
    first_row: int = 0
    """Where the tile begins in the workload's weight matrix."""
    first_column: int = 0
    """Where the tile begins in the workload's weight matrix."""
    software: dict[str, str] = field(default_factory=dict)
    """Name and version of this software, and of what it computes and stores with."""
    host: str = ""
    """Name of the computer."""
    circumstance: Circumstance = FIRST_CALIBRATION
    """Its kind and visit, how old the weights were, and whose correction it carries."""
    provenance: Provenance | None = None
    """What it was made with; None in files from before that was stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepConclusion:
    """What was concluded from a step's readouts; per-column arrays of shape (column,)."""

    output_lsb: float
    """Size of one output code, in product units."""
    global_gain: float
    """The one gain of the uncorrected baseline, output LSB per count."""
    correction: Correction
    """Real-valued correction, output LSB."""
    a_p_se: npt.NDArray[np.float64]
    """Standard error of ``a_p``."""
    a_n_se: npt.NDArray[np.float64]
    """Standard error of ``a_n``."""
    b_se: npt.NDArray[np.float64]
    """Standard error of ``b``."""
    residual_rms: npt.NDArray[np.float64]
    """Residual of the fit, output LSB."""
    r_squared: npt.NDArray[np.float64]
    """Share of variance explained."""
    saturated_counts: npt.NDArray[np.int64]
    """Clipped calibration counts."""
    fmt: NmpuFormat
    """NMPU format with the tile's shift."""
    registers: NmpuRegisters
    """NMPU register codes."""
    flags: npt.NDArray[np.uint16]
    """`ColumnFlag` bit fields."""
    outputs: npt.NDArray[np.int8] | None
    """Outputs of the device's own NMPU for the verification vectors; None if there are none."""
    column_rms: npt.NDArray[np.float64]
    """Error per correction and column, shape (correction, column), output LSB."""
    errors: dict[str, float]
    """Relative L2 error of each correction, over the calibrated columns."""
    nmpu_mismatches: int | None
    """Outputs of the device's NMPU that differ from the integer model; None if not compared."""
    errors_all_columns: dict[str, float]
    """The same over every column that carries weights, dead ones included."""
    quality: ColumnQuality | None = None
    """How good each column is in numbers; None in files from before they were stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """A finished step, whole."""

    key: StepKey
    """Which step."""
    origin: StepOrigin
    """Where its data come from."""
    weights: npt.NDArray[np.int8]
    """Programmed weights, shape (row, column)."""
    inputs: npt.NDArray[np.int8]
    """Input vectors, shape (vector, row): calibration, then verification."""
    raw: npt.NDArray[np.uint16]
    """Counter codes, shape (vector, polarity, column)."""
    expected: npt.NDArray[np.int32]
    """Expected outputs, shape (vector, column), product units."""
    conclusion: StepConclusion
    """What was concluded."""
    raw_sha256: str
    """Content hash of what was sent and read."""
    timing: StepTiming | None = None
    """When it was read; None in files from before that was stored."""
    conditions: tuple[Condition, ...] = ()
    """What the bench instruments showed; empty if there were none."""


def hash_readouts(
    weights: npt.NDArray[np.int8], inputs: npt.NDArray[np.int8], raw: npt.NDArray[np.uint16]
) -> str:
    """Return the SHA-256 of weights, inputs and counts, little-endian, with their shapes."""
    digest = hashlib.sha256()
    for array, dtype in ((weights, "<i1"), (inputs, "<i1"), (raw, "<u2")):
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array, dtype=dtype).data)
    return digest.hexdigest()


def hash_work(weights: npt.NDArray[np.int8], inputs: npt.NDArray[np.int8]) -> str:
    """Return the SHA-256 of weights and input vectors, with their shapes."""
    digest = hashlib.sha256()
    for array in (weights, inputs):
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
