"""The NMPU against apytypes: another library's fixed-point numbers, roundings and overflows."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.core.fixed_point import Rounding
from hil.core.nmpu_format import Merge, NmpuFormat, NmpuRegisters, OffsetAt
from hil_calibration.nmpu import apply_nmpu
from nmpu_oracle import nmpu_formats

pytest.importorskip("apytypes", reason="apytypes is not installed: pip install 'aimc-hil[test]'")
from apytypes import APyFixedArray, OverflowMode, QuantizationMode

QUANTIZATION = {
    Rounding.HALF_UP: QuantizationMode.RND,
    Rounding.FLOOR: QuantizationMode.TRN,
    Rounding.HALF_EVEN: QuantizationMode.RND_CONV,
    Rounding.HALF_AWAY: QuantizationMode.RND_INF,
    Rounding.TOWARD_ZERO: QuantizationMode.TRN_ZERO,
}
ROOM = 34
"""Integer bits that no value of any format fills."""
CASES = 200
"""Columns, of one vector each, that are drawn for every format."""

IntColumns = npt.NDArray[np.int64]


def fixed(codes: IntColumns, frac_bits: int) -> APyFixedArray:
    """Read codes as fixed-point numbers, with room to spare."""
    return APyFixedArray(codes.tolist(), int_bits=ROOM, frac_bits=frac_bits)


def compressed(product: APyFixedArray, fmt: NmpuFormat) -> APyFixedArray:
    cut = product.cast(
        int_bits=ROOM,
        frac_bits=fmt.scale_frac + fmt.shift - fmt.cut_pre,
        quantization=QuantizationMode.TRN,
    )
    return cut.cast(
        int_bits=fmt.acc_bits - fmt.off_frac,
        frac_bits=fmt.off_frac,
        quantization=QUANTIZATION[fmt.rounding],
        overflow=OverflowMode.SAT if fmt.saturate else OverflowMode.WRAP,
    )


def apytypes_outputs(
    p_counts: IntColumns, n_counts: IntColumns, registers: NmpuRegisters, fmt: NmpuFormat
) -> list[int]:
    """Compute the specification's steps on fixed-point numbers: no shift of codes, only casts."""
    clipped = [
        fixed(counts, 0).cast(int_bits=fmt.in_bits + 1, frac_bits=0, overflow=OverflowMode.SAT)
        for counts in (p_counts, n_counts)
    ]
    codes_p, codes_n = (np.asarray(inputs.to_numpy(), np.int64) for inputs in clipped)
    inputs_p = fixed(np.where(registers.swap, codes_n, codes_p), 0)
    inputs_n = fixed(np.where(registers.swap, codes_p, codes_n), 0)
    p_product = inputs_p * fixed(registers.scale_p.astype(np.int64), fmt.scale_frac)
    n_product = inputs_n * fixed(registers.scale_n.astype(np.int64), fmt.scale_frac)
    offset = fixed(registers.offset.astype(np.int64), fmt.off_frac)
    if fmt.offset_at is OffsetAt.BEFORE_SHIFT:
        p_product = p_product + offset
        offset = fixed(np.zeros_like(p_counts), 0)
    if fmt.merge is Merge.AFTER_SUBTRACT:
        merged = compressed((p_product - n_product) >> fmt.shift, fmt)
    else:
        merged = compressed(p_product >> fmt.shift, fmt) - compressed(n_product >> fmt.shift, fmt)
    output = (merged + offset).cast(
        int_bits=fmt.out_bits,
        frac_bits=0,
        quantization=QUANTIZATION[fmt.rounding],
        overflow=OverflowMode.SAT if fmt.saturate else OverflowMode.WRAP,
    )
    lowest = 1 - 2 ** (fmt.out_bits - 1) if fmt.symmetric else -128
    return [max(lowest, int(value)) for value in output.to_numpy()]


def draw_case(
    fmt: NmpuFormat, rng: np.random.Generator
) -> tuple[IntColumns, IntColumns, NmpuRegisters]:
    """Draw counts over the whole range of the input, and beyond, and codes that the format holds.

    Half of the counts are small: large ones saturate most formats.
    """
    top = min((1 << fmt.in_bits) + 1, 1 << 16)
    width = np.where(rng.random((2, CASES)) < 0.5, top, 1 + top // 16)
    p_counts, n_counts = rng.integers(0, width)
    highest = 1 << (fmt.scale_int + fmt.scale_frac)
    scale_p, scale_n = rng.integers(0, highest, (2, CASES))
    half = 1 << (fmt.off_bits - 1)
    return (
        p_counts,
        n_counts,
        NmpuRegisters(
            scale_p=scale_p.astype(np.uint8),
            scale_n=(scale_p if fmt.shared_scale else scale_n).astype(np.uint8),
            offset=rng.integers(-half, half, CASES).astype(np.int16),
            swap=rng.random(CASES) < 0.5,
        ),
    )


def assert_agrees_with_apytypes(fmt: NmpuFormat, seed: int) -> None:
    p_counts, n_counts, registers = draw_case(fmt, np.random.default_rng(seed))
    outputs = apply_nmpu(
        p_counts.astype(np.uint16)[None], n_counts.astype(np.uint16)[None], registers, fmt
    )
    assert outputs[0].tolist() == apytypes_outputs(p_counts, n_counts, registers, fmt)


@settings(max_examples=300, deadline=None)
@given(fmt=nmpu_formats(), seed=st.integers(0, 2**32 - 1))
def test_random_formats_agree_with_apytypes(fmt: NmpuFormat, seed: int) -> None:
    assert_agrees_with_apytypes(fmt, seed)


@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("overflow", ["saturate", "symmetric", "wrap"])
@pytest.mark.parametrize("merge", Merge)
@pytest.mark.parametrize("offset_at", OffsetAt)
def test_every_mode_agrees_with_apytypes(
    rounding: Rounding, overflow: str, merge: Merge, offset_at: OffsetAt
) -> None:
    for shift, cut_pre in ((0, 0), (2, 3), (3, 9)):
        fmt = NmpuFormat(
            rounding=rounding,
            saturate=overflow != "wrap",
            symmetric=overflow == "symmetric",
            merge=merge,
            offset_at=offset_at,
            shift=shift,
            cut_pre=cut_pre,
            acc_bits=10,
        )
        assert_agrees_with_apytypes(fmt, seed=100 * shift + cut_pre)
