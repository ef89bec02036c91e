"""What ``hil nmpu trace`` traces: numbers given by hand, or a column of a run."""

from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from hil.core.errors import ConfigError, Problem
from hil.core.nmpu_format import PRESETS, NmpuFormat, NmpuRegisters
from hil.core.readout import ReadMode
from hil_calibration.nmpu_trace import NmpuTrace, count_saturation, trace_nmpu
from hil_datasets.run_directory import open_directory
from hil_datasets.step import StepKey, StepRecord

_VECTORS = 4
"""Vectors of a run that are printed unless told otherwise: they fit side by side."""
_STEP_OPTIONS = {"core": "--core", "read_mode": "--read-mode", "column": "--column"}
_OF_A_RUN = _STEP_OPTIONS | {"first": "--first", "vectors": "--vectors"}
_BY_HAND = {
    "p": "--p", "n": "--n", "scale_p": "--scale-p", "scale_n": "--scale-n", "offset": "--offset",
    "swap": "--swap", "preset": "--preset", "parameters": "--format",
}  # fmt: skip


def trace_given(
    run: Path | None, given: dict[str, Any], *, relu: bool
) -> tuple[NmpuTrace, dict[str, int] | None]:
    """Trace what the command line asks for.

    Parameters
    ----------
    run
        Folder of a run; None for numbers given by hand.
    given
        The options, by the names of their arguments.
    relu
        Whether negative outputs become 0.

    Returns
    -------
    The trace, and of a run how often each stage of its step saturates.

    Raises
    ------
    click.UsageError
        If the options do not go together.
    ConfigError
        If the run has no such step, column or vector.
    """
    if run is None:
        _refuse_options(given, _OF_A_RUN, "needs a folder RUN")
        return _trace_by_hand(given, relu=relu), None
    _refuse_options(given, _BY_HAND, "has no place beside a folder RUN")
    return _trace_of_run(run, given, relu=relu)


def _refuse_options(given: dict[str, Any], options: dict[str, str], reason: str) -> None:
    for name, option in options.items():
        value = given[name]
        if value is not None and value is not False and value != ():
            raise click.UsageError(f"{option} {reason}")


def _trace_by_hand(given: dict[str, Any], *, relu: bool) -> NmpuTrace:
    missing = [_BY_HAND[name] for name in ("p", "n") if not given[name]]
    missing += [_BY_HAND[name] for name in ("scale_p", "scale_n") if given[name] is None]
    if missing:
        raise click.UsageError(f"needs a folder RUN, or numbers by hand: {', '.join(missing)}")
    if len(given["p"]) != len(given["n"]):
        raise click.UsageError(
            f"--p is there {len(given['p'])} times, --n {len(given['n'])} times: "
            "give one pair for each vector"
        )
    registers = NmpuRegisters(
        scale_p=np.array([given["scale_p"]], np.uint8),
        scale_n=np.array([given["scale_n"]], np.uint8),
        offset=np.array([given["offset"] or 0], np.int16),
        swap=np.array([given["swap"]]),
    )
    base = PRESETS[given["preset"]] if given["preset"] else None
    try:
        fmt = NmpuFormat.from_text(given["parameters"] or "", base=base)
        p_counts, n_counts = (np.array(given[name], np.uint16)[:, None] for name in ("p", "n"))
        return trace_nmpu(p_counts, n_counts, registers, fmt, relu=relu)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _trace_of_run(
    path: Path, given: dict[str, Any], *, relu: bool
) -> tuple[NmpuTrace, dict[str, int]]:
    """Trace stored counts; count what saturates over all vectors of the step."""
    missing = [option for name, option in _STEP_OPTIONS.items() if given[name] is None]
    if missing:
        raise click.UsageError(f"a folder RUN needs {', '.join(missing)} as well")
    step = _read_step(path, StepKey(given["core"], ReadMode(given["read_mode"])))
    column, first = given["column"], given["first"] or 0
    vectors, _, columns = step.raw.shape
    for option, number, size in (("--column", column, columns), ("--first", first, vectors)):
        if number >= size:
            raise ConfigError(option, [Problem("", f"{number}: must be 0 to {size - 1}")])
    chosen = slice(column, column + 1)
    codes = step.conclusion.registers.to_codes()[:, chosen]
    registers, fmt = NmpuRegisters.from_codes(codes), step.conclusion.fmt
    p_counts, n_counts = step.raw[:, 0, chosen], step.raw[:, 1, chosen]
    last = first + (given["vectors"] or _VECTORS)
    trace = trace_nmpu(
        p_counts[first:last],
        n_counts[first:last],
        registers,
        fmt,
        relu=relu,
        first_vector=first,
        first_column=column,
        device_outputs=_device_outputs(step, first, last, chosen),
    )
    saturation = count_saturation(p_counts, n_counts, registers, fmt)
    names = ("input_p", "input_n", "compressed", "output")
    counted = {name: int(getattr(saturation, name)[0]) for name in names}
    return trace, {"vectors": saturation.vectors, **counted}


def _device_outputs(
    step: StepRecord, first: int, last: int, chosen: slice
) -> npt.NDArray[np.int8] | None:
    """Return what the device computed for vectors `first` to `last`: it saw the held-out ones."""
    if step.conclusion.outputs is None:
        return None
    held_out = step.origin.calibration_vectors
    return step.conclusion.outputs[max(first - held_out, 0) : max(last - held_out, 0), chosen]


def _read_step(path: Path, key: StepKey) -> StepRecord:
    """Read one finished step of a run."""
    run = open_directory(path)
    finished = run.finished_steps()
    if key not in finished:
        names = ", ".join(step.name for step in sorted(set(finished))) or "none"
        raise ConfigError(
            str(path), [Problem("", f"has no finished step {key.name}; there are: {names}")]
        )
    return run.read_step(key)
