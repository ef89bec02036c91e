"""From stored counts to outputs: each step's readouts through a correction, block by block."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.core.correction import Correction
from hil.core.errors import ConfigError, Problem
from hil.recorded.apply_source import AppliedCorrection, OtherCorrections
from hil_calibration.ldpu import LdpuCoefficients, apply_ldpu
from hil_calibration.nmpu import apply_nmpu
from hil_datasets.run_source import Readouts, RunSource, StepFacts
from hil_datasets.step import StepKey

BLOCK_VECTORS = 2048
"""Vectors in memory at a time."""


class Output(StrEnum):
    """What a correction makes of counts."""

    NMPU = "nmpu"
    """Codes of the integer model of the NMPU, output LSB."""
    FLOAT = "float"
    """Products by the real-valued correction."""
    FP16 = "fp16"
    """Codes of the FP16 unit, output LSB."""


DTYPES: Mapping[Output, np.dtype[Any]] = {
    Output.NMPU: np.dtype("i1"),
    Output.FLOAT: np.dtype("<f8"),
    Output.FP16: np.dtype("i1"),
}
"""How each is stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedStep:
    """A step, and the correction that its readouts go through."""

    facts: StepFacts
    """The step."""
    applied: AppliedCorrection
    """The correction."""
    outputs: tuple[Output, ...]
    """What is made."""
    readouts: Readouts
    """Its readouts, which are opened when they are asked for."""

    @property
    def vectors(self) -> int:
        """How many vectors it has, held-out ones included."""
        origin = self.facts.origin
        return origin.calibration_vectors + origin.verification_vectors

    @property
    def columns(self) -> int:
        """How many columns its core has."""
        return len(self.facts.conclusion.flags)

    def blocks(self, output: Output) -> Iterator[npt.NDArray[np.generic]]:
        """Yield the outputs of its vectors in their order, shape (vector, column)."""
        correct = _corrector(self.applied, output)
        raw = self.readouts.raw
        for first in range(0, self.vectors, BLOCK_VECTORS):
            yield correct(np.array(raw[first : first + BLOCK_VECTORS]))

    def expected_blocks(self) -> Iterator[npt.NDArray[np.int32]]:
        """Yield the expected outputs beside them, product units, shape (vector, column)."""
        expected = self.readouts.expected
        for first in range(0, self.vectors, BLOCK_VECTORS):
            yield np.array(expected[first : first + BLOCK_VECTORS])


def apply_to_run(
    run: RunSource,
    keys: Sequence[StepKey],
    *,
    others: OtherCorrections | None = None,
    outputs: Sequence[Output] | None = None,
    on_left_out: Callable[[str], None] = lambda _: None,
) -> Iterator[AppliedStep]:
    """Yield steps of a run with the correction of each, one after the other.

    Parameters
    ----------
    run
        The run; it has its readouts.
    keys
        Its steps.
    others
        Corrections from elsewhere; each step's own where None.
    outputs
        What is made; all that the correction knows where None.
    on_left_out
        Told of each step for which there is no correction, and of a correction of another chip.

    Raises
    ------
    ConfigError
        If there is a correction for none of the steps, one is of another width, or does not know
        an output that is asked for.
    DatasetError
        If a step is damaged, or has no readouts.
    """
    missing = 0
    told: set[str] = set()
    for key in keys:
        facts = run.read_facts(key)
        applied = AppliedCorrection.of(facts) if others is None else others.of(key)
        if applied is None:
            on_left_out(f"{key.name}: left out, there is no correction for it")
            missing += 1
            continue
        name = "" if others is None else others.name
        _check_width(applied, facts, name)
        chip = str(facts.origin.chip)
        if applied.chip not in {"", chip, *told}:
            on_left_out(f"the correction is of the chip {applied.chip}, the readouts of {chip}")
            told.add(applied.chip)
        yield AppliedStep(
            facts=facts,
            applied=applied,
            outputs=_outputs(applied, outputs, name),
            readouts=run.readouts(key),
        )
    if others is not None and missing == len(keys):
        message = f"has a correction for none of these steps; it has {', '.join(others.tiles)}"
        raise ConfigError(others.name, [Problem("", message)])


def _check_width(applied: AppliedCorrection, facts: StepFacts, name: str) -> None:
    there, wanted = len(applied.registers.scale_p), len(facts.conclusion.flags)
    if there != wanted:
        message = f"corrects {there} columns: {facts.key.name} has {wanted}"
        raise ConfigError(name, [Problem("", message)])


def _outputs(
    applied: AppliedCorrection, outputs: Sequence[Output] | None, name: str
) -> tuple[Output, ...]:
    known = tuple(Output) if applied.correction is not None else (Output.NMPU,)
    unknown = [output for output in outputs or () if output not in known]
    if unknown:
        message = f"holds register codes alone, from which there is no {unknown[0]}: --what nmpu"
        raise ConfigError(name, [Problem("", message)])
    return tuple(output for output in known if outputs is None or output in outputs)


def _corrector(
    applied: AppliedCorrection, output: Output
) -> Callable[[npt.NDArray[np.uint16]], npt.NDArray[np.generic]]:
    if output is Output.NMPU:
        return lambda counts: apply_nmpu(counts[:, 0], counts[:, 1], applied.registers, applied.fmt)
    correction, output_lsb = applied.correction, applied.output_lsb
    if correction is None or output_lsb is None:
        raise ValueError(f"register codes alone make no {output}")
    if output is Output.FP16:
        half = LdpuCoefficients.from_correction(correction)
        return lambda counts: apply_ldpu(counts[:, 0], counts[:, 1], half)
    return lambda counts: _products(correction, output_lsb, counts)


def _products(
    correction: Correction, output_lsb: float, counts: npt.NDArray[np.uint16]
) -> npt.NDArray[np.float64]:
    return correction.apply(counts) * output_lsb
