"""A tiny recorded chip, 4 rows x 3 columns, written by the real writer; every number is literal."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.core.correction import ColumnFlag, ColumnQuality, Correction
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ChipIdentity, ReadMode
from hil_datasets.circumstance import Circumstance, CorrectionSource
from hil_datasets.index import write_index
from hil_datasets.provenance import Provenance
from hil_datasets.run_directory import RunDirectory, create_run
from hil_datasets.step import StepConclusion, StepKey, StepKind, StepOrigin
from hil_datasets.step_conditions import Condition
from hil_datasets.step_files.concluded import concluded_sha256
from hil_datasets.step_files.told_facts import facts_sha256
from hil_datasets.step_files.writer import StepWriter
from hil_datasets.step_timing import RecordedFault, StepTiming

ONE = StepKey(0, ReadMode.ONE_PHASE)
FOUR = StepKey(0, ReadMode.FOUR_PHASE)
OTHER_CORE = StepKey(2, ReadMode.ONE_PHASE)

CALIBRATION_VECTORS = 4
VECTORS = 6
ROWS = 4
COLUMNS = 3

WEIGHTS = np.array([[1, -2, 3], [4, 5, -6], [-7, 8, 9], [127, -127, 0]], dtype=np.int8)
INPUTS = np.array(
    [
        [1, 0, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 1, 0],
        [127, -127, 1, -1],
        [1, 0, 0, 0],
        [5, 6, 7, 8],
    ],
    dtype=np.int8,
)
"""Vectors 0 and 4 are the same: one calibrates, one is held out."""
EXPECTED = np.array(
    [
        [1, -2, 3],
        [4, 5, -6],
        [-7, 8, 9],
        [-515, -754, 1152],
        [1, -2, 3],
        [996, -940, 42],
    ],
    dtype=np.int32,
)
RAW = np.array(
    [
        [[100, 101, 102], [0, 1, 2]],
        [[110, 111, 112], [10, 11, 12]],
        [[120, 121, 122], [20, 21, 22]],
        [[130, 131, 132], [30, 31, 32]],
        [[140, 141, 142], [40, 41, 42]],
        [[150, 151, 4095], [50, 51, 0]],
    ],
    dtype=np.uint16,
)
OUTPUTS = np.array([[1, -1, 0], [127, -128, 0]], dtype=np.int8)
"""What the device's NMPU said for vectors 4 and 5."""
CAMPAIGN = b'schema_version = 1\n[campaign]\ntitle = "Tiny"\n'
CAMPAIGN_SHA256 = "8a05beea815b392fdf578a020a7c87d4bee69cb70020a40d7e99a4a597e5ceb6"
CHIP = ChipIdentity(manufacturer="Acme", model="AIMC-4x3", serial="42", firmware="1.0")
PROVENANCE = Provenance(
    campaign='{"campaign":{"title":"Tiny"}}',
    commit="0123456789abcdef0123456789abcdef01234567",
    packages={"numpy": "2.0.0", "pyvisa": "1.14.0"},
    instruments={"chamber": {"identity": "Acme,Oven,1,2", "settings": {"temperature": 45.0}}},
)
ORIGIN = StepOrigin(
    title="Tiny µ-run",
    campaign_sha256=CAMPAIGN_SHA256,
    resource="TCPIP0::127.0.0.1::5025::SOCKET",
    chip=CHIP,
    counter_bits=12,
    measured_utc="2026-01-02T03:04:05+00:00",
    temperature_c=25.5,
    seed=7,
    calibration_vectors=CALIBRATION_VECTORS,
    verification_vectors=VECTORS - CALIBRATION_VECTORS,
    rows_used=ROWS,
    columns_used=COLUMNS,
    first_row=0,
    first_column=0,
    software={"aimc-hil": "0.1.0", "numpy": "2.0.0"},
    host="bench-1",
    circumstance=Circumstance(kind=StepKind.CALIBRATE, visit=0, age_s=60.5),
    provenance=PROVENANCE,
)
ERRORS = {"uncorrected": 0.5, "float": 0.125, "fp16": 0.1875, "nmpu": 0.25}
QUALITY = ColumnQuality(
    inl=np.array([0.25, 0.5, 9.0]),
    inl_edges=np.stack([np.full((2, COLUMNS), edge) for edge in (100.0, 125.5, 151.0)]),
    inl_curve=np.stack([np.full((2, COLUMNS), value) for value in (0.25, -0.125)]),
    effective_bits=np.array([6.5, np.inf, 0.0]),
    residual_rms=np.array([0.75, 0.0, 9.5]),
    noise_rms=np.array([0.5, np.nan, 0.0]),
    saturated_share=np.array([0.0, 0.25, 1.0]),
    outlier_share=np.array([0.0, 0.125, 0.5]),
    condition=np.array([1.0, 1.5, np.inf]),
    glitch_share=np.array([0.0, 0.0625, 0.0]),
)
CONCLUSION = StepConclusion(
    output_lsb=8.5,
    global_gain=0.75,
    correction=Correction(
        a_p=np.array([0.5, 0.25, 0.0]),
        a_n=np.array([0.5, 0.375, 0.0]),
        b=np.array([-1.5, 2.5, 0.0]),
    ),
    a_p_se=np.array([0.01, 0.02, 0.0]),
    a_n_se=np.array([0.03, 0.04, 0.0]),
    b_se=np.array([0.05, 0.06, 0.0]),
    residual_rms=np.array([0.7, 0.8, 9.0]),
    r_squared=np.array([0.99, 0.98, 0.0]),
    saturated_counts=np.array([0, 1, 4], dtype=np.int64),
    fmt=NmpuFormat(shift=1),
    registers=NmpuRegisters(
        scale_p=np.array([128, 64, 0], dtype=np.uint8),
        scale_n=np.array([128, 96, 0], dtype=np.uint8),
        offset=np.array([-3, 5, 0], dtype=np.int16),
        swap=np.array([False, True, False]),
    ),
    flags=np.array(
        [0, ColumnFlag.NEGATIVE_GAIN, ColumnFlag.DEAD | ColumnFlag.SATURATED], dtype=np.uint16
    ),
    outputs=OUTPUTS,
    column_rms=np.array([[4.0, 5.0, 6.0], [1.0, 2.0, 3.0], [1.5, 2.5, 3.5], [1.75, 2.75, 3.75]]),
    errors=ERRORS,
    nmpu_mismatches=0,
    errors_all_columns={"uncorrected": 1.5, "float": 1.125, "fp16": 1.1875, "nmpu": 1.25},
    quality=QUALITY,
)

TIMING = StepTiming(
    began_utc="2026-01-02T03:04:05.250000+00:00",
    since_run_began_s=12.5,
    first_vector=np.array([0, CALIBRATION_VECTORS]),
    began_s=np.array([0.5, 1.25]),
    ended_s=np.array([1.0, 4.5]),
    faults=(
        RecordedFault(block=1, kind="timeout", request="READ?", noticed_s=3.25, recovered_s=0.125),
        RecordedFault(
            block=1,
            kind="link_lost",
            request="FETCh:COUNts?",
            noticed_s=3.375,
            recovered_s=float("nan"),
        ),
    ),
)
"""Two blocks, the second one through two faults."""

CONDITIONS = (
    Condition(
        instrument="chamber",
        quantity="temperature",
        unit="degC",
        setpoint=45.0,
        at_start=44.5,
        at_end=45.25,
    ),
    Condition(
        instrument="supply",
        quantity="current",
        unit="A",
        setpoint=None,
        at_start=0.0025,
        at_end=0.002,
    ),
)
"""One quantity that was set, one that was only read."""


def write_step(
    path: Path,
    key: StepKey = ONE,
    *,
    origin: StepOrigin = ORIGIN,
    conclusion: StepConclusion = CONCLUSION,
    weights: npt.NDArray[np.int8] = WEIGHTS,
    raw: npt.NDArray[np.uint16] = RAW,
    timing: StepTiming | None = TIMING,
    conditions: Sequence[Condition] = CONDITIONS,
) -> str:
    """Write a whole step in two blocks, its origin made to fit the key; return its content hash."""
    circumstance = replace(origin.circumstance, kind=key.kind, visit=key.visit)
    origin = replace(origin, circumstance=circumstance)
    expected = EXPECTED if weights is WEIGHTS else INPUTS.astype(np.int32) @ weights
    with StepWriter(path, key=key, origin=origin, weights=weights) as writer:
        spans = ((0, CALIBRATION_VECTORS), (CALIBRATION_VECTORS, VECTORS))
        for sequence, (first, stop) in enumerate(spans):
            block = slice(first, stop)
            writer.write_block(
                first,
                inputs=INPUTS[block],
                counts=raw[block],
                expected=expected[block],
                sequence=sequence,
            )
        return writer.finish(conclusion, timing, conditions)


def write_run(folder: Path, *keys: StepKey, **step: Any) -> RunDirectory:
    """Make a run directory with these finished steps, its journal and its index."""
    run = create_run(folder, CAMPAIGN)
    run.journal.append(
        "start",
        utc="2026-01-02T03:04:00+00:00",
        title="Tiny",
        campaign_sha256=CAMPAIGN_SHA256,
    )
    for key in keys:
        raw_sha256 = write_step(run.step_path(key), key, **step)
        run.journal.append(
            "step",
            utc="2026-01-02T03:04:06+00:00",
            core=key.core,
            read_mode=str(key.read_mode),
            visit=key.visit,
            kind=str(key.kind),
            raw_sha256=raw_sha256,
            concluded_sha256=concluded_sha256(step.get("conclusion", CONCLUSION)),
            facts_sha256=_facts_sha256(key, **step),
        )
    write_index(run, keys)
    run.journal.append("stop", utc="2026-01-02T03:04:07+00:00", status="complete")
    return run


def _facts_sha256(
    key: StepKey,
    *,
    origin: StepOrigin = ORIGIN,
    conditions: Sequence[Condition] = CONDITIONS,
    **_: Any,
) -> str:
    circumstance = replace(origin.circumstance, kind=key.kind, visit=key.visit)
    return facts_sha256(key, replace(origin, circumstance=circumstance), conditions)


def with_nmpu(**changes: Any) -> StepConclusion:
    """Return the conclusion with other NMPU parameters."""
    return replace(CONCLUSION, fmt=replace(CONCLUSION.fmt, **changes))


def circumstance_of(raw_sha256: str) -> Circumstance:
    """Return the circumstance of a probe that judges the calibration with these readouts."""
    source = CorrectionSource(step="core00_one_phase", raw_sha256=raw_sha256)
    return Circumstance(kind=StepKind.PROBE, visit=0, age_s=60.5, correction_of=source)
