"""What was there when a step was taken: instruments, chip, weights, software."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from hil_datasets.chip_book.facts import digest_weights
from hil_datasets.run_source import StepFacts
from hil_datasets.trace.ages import age_at
from hil_datasets.trace.journal import without_nan
from hil_datasets.trace.links import LinkState, TraceLink


def conditions_link(facts: StepFacts, events: Sequence[Mapping[str, Any]]) -> TraceLink:
    """Return when and under what a step was taken; `events` are the journal's."""
    origin = facts.origin
    circumstance = origin.circumstance
    age_s = age_at(facts, events)
    told: dict[str, Any] = {
        "measured_utc": origin.measured_utc,
        "chip_temperature_c": origin.temperature_c,
        "visit": circumstance.visit,
        "kind": str(circumstance.kind),
        "age_s": None if math.isnan(age_s) else age_s,
        "instruments": [asdict(condition) for condition in facts.conditions],
    }
    provenance = origin.provenance
    if provenance is not None and provenance.instruments:
        told["settings"] = {name: dict(said) for name, said in provenance.instruments.items()}
    return TraceLink(
        name="conditions", state=LinkState.UNCHECKED, reason="readings, as stored", facts=told
    )


def chip_link(facts: StepFacts, beginning: Mapping[str, Any]) -> TraceLink:
    """Return which chip it was, held to what it said of itself when the run began.

    Parameters
    ----------
    facts
        The step.
    beginning
        The ``start`` or ``resume`` event before it.
    """
    chip = asdict(facts.origin.chip)
    told = {**chip, "resource": facts.origin.resource, "counter_bits": facts.origin.counter_bits}
    identity = beginning.get("identity")
    if identity is None:
        state, reason = LinkState.UNCHECKED, "the journal does not say who the chip is"
    elif identity == chip:
        state, reason = LinkState.OK, "as the journal says"
    else:
        words = ", ".join(f"{name} {value}" for name, value in identity.items())
        state, reason = LinkState.BROKEN, f"the journal says {words}"
    return TraceLink(name="chip", state=state, reason=reason, facts=told)


def programming_link(
    programming: Mapping[str, Any], weights: npt.NDArray[np.int8] | None, *, problem: str = ""
) -> TraceLink:
    """Return when the weights were programmed, held to those that the step has.

    Parameters
    ----------
    programming
        The last ``program`` event of the core before the step; empty if there is none.
    weights
        The step's weights, shape (row, column); None if the file has none.
    problem
        That the step was read under more than one programming; empty if it was not.
    """
    name = "programming"
    if not programming:
        reason = "the journal tells of no programming of this core before the step"
        return TraceLink(name=name, state=LinkState.UNCHECKED, reason=reason)
    digest = str(programming.get("weights", ""))
    told = without_nan(
        {key: value for key, value in programming.items() if key not in {"event", "weights"}}
    )
    if problem:
        state, reason = LinkState.BROKEN, problem
    elif weights is None:
        state, reason = LinkState.UNCHECKED, "the weights are not in this file"
    elif digest_weights(weights) == digest:
        state, reason = LinkState.OK, "the step's weights have this digest"
    else:
        state = LinkState.BROKEN
        reason = f"the step's weights have the digest {digest_weights(weights)}"
    return TraceLink(name=name, state=state, reason=reason, content_id=digest, facts=told)


def software_link(facts: StepFacts) -> TraceLink:
    """Return what measured, computed and stored the step, and where."""
    told: dict[str, Any] = {"software": dict(facts.origin.software), "host": facts.origin.host}
    provenance = facts.origin.provenance
    if provenance is not None:
        told |= {"commit": provenance.commit or None, "packages": dict(provenance.packages)}
    return TraceLink(name="software", state=LinkState.UNCHECKED, reason="as stored", facts=told)
