"""Exact at the ends of what a format accepts, and beyond what float32 would hold.

float32 holds whole numbers up to 2**24. The widest products stay just below, but an offset in front
of the shift lifts them beyond, to some 2**25; the integer model has to be exact there too.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.core.fixed_point import Rounding
from hil.core.nmpu_format import NmpuFormat, OffsetAt
from hil_calibration.kernels import numba_extra
from hil_calibration.kernels.nmpu import apply_nmpu_compiled
from hil_calibration.nmpu import apply_nmpu
from hil_calibration.nmpu_trace import trace_nmpu
from nmpu_oracle import OneColumn, nmpu_formats, oracle_output

MODELS = [
    pytest.param(apply_nmpu, id="numpy"),
    pytest.param(
        apply_nmpu_compiled,
        id="compiled",
        marks=pytest.mark.skipif(
            not numba_extra.is_installed(),
            reason="numba is not installed: pip install 'aimc-hil[fast]'",
        ),
    ),
]

WIDEST: dict[str, Any] = {
    "in_bits": 16, "scale_int": 0, "scale_frac": 8, "off_int": 16, "off_frac": 0, "off_bits": 16,
    "shift": 15, "acc_bits": 30, "offset_at": OffsetAt.BEFORE_SHIFT,
}  # fmt: skip
"""The format with the largest intermediates: 65535 * 255 + 32767 * 2**8 before the shift."""


def one(value: int) -> npt.NDArray[np.uint16]:
    return np.array([[value]], np.uint16)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("n_count", "expected"), [(65280, 0), (65279, 1)], ids=["one-below", "beyond"]
)
def test_a_sum_beyond_the_whole_numbers_of_float32_is_exact(
    model: Any, n_count: int, expected: int
) -> None:
    # 65025 * 255 + 32767 * 256 = 24969727, odd and above 2**24; less 65280 * 254 = 16581120 it is
    # 2**23 - 1, one below where 23 bits cut without rounding leave 1.
    fmt = NmpuFormat(**WIDEST, rounding=Rounding.FLOOR)
    column = OneColumn(255, 254, 32767)
    assert 24969727 == 65025 * 255 + 32767 * 256 > 2**24
    assert oracle_output(65025, n_count, column, fmt) == expected
    outputs = model(one(65025), one(n_count), column.registers(), fmt)
    assert outputs.tolist() == [[expected]]


def test_float32_would_get_that_sum_wrong() -> None:
    # What the test above is for: the same in float32 rounds 24969727 to 24969728.
    total = np.float32(65025 * 255) + np.float32(32767 * 256) - np.float32(65280 * 254)
    assert np.floor(total / np.float32(2**23)) == 1


@st.composite
def extreme_columns(draw: st.DrawFn) -> tuple[NmpuFormat, OneColumn, int, int]:
    """Draw formats with codes and counts at, or one from, the ends of their ranges."""
    fmt = draw(st.one_of(nmpu_formats(), st.sampled_from(Rounding).map(widest)))
    top_scale, half = 2 ** (fmt.scale_int + fmt.scale_frac) - 1, 2 ** (fmt.off_bits - 1)
    scales = st.sampled_from([0, top_scale - 1, top_scale])
    scale_p = draw(scales)
    column = OneColumn(
        scale_p,
        scale_p if fmt.shared_scale else draw(scales),
        draw(st.sampled_from([-half, 1 - half, 0, half - 1])),
        draw(st.booleans()),
    )
    top = 2**fmt.in_bits - 1
    counts = st.sampled_from([0, 1, top - 1, top, min(top + 1, 65535), 65535])
    return fmt, column, draw(counts), draw(counts)


def widest(rounding: Rounding) -> NmpuFormat:
    return NmpuFormat(**WIDEST, rounding=rounding)


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=400, deadline=None)
@given(drawn=extreme_columns())
def test_codes_and_counts_at_the_ends_give_the_output_of_whole_numbers(
    model: Any, drawn: tuple[NmpuFormat, OneColumn, int, int]
) -> None:
    fmt, column, p_count, n_count = drawn
    outputs = model(one(p_count), one(n_count), column.registers(), fmt)
    assert outputs.tolist() == [[oracle_output(p_count, n_count, column, fmt)]]


@settings(max_examples=300, deadline=None)
@given(fmt=st.one_of(nmpu_formats(), st.sampled_from(Rounding).map(widest)))
def test_32_bits_hold_every_stage_and_what_its_rounding_adds(fmt: NmpuFormat) -> None:
    trace = trace_nmpu(one(0), one(0), OneColumn(0, 0, 0).registers(), fmt)
    reach = max(max(-stage.lowest, stage.highest) for stage in trace.stages)
    assert reach + 2**fmt.total_cut < 2**31
