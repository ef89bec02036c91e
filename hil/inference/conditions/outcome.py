"""What an evaluation found, as values: predictions per condition."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from hil.core.array_types import read_only
from hil.inference.age_words import age_words
from hil.inference.conditions.treatment import Treatment

SCHEMA_VERSION = 1
"""Of the JSON document."""
FORMAT_VERSION = 2
"""Of the HDF5 file: since 2 it has a hash of all its content, and the id is of labels, too."""
_WITHOUT_CHIP = ("labels", "float_predictions", "int8_predictions", "int8_weight_predictions")


def age_name(age_s: float) -> str:
    """Return an age in seconds as names of files have it: every digit, so no two are alike.

    Examples
    --------
    >>> age_name(0.0), age_name(8640040.0), age_name(1.5)
    ('0s', '8640040s', '1.5s')
    """
    return f"{int(age_s)}s" if age_s == int(age_s) else f"{age_s!r}s"


def calibration_name(age_s: float | None) -> str:
    """Return what files call a calibration made at an age, seconds; None is one a run had stored.

    Examples
    --------
    >>> calibration_name(3600.0), calibration_name(None)
    ('3600s', 'stored')
    """
    return "stored" if age_s is None else age_name(age_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """How the network was computed once."""

    correction: str
    """``none``, ``global``, ``float``, ``fp16`` or ``nmpu``."""
    age_s: float = 0.0
    """Seconds since the weights were programmed and first calibrated."""
    treatment: Treatment = Treatment.KEPT
    """What was done about its age."""

    @property
    def name(self) -> str:
        """Its name in files.

        Examples
        --------
        >>> Condition(correction="nmpu", age_s=3600.0, treatment=Treatment.ADABS).name
        'nmpu_3600s_adabs'
        """
        treated = "" if self.treatment is Treatment.KEPT else f"_{self.treatment}"
        return f"{self.correction}_{age_name(self.age_s)}{treated}"

    @property
    def words(self) -> str:
        """Its name for people.

        Examples
        --------
        >>> Condition(correction="nmpu", age_s=86400.0, treatment=Treatment.ADABS).words
        'nmpu, 1 d, adabs'
        """
        treated = "" if self.treatment is Treatment.KEPT else f", {self.treatment}"
        return f"{self.correction}, {age_words(self.age_s)}{treated}"


@dataclass(frozen=True, kw_only=True)
class ConditionResult:
    """What came out under one condition; layers in the order of execution."""

    condition: Condition
    """Which."""
    predictions: npt.NDArray[np.int64]
    """Predicted classes, shape (image,)."""
    layer_errors: npt.NDArray[np.float64]
    """Relative L2 error of each layer's products against the exact products of the same input
    codes, shape (layer,); NaN where nothing was expected."""
    layer_saturation: npt.NDArray[np.float64]
    """Share of counts that were at the counter's end, shape (layer,); NaN where the chip's own unit
    took the counts and nobody saw them."""
    layer_folded: npt.NDArray[np.bool_]
    """Whether the correction of the layer normalised its outputs, too, shape (layer,)."""
    seconds: float = 0.0
    """How long it took."""

    def __post_init__(self) -> None:
        for name in ("predictions", "layer_errors", "layer_saturation", "layer_folded"):
            object.__setattr__(self, name, read_only(getattr(self, name)))


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Everything that an evaluation found."""

    model: str
    """The network, as it was asked for."""
    chip: str
    """Who multiplied: a chip, a run of one, a profile, or exact arithmetic."""
    read_mode: str
    """How the chip read."""
    layers: tuple[str, ...]
    """Names of the layers on the chip, in the order of execution."""
    labels: npt.NDArray[np.int64]
    """The right classes, shape (image,)."""
    float_predictions: npt.NDArray[np.int64]
    """What the network predicts in float32, shape (image,)."""
    int8_predictions: npt.NDArray[np.int64]
    """What it predicts with int8 weights and inputs and exact products, shape (image,)."""
    int8_weight_predictions: npt.NDArray[np.int64]
    """What it predicts with int8 weights alone, shape (image,)."""
    results: tuple[ConditionResult, ...]
    """One for each condition."""
    seed: int
    """Of the bootstrap, and of the model of the chip where there is one."""
    identity: Mapping[str, str]
    """Ids and hashes of all that went in: weights, images, run, coefficients."""
    software: Mapping[str, str]
    """Name and version of what computed it."""
    notes: tuple[str, ...] = ()
    """What a reader has to know: where ranges came from, what stayed digital."""
    switched_off: Mapping[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    """What a simulated chip predicts without each of its flaws, shape (image,), and as it is, by
    the names in `hil.inference.conditions.switched_off`; nothing if it was not asked for."""
    format_version: int = FORMAT_VERSION
    """Of the file that it was read from: what its id is of."""

    def __post_init__(self) -> None:
        for name in _WITHOUT_CHIP:
            object.__setattr__(self, name, read_only(getattr(self, name)))
        frozen = {flaw: read_only(found) for flaw, found in self.switched_off.items()}
        object.__setattr__(self, "switched_off", MappingProxyType(frozen))

    @property
    def id(self) -> str:
        """Return a content hash of what went in, but for the software, and of what was predicted.

        The SHA-256 of a line of JSON with the identity, of labels and of predictions without a
        chip (little-endian int64; not in version 1), and of name and predictions of every
        condition.
        """
        said = json.dumps(dict(self.identity), sort_keys=True)
        digest = hashlib.sha256(f"hil evaluation {self.format_version}\n{said}\n".encode())
        if self.format_version > 1:
            for name in _WITHOUT_CHIP:
                digest.update(f"{name}\n".encode())
                digest.update(np.ascontiguousarray(getattr(self, name), dtype="<i8").data)
        for result in self.results:
            digest.update(f"{result.condition.name}\n".encode())
            digest.update(np.ascontiguousarray(result.predictions, dtype="<i8").data)
        return digest.hexdigest()

    def find(self, condition: Condition) -> ConditionResult | None:
        """Return the result of a condition; None if there is none."""
        return next((found for found in self.results if found.condition == condition), None)
