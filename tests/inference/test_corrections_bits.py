"""NMPU and FP16 unit over tensors: the bits of the reference models, over formats and specials."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.core.fixed_point import Rounding
from hil.core.nmpu_format import Merge, NmpuFormat, NmpuRegisters, OffsetAt
from hil_calibration.ldpu import LdpuCoefficients, apply_ldpu
from hil_calibration.nmpu import apply_nmpu

torch = pytest.importorskip(
    "torch", reason="torch is not installed: pip install 'aimc-hil[inference]'"
)
torch.set_num_threads(1)

from hil.inference.corrections.fp16_tensor import (  # noqa: E402 - torch may be absent
    Fp16Correction,
    round_to_half,
)
from hil.inference.corrections.nmpu_tensor import NmpuCorrection  # noqa: E402

CPU = torch.device("cpu")
DEVICES = [
    pytest.param("cpu"),
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(
            not torch.cuda.is_available(), reason="there is no CUDA device here"
        ),
    ),
]
HALVES = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
"""Every number of FP16, infinities and NaN among them."""


@st.composite
def formats(draw: st.DrawFn) -> NmpuFormat:
    """Draw any format that is accepted."""
    scale_frac = draw(st.integers(0, 8))
    shift = draw(st.integers(0, 6))
    offset_at = draw(st.sampled_from(list(OffsetAt)))
    deepest = scale_frac + (shift if offset_at is OffsetAt.AFTER_SHIFT else 0)
    off_frac = draw(st.integers(0, min(8, deepest)))
    off_int = draw(st.integers(1, 8))
    total_cut = scale_frac + shift - off_frac
    saturate = draw(st.booleans())
    return NmpuFormat(
        in_bits=draw(st.integers(1, 16)),
        scale_frac=scale_frac,
        scale_int=draw(st.integers(0 if scale_frac else 1, 8 - scale_frac)),
        off_frac=off_frac,
        off_int=off_int,
        off_bits=max(2, off_int + off_frac + draw(st.integers(0, 1))),
        shift=shift,
        cut_pre=draw(st.integers(0, total_cut)),
        rounding=draw(st.sampled_from(list(Rounding))),
        acc_bits=draw(st.integers(2, 30)),
        out_bits=draw(st.integers(2, 8)),
        saturate=saturate,
        symmetric=saturate and draw(st.booleans()),
        merge=draw(st.sampled_from(list(Merge))),
        offset_at=offset_at,
    )


def _registers(fmt: NmpuFormat, columns: int, rng: np.random.Generator) -> NmpuRegisters:
    scale, offset = fmt.scale_format, fmt.offset_format
    return NmpuRegisters(
        scale_p=rng.integers(0, scale.highest_code + 1, columns).astype(np.uint8),
        scale_n=rng.integers(0, scale.highest_code + 1, columns).astype(np.uint8),
        offset=rng.integers(offset.lowest_code, offset.highest_code + 1, columns).astype(np.int16),
        swap=rng.random(columns) < 0.5,
    )


def _counts(rng: np.random.Generator, bits: int, columns: int) -> npt.NDArray[np.uint16]:
    counts = rng.integers(0, 1 << bits, (64, 2, columns)).astype(np.uint16)
    counts[0], counts[1] = 0, (1 << bits) - 1
    return counts


def _tensor(counts: npt.NDArray[np.uint16], device: Any = CPU) -> Any:
    return torch.from_numpy(counts.astype(np.int32)).to(device)


@settings(max_examples=80, deadline=None)
@given(fmt=formats(), relu=st.booleans(), seed=st.integers(0, 1000), bits=st.integers(1, 16))
def test_nmpu_of_any_format_has_the_bits_of_the_reference(
    fmt: NmpuFormat, relu: bool, seed: int, bits: int
) -> None:
    rng = np.random.default_rng(seed)
    registers, counts = _registers(fmt, 9, rng), _counts(rng, bits, 9)
    made = NmpuCorrection(fmt=fmt, registers=registers, output_lsb=0.5, relu=relu, device=CPU)
    expected = apply_nmpu(counts[:, 0], counts[:, 1], registers, fmt, relu=relu)
    np.testing.assert_array_equal(made.codes(_tensor(counts)).numpy(), expected)
    np.testing.assert_array_equal(made.outputs(_tensor(counts)).numpy(), expected * 0.5)


def test_nmpu_takes_more_vectors_than_one_block_and_leaves_the_counts_alone() -> None:
    rng = np.random.default_rng(3)
    registers = _registers(NmpuFormat(), 256, rng)
    counts = rng.integers(0, 4096, (700, 2, 256)).astype(np.uint16)
    given_counts = _tensor(counts)
    made = NmpuCorrection(fmt=NmpuFormat(), registers=registers, output_lsb=1.0, device=CPU)
    expected = apply_nmpu(counts[:, 0], counts[:, 1], registers, NmpuFormat())
    np.testing.assert_array_equal(made.codes(given_counts).numpy(), expected)
    np.testing.assert_array_equal(given_counts.numpy(), counts)


def test_nmpu_refuses_registers_that_do_not_fit() -> None:
    registers = _registers(NmpuFormat(), 2, np.random.default_rng(0))
    with pytest.raises(ValueError, match="scale_p of column"):
        NmpuCorrection(
            fmt=NmpuFormat(scale_int=0, scale_frac=1, off_frac=1, cut_pre=0),
            registers=registers,
            output_lsb=1.0,
            device=CPU,
        )


def test_rounding_to_half_is_right_at_every_border() -> None:
    """numpy rounds float64 to FP16 once; the borders are half way between two neighbours."""
    finite = np.sort(HALVES[np.isfinite(HALVES)].astype(np.float64))
    middles = (finite[1:] + finite[:-1]) / 2
    values = np.concatenate(
        [
            *(finite, middles, np.nextafter(middles, np.inf), np.nextafter(middles, -np.inf)),
            *(middles * (1 + 2.0**-40), middles * (1 - 2.0**-40)),
            np.array([65519.99999, 65520.0, 1e300, -65520.0, 5e-324, np.inf, -np.inf]),
        ]
    )
    with np.errstate(over="ignore"):
        expected = values.astype(np.float16).astype(np.float64)
    np.testing.assert_array_equal(round_to_half(torch.tensor(values)).numpy(), expected)
    assert round_to_half(torch.tensor([np.nan], dtype=torch.float64)).isnan().all()


def test_rounding_to_half_is_right_for_millions_of_numbers() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal(2_000_000) * np.exp2(rng.integers(-30, 17, 2_000_000))
    with np.errstate(over="ignore"):
        expected = values.astype(np.float16).astype(np.float64)
    np.testing.assert_array_equal(round_to_half(torch.tensor(values)).numpy(), expected)


def _coefficients(rng: np.random.Generator, columns: int, *, kind: str) -> LdpuCoefficients:
    def chosen() -> npt.NDArray[np.float16]:
        if kind == "every":
            return rng.choice(HALVES, columns)
        if kind == "plain":
            return rng.normal(0.2, 0.1, columns).astype(np.float16)
        return (rng.normal(0, 1, columns) * np.exp2(rng.integers(-24, 5, columns))).astype(
            np.float16
        )

    return LdpuCoefficients(**{
        name: chosen() for name in ("scale_p", "scale_n", "offset", "bn_scale", "bn_offset")
    })  # fmt: skip


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("kind", ["every", "plain", "small"])
def test_fp16_unit_has_the_bits_of_the_reference(kind: str, relu: bool) -> None:
    rng = np.random.default_rng(7)
    columns = 4000
    for bits in (12, 16):
        counts = rng.integers(0, 1 << bits, (64, 2, columns)).astype(np.uint16)
        counts[0], counts[1] = 0, (1 << bits) - 1
        one = _coefficients(rng, columns, kind=kind)
        made = Fp16Correction(one, output_lsb=2.0, relu=relu, device=CPU)
        expected = apply_ldpu(counts[:, 0], counts[:, 1], one, relu=relu)
        np.testing.assert_array_equal(made.codes(_tensor(counts)).numpy(), expected)


@pytest.mark.parametrize("device", DEVICES)
def test_units_have_the_same_bits_on_every_device(device: str) -> None:
    rng = np.random.default_rng(11)
    counts = rng.integers(0, 4096, (500, 2, 64)).astype(np.uint16)
    fmt = NmpuFormat(shift=2)
    registers, halves = _registers(fmt, 64, rng), _coefficients(rng, 64, kind="plain")
    where = torch.device(device)
    nmpu = NmpuCorrection(fmt=fmt, registers=registers, output_lsb=3.0, device=where)
    fp16 = Fp16Correction(halves, output_lsb=3.0, device=where)
    there = _tensor(counts, where)
    expected = apply_nmpu(counts[:, 0], counts[:, 1], registers, fmt)
    np.testing.assert_array_equal(nmpu.codes(there).cpu().numpy(), expected)
    expected = apply_ldpu(counts[:, 0], counts[:, 1], halves)
    np.testing.assert_array_equal(fp16.codes(there).cpu().numpy(), expected)
