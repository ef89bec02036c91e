"""A format is refused for most columns of a core, never for an odd one."""

import re
from typing import Any

import numpy as np
import pytest

from hil.core.correction import ColumnFlag, Correction
from hil.core.errors import CalibrationError
from hil.core.nmpu_format import NmpuFormat, OffsetAt
from hil_calibration.calibrate import calibrate_core
from hil_calibration.held_columns import highest_whole, require_format_of_most
from hil_calibration.quality import QualityLimits
from synthetic_chip import SyntheticColumns, synthetic_columns


def refusal(fmt: NmpuFormat, *, b: list[float], dead: int = 0) -> str:
    """Return why columns of gain 0.3, the first `dead` not calibrated, are refused, or nothing."""
    columns = len(b)
    gain = np.full(columns, 0.3)
    try:
        require_format_of_most(
            Correction(a_p=gain, a_n=gain, b=np.array(b)),
            fmt,
            is_calibrated=np.arange(columns) >= dead,
            counts=np.full((1, 2, columns), 400, np.uint16),
            saturated_share=0.0,
            headroom=1.5,
        )
    except CalibrationError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("b", [[0.0] * 4, [70.0, 0, 0, 0], [70.0, -70.0, 0, 0]])
def test_half_of_the_columns_may_fall_short(b: list[float]) -> None:
    assert refusal(NmpuFormat(), b=b) == ""


def test_more_than_half_may_not_and_the_smallest_format_is_named() -> None:
    words = refusal(NmpuFormat(), b=[0.0, 70.0, -66.0, 100.0])
    assert re.search(r"offset .* of column 3 .*off_int = 8, off_bits = 9", words)


def test_columns_without_a_correction_do_not_vote() -> None:
    assert refusal(NmpuFormat(), b=[0.0, 0.0, 70.0, 0.0], dead=2) == ""
    assert "off_int = 8" in refusal(NmpuFormat(), b=[0.0, 0.0, 70.0, 70.0], dead=1)


def test_an_offset_before_the_shift_is_judged_with_the_shift() -> None:
    fmt = NmpuFormat(offset_at=OffsetAt.BEFORE_SHIFT)
    assert refusal(fmt, b=[20.0, 20.0]) == ""
    assert "register's -16 to 15" in refusal(fmt.with_shift(2), b=[20.0, 20.0])


def test_the_largest_counts_may_be_clipped_up_to_the_share() -> None:
    counts = np.arange(1000)[::-1, None]
    assert highest_whole(counts, 0.0).tolist() == [999]
    assert highest_whole(counts, 0.001).tolist() == [998]
    assert highest_whole(counts, 1.0).tolist() == [0]


def calibrated_flags(columns: SyntheticColumns, fmt: NmpuFormat, **given: Any) -> list[list[str]]:
    clip_code = 1 << fmt.in_bits
    found = calibrate_core(
        columns.moments(),
        fmt=fmt,
        saturated_counts=(columns.counts >= clip_code).sum(axis=(0, 1)),
        sample_counts=columns.counts,
        sample_expected=columns.expected,
        largest_expected=float(np.abs(columns.expected).max()),
        **given,
    )
    return [ColumnFlag(int(bits)).names() for bits in found.flags]


def test_inputs_too_narrow_for_a_chip_are_refused_with_the_width() -> None:
    # Counts up to 400: 8 bits hold 255
    with pytest.raises(CalibrationError, match=r"counts reach 400, .*it has in_bits = 9$"):
        calibrated_flags(synthetic_columns(columns=6), NmpuFormat(in_bits=8))


def test_one_column_with_large_counts_is_flagged() -> None:
    columns = synthetic_columns(columns=6, noise=100.0)
    counts, expected = columns.counts.copy(), columns.expected.copy()
    counts[:, :, 2] *= 2
    wide = SyntheticColumns(counts, expected, columns.a_p, columns.a_n, columns.b)
    flags = calibrated_flags(wide, NmpuFormat(in_bits=9))
    assert flags == [[], [], ["saturated"], [], [], []]


def test_clips_that_the_limits_allow_are_no_reason() -> None:
    columns = synthetic_columns(columns=6)
    flags = calibrated_flags(
        columns, NmpuFormat(in_bits=8), limits=QualityLimits(saturated_share=0.5)
    )
    assert flags == [[]] * 6


def test_a_result_too_narrow_for_the_outputs_is_refused() -> None:
    # 128 LSB less an offset are more than 256 halves: 10 bits, signed; 7 hold 31.5 LSB.
    message = (
        r"compressed result of column \d reaches 1[23]\d.*, 7 bits hold 31.5; .* acc_bits = 10$"
    )
    with pytest.raises(CalibrationError, match=message):
        calibrated_flags(synthetic_columns(columns=6), NmpuFormat(acc_bits=7))


def test_results_that_never_get_so_large_are_no_reason() -> None:
    # 9 bits hold 127.5 LSB. P or N alone could reach past it; P - N of these columns do not.
    assert calibrated_flags(synthetic_columns(columns=6), NmpuFormat(acc_bits=9)) == [[]] * 6
