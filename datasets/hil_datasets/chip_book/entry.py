"""What the book of a chip can tell: one frozen class per event."""

import math
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

from hil.core.readout import ReadMode

FORMAT_VERSION: Final = 1
"""Version of the form of a book."""


def _storable(value: Any) -> Any:
    # Names of files can hold halves of characters, which no UTF-8 has.
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    return value


def _without_nan(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


Text = Annotated[str, BeforeValidator(_storable)]
Real = Annotated[float | None, BeforeValidator(_without_nan)]
"""A number, or None where it is not known."""
Count = Annotated[int, Field(ge=0, lt=2**63)]
EntryNumber = Annotated[int, Field(ge=1, lt=2**53)]


class Source(StrEnum):
    """What kind of chip a campaign worked on."""

    DEVICE = "device"
    """A board."""
    MOCK = "mock"
    """A simulated chip."""


class Outcome(StrEnum):
    """How a programming ended."""

    DONE = "done"
    """The device said that it was done."""
    FAILED = "failed"
    """The device said no; it counts all the same, for it may have worn the core."""
    UNKNOWN = "unknown"
    """Nobody can tell; it counts as having happened."""


class _Entry(BaseModel):
    # A newer version may add keys; it never changes the meaning of those that are here.
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)

    utc: Text
    """When it was written, ISO 8601, UTC."""


class BookOpened(_Entry):
    """The first entry: which chip this is."""

    event: Literal["book"] = "book"
    format_version: Literal[1] = FORMAT_VERSION
    """Version of the form of the file."""
    manufacturer: Text
    model: Text
    serial: Text


class CampaignStarted(_Entry):
    """A campaign begins, or goes on after it was resumed; its number stands for it afterwards."""

    event: Literal["start"] = "start"
    run: Text
    """Folder of the run, as an absolute path on this computer."""
    title: Text
    """Title of the campaign."""
    campaign_sha256: Text
    """Hash of the campaign file."""
    resource: Text
    """Resource string of the device."""
    firmware: Text
    """Fourth field of ``*IDN?``."""
    source: Source
    """Whether the chip is one."""
    is_resumed: bool = False
    """Whether the run had begun before."""


class ProgrammingBegun(_Entry):
    """A core is about to be programmed: written and synced before the device is asked to.

    A driver that programs it again after a fault of the link makes another such entry, so that each
    stands for one programming.
    """

    event: Literal["programming"] = "programming"
    campaign: EntryNumber
    """Number of the `CampaignStarted`."""
    core: Count
    digest: Text
    """Digest of the weights, see `digest_weights`."""


class ProgrammingEnded(_Entry):
    """How a programming ended. Where this entry is missing it is `Outcome.UNKNOWN`."""

    event: Literal["programmed"] = "programmed"
    programming: EntryNumber
    """Number of the `ProgrammingBegun`."""
    outcome: Outcome
    reason: Text = ""
    """What went wrong."""


class Exposure(_Entry):
    """What the chip has been through since the last such entry of the campaign."""

    event: Literal["exposure"] = "exposure"
    campaign: EntryNumber
    """Number of the `CampaignStarted`."""
    core: Count | None = None
    """The core that was measured; None for the chip as a whole."""
    seconds: Annotated[float, Field(ge=0)]
    """Chip: time under power. Core: time in which it was read."""
    hottest_c: Real = None
    """Highest temperature read in that time, degrees Celsius; None if none was."""
    vectors: Count = 0
    """Input vectors multiplied by the core; 0 for the chip as a whole."""


class Calibrated(_Entry):
    """A core was calibrated in a read mode."""

    event: Literal["calibration"] = "calibration"
    campaign: EntryNumber
    """Number of the `CampaignStarted`."""
    core: Count
    read_mode: ReadMode
    step: Text
    """Name of the step in the run."""
    raw_sha256: Text
    """Hash of what was sent and read."""
    temperature_c: Real
    """Temperature when the step began, degrees Celsius."""
    output_lsb: Real
    """Size of one output code, in product units."""
    columns: Count
    """Columns that carry a fitted correction; the medians are over them."""
    median_gain_p: Real
    """Median gain of P, output LSB per count; None without columns."""
    median_gain_n: Real
    """Median gain of N, output LSB per count; None without columns."""
    median_offset: Real
    """Median offset, output LSB; None without columns."""
    errors: dict[Text, Real]
    """Relative L2 error of each correction."""


class CampaignStopped(_Entry):
    """A campaign ended. Where this entry is missing it runs, or was killed."""

    event: Literal["stop"] = "stop"
    campaign: EntryNumber
    """Number of the `CampaignStarted`."""
    status: Text
    """What the journal of the run says."""
    reason: Text = ""
    """Why it ended early."""


BookEntry = (
    BookOpened
    | CampaignStarted
    | ProgrammingBegun
    | ProgrammingEnded
    | Exposure
    | Calibrated
    | CampaignStopped
)
"""Anything that a book can tell."""

ENTRY_FORM: TypeAdapter[BookEntry] = TypeAdapter(Annotated[BookEntry, Field(discriminator="event")])
"""Reads and checks an entry."""
