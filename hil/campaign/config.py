"""The campaign file: TOML, checked as a whole before anything touches a device."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
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
from hil.campaign.config_limits import widened
from hil.campaign.config_resolved import (
    config_name,
    parse_json,
    read_resolved,
    resolved_path,
    resolved_sha256,
)
from hil.campaign.config_source import ConfigSources, read_sources
from hil.campaign.guards_config import GuardsSection, guard_problems
from hil.campaign.instrument_config import InstrumentsSection
from hil.campaign.mock_resource import check_bench_of
from hil.campaign.notify_config import NotifySection
from hil.campaign.steps_check import steps_problems
from hil.campaign.steps_config import StepsSection, SweepSection
from hil.core.errors import ConfigError, DatasetError, Problem
from hil.core.legible import cut_short, one_line
from hil.core.nmpu_format import NmpuFormat
from hil.core.readout import ReadMode
from hil.core.toml_file import check_document, key_path, parse_toml, read_toml_bytes
from hil_calibration.quality import QualityLimits
from hil_datasets.journal import last_beginning
from hil_datasets.regular_file import read_regular
from hil_datasets.run_directory import RunDirectory
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """A checked campaign file, with its bytes and its place."""

    config: CampaignConfig
    """What it says, with everything that it includes and that was set besides."""
    content: bytes
    """The file, byte for byte."""
    path: Path
    """Where it was read from; relative paths in it start from its folder."""
    sources: ConfigSources | None = None
    """Where each value is from; None for one that a run has stored as a whole."""

    @property
    def sha256(self) -> str:
        """Hash of the file."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def resolved_sha256(self) -> str:
        """Hash of what it says in all, in whatever words."""
        return resolved_sha256(self.config)


def load_campaign(
    path: Path,
    *,
    assignments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    chip: str | None = None,
) -> Campaign:
    """Read and check a campaign file, with what it includes and what is set besides.

    Parameters
    ----------
    path
        The file.
    assignments
        ``key.path=value`` texts, which replace what the file and the environment say.
    environment
        Environment variables, those of the process where None; ``HIL_SET__SECTION__KEY`` replaces
        what the file says.
    chip
        Which chip of ``[devices]``; None where the campaign has one device without a name.

    Raises
    ------
    ConfigError
        If it is missing or wrong; every problem is listed with its key path and line.
    """
    content = read_toml_bytes(path)
    given = os.environ if environment is None else environment
    sources = read_sources(content, path, assignments=assignments, environment=given, chip=chip)
    return Campaign(config=_checked(sources), content=content, path=path, sources=sources)


def load_stored_campaign(run: RunDirectory) -> Campaign:
    """Read and check the configuration that a run has gone on with last.

    Raises
    ------
    DatasetError
        If it is missing, or is none any more, or is another than its journal tells of.
    """
    name = config_name(last_beginning(run.events() if run.journal_path.exists() else ()))
    path = run.path / f"{name}.toml"
    resolved = resolved_path(run, name)
    content = read_regular(path)
    try:
        if resolved.exists():
            config = parse_json(CampaignConfig, read_resolved(run), source=str(resolved))
        else:  # a run from before there were includes
            config = parse_toml(CampaignConfig, content, source=str(path))
    except ConfigError as error:
        raise DatasetError(error.source, error.problems) from error
    return Campaign(config=config, content=content, path=path)


def _checked(sources: ConfigSources) -> CampaignConfig:
    layers, problems = sources.layers, list(sources.problems)
    try:
        config = check_document(
            CampaignConfig, layers.document, source=sources.source, place_of=layers.place_of
        )
    except ConfigError as error:
        found = [
            replace(problem, where=sources.spelled.get(problem.where, problem.where))
            for problem in error.problems
        ]
        raise ConfigError(sources.source, [*problems, *found]) from error
    problems += [] if problems else _widened_quantities(config, sources)
    problems += _steps_problems(config, sources)
    if problems:
        raise ConfigError(sources.source, problems)
    return config


def _steps_problems(config: CampaignConfig, sources: ConfigSources) -> list[Problem]:
    problems = []
    guards = guard_problems(config.guards, config.instruments, block=config.vectors.block)
    for path, message in (*steps_problems(config), *guards):
        place = sources.layers.place_of(path)
        source = "" if place.source == sources.source else place.source
        problems.append(Problem(key_path(path), message, place.line, source))
    return problems


def _widened_quantities(config: CampaignConfig, sources: ConfigSources) -> list[Problem]:
    problems = []
    for bench in sources.benches:
        for name, instrument in bench.document.get("instruments", {}).items():
            for key, described in instrument.get("quantities", {}).items():
                path = ("instruments", name, "quantities", key)
                quantity = config.instruments[name].quantities[key]
                message = widened(described, quantity, bench.place_of(path))
                if message:
                    place = sources.layers.place_of(path)
                    problems.append(Problem(key_path(path), message, place.line, place.source))
    return problems
