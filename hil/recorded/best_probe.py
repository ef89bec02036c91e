"""A short probe: the readouts of a step that is stored, or a few vectors read from the chip."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.core.errors import CalibrationError, ConfigError, Problem
from hil.recorded.best import FEWEST_VECTORS, Candidate, Probe, Tile
from hil.recorded.best_candidates import (
    ProbeWork,
    StoredCalibrations,
    TileChoice,
    first_held_out,
)
from hil_calibration.expected import expected_outputs
from hil_datasets.chip_book.chip_key import ChipKey
from hil_datasets.chip_book.facts import digest_weights
from hil_datasets.run_source import RunSource
from hil_datasets.step import StepKey, StepKind
from hil_datasets.trace.ages import age_at
from hil_drivers.chip import Chip

_BLOCK = 128
"""Vectors sent and read at a time, where the chip takes as many."""

Programs = Callable[[int, npt.NDArray[np.int8]], None]
"""Programs weights (row, column) into a core, and writes that down."""


def probes_of_run(
    run: RunSource, choice: TileChoice, *, vectors: int, visit: int | None = None
) -> list[Probe]:
    """Return probes made of a stored run: the last step of each core and read mode.

    Parameters
    ----------
    run
        The run.
    choice
        Which cores and read modes.
    vectors
        Most vectors of each; the first of those that no fit has seen.
    visit
        Only steps of this visit; None for any.

    Raises
    ------
    ConfigError
        If it has no such step, or one with fewer than `FEWEST_VECTORS`.
    DatasetError
        If it cannot be read, or holds no readouts.
    """
    last: dict[Tile, StepKey] = {}
    for key in run.finished_steps():
        is_asked = choice.is_meant(key) and visit in {None, key.visit}
        if is_asked and key.kind is not StepKind.PROGRAM:
            last[key.core, key.read_mode] = key
    if not last:
        what = "no finished step that could be a probe"
        asked = "" if visit is None else f" in visit {visit}"
        raise ConfigError(str(run.path), [Problem("", f"has {what}{asked}")])
    return [_probe_of_step(run, key, vectors) for _, key in sorted(last.items())]


def _probe_of_step(run: RunSource, key: StepKey, vectors: int) -> Probe:
    facts, readouts = run.read_facts(key), run.readouts(key)
    first = first_held_out(facts)
    held_out = slice(first, first + vectors)
    counts = np.array(readouts.raw[held_out])
    if len(counts) < FEWEST_VECTORS:
        message = f"{key.name} has {len(counts)} vectors to probe with, fewer than {FEWEST_VECTORS}"
        raise ConfigError(str(run.path), [Problem("", message)])
    return Probe(
        tile=(key.core, key.read_mode),
        chip=ChipKey.of(facts.origin.chip),
        weights=digest_weights(np.asarray(readouts.weights)),
        counts=counts,
        expected=np.array(readouts.expected[held_out]),
        temperature_c=facts.origin.temperature_c,
        age_s=age_at(facts, run.events()),
        raw_sha256=facts.raw_sha256,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRequest:
    """How a chip is to be probed."""

    vectors: int
    """Vectors to read from each core in each read mode."""
    programs: Programs | None = None
    """Programs a core that does not hold the weights of a calibration; None: it is left alone."""
    trusts_weights: bool = False
    """Whether the core holds the newest calibration's weights although the chip cannot say so."""


def probe_chip(
    chip: Chip, stored: StoredCalibrations, request: ProbeRequest
) -> tuple[list[Probe], list[str]]:
    """Read the held-out vectors of stored calibrations again, from the chip.

    Parameters
    ----------
    chip
        The chip, open.
    stored
        Calibrations; those of other chips do not count.
    request
        How.

    Returns
    -------
    Probes; and why cores were not probed.

    Raises
    ------
    CalibrationError
        If there is no calibration of this chip.
    DeviceError, TransportError, FrameError
        If the chip refuses, is lost, or answers nonsense.
    SafetyLimitError
        If it would have to be programmed beyond its limit.
    """
    key = ChipKey.of(chip.identify())
    tiles: dict[Tile, list[Candidate]] = {}
    for candidate in stored.candidates:
        if candidate.chip == key:
            tiles.setdefault(candidate.tile, []).append(candidate)
    if not tiles:
        others = "; ".join(sorted({str(each.chip) for each in stored.candidates})) or "none"
        message = f"no stored calibration is of this chip, {key}; they are of: {others}"
        raise CalibrationError(message)
    probes, reasons = [], []
    for tile, candidates in sorted(tiles.items()):
        core, read_mode = tile
        work = _work_held(chip, core, candidates, stored, request)
        if isinstance(work, str):
            reasons.append(f"core {core} {read_mode} was not probed: {work}")
        else:
            probes.append(_read(chip, tile, key, work))
    return probes, reasons


def _work_held(
    chip: Chip,
    core: int,
    candidates: Sequence[Candidate],
    stored: StoredCalibrations,
    request: ProbeRequest,
) -> ProbeWork | str:
    """Return what a core holds and can be asked, or why there is no such thing."""
    works = list(_works(candidates, stored, request.vectors))
    if not works:
        return "no calibration of it has its weights and vectors stored"
    holds = getattr(chip, "holds", None)  # a plug-in need not have it
    for work in works:
        if holds is not None and holds(core, work.weights):
            return _enough(work)
    if request.programs is not None:
        request.programs(core, works[0].weights)
        return _enough(works[0])
    if holds is None:
        if request.trusts_weights:
            return _enough(works[0])
        return "the chip cannot say which weights it holds; --trust-weights believes that it does"
    return (
        "it holds the weights of no stored calibration; --program programs those of the newest "
        "one, which wears the core"
    )


def _enough(work: ProbeWork) -> ProbeWork | str:
    if len(work.inputs) < FEWEST_VECTORS:
        return f"only {len(work.inputs)} vectors are stored, fewer than {FEWEST_VECTORS}"
    return work


def _works(
    candidates: Sequence[Candidate], stored: StoredCalibrations, vectors: int
) -> Iterable[ProbeWork]:
    """Yield weights and vectors to probe with, newest first, each weights once."""
    seen: set[str] = set()
    newest_first = sorted(candidates, key=lambda each: each.facts.origin.measured_utc, reverse=True)
    for candidate in newest_first:
        if candidate.weights and candidate.weights not in seen:
            work = stored.work(candidate, vectors)
            if work is not None:
                seen.add(candidate.weights)
                yield work


def _read(chip: Chip, tile: Tile, key: ChipKey, work: ProbeWork) -> Probe:
    core, read_mode = tile
    block = min(_BLOCK, chip.geometry().max_vectors)
    temperature_c = chip.temperature_c(core, read_mode)
    counts = [
        chip.read_counts(core, read_mode, work.inputs[first : first + block])
        for first in range(0, len(work.inputs), block)
    ]
    return Probe(
        tile=tile,
        chip=key,
        weights=digest_weights(work.weights),
        counts=np.concatenate(counts),
        expected=expected_outputs(work.inputs, work.weights),
        temperature_c=temperature_c,
        age_s=math.nan,
    )


def require_probes(probes: Sequence[Probe], reasons: Sequence[str]) -> None:
    """Raise CalibrationError if nothing was probed, with every reason."""
    if not probes:
        raise CalibrationError("; ".join(reasons) or "nothing was probed")
