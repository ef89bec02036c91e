"""Recordings of a tiny chip, 4 rows x 3 columns, with as many blocks and faults as a test wants."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

import example_steps as example
from hil_datasets.recording import Recording
from hil_datasets.step import StepKey, StepRecord
from hil_datasets.step_timing import RecordedFault, StepTiming


def inputs_of(blocks: int) -> np.ndarray[tuple[int, int], np.dtype[np.int8]]:
    """Return one input vector for each block, each another one."""
    numbers = np.arange(blocks)
    return np.stack([numbers % 100, numbers // 100, numbers % 7, numbers % 2], axis=1).astype("i1")


def recorded_step(
    began_s: Sequence[float],
    ended_s: Sequence[float],
    *,
    key: StepKey = example.ONE,
    since_run_began_s: float = 0.0,
    faults: Sequence[RecordedFault] = (),
    is_timed: bool = True,
) -> StepRecord:
    """Return a step of blocks of one vector, the last of them held out; counts tell the block."""
    blocks = len(began_s)
    timing = StepTiming(
        began_utc="2026-01-02T03:04:05.000000+00:00",
        since_run_began_s=since_run_began_s,
        first_vector=np.arange(blocks),
        began_s=np.array(began_s),
        ended_s=np.array(ended_s),
        faults=tuple(faults),
    )
    inputs = inputs_of(blocks)
    raw = np.broadcast_to(np.arange(blocks, dtype=np.uint16)[:, None, None], (blocks, 2, 3))
    return StepRecord(
        key=key,
        origin=replace(example.ORIGIN, calibration_vectors=blocks - 1, verification_vectors=1),
        weights=example.WEIGHTS,
        inputs=inputs,
        raw=raw,
        expected=inputs.astype(np.int32) @ example.WEIGHTS.astype(np.int32),
        conclusion=replace(example.CONCLUSION, outputs=np.array([[7, -8, 9]], np.int8)),
        raw_sha256="0" * 64,
        timing=timing if is_timed else None,
    )


def even_recording(blocks: int, *, every_s: float, answer_s: float) -> Recording:
    """Return a recording of blocks that came in even time."""
    began_s = [number * every_s for number in range(blocks)]
    return Recording([recorded_step(began_s, [at + answer_s for at in began_s])])
