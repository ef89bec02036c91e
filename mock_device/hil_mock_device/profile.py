"""What kind of chip the mock is: every magnitude of its physics, as a TOML file."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from hil.core.errors import ConfigError, Problem
from hil.core.legible import one_line, quoted
from hil.core.npz_file import read_npz
from hil.core.toml_file import parse_toml, read_toml_bytes
from hil_mock_device.choices import BUILT_IN, LARGEST_SEED, built_in_text

_MOST_COUNTS = 65535.0
"""What the widest counter holds; no magnitude in counts means anything beyond it."""


def _fits_identity(word: str) -> str:
    if not all(" " <= letter <= "~" and letter not in ",;" for letter in word):
        raise ValueError(f"must be printable ASCII without ',' and ';', got {word!r}")
    if word.lstrip().startswith(("#", "!", "@", '"', "'")):
        # An answer that begins so is a block, a refusal, a tag or a string.
        raise ValueError(f"must not begin with # ! @ or a quote, got {word!r}")
    return word


def _names_a_file(path: Path) -> Path:
    one_line(str(path))
    return path


Share = Annotated[float, Field(ge=0, le=1)]
Counts = Annotated[float, Field(ge=0, le=_MOST_COUNTS)]
Word = Annotated[str, Field(max_length=64), AfterValidator(_fits_identity)]

_FROZEN = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class IdentityProfile(BaseModel):
    """What the mock says it is: the fields of ``*IDN?``."""

    model_config = _FROZEN

    manufacturer: Word = "aimc-hil"
    """First field."""
    model: Word = "mock-chip"
    """Second field."""
    serial: Word = ""
    """Third field; made of the profile's name and the seed where empty."""
    firmware: Word = "1.0"
    """Fourth field."""


class ArrayProfile(BaseModel):
    """The crossbars."""

    model_config = _FROZEN

    cores: int = Field(default=4, ge=1, le=1024)
    """Number of cores."""
    rows: int = Field(default=256, ge=1, le=4096)
    """Inputs of a core (K, HERMES: 256)."""
    columns: int = Field(default=256, ge=1, le=4096)
    """Outputs of a core (K, HERMES: 256)."""
    devices_per_cell: Literal[1, 2] = 2
    """Devices that share a weight; decides the programming noise."""
    programming_noise: float = Field(default=1.0, ge=0, le=100)
    """Factor on the published programming noise; 0 switches it off."""
    stuck_share: Share = 0.001
    """Share of stuck cells (A: 0.1 to 1 %)."""
    stuck_high_share: Share = 0.1
    """Share of those stuck at the largest conductance, not at zero (A)."""
    dead_column_chance: Share = 0.5
    """Chance that a core has one dead column (A: 0 to 1 per core)."""
    dead_column_share: Share = 0.0
    """Share of dead columns beside that one."""
    polarity_asymmetry: float = Field(default=0.0, ge=0, le=0.5)
    """Share of its current that a cell lacks where its input is negative."""


class CounterProfile(BaseModel):
    """The converters: one counter per column and polarity."""

    model_config = _FROZEN

    bits: int = Field(default=12, ge=1, le=16)
    """Width (K, HERMES: 12)."""
    counts_at_full_scale: float = Field(default=420.0, gt=0, le=65535)
    """Counts of a nominal converter at the full-scale current of one phase (K2: about 420)."""
    full_scale_products: float = Field(default=200_000.0, ge=1)
    """Sum of input code times weight code that makes the full-scale current (A: 4.5 sigma of the
    net sum of 256 rows of uniform inputs and Gaussian weights)."""
    gain_sigma: Share = 0.071
    """Relative spread of the gains, P and N independent (K: 7.1 %)."""
    gain_limit: Share = 0.21
    """Largest deviation of a gain (K: 21 %)."""
    offset_mean_counts: float = Field(default=10.0, ge=-_MOST_COUNTS, le=_MOST_COUNTS)
    """Mean offset: trimmed above zero, so that noise at zero input is not clipped (A)."""
    offset_sigma_counts: Counts = 2.0
    """Spread of the offsets (A: 1 to 3 counts)."""
    curvature_sigma: Share = 0.001
    """Spread of B in A*i/(1+B*i) + C, clipped at two sigma: below 1 LSB INL (K: after trim)."""
    read_noise_counts: Counts = 0.7
    """Noise of one phase, rms (A: 0.5 to 1)."""
    inl_counts: Counts = 0.0
    """Largest deviation from A*i/(1+B*i) + C, a smooth wave of its own for each counter."""
    single_ended: bool = False
    """Whether a column has one counter, whose count is P, or N where it is negative."""
    alternating_slopes: bool = False
    """Whether every other column counts down where the first counts up."""


class DriftProfile(BaseModel):
    """How conductances decay, ``G(t) = G(t0) * (t / t0)**-nu``."""

    model_config = _FROZEN

    factor: float = Field(default=1.0, ge=0, le=100)
    """Factor on the published exponents nu; 0 switches drift off."""
    reference_s: float = Field(default=300.0, gt=0, le=1e9)
    """Age t0 at which a programmed array holds its weights (K, aihwkit: 300 s for two devices per
    cell, 200 s for one); every core has it when programmed."""


class ReadNoiseProfile(BaseModel):
    """The 1/f noise of the cells, ``g * Q(g) * sqrt(ln((t + tr) / (2 * tr)))``."""

    model_config = _FROZEN

    factor: float = Field(default=0.0, ge=0, le=100)
    """Factor on the published amplitudes Q; 0 switches it off."""
    read_s: float = Field(default=512e-9, ge=1e-9, le=1e-3)
    """Time of one reading, tr (K, aihwkit: 512 ns)."""


class IrDropProfile(BaseModel):
    """The resistance of the lines."""

    model_config = _FROZEN

    factor: float = Field(default=0.0, ge=0, le=100)
    """Factor on the resistance of a line; 0 switches IR drop off."""
    conductance_ratio: float = Field(default=571_428.57, ge=100, le=1e12)
    """Conductance of the wire from one cell to the next, over that of a cell at the largest
    conductance (K, aihwkit: 0.35 ohm and 5 uS)."""


class ReadVoltageProfile(BaseModel):
    """The voltage that the array is read with; currents follow it."""

    model_config = _FROZEN

    reference_v: float = Field(default=0.2, gt=0, le=10)
    """Where currents are those of the counter section."""
    lowest_v: float = Field(default=0.1, gt=0, le=10)
    """Least voltage that can be set."""
    highest_v: float = Field(default=0.3, gt=0, le=10)
    """Largest voltage that can be set."""
    nonlinearity_per_v: float = Field(default=0.0, ge=-10, le=10)
    """Relative change of a cell's conductance per volt above the reference."""

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        if not self.lowest_v <= self.reference_v <= self.highest_v:
            raise ValueError(
                f"reference_v {self.reference_v:g} must lie between lowest_v {self.lowest_v:g} and"
                f" highest_v {self.highest_v:g}"
            )
        return self

    def drive(self, volts: float) -> float:
        """Return the current at a voltage, relative to that at the reference."""
        over = volts - self.reference_v
        return volts / self.reference_v * max(1 + self.nonlinearity_per_v * over, 0.0)


class TemperatureProfile(BaseModel):
    """How the converters follow the temperature."""

    model_config = _FROZEN

    reference_c: float = Field(default=25.0, ge=-100, le=300)
    """Temperature at which gains and offsets are those of the counter section."""
    gain_per_k: float = Field(default=0.0035, ge=-0.1, le=0.1)
    """Mean relative change of a gain (A: 0.2 to 0.5 %/K)."""
    gain_sigma_per_k: float = Field(default=0.0005, ge=0, le=0.1)
    """Its spread, clipped at three sigma; P and N independent (A)."""
    offset_sigma_counts_per_k: float = Field(default=0.05, ge=0, le=100)
    """Spread of the change of an offset round 0 (A: 0.05 counts/K)."""


class MockProfile(BaseModel):
    """One kind of chip; the defaults are the profile ``quickstart``.

    Source of the magnitudes: ``docs/reference/mock-profile.md`` (K known, K2 second hand, A
    assumed).
    """

    model_config = _FROZEN

    schema_version: Literal[1] = 1
    """Version of this file form."""
    name: Word = "quickstart"
    """Name of the kind."""
    seed: int = Field(default=0, ge=0, le=LARGEST_SEED)
    """Which chip of the kind."""
    temperature_c: float = Field(default=25.0, ge=-100, le=300)
    """Chip temperature."""
    identity: IdentityProfile = IdentityProfile()
    """What it says it is."""
    array: ArrayProfile = ArrayProfile()
    """The crossbars."""
    counter: CounterProfile = CounterProfile()
    """The converters."""
    drift: DriftProfile = DriftProfile()
    """The decay of conductances."""
    read_noise: ReadNoiseProfile = ReadNoiseProfile()
    """The noise of conductances."""
    ir_drop: IrDropProfile = IrDropProfile()
    """The resistance of the lines."""
    read_voltage: ReadVoltageProfile = ReadVoltageProfile()
    """The voltage of the array."""
    temperature: TemperatureProfile = TemperatureProfile()
    """The temperature coefficients."""
    measured: Annotated[Path, AfterValidator(_names_a_file)] | None = None
    """An ``.npz`` with ``gain_p, gain_n`` (relative to nominal) and ``offset_p, offset_n``
    (counts), shape (core, column), that replaces the drawn ones: somebody's measured chip. A truth
    file of the mock is one, too."""


def parse_seed(text: str) -> int:
    """Read a seed.

    Raises
    ------
    ValueError
        If it is no number of 0 to `LARGEST_SEED`.
    """
    # Not int() at once: it takes signs, underscores and every script's digits.
    if not re.fullmatch("[0-9]{1,30}", text) or int(text) > LARGEST_SEED:
        raise ValueError(f"seed {quoted(text)} must be a number, 0 to 2^63 - 1")
    return int(text)


def load_profile(name_or_path: str, *, base: Path) -> MockProfile:
    """Load a built-in profile by name, or a profile file.

    Parameters
    ----------
    name_or_path
        A name from `BUILT_IN`, or a path ending in ``.toml``.
    base
        Folder that a relative path starts from.

    Raises
    ------
    ConfigError
        If there is no such profile, or its file is wrong.
    """
    if name_or_path in BUILT_IN:
        content = built_in_text(name_or_path).encode()
        return parse_toml(MockProfile, content, source=f"profile {name_or_path}")
    if not name_or_path.endswith(".toml"):
        raise ConfigError(
            f"mock profile {name_or_path!r}",
            [Problem("", f"no such profile: use {', '.join(BUILT_IN)} or a path ending in .toml")],
        )
    path = base / name_or_path
    profile = parse_toml(MockProfile, read_toml_bytes(path), source=str(path))
    if profile.measured is None:
        return profile
    return profile.model_copy(update={"measured": path.parent / profile.measured})


def load_measured(path: Path, profile: MockProfile) -> dict[str, npt.NDArray[np.float64]]:
    """Read the arrays of a measured chip.

    Returns
    -------
    The arrays present among ``gain_p, gain_n, offset_p, offset_n`` (all required) and
    ``curvature_p, curvature_n, wave_p, wave_n``, each of shape (core, column).

    Raises
    ------
    ConfigError
        If the file is missing or damaged, an array is missing, of another shape, or holds a value
        that no counter could show.
    """
    required = ("gain_p", "gain_n", "offset_p", "offset_n")
    shape = (profile.array.cores, profile.array.columns)
    optional = ("curvature_p", "curvature_n", "wave_p", "wave_n")
    arrays = read_npz(path, (*required, *optional))
    problems = [
        Problem(name, f"is missing: must be an array (core, column) {shape}")
        for name in required
        if name not in arrays
    ]
    for name, array in arrays.items():
        if array.shape != shape or array.dtype.kind not in "iuf":
            problems.append(
                Problem(name, f"is {array.dtype} {array.shape}: must be numbers, shape {shape}")
            )
        elif not np.isfinite(array).all():
            problems.append(Problem(name, "holds a value that is not finite"))
        elif np.abs(array.astype(np.float64)).max() > _MOST_COUNTS:
            problems.append(Problem(name, f"holds a value beyond +-{_MOST_COUNTS:g}"))
    if problems:
        raise ConfigError(str(path), problems)
    return {name: array.astype(np.float64) for name, array in arrays.items()}
