"""A run of the tiny chip with three visits: two temperatures, a probe, a calibration not needed."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import example_steps as example
from hil.core.readout import ReadMode
from hil_datasets.circumstance import Circumstance, CorrectionSource
from hil_datasets.index import write_index
from hil_datasets.run_directory import RunDirectory, create_run
from hil_datasets.step import StepKey, StepKind
from hil_datasets.step_conditions import Condition

COLD = example.ONE
OTHER_COLD = example.OTHER_CORE
HOT = replace(COLD, visit=1)
OTHER_HOT = replace(OTHER_COLD, visit=1)
PROBE = replace(COLD, visit=2, kind=StepKind.PROBE)
NOT_NEEDED = replace(COLD, visit=2)
KEYS = (COLD, OTHER_COLD, HOT, OTHER_HOT, PROBE)
"""The finished steps, in the order they were taken."""
SETTINGS_C = (10.0, 40.0, 40.0)
"""Temperature of the chamber in each visit."""
REASON = "error 0.125 of the probe is within the limit 0.13"
_UTC = "2026-01-02T03:04:06+00:00"
_OUTPUTS = np.array([[vector, -vector, 0] for vector in range(example.VECTORS)], np.int8)


def conditions_at(celsius: float) -> tuple[Condition, ...]:
    """Return what a chamber shows that has settled."""
    return (
        Condition(
            instrument="chamber",
            quantity="temperature",
            unit="degC",
            setpoint=celsius,
            at_start=celsius,
            at_end=celsius,
        ),
    )


def write_visited_step(run: RunDirectory, key: StepKey, *, of: dict[StepKey, str]) -> str:
    """Write a step with counts of its own; return their hash."""
    circumstance = Circumstance(kind=key.kind, visit=key.visit, age_s=60.0 * 10**key.visit)
    conclusion = replace(
        example.CONCLUSION, errors=example.ERRORS | {"nmpu": 0.25 - 0.0625 * key.visit}
    )
    origin = example.ORIGIN
    if key.kind is StepKind.PROBE:
        source = CorrectionSource(step=HOT.name, raw_sha256=of[HOT])
        circumstance = replace(circumstance, correction_of=source)
        origin = replace(origin, calibration_vectors=0, verification_vectors=example.VECTORS)
        conclusion = replace(conclusion, outputs=_OUTPUTS)
    return example.write_step(
        run.step_path(key),
        key,
        origin=replace(origin, circumstance=circumstance),
        conclusion=conclusion,
        raw=example.RAW - np.uint16(key.visit) * (example.RAW > 9),
        timing=None,
        conditions=conditions_at(SETTINGS_C[key.visit]),
    )


def write_visited_run(folder: Path, keys: Sequence[StepKey] = KEYS) -> RunDirectory:
    """Make the run, its journal and its index."""
    run = create_run(folder, example.CAMPAIGN)
    run.journal.append("start", utc=_UTC, campaign_sha256=example.CAMPAIGN_SHA256)
    hashes: dict[StepKey, str] = {}
    for key in keys:
        hashes[key] = write_visited_step(run, key, of=hashes)
        run.journal.append("step", utc=_UTC, raw_sha256=hashes[key], **event_of(key))
    run.journal.append("skip", utc=_UTC, reason=REASON, **event_of(NOT_NEEDED))
    write_index(run, run.finished_steps())
    run.journal.append("stop", utc=_UTC, status="complete")
    return run


def event_of(key: StepKey) -> dict[str, int | str]:
    """Return how the journal names a step; of a calibration in visit 0 as it always did."""
    named: dict[str, int | str] = {"core": key.core, "read_mode": str(key.read_mode)}
    if key == StepKey(key.core, ReadMode(key.read_mode)):
        return named
    return named | {"visit": key.visit, "kind": str(key.kind)}
