"""An evaluation in one TOML file: network, images, chip, corrections, and where it all goes."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from hil.core.errors import ConfigError, Problem
from hil.core.file_kinds import EVALUATION_TABLE, refuse_other_kind
from hil.core.legible import one_line
from hil.core.nmpu_format import PRESETS, NmpuFormat, preset_format
from hil.core.readout import ReadMode
from hil.core.toml_file import TomlText, check_document, read_toml_bytes
from hil.inference.computing.execution import SumArithmetic
from hil.inference.evaluations.request import CALIBRATION_IMAGES
from hil.inference.evaluations.request_words import ages_of, corrections_of, treatments_of
from hil.inference.failed_reads import names_failed_reads
from hil.inference.networks.factory import factory_file
from hil.inference.placing.value_range import RangeRule

_STRICT = ConfigDict(
    extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
)

OneLine = Annotated[str, AfterValidator(one_line), Field(min_length=1)]
Numbers = Annotated[list[float], Field(min_length=1, max_length=4)]


def _are_corrections(words: list[str]) -> list[str]:
    corrections_of(words)
    return words


def _are_treatments(words: list[str]) -> list[str]:
    treatments_of(words)
    return words


def _are_ages(words: list[str]) -> list[str]:
    ages_of(words)
    return words


def _is_preset(name: str) -> str:
    if name not in PRESETS:
        raise ValueError(f"is not one of {', '.join(PRESETS)}")
    return name


class NetworkSection(BaseModel):
    """Which network."""

    model_config = _STRICT

    model: OneLine
    """Built-in architecture, ``package.module:factory``, ``FILE.py:factory``, ``.pt2`` file, or
    ``demo``."""
    weights: OneLine | None = None
    """File of weights, relative to this file."""
    weights_from: OneLine | None = None
    """Where the weights can be got, for whoever has not got them."""
    mean: Numbers | None = None
    """What is taken from every channel, in units of full white."""
    std: Numbers | None = None
    """What it is divided by."""

    @model_validator(mode="after")
    def _has_both(self) -> Self:
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std belong together: give both or none")
        return self


class DataSection(BaseModel):
    """Which images."""

    model_config = _STRICT

    images: OneLine | None = None
    """Labelled images to judge: ``.npz`` or folder, relative to this file."""
    images_from: OneLine | None = None
    """Where the images can be got."""
    calibration: OneLine | None = None
    """Images that calibrate; the training part of ``images`` where left out, if it has one."""
    count: int | None = Field(default=None, ge=1)
    """How many are judged, from the first; all where left out."""
    calibration_count: int = Field(default=CALIBRATION_IMAGES, ge=1)
    """How many calibrate."""


class ChipSection(BaseModel):
    """Which chip multiplies."""

    model_config = _STRICT

    run: OneLine | None = None
    """Folder or packed file of a run, relative to this file."""
    device: OneLine | None = None
    """Resource string; ``mock://PROFILE`` for a simulated chip."""
    coefficients: OneLine | None = None
    """Run whose stored coefficients the chip begins with, relative to this file."""
    backend: Literal["model", "device", "ideal"] | None = None
    """Who computes: a model of the chip, the device itself, or exact arithmetic."""
    read_mode: ReadMode | None = None
    """How it reads."""
    driver: OneLine | None = None
    """Name of the chip's driver."""
    timeout_s: float | None = Field(default=None, gt=0, le=3600)
    """How long an answer may take."""

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        if self.run is not None and self.device is not None:
            raise ValueError("run and device exclude each other; use one")
        return self


class EvaluationSection(BaseModel):
    """What is compared, and how."""

    model_config = _STRICT

    corrections: Annotated[list[str], AfterValidator(_are_corrections)] | None = None
    """``none``, ``global``, ``float``, ``fp16``, ``nmpu``; all where left out."""
    drift: Annotated[list[str], AfterValidator(_are_ages)] = Field(default=[])
    """Ages besides fresh, such as ``1h`` and ``30d``."""
    treatments: Annotated[list[str], AfterValidator(_are_treatments)] | None = None
    """``kept``, ``recalibrated``, ``adabs``: what is done about ages; all where left out."""
    ranges: RangeRule | None = None
    """How the range of a tensor follows from its values."""
    sums: SumArithmetic | None = None
    """How two tensors are added."""
    switch_off: bool | None = None
    """Whether a simulated chip is judged without each of its flaws, too."""
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    """Of samples, noise and bootstrap."""
    out: OneLine | None = None
    """Output folder, relative to where the command runs; FILE-evaluate where left out."""


class NmpuFormatSection(BaseModel):
    """The NMPU's format."""

    model_config = _STRICT

    preset: Annotated[str, AfterValidator(_is_preset)] | None = None
    """Name of a preset, as ``hil nmpu presets`` lists them."""
    format: OneLine | None = None
    """Parameters besides, such as ``scale_frac=5,off_bits=6``."""


class EvaluationFile(BaseModel):
    """The whole file."""

    model_config = _STRICT

    schema_version: Literal[1]
    """Version of this form."""
    network: NetworkSection
    """Which network."""
    data: DataSection = Field(default_factory=DataSection)
    """Which images."""
    chip: ChipSection = Field(default_factory=ChipSection)
    """Which chip."""
    evaluation: EvaluationSection = Field(default_factory=EvaluationSection)
    """What is compared."""
    nmpu: NmpuFormatSection = Field(default_factory=NmpuFormatSection)
    """For which registers."""


def nmpu_format_of(preset: str | None, parameters: str | None, *, source: str) -> NmpuFormat:
    """Return a format from the name of a preset and parameters besides.

    Raises
    ------
    ConfigError
        If there is no such preset or format.
    """
    try:
        base = NmpuFormat() if preset is None else preset_format(preset)
        return base if parameters is None else NmpuFormat.from_text(parameters, base=base)
    except ValueError as error:
        raise ConfigError(source, [Problem("", str(error))]) from error


def read_request_file(path: Path, *, source: str = "") -> dict[str, Any]:
    """Return what a file says, by the names that the command's options have; None is not said.

    Parameters
    ----------
    path
        The file.
    source
        What messages call it; its path where left out.

    Raises
    ------
    ConfigError
        If it is missing or wrong: every problem with its key and line; or a file that it names is
        missing: with where that can be got, if it says so.
    """
    text = TomlText(read_toml_bytes(path), source=source or str(path))
    refuse_other_kind(text.document, EVALUATION_TABLE, source=text.source)
    found = check_document(EvaluationFile, text.document, source=text.source, place_of=text.place)
    network, data, chip, evaluation = found.network, found.data, found.chip, found.evaluation
    base = path.parent
    said: dict[str, Any] = {
        "model": _model(network.model, base),
        "weights": _beside(base, network.weights),
        "mean": network.mean and tuple(network.mean),
        "std": network.std and tuple(network.std),
        "data": _beside(base, data.images),
        "calibration_data": _beside(base, data.calibration),
        "images": data.count,
        "calibration_images": data.calibration_count,
        "run": _beside(base, chip.run),
        "device": chip.device,
        "coefficients": _beside(base, chip.coefficients),
        "base": base,
        "backend": chip.backend,
        "read_mode": chip.read_mode,
        "driver": chip.driver,
        "timeout_s": chip.timeout_s,
        "corrections": evaluation.corrections,
        "drift": evaluation.drift,
        "treatments": evaluation.treatments,
        "ranges": evaluation.ranges,
        "sums": evaluation.sums,
        "switch_off": evaluation.switch_off,
        "seed": evaluation.seed,
        "out": None if evaluation.out is None else Path(evaluation.out),
        "preset": found.nmpu.preset,
        "parameters": found.nmpu.format,
        "weights_from": network.weights_from,
        "data_from": data.images_from,
    }
    return said


def require_files(options: dict[str, Any], *, source: str) -> None:
    """Raise ConfigError if files are missing: each with where it can be got, if that is known."""
    problems = []
    for name, key, where in (
        ("weights", "network.weights", "weights_from"),
        ("data", "data.images", "data_from"),
        ("calibration_data", "data.calibration", "data_from"),
        ("run", "chip.run", ""),
        ("coefficients", "chip.coefficients", ""),
    ):
        path = options.get(name)
        if path is None:
            continue
        with names_failed_reads(path):
            is_there = path.exists()
        if not is_there:
            got = options.get(where)
            hint = f"; it can be got from {got}" if got else ""
            problems.append(Problem(key, f"{path}: no such file or folder{hint}"))
    if problems:
        raise ConfigError(source, problems)


def _beside(base: Path, name: str | None) -> Path | None:
    return None if name is None else base / Path(name).expanduser()


def _model(name: str, base: Path) -> str:
    is_file = factory_file(name) is not None or Path(name).suffix in {".pt2", ".ep", ".onnx"}
    return str(base / name) if is_file else name
