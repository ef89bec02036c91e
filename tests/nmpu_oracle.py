"""The NMPU and FP16 arithmetic again, slowly: Python integers and fractions, one value at a time.

Written from the specification's words, not from the code under test: real numbers are rounded as
real numbers, with no shift and no mask in sight.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from hil.core.fixed_point import Rounding
from hil.core.nmpu_format import Merge, NmpuFormat, NmpuRegisters, OffsetAt

HALF = Fraction(1, 2)


def round_exactly(value: Fraction, mode: Rounding) -> int:
    """Round a real number to an integer."""
    match mode:
        case Rounding.FLOOR:
            return math.floor(value)
        case Rounding.HALF_UP:
            return math.floor(value + HALF)
        case Rounding.HALF_EVEN:
            return round(value)
        case Rounding.HALF_AWAY:
            return int(math.copysign(math.floor(abs(value) + HALF), value))
        case Rounding.TOWARD_ZERO:
            return math.trunc(value)


def _hold(value: int, bits: int, fmt: NmpuFormat) -> int:
    lowest, highest = -(1 << bits - 1), (1 << bits - 1) - 1
    if fmt.saturate:
        return max(lowest, min(highest, value))
    return (value - lowest) % (1 << bits) + lowest


def _compress(product: Fraction, fmt: NmpuFormat) -> int:
    """Bring a product from steps of 2**-scale_frac to shifted steps of 2**-off_frac."""
    in_product_steps = product * 2**fmt.scale_frac
    truncated = math.floor(in_product_steps / 2**fmt.cut_pre) * 2**fmt.cut_pre
    in_offset_steps = Fraction(truncated, 2 ** (fmt.scale_frac + fmt.shift)) * 2**fmt.off_frac
    return _hold(round_exactly(in_offset_steps, fmt.rounding), fmt.acc_bits, fmt)


@dataclass(frozen=True)
class OneColumn:
    """Register codes of one column."""

    scale_p: int
    scale_n: int
    offset: int
    swap: bool = False

    def registers(self) -> NmpuRegisters:
        return NmpuRegisters(
            scale_p=np.array([self.scale_p], np.uint8),
            scale_n=np.array([self.scale_n], np.uint8),
            offset=np.array([self.offset], np.int16),
            swap=np.array([self.swap]),
        )


def oracle_output(
    p_count: int, n_count: int, codes: OneColumn, fmt: NmpuFormat, *, relu: bool = False
) -> int:
    """Compute one output code."""
    p_input, n_input = (min(count, 2**fmt.in_bits - 1) for count in (p_count, n_count))
    if codes.swap:
        p_input, n_input = n_input, p_input
    p_product = p_input * Fraction(codes.scale_p, 2**fmt.scale_frac)
    n_product = n_input * Fraction(codes.scale_n, 2**fmt.scale_frac)
    offset = codes.offset
    if fmt.offset_at is OffsetAt.BEFORE_SHIFT:
        p_product += Fraction(codes.offset, 2**fmt.off_frac)
        offset = 0
    if fmt.merge is Merge.AFTER_SUBTRACT:
        merged = _compress(p_product - n_product, fmt)
    else:
        merged = _compress(p_product, fmt) - _compress(n_product, fmt)
    output = round_exactly(Fraction(merged + offset, 2**fmt.off_frac), fmt.rounding)
    output = _hold(output, fmt.out_bits, fmt)
    if fmt.symmetric:
        output = max(output, -(2 ** (fmt.out_bits - 1) - 1))
    return max(output, 0) if relu else output


def exact_affine(p_count: int, n_count: int, codes: OneColumn, fmt: NmpuFormat) -> Fraction:
    """Return what the unit approximates, with no rounding: ``(P*s_p - N*s_n) / 2**shift + off``."""
    product = (p_count * codes.scale_p - n_count * codes.scale_n) * Fraction(1, 2**fmt.scale_frac)
    return product * Fraction(1, 2**fmt.shift) + Fraction(codes.offset, 2**fmt.off_frac)


@st.composite
def nmpu_formats(draw: st.DrawFn) -> NmpuFormat:
    """Draw formats that NmpuFormat accepts, from all corners of what it accepts."""
    offset_at = draw(st.sampled_from(OffsetAt))
    scale_frac = draw(st.integers(0, 8))
    scale_int = draw(st.integers(1 if scale_frac == 0 else 0, 8 - scale_frac))
    shift = draw(st.integers(0, 15))
    frac_room = scale_frac if offset_at is OffsetAt.BEFORE_SHIFT else scale_frac + shift
    off_frac = draw(st.integers(0, min(8, frac_room)))
    apart = draw(st.integers(0, 1))
    off_int = draw(st.integers(2 if off_frac + apart == 0 else 1, 16 - off_frac - apart))
    saturate = draw(st.booleans())
    return NmpuFormat(
        in_bits=draw(st.integers(1, 16)),
        scale_int=scale_int,
        scale_frac=scale_frac,
        off_int=off_int,
        off_frac=off_frac,
        off_bits=off_int + off_frac + apart,
        shift=shift,
        cut_pre=draw(st.integers(0, scale_frac + shift - off_frac)),
        rounding=draw(st.sampled_from(Rounding)),
        acc_bits=draw(st.integers(2, 30)),
        out_bits=draw(st.integers(2, 8)),
        saturate=saturate,
        symmetric=draw(st.booleans()) if saturate else False,
        merge=draw(st.sampled_from(Merge)),
        offset_at=offset_at,
        shared_scale=draw(st.booleans()),
    )


@st.composite
def columns_of(draw: st.DrawFn, fmt: NmpuFormat) -> OneColumn:
    """Draw register codes that a format holds."""
    highest_scale = 2 ** (fmt.scale_int + fmt.scale_frac) - 1
    half_offset = 2 ** (fmt.off_bits - 1)
    scale_p = draw(st.integers(0, highest_scale))
    return OneColumn(
        scale_p=scale_p,
        scale_n=scale_p if fmt.shared_scale else draw(st.integers(0, highest_scale)),
        offset=draw(st.integers(-half_offset, half_offset - 1)),
        swap=draw(st.booleans()),
    )


def round_to_half(value: Fraction) -> float:
    """Round a real number to IEEE 754 binary16, to nearest, ties to even."""
    if value == 0:
        return 0.0
    magnitude = abs(value)
    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    if magnitude < Fraction(2) ** exponent:
        exponent -= 1
    step = Fraction(2) ** (max(exponent, -14) - 10)  # below 2**-14 the step stays: subnormals
    rounded = round(magnitude / step) * step
    result = float(rounded) if rounded < 65536 else math.inf
    return math.copysign(result, value)


def oracle_fma(a: float, b: float, c: float) -> float:
    """Compute ``a * b + c`` on FP16 numbers, rounded once."""
    if not all(map(math.isfinite, (a, b, c))):
        return a * b + c  # infinities and NaN follow the same rules in every IEEE 754 format
    return round_to_half(Fraction(a) * Fraction(b) + Fraction(c))
