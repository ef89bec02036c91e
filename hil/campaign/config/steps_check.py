"""What is wrong with a campaign's sweeps and steps, found before anything touches a device."""

import math
from collections.abc import Iterator, Mapping

from hil.campaign.config.sections import CampaignConfig
from hil.campaign.visits import Visit, steps_of, swept_section, visits_of
from hil.core.hints import did_you_mean
from hil.core.legible import cut_short
from hil.core.toml_lines import KeyPath
from hil_datasets.step import StepKind

MOST_VISITS = 1000
"""Visits of a campaign: each has a step file per core, read mode and kind."""

_JUDGES = (StepKind.PROBE, StepKind.VERIFY)
"""Kinds that judge the correction of a calibration."""


def steps_problems(config: CampaignConfig) -> list[tuple[KeyPath, str]]:
    """Return the key and the message of everything that is wrong with sweeps and steps.

    Parameters
    ----------
    config
        A campaign whose keys are all right, each for itself.
    """
    problems = [*_sweep_problems(config), *_at_problems(config), *_vector_problems(config)]
    count = math.prod(len(sweep.values) for sweep in config.sweep or ())
    watch = steps_of(config).drift_watch
    count += 0 if watch is None else len(watch.ages_s)
    if count > MOST_VISITS:
        key: KeyPath = ("sweep",) if config.sweep else ("steps", "drift-watch")
        return [*problems, (key, f"makes {count} visits: must be at most {MOST_VISITS}")]
    return problems or list(_order_problems(config))


def _sweep_problems(config: CampaignConfig) -> Iterator[tuple[KeyPath, str]]:
    first: dict[str, int] = {}
    for place, sweep in enumerate(config.sweep or ()):
        key: KeyPath = ("sweep", place, "quantity")
        if sweep.quantity in first:
            yield (
                key,
                (
                    f"{sweep.quantity} is swept twice, here and in sweep[{first[sweep.quantity]}]; "
                    "put all values into one"
                ),
            )
            continue
        first[sweep.quantity] = place
        message = _quantity_problem(config, sweep.quantity)
        if message:
            yield key, message
            continue
        for number, value in enumerate(sweep.values):
            message = _value_problem(config, sweep.quantity, value)
            if message:
                yield ("sweep", place, "values", number), message


def _quantity_problem(config: CampaignConfig, quantity: str) -> str:
    section = swept_section(config, quantity)
    if section is None:
        known = [
            f"{name}.{key}"
            for name, instrument in config.instruments.items()
            for key in instrument.quantities
        ]
        hint = did_you_mean(quantity, known)
        listed = cut_short(", ".join(known)) if known else "none"
        return f"{quantity}: no such quantity of an instrument; {hint or f'there are: {listed}'}"
    if section.set is None:
        return f"{quantity} is only read: it has no set"
    return ""


def _value_problem(config: CampaignConfig, quantity: str, value: float) -> str:
    section = swept_section(config, quantity)
    if section is None or section.lower is None or section.upper is None:
        return ""
    if section.lower <= value <= section.upper:
        return ""
    return (
        f"is {value:g}: must be within the limits of {quantity}, "
        f"{section.lower:g} to {section.upper:g}"
    )


def _at_problems(config: CampaignConfig) -> Iterator[tuple[KeyPath, str]]:
    steps = steps_of(config)
    swept = {sweep.quantity: sweep.values for sweep in config.sweep or ()}
    for kind in StepKind:
        section = getattr(steps, kind)
        for quantity, value in ({} if section is None else section.at).items():
            key: KeyPath = ("steps", str(kind), "at", quantity)
            if quantity not in swept:
                hint = did_you_mean(quantity, list(swept)) or (
                    f"swept are: {', '.join(swept)}" if swept else "nothing is"
                )
                yield key, f"{quantity} is not swept; {hint}"
            elif value not in swept[quantity]:
                shown = cut_short(", ".join(f"{each:g}" for each in swept[quantity]))
                yield key, f"is {value:g}, which matches no visit: {quantity} is swept over {shown}"
    watch = steps.drift_watch
    for quantity, value in ({} if watch is None else watch.at).items():
        message = _quantity_problem(config, quantity) or _value_problem(config, quantity, value)
        if message:
            yield ("steps", "drift-watch", "at", quantity), message


def _vector_problems(config: CampaignConfig) -> Iterator[tuple[KeyPath, str]]:
    steps, held_out = steps_of(config), config.vectors.verification
    sections: Mapping[str, object | None] = {
        "program": steps.program,
        "probe": steps.probe,
        "characterise": steps.characterise,
        "drift-watch": steps.drift_watch,
    }
    for name, section in sections.items():
        vectors = getattr(section, "vectors", 0)
        if vectors > held_out:
            yield (
                ("steps", name, "vectors"),
                (
                    f"is {vectors}: must be at most vectors.verification, {held_out}, of "
                    "which they are the first"
                ),
            )


def _order_problems(config: CampaignConfig) -> Iterator[tuple[KeyPath, str]]:
    """Find steps that judge a correction before there is one."""
    is_calibrated = False
    told: set[str] = set()
    for visit in visits_of(config):
        for kind in visit.kinds:
            name = "drift-watch" if visit.due_s is not None else str(kind)
            if kind in _JUDGES and not is_calibrated and name not in told:
                told.add(name)
                yield ("steps", name), _order_problem(config, name, visit)
            is_calibrated |= kind is StepKind.CALIBRATE


def _order_problem(config: CampaignConfig, name: str, visit: Visit) -> str:
    if steps_of(config).calibrate is None:
        return "judges the correction of a calibration: add [steps.calibrate]"
    settings = ", ".join(f"{quantity} = {value:g}" for quantity, value in visit.settings.items())
    return (
        f"judges a correction in visit {visit.number} ({settings}) before any calibrate step has "
        f"made one: list the values of steps.calibrate.at first in the sweep, or give "
        f"steps.{name} an `at`"
    )
