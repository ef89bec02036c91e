"""The keys of the campaign file, each with what it may be."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from hil.campaign.bench import check_resource
from hil.campaign.config.guards import GuardsSection
from hil.campaign.config.instruments import InstrumentsSection
from hil.campaign.config.notify import NotifySection
from hil.campaign.config.steps import StepsSection, SweepSection
from hil.campaign.mock_resource import check_bench_of
from hil.core.legible import cut_short, one_line
from hil.core.nmpu_format import NmpuFormat
from hil.core.readout import ReadMode
from hil_calibration.quality import QualityLimits
from hil_drivers.chip_driver import DEFAULT_DRIVER
from hil_drivers.open_transport import TransportChoice
from hil_drivers.recovery import RecoveryPolicy

START_PLACEHOLDER = "{start}"
"""Stands in ``campaign.out`` for the UTC time at which the run begins."""

_STRICT = ConfigDict(
    extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
)
_LIMITS = QualityLimits()

OneLine = Annotated[str, AfterValidator(one_line)]


class CampaignSection(BaseModel):
    """What to calibrate."""

    model_config = _STRICT

    title: OneLine = Field(min_length=1, max_length=200)
    """For people and for the files."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Decides the campaign's own weights and vectors, and the mock chip unless it has a seed."""
    out: OneLine = Field(default="runs/{start}", min_length=1)
    """Output folder, relative to where the command runs; ``{start}`` becomes the UTC time."""
    cores: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = None
    """Core numbers; every core, or as many as the workload needs, where left out."""
    read_modes: list[ReadMode] = Field(default=list(ReadMode), min_length=1)
    """Read modes."""
    workload: OneLine | None = None
    """An ``.npz`` with real ``weights`` and ``inputs``, relative to the campaign file."""

    @field_validator("cores", "read_modes")
    @classmethod
    def _are_different(cls, items: list[Any] | None) -> list[Any] | None:
        if items is not None and len(set(items)) != len(items):
            raise ValueError(f"names one twice: {cut_short(', '.join(map(str, items)))}")
        return items

    @field_validator("out")
    @classmethod
    def _has_known_placeholders(cls, out: str) -> str:
        rest = out.replace(START_PLACEHOLDER, "")
        if "{" in rest or "}" in rest:
            raise ValueError(f"the only placeholder is {START_PLACEHOLDER}, got {out!r}")
        return out


class DeviceSection(BaseModel):
    """Which device, and how to talk to it."""

    model_config = _STRICT

    driver: OneLine = Field(default=DEFAULT_DRIVER, min_length=1)
    """Name of the chip driver, a plug-in of the group ``hil.chips``."""
    resource: OneLine
    """``mock://PROFILE[?seed=N]`` or a VISA resource string."""
    timeout_s: float = Field(default=10.0, gt=0, le=3600)
    """How long an answer may take."""
    recovery_s: float = Field(default=RecoveryPolicy().deadline_s, gt=0, le=3600)
    """How long an operation may go on after the first fault of its link."""
    transport: TransportChoice = TransportChoice.AUTO
    """Who carries the bytes."""
    has_nmpu: bool = True
    """Whether the device can load registers and correct by itself."""

    @field_validator("resource")
    @classmethod
    def _is_resource(cls, resource: str, info: ValidationInfo) -> str:
        # A plug-in checks its own when it is opened: a stored run is read without it.
        if info.data.get("driver") == DEFAULT_DRIVER:
            check_resource(resource)
        return resource


class VectorsSection(BaseModel):
    """How many vectors, and of what kind."""

    model_config = _STRICT

    calibration: int = Field(default=512, ge=32, le=10_000_000)
    """Vectors that the fit sees; with fewer than 32 hardly any column can be told from noise."""
    verification: int = Field(default=256, ge=1, le=1_000_000)
    """Vectors held out."""
    zeros: float = Field(default=0.3, ge=0, lt=1)
    """Share of zero inputs among the campaign's own vectors."""
    # None is "full", and is no part of the resolved configuration: the hashes of runs from before
    # there was this key stay, and they can be replayed and resumed.
    amplitudes: Literal["full", "spread"] | None = None
    """Whether the campaign's own vectors all reach full scale, or each an amplitude of its own."""
    block: int = Field(default=128, ge=1, le=4096)
    """Vectors sent, read and stored at a time."""


class CalibrationSection(BaseModel):
    """How to fit and when to complain."""

    model_config = _STRICT

    headroom: float = Field(default=1.5, ge=1, le=16)
    """Factor left free in the scale registers, for drift."""
    dead_r_squared: float = Field(default=_LIMITS.dead_r_squared, ge=0, le=1)
    """A column whose fit explains less than this is dead."""
    poor_fit_ratio: float = Field(default=_LIMITS.poor_fit_ratio, ge=1)
    """A residual this many times the core's median is a poor fit."""
    saturated_share: float = Field(default=_LIMITS.saturated_share, ge=0, le=1)
    """A column with more clipped counts than this is saturated."""
    largest_condition: float = Field(default=_LIMITS.largest_condition, ge=1, le=1e6)
    """A column whose P and N have a larger condition number is ill-conditioned."""
    glitch_share: float = Field(default=_LIMITS.glitch_share, ge=0, le=1)
    """A column with more than this share of its samples far off the line is glitchy."""
    glitch_sigmas: float = Field(default=_LIMITS.glitch_sigmas, gt=0, le=1e6)
    """So is one whose parameters such samples move by this many standard errors."""

    @property
    def limits(self) -> QualityLimits:
        """The limits as the calibration wants them."""
        return QualityLimits(
            dead_r_squared=self.dead_r_squared,
            poor_fit_ratio=self.poor_fit_ratio,
            saturated_share=self.saturated_share,
            largest_condition=self.largest_condition,
            glitch_share=self.glitch_share,
            glitch_sigmas=self.glitch_sigmas,
        )


class LimitsSection(BaseModel):
    """What the campaign may never exceed."""

    model_config = _STRICT

    programmings_per_core: int | None = Field(default=None, ge=1)
    """Most programmings of a core over its whole life, by the chip's book."""


class CampaignConfig(BaseModel):
    """A whole campaign file; ``docs/reference/campaign-file.md`` lists every key."""

    model_config = _STRICT

    schema_version: Literal[1]
    """Version of this file form."""
    include: list[OneLine] = []
    """Bench files (device, instruments, limits), relative to the file that includes them."""
    campaign: CampaignSection
    """What to calibrate."""
    device: DeviceSection
    """Which device."""
    vectors: VectorsSection = VectorsSection()
    """How many vectors."""
    nmpu: NmpuFormat = NmpuFormat()
    """The NMPU's format."""
    calibration: CalibrationSection = CalibrationSection()
    """How to fit."""
    instruments: InstrumentsSection = {}
    """Bench instruments by name."""
    limits: LimitsSection = LimitsSection()
    """What the campaign may never exceed."""
    notify: NotifySection | None = None
    """Whom to tell how the run goes."""
    guards: GuardsSection | None = None
    """What pauses the campaign."""
    sweep: Annotated[list[SweepSection], Field(min_length=1, max_length=8)] | None = None
    """Quantities that are taken through several values; every combination is a visit."""
    steps: StepsSection | None = None
    """Which kinds of steps are taken; calibrations alone where left out."""

    @model_validator(mode="after")
    def _leaves_the_shift_alone(self) -> Self:
        if self.nmpu.shift != 0:
            raise ValueError("nmpu.shift is chosen per core by the calibration; leave it out")
        return self

    @model_validator(mode="after")
    def _has_instruments_that_fit(self) -> Self:
        named = {name: section.resource for name, section in self.instruments.items()}
        check_bench_of(self.device.resource, named)
        return self
