"""The NMPU's datapath stage by stage, each with its codes and the width that holds them.

A stage here is a bundle of wires in hardware: it has codes, and the width that holds whatever
counts and registers can come. Written apart from `hil_calibration.nmpu.apply_nmpu`, which is
compact and fast; tests hold the last stage to it, bit for bit.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.core.array_types import read_only
from hil.core.fixed_point import saturate, shift_right, wrap
from hil.core.nmpu_format import Merge, NmpuFormat, NmpuRegisters, OffsetAt

CodeArray = npt.NDArray[np.int64]

COUNT_BITS = 16
"""Width of a count as it arrives, before the unit's own input width."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceStage:
    """One stage of the datapath: its codes for every vector and column, and its width."""

    name: str
    """Name, unique in a trace."""
    meaning: str
    """What it is, in the words of the specification."""
    codes: CodeArray
    """Codes, shape (vector, column)."""
    lowest: int
    """No code is lower, whatever the counts and registers."""
    highest: int
    """No code is higher, whatever the counts and registers."""
    frac_bits: int
    """The value is ``code * 2**-frac_bits``: counts before the products, output LSB from there."""
    overflowed: npt.NDArray[np.bool_]
    """Whether the width did not hold the code before, shape (vector, column)."""

    def __post_init__(self) -> None:
        for name in ("codes", "overflowed"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @property
    def is_signed(self) -> bool:
        """Whether negative codes can occur."""
        return self.lowest < 0

    @property
    def bits(self) -> int:
        """Width that holds `lowest` to `highest`, two's complement where signed."""
        return max(self.highest.bit_length(), (~self.lowest).bit_length()) + self.is_signed

    @property
    def width(self) -> str:
        """Kind and width, for instance ``u10`` or ``s19``."""
        return f"{'s' if self.is_signed else 'u'}{self.bits}"


def datapath_stages(
    p_counts: npt.NDArray[np.uint16],
    n_counts: npt.NDArray[np.uint16],
    registers: NmpuRegisters,
    fmt: NmpuFormat,
    *,
    relu: bool,
) -> tuple[TraceStage, ...]:
    """Compute every stage, in the order of the datapath; the last one is the output.

    Nothing is checked; `hil_calibration.nmpu_trace.trace_nmpu` does.
    """
    counts = [
        _stage("count_p", "counter P", p_counts.astype(np.int64), (0, (1 << COUNT_BITS) - 1)),
        _stage("count_n", "counter N", n_counts.astype(np.int64), (0, (1 << COUNT_BITS) - 1)),
    ]
    stages = [*counts, *_products(counts, registers, fmt)]
    branch_p, branch_n = stages[-2:]
    if fmt.offset_at is OffsetAt.BEFORE_SHIFT:
        aligned = fmt.scale_frac - fmt.off_frac
        branch_p = _with_offset(branch_p, registers, fmt, aligned)
        stages.append(branch_p)
    if fmt.merge is Merge.AFTER_SUBTRACT:
        stages.append(_difference(branch_p, branch_n))
        stages += _compressed(stages[-1], fmt)
    else:
        stages += _compressed(branch_p, fmt, "_p")
        compressed_p = stages[-1]
        stages += _compressed(branch_n, fmt, "_n")
        stages.append(_difference(compressed_p, stages[-1]))
    if fmt.offset_at is OffsetAt.AFTER_SHIFT:
        stages.append(_with_offset(stages[-1], registers, fmt, 0))
    stages += _outputs(stages[-1], fmt, relu=relu)
    return tuple(stages)


def _stage(
    name: str,
    meaning: str,
    codes: CodeArray,
    ends: tuple[int, int],
    *,
    frac_bits: int = 0,
    before: CodeArray | None = None,
) -> TraceStage:
    return TraceStage(
        name=name,
        meaning=meaning,
        codes=codes,
        lowest=ends[0],
        highest=ends[1],
        frac_bits=frac_bits,
        overflowed=np.zeros(codes.shape, np.bool_) if before is None else codes != before,
    )


def _rising(
    source: TraceStage,
    name: str,
    meaning: str,
    function: Callable[[CodeArray], CodeArray],
    *,
    frac_bits: int,
) -> TraceStage:
    """Return the stage of a function that never falls: its ends come from the source's ends."""
    lowest, highest = function(np.array([source.lowest, source.highest])).tolist()
    return _stage(name, meaning, function(source.codes), (lowest, highest), frac_bits=frac_bits)


def _products(
    counts: list[TraceStage], registers: NmpuRegisters, fmt: NmpuFormat
) -> Iterator[TraceStage]:
    """Yield the inputs of both branches, then their products."""
    top = (1 << fmt.in_bits) - 1
    count_p, count_n = (stage.codes for stage in counts)
    inputs = []
    for polarity, straight, crossed in (("p", count_p, count_n), ("n", count_n, count_p)):
        chosen = np.where(registers.swap, crossed, straight)
        name, meaning = f"input_{polarity}", f"input of branch {polarity.upper()}, behind the swap"
        clipped = np.minimum(chosen, top)
        inputs.append(_stage(name, meaning, clipped, (0, top), before=chosen))
    yield from inputs
    for polarity, source in zip("pn", inputs, strict=True):
        scale = getattr(registers, f"scale_{polarity}").astype(np.int64)
        yield _stage(
            f"product_{polarity}",
            f"input * scale of branch {polarity.upper()}",
            source.codes * scale,
            (0, top * fmt.scale_format.highest_code),
            frac_bits=fmt.scale_frac + fmt.shift,
        )


def _difference(p_stage: TraceStage, n_stage: TraceStage) -> TraceStage:
    return _stage(
        "difference",
        f"{p_stage.name} - {n_stage.name}",
        p_stage.codes - n_stage.codes,
        (p_stage.lowest - n_stage.highest, p_stage.highest - n_stage.lowest),
        frac_bits=p_stage.frac_bits,
    )


def _with_offset(
    source: TraceStage, registers: NmpuRegisters, fmt: NmpuFormat, aligned: int
) -> TraceStage:
    register = fmt.offset_format
    by_shift = f" << {aligned}" if aligned else ""
    return _stage(
        "with_offset",
        f"{source.name} + (offset{by_shift})" if by_shift else f"{source.name} + offset",
        source.codes + (registers.offset.astype(np.int64) << aligned),
        (
            source.lowest + (register.lowest_code << aligned),
            source.highest + (register.highest_code << aligned),
        ),
        frac_bits=source.frac_bits,
    )


def _compressed(source: TraceStage, fmt: NmpuFormat, branch: str = "") -> Iterator[TraceStage]:
    """Yield one branch, or both as one: cut, rounded, and fitted into its width."""
    rest = fmt.total_cut - fmt.cut_pre
    cut = _rising(
        source,
        f"cut{branch}",
        f"{source.name} >> {fmt.cut_pre}",
        lambda codes: codes >> fmt.cut_pre,
        frac_bits=source.frac_bits - fmt.cut_pre,
    )
    yield cut
    rounded = _rising(
        cut,
        f"rounded{branch}",
        f"{cut.name} / 2**{rest}, {fmt.rounding}",
        lambda codes: np.asarray(shift_right(codes, rest, fmt.rounding), np.int64),
        frac_bits=fmt.off_frac,
    )
    yield rounded
    yield _fitted(rounded, f"compressed{branch}", fmt.acc_bits, fmt)


def _outputs(source: TraceStage, fmt: NmpuFormat, *, relu: bool) -> Iterator[TraceStage]:
    rounded = _rising(
        source,
        "rounded_output",
        f"{source.name} / 2**{fmt.off_frac}, {fmt.rounding}",
        lambda codes: np.asarray(shift_right(codes, fmt.off_frac, fmt.rounding), np.int64),
        frac_bits=0,
    )
    yield rounded
    output = _fitted(rounded, "output", fmt.out_bits, fmt, is_symmetric=fmt.symmetric)
    yield output
    if relu:
        meaning = "max(output, 0)"
        yield _rising(output, "relu", meaning, lambda codes: np.maximum(codes, 0), frac_bits=0)


def _fitted(
    source: TraceStage, name: str, bits: int, fmt: NmpuFormat, *, is_symmetric: bool = False
) -> TraceStage:
    if fmt.saturate:
        codes = saturate(source.codes, bits, is_symmetric=is_symmetric)
    else:
        codes = wrap(source.codes, bits)
    half = 1 << (bits - 1)
    verb = "clipped" if fmt.saturate else "wrapped"
    return _stage(
        name,
        f"{source.name} {verb} to {bits} bits{', symmetric' if is_symmetric else ''}",
        np.asarray(codes, np.int64),
        (-half + is_symmetric, half - 1),
        frac_bits=source.frac_bits,
        before=source.codes,
    )
