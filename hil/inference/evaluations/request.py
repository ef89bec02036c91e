"""What is asked for: one evaluation, whoever asks, the command line or a file."""

from dataclasses import dataclass, field
from pathlib import Path

from hil.core.nmpu_format import NmpuFormat
from hil.core.readout import ReadMode
from hil.inference.computing.execution import SumArithmetic
from hil.inference.conditions.treatment import Treatment
from hil.inference.corrections.kinds import CorrectionKind
from hil.inference.image_data.images import Normalisation
from hil.inference.placing.value_range import RangeRule
from hil_drivers.chip_driver import DEFAULT_DRIVER

CALIBRATION_IMAGES = 256
"""Images that ranges are measured with and cores are calibrated with, unless told otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipChoice:
    """Who multiplies; a run, a resource, or nobody: exact arithmetic."""

    run: Path | None = None
    """Folder or packed file of a run: the chip as it was measured."""
    resource: str | None = None
    """Resource string of a chip, ``mock://PROFILE`` for a simulated one."""
    coefficients: Path | None = None
    """Run whose stored coefficients the chip begins with; it is calibrated at once where None."""
    base: Path = field(default_factory=Path.cwd)
    """Folder that a relative path in the resource starts from."""
    through_driver: bool = False
    """Whether a mock, too, is a device of its own that every vector is sent to."""
    read_mode: ReadMode | None = None
    """How it reads; four-phase where None, or what the run has."""
    driver: str = DEFAULT_DRIVER
    """Name of the chip's driver."""
    timeout_s: float = 10.0
    """How long an answer may take."""
    seed: int = 0
    """Of a simulated chip whose resource names none, and of the noise of a model."""
    torch_device: str = "cpu"
    """Where a model computes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkChoice:
    """Which network judges which images."""

    model: str
    """Architecture, factory or file, as `load_network` takes it."""
    weights: Path | None = None
    """File of weights."""
    data: Path
    """Labelled images."""
    calibration_data: Path | None = None
    """Images for ranges and calibration; the training part of `data` where None, if it has one."""
    normalisation: Normalisation | None = None
    """As in training; pixels from 0 to 1 where None."""
    images: int | None = None
    """How many images are judged, from the first; all where None."""
    calibration_images: int = CALIBRATION_IMAGES
    """How many calibrate."""


@dataclass(frozen=True, kw_only=True)
class EvaluationRequest:
    """One evaluation."""

    network: NetworkChoice
    """Which network and images."""
    chip: ChipChoice
    """Who multiplies."""
    corrections: tuple[CorrectionKind, ...] = tuple(CorrectionKind)
    """What is compared."""
    ages_s: tuple[float, ...] = ()
    """Ages besides fresh, ascending."""
    treatments: tuple[Treatment, ...] | None = None
    """What is done about an aged chip, or stored coefficients; all that the network allows where
    None."""
    ranges: RangeRule = RangeRule.PERCENTILE
    """How the range of a tensor follows from its values."""
    sums: SumArithmetic = SumArithmetic.INT8
    """How two tensors are added."""
    switch_off: bool = False
    """Whether a simulated chip is judged without each of its flaws, too."""
    fmt: NmpuFormat = field(default_factory=NmpuFormat)
    """The NMPU's format, shift 0."""
    seed: int = 0
    """Of the samples that calibrate, the noise, and the bootstrap."""
