"""With which options stored readouts are fitted again: the campaign's own, and what replaces them.

Options have the names that they have in the campaign file and are held to the same checks; what was
decided when the readouts were taken cannot be changed any more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hil.campaign.config.layers import Layer, LayeredDocument
from hil.campaign.config.resolved import resolved_document
from hil.campaign.config.sections import CampaignConfig
from hil.campaign.config.settings import SET_OPTION, assigned_settings
from hil.core.errors import ConfigError, Problem
from hil.core.toml_file import Place, check_document
from hil.recorded.fit_kind import FitKind
from hil_datasets.step import StepOrigin

CHANGEABLE = ("calibration", "nmpu")
"""Sections of the campaign file whose keys may be set."""
FEWEST_VECTORS = 32
"""As for ``vectors.calibration``: with fewer hardly any column can be told from noise."""
MOST_HELD_OUT = 1_000_000
"""As for ``vectors.verification``: held-out readouts are judged all at once, in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefitOptions:
    """What is to be different this time; nothing by default."""

    assignments: tuple[str, ...] = ()
    """``KEY.PATH=VALUE`` texts."""
    calibration_vectors: int | None = None
    """How many of a calibration's vectors are fitted, the others being held out; as the campaign
    had it where None."""
    is_robust: bool = False
    """Whether a column is fitted without its glitches however few they are."""
    fit: FitKind = FitKind.LEAST_SQUARES
    """How gains and offsets are found."""

    @property
    def settings(self) -> tuple[str, ...]:
        """All keys that are set, as ``KEY.PATH=VALUE`` texts."""
        of_robust = FitKind.ROBUST.settings if self.is_robust else ()
        return (*self.assignments, *dict.fromkeys((*of_robust, *self.fit.settings)))

    def to_dict(self) -> dict[str, Any]:
        """Return them as a journal stores them."""
        # The other kinds are settings of the campaign's own fit.
        fit = {"fit": str(self.fit)} if self.fit.has_weights else {}
        settings = list(self.settings)
        return {"set": settings, "calibration_vectors": self.calibration_vectors} | fit


def changed_config(config: CampaignConfig, options: RefitOptions, *, source: str) -> CampaignConfig:
    """Return a run's configuration with other options.

    Parameters
    ----------
    config
        What the run was made with.
    options
        What replaces it.
    source
        Name of the run, for messages.

    Raises
    ------
    ConfigError
        If a key is unknown, a value impossible, or it is none that can still be changed; every
        problem is listed.
    """
    stored = Layer(document=resolved_document(config), place_of=lambda _: Place(source))
    layers = LayeredDocument(stored)
    settings, problems = assigned_settings(options.settings)
    for setting in settings:
        problems += _decided_before(setting.document)
        layers.override(setting)
    if problems:
        raise ConfigError(source, problems)
    return check_document(CampaignConfig, layers.document, source=source, place_of=layers.place_of)


def _decided_before(document: Mapping[str, Any]) -> list[Problem]:
    sections = " and ".join(f"{section}.*" for section in CHANGEABLE)
    message = f"was decided when the readouts were taken: only {sections} can be set"
    return [
        Problem(
            f"{section}.{next(iter(keys))}" if isinstance(keys, dict) else section,
            message,
            source=SET_OPTION,
        )
        for section, keys in document.items()
        if section not in CHANGEABLE
    ]


def split_again(origin: StepOrigin, options: RefitOptions, *, step: str) -> tuple[int, int]:
    """Return how many vectors of a calibration are fitted, and how many are held out.

    Parameters
    ----------
    origin
        Of the step: it says how its vectors were divided.
    options
        What is different.
    step
        Its name, for messages.

    Raises
    ------
    ConfigError
        If the step has not enough vectors, or too many would be held out.
    """
    if options.calibration_vectors is None:
        return origin.calibration_vectors, origin.verification_vectors
    vectors = origin.calibration_vectors + origin.verification_vectors
    fitted = options.calibration_vectors
    lowest = max(FEWEST_VECTORS, vectors - MOST_HELD_OUT)
    if not lowest <= fitted < vectors:
        message = f"{fitted}: must be {lowest} to {vectors - 1} for {step}, which has {vectors}"
        if lowest > FEWEST_VECTORS:
            message += f" vectors, of which at most {MOST_HELD_OUT} can be held out"
        raise ConfigError("--calibration-vectors", [Problem("", message)])
    return fitted, vectors - fitted
