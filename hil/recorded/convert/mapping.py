"""The keys of a mapping file: what the arrays and columns of somebody's recording mean."""

import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from hil.campaign.config.sections import CalibrationSection
from hil.core.legible import one_line, quoted
from hil.core.nmpu_format import NmpuFormat
from hil.core.readout import ReadMode

_STRICT = ConfigDict(
    extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
)
_QUANTITY = re.compile(r"[a-z][a-z0-9_]{0,31}\.[a-z][a-z0-9_]{0,31}")

MOST_CORES = 1_000_000
"""Core numbers are below it."""
LEAST_CALIBRATION = 32
"""Vectors that a fit sees at least, as in a campaign."""


def _one_line(text: str) -> str:
    return one_line(text)


def _is_quantity(text: str) -> str:
    if not _QUANTITY.fullmatch(text):
        raise ValueError(
            f"{quoted(text)} is no quantity: must be INSTRUMENT.QUANTITY, such as supply.voltage"
        )
    return text


def _is_utc(text: str) -> str:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.utcoffset() is None:
        raise ValueError(
            f"{quoted(text)} is no time: must be ISO 8601 with its offset, such as "
            "2025-01-31T12:00:00+00:00"
        )
    if time.utcoffset() != timedelta(0):
        raise ValueError(f"is not UTC: write {time.astimezone(UTC).isoformat()}")
    return text


OneLine = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_one_line)]
Core = Annotated[int, Field(ge=0, lt=MOST_CORES)]
Visit = Annotated[int, Field(ge=0, lt=1000)]


class Form(StrEnum):
    """What was recorded."""

    COUNTS = "counts"
    """Raw counts, with the inputs that gave them."""
    FITS = "fits"
    """Straight lines that somebody has fitted to counts: a slope and an intercept a column."""


class Rule(StrEnum):
    """How the counts of a column become its two counters, P and N."""

    PAIR = "pair"
    """Both were recorded, or fitted, apart."""
    SINGLE = "single"
    """One counter, 0 or more: it becomes P, and N is 0."""
    DIFFERENCE = "difference"
    """A signed number, P minus N: one above 0 becomes P, one below 0 becomes N; the other is 0."""


class Axis(StrEnum):
    """What an axis of an array counts."""

    CORE = "core"
    """Cores; given twice or more, they are combined, the first one slowest."""
    READ_MODE = "read_mode"
    """Read modes, named in ``axes.read_mode``."""
    VISIT = "visit"
    """Visits, one for each setting of a quantity."""
    VECTOR = "vector"
    """Input vectors; may be given twice, as cores."""
    POLARITY = "polarity"
    """The two counters, in the order of ``axes.polarity``."""
    ROW = "row"
    """Rows: inputs of a core."""
    COLUMN = "column"
    """Columns: outputs of a core; may be given twice, as cores."""
    NOTHING = "-"
    """An axis of length 1 that means nothing."""


class ChipSection(BaseModel):
    """Which chip it was."""

    model_config = _STRICT

    manufacturer: OneLine
    """Who made it."""
    model: OneLine
    """Which kind it is."""
    serial: OneLine
    """Which one of its kind."""
    firmware: OneLine = "unknown"
    """Its firmware."""
    counter_bits: int = Field(default=12, ge=1, le=16)
    """Width of one counter; the highest code means overflow."""


class MeasuredSection(BaseModel):
    """When and how it was measured."""

    model_config = _STRICT

    utc: Annotated[str, AfterValidator(_is_utc)]
    """When it began, ISO 8601, UTC."""
    temperature_c: float = Field(ge=-273.15, le=1000)
    """Chip temperature, degrees Celsius."""
    host: Annotated[str, Field(max_length=200), AfterValidator(_one_line)] = ""
    """Name of the computer that measured."""


class StepsSection(BaseModel):
    """What is the case where neither axis, column nor file name says it."""

    model_config = _STRICT

    core: Core | None = None
    """Core number."""
    read_mode: ReadMode | None = None
    """Read mode."""
    visit: Visit = 0
    """Number of the visit."""


class AxesSection(BaseModel):
    """What the places along axes are called."""

    model_config = _STRICT

    core: Annotated[list[Core], Field(min_length=1)] | None = None
    """Core number of each place taken; the place itself, from 0, where left out."""
    read_mode: Annotated[list[ReadMode], Field(min_length=1)] | None = None
    """Read mode of each place taken."""
    polarity: Annotated[list[Literal["P", "N"]], Field(min_length=2, max_length=2)] = ["P", "N"]
    """Which of the two counters comes first."""


Places = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None


class TakeSection(BaseModel):
    """Which places along an axis are taken, from 0; all where left out."""

    model_config = _STRICT

    core: Places = None
    """Of the axis ``core``, after it is combined."""
    read_mode: Places = None
    """Of the axis ``read_mode``."""
    visit: Places = None
    """Of the axis ``visit``."""


class VisitsSection(BaseModel):
    """What was set to something else in each visit."""

    model_config = _STRICT

    quantity: Annotated[str, AfterValidator(_is_quantity)]
    """``INSTRUMENT.QUANTITY``, such as ``supply.voltage``."""
    unit: Annotated[str, Field(max_length=32), AfterValidator(_one_line)] = ""
    """Its unit."""
    values: list[float] = Field(min_length=1, max_length=1000)
    """Its value in each visit."""


class CsvSection(BaseModel):
    """How CSV files are written, and which of their columns tell a line from others."""

    model_config = _STRICT

    delimiter: Literal[",", ";", "\t", "|", " "] = ","
    """What stands between two cells."""
    open_end: bool = False
    """Whether the last line of a file may lack its line break; without one it may be cut."""
    core: OneLine | None = None
    """Column that holds the core number."""
    read_mode: OneLine | None = None
    """Column that holds the read mode."""
    visit: OneLine | None = None
    """Column that holds the number of the visit, or the value of ``visits.quantity``."""
    vector: OneLine | None = None
    """Column that numbers the vectors; without it they come in the order of the lines."""


class SourceSection(BaseModel):
    """Where something is: in arrays, or in columns of CSV files."""

    model_config = _STRICT

    files: OneLine = "*"
    """Names of its files; ``*``, ``{core}``, ``{read_mode}``, ``{visit}`` stand for what varies."""
    array: OneLine | None = None
    """Name of the array in an ``.npz``; of a ``.npy`` any name."""
    arrays: Annotated[list[OneLine], Field(min_length=2, max_length=2)] | None = None
    """Two arrays, of the counters in the order of ``axes.polarity``."""
    axes: Annotated[list[Axis], Field(min_length=1, max_length=16)] | None = None
    """What each axis of the array is."""
    columns: Annotated[list[OneLine], Field(min_length=1, max_length=2)] | None = None
    """Names of CSV columns with ``{row}`` or ``{column}`` for the number."""
    scale: float = 1.0
    """Size of one code in what is stored."""
    offset: float = 0.0
    """What is stored where the code is 0."""


class CountsSection(SourceSection):
    """The counts."""

    rule: Rule
    """How they become P and N."""


class FitsSection(BaseModel):
    """Straight lines fitted to counts: ``count = slope * x + intercept``."""

    model_config = _STRICT

    rule: Rule
    """What was fitted."""
    files: OneLine = "*"
    """As for other sources."""
    slope: OneLine = "slope"
    """Array, or CSV column, of the slopes."""
    intercept: OneLine = "intercept"
    """Array, or CSV column, of the intercepts."""
    errors: OneLine | None = None
    """Array, or CSV column, that is 0 where a fit has failed."""
    axes: Annotated[list[Axis], Field(min_length=1, max_length=16)] | None = None
    """What each axis of the arrays is; without it, files are CSV with a line for each column."""
    column: OneLine = "column"
    """CSV column that holds the number of the column."""
    polarity: OneLine = "polarity"
    """CSV column that holds P or N, by the rule ``pair``."""


class StimulusSection(BaseModel):
    """Which x the lines of fits are drawn at."""

    model_config = _STRICT

    x_lowest: float = -127
    """Lowest x."""
    x_highest: float = 127
    """Highest x."""
    x_per_product: float = Field(default=1.0, gt=0)
    """How much x one product unit is."""
    x_unit: Annotated[str, Field(max_length=32), AfterValidator(_one_line)] = ""
    """Unit of x, for people."""
    vectors: int = Field(default=768, ge=LEAST_CALIBRATION + 1, le=1_000_000)
    """How many vectors, the held-out ones included."""


class VectorsSection(BaseModel):
    """What the vectors of each step are for."""

    model_config = _STRICT

    verification: int = Field(default=256, ge=1, le=1_000_000)
    """How many are held out: the last ones. The fit sees all others."""
    block: int = Field(default=1024, ge=1, le=4096)
    """Vectors stored at a time."""


class Mapping(BaseModel):
    """A whole mapping file; ``docs/reference/mapping-file.md`` lists every key."""

    model_config = _STRICT

    schema_version: Literal[1]
    """Version of this file form."""
    title: Annotated[str, Field(min_length=1, max_length=170), AfterValidator(_one_line)]
    """For people, and in every file."""
    form: Form
    """What was recorded."""
    chip: ChipSection
    """Which chip it was."""
    measured: MeasuredSection
    """When and how it was measured."""
    steps: StepsSection = StepsSection()
    """What is the case where nothing else says it."""
    axes: AxesSection = AxesSection()
    """What the places along axes are called."""
    take: TakeSection = TakeSection()
    """Which places along axes are taken."""
    read_modes: dict[OneLine, ReadMode] = {}
    """Other words for read modes in CSV columns and file names."""
    visits: VisitsSection | None = None
    """What was set to something else in each visit."""
    csv: CsvSection = CsvSection()
    """How CSV files are written."""
    counts: CountsSection | None = None
    """Raw counts."""
    inputs: SourceSection | None = None
    """Input codes."""
    weights: SourceSection | None = None
    """Programmed weights."""
    expected: SourceSection | None = None
    """Expected outputs: products of inputs and weights."""
    fits: FitsSection | None = None
    """Slopes and intercepts."""
    stimulus: StimulusSection = StimulusSection()
    """Which x the lines of fits are drawn at."""
    vectors: VectorsSection = VectorsSection()
    """What the vectors of each step are for."""
    nmpu: NmpuFormat = NmpuFormat()
    """The NMPU's format, as in a campaign file."""
    calibration: CalibrationSection = CalibrationSection()
    """How to fit, as in a campaign file."""
