"""Until when a run's calibrations stay good: the drift that its own probes have seen, carried on.

A probe reads vectors that were held out when its core was calibrated, so it is compared with that
calibration's own readout of the same vectors. All probes of a core since it was programmed, at the
settings of its first calibration, are one drift curve; the newest calibration starts again on it.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hil.core.errors import CalibrationError, ConfigError, Problem
from hil.recorded.refit_plan import RefitSelection
from hil.recorded.stored_config import stored_config
from hil_calibration.drift import DriftEstimate, estimate_drift
from hil_calibration.drift_model import Interval, fit_drift
from hil_datasets.calibration_choice import setpoints_of
from hil_datasets.journal_plan import key_of
from hil_datasets.run_source import RunSource, StepFacts
from hil_datasets.step import StepKey, StepKind

LEAST_AGE_S = 10.0
"""Ages are told to a second, and a calibration takes seconds: the logarithm of less is nothing."""
LEAST_SPAN = 1.5
"""Ratio of ages that the probes have to span: over less, noise counts as drift."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitChoice:
    """How large the error may become, and how ages are counted."""

    error_limit: float | None = None
    """Largest relative L2 error; that of the campaign's drift watch where None."""
    fresh_age_s: float = 0.0
    """How old a core that was just programmed is by its drift law: added to every age."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """Until when the newest calibration of a core and read mode is good; ages since programming."""

    newest: StepKey
    """The calibration."""
    age_s: float
    """How old the weights were then, seconds."""
    error_limit: float
    """Largest relative L2 error."""
    probes: int
    """Probes that tell how it drifts."""
    last_error: float | None
    """Error of the last readout, by a probe or by the calibration itself."""
    last_age_s: float
    """How old the weights were then, seconds."""
    until_s: Interval | None
    """Age at which the error passes the limit, seconds, with its 95 % interval; None if that cannot
    be told."""
    reason: str
    """Why it cannot; empty if it can."""


@dataclass(slots=True, kw_only=True)
class _Core:
    calibrations: list[StepFacts] = field(default_factory=list)
    probes: list[StepFacts] = field(default_factory=list)


def find_validity(
    source: RunSource, choice: LimitChoice, selection: RefitSelection
) -> tuple[Validity, ...]:
    """Predict until when the newest calibration of each core and read mode is good.

    Parameters
    ----------
    source
        A run with its readouts.
    choice
        What is good, and how ages are counted.
    selection
        Which cores and read modes.

    Raises
    ------
    ConfigError
        If there is no limit, or no such calibration.
    DatasetError
        If the run is damaged, or was packed without its readouts.
    """
    config = stored_config(source)
    watch = None if config.steps is None else config.steps.drift_watch
    limit = choice.error_limit or (None if watch is None else watch.error_limit)
    if limit is None:
        message = "is missing: the run had no drift watch that says what error is too large"
        raise ConfigError("--error-limit", [Problem("", message)])
    judged_by = "nmpu" if config.device.has_nmpu else "float"
    cores = _by_core(source, selection)
    if not cores:
        message = "has no calibration of these cores in these read modes"
        raise ConfigError(str(source.path), [Problem("", message)])
    return tuple(_validity(source, core, limit, judged_by, choice.fresh_age_s) for core in cores)


def _by_core(source: RunSource, selection: RefitSelection) -> list[_Core]:
    """Return calibrations and probes since the last programming, by core and read mode."""
    found: dict[tuple[int, str], _Core] = defaultdict(_Core)
    ages: dict[tuple[int, str], float] = {}
    programmings: dict[tuple[int, str], int | None] = {}
    told = {
        key_of(event): event.get("programming")
        for event in source.events()
        if event["event"] == "step"
    }
    kinds = (StepKind.CALIBRATE, StepKind.PROBE)
    # Within a visit the probe comes first in a drift watch, last elsewhere: the age says which.
    facts = [
        source.read_facts(key)
        for key in source.finished_steps()
        if key.kind in kinds and selection.has(key)
    ]
    for each in sorted(facts, key=lambda one: (one.key.visit, one.origin.circumstance.age_s)):
        place, age_s = (each.key.core, str(each.key.read_mode)), each.origin.circumstance.age_s
        programming = told.get(each.key)
        is_calibration = each.key.kind is StepKind.CALIBRATE
        is_other = programming != programmings.get(place, programming)
        if is_other and not is_calibration:
            continue  # a probe judges a calibration of other weights: not its age
        if age_s < ages.get(place, 0.0) or is_other:
            found.pop(place)  # it was programmed anew
        ages[place], programmings[place] = age_s, programming
        (found[place].calibrations if is_calibration else found[place].probes).append(each)
    return [found[place] for place in sorted(found) if found[place].calibrations]


def _validity(
    source: RunSource, core: _Core, limit: float, judged_by: str, fresh_age_s: float
) -> Validity:
    newest, first = core.calibrations[-1], core.calibrations[0]
    readouts = sorted((*core.calibrations, *core.probes), key=_age_of)
    reference_s = _age_of(first) + fresh_age_s
    until, reason = None, ""
    ages_s: list[float] = []
    try:
        _require_reference(first, reference_s)
        estimates, ages_s = _estimates(source, first, core.probes, fresh_age_s)
        _require_drift(ages_s, reference_s)
        until = fit_drift(estimates, ages_s, reference_s=reference_s).valid_until(
            limit,
            baseline_error=first.conclusion.errors[judged_by],
            rescaled_s=_age_of(newest) + fresh_age_s,
        )
    except CalibrationError as error:
        reason = str(error)
    return Validity(
        newest=newest.key,
        age_s=_age_of(newest),
        error_limit=limit,
        probes=len(ages_s),
        last_error=readouts[-1].conclusion.errors.get(judged_by),
        last_age_s=_age_of(readouts[-1]),
        until_s=None if until is None else _since_programming(until, fresh_age_s),
        reason=reason,
    )


def _require_reference(first: StepFacts, reference_s: float) -> None:
    """Raise CalibrationError where ages cannot be counted from the first calibration."""
    if math.isnan(reference_s):
        raise CalibrationError(f"how old the weights were at {first.key.name} is not known")
    if reference_s < LEAST_AGE_S:
        raise CalibrationError(
            f"{first.key.name} was read at an age of {reference_s:.3g} s: say --fresh-age"
        )


def _require_drift(ages_s: Sequence[float], reference_s: float) -> None:
    """Raise CalibrationError where the probes do not tell how a core drifts."""
    if not ages_s:
        raise CalibrationError(
            "no probe has read vectors of its first calibration later, at the same settings"
        )
    if max(ages_s) < LEAST_SPAN * reference_s:
        raise CalibrationError(f"its probes span less than a factor of {LEAST_SPAN:g} in age")


def _estimates(
    source: RunSource, first: StepFacts, probes: Sequence[StepFacts], fresh_age_s: float
) -> tuple[list[DriftEstimate], list[float]]:
    """Compare every probe with the first calibration's readout of the same vectors.

    The ages are those of the drift law.
    """
    inputs, counts = _held_out(source, first)
    estimates, ages_s = [], []
    for probe in probes:
        probed, present = _held_out(source, probe)
        vectors = min(len(probed), len(inputs))
        is_comparable = (
            _age_of(probe) > _age_of(first)
            and setpoints_of(probe) == setpoints_of(first)
            and np.array_equal(probed[:vectors], inputs[:vectors])
        )
        if is_comparable:
            estimates.append(
                estimate_drift(
                    first.conclusion.correction,
                    reference_counts=counts[:vectors],
                    present_counts=present[:vectors],
                )
            )
            ages_s.append(_age_of(probe) + fresh_age_s)
    return estimates, ages_s


def _held_out(
    source: RunSource, facts: StepFacts
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.uint16]]:
    readouts, fitted = source.readouts(facts.key), facts.origin.calibration_vectors
    return np.array(readouts.inputs[fitted:]), np.array(readouts.raw[fitted:])


def _age_of(facts: StepFacts) -> float:
    return facts.origin.circumstance.age_s


def _since_programming(until: Interval, fresh_age_s: float) -> Interval:
    value, low, high = (age_s - fresh_age_s for age_s in (until.value, until.low, until.high))
    return Interval(value=value, low=low, high=high)
