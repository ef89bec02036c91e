from typing import Any

import numpy as np
import pytest

from hil.core.correction import NOT_CALIBRATED, ColumnFlag, Correction


def test_correction_applies_gains_and_offset_per_column() -> None:
    correction = Correction(
        a_p=np.array([0.5, 2.0]), a_n=np.array([0.25, 1.0]), b=np.array([-1.0, 3.0])
    )
    counts = np.array([[[100, 10], [8, 4]], [[0, 0], [65535, 1]]], dtype=np.uint16)
    # 50 - 2 - 1; 20 - 4 + 3; 0 - 16383.75 - 1; 0 - 1 + 3
    assert correction.apply(counts).tolist() == [[47.0, 19.0], [-16384.75, 2.0]]


@pytest.mark.parametrize(
    "changed", [{"b": np.zeros(3)}, {"a_p": np.zeros((2, 1))}, {"a_n": np.zeros(1)}], ids=str
)
def test_arrays_of_different_shape_are_refused(changed: dict[str, Any]) -> None:
    arrays = {"a_p": np.zeros(2), "a_n": np.zeros(2), "b": np.zeros(2)} | changed
    with pytest.raises(ValueError, match="must share one shape"):
        Correction(**arrays)


def test_a_correction_refuses_to_be_written() -> None:
    correction = Correction(a_p=np.zeros(1), a_n=np.zeros(1), b=np.zeros(1))
    with pytest.raises(ValueError, match="read-only"):
        correction.b[0] = 1.0


@pytest.mark.parametrize(
    ("bits", "names"),
    [
        (0, []),
        (1, ["unused"]),
        (2, ["dead"]),
        (4, ["saturated"]),
        (8, ["poor_fit"]),
        (16, ["single_polarity"]),
        (32, ["negative_gain"]),
        (64, ["mixed_sign"]),
        (128, ["offset_clipped"]),
        (256, ["weak_signal"]),
        (16 + 4 + 32, ["saturated", "single_polarity", "negative_gain"]),
    ],
)
def test_flag_bits_have_these_names(bits: int, names: list[str]) -> None:
    assert ColumnFlag(bits).names() == names


def test_these_flags_mean_no_correction() -> None:
    assert NOT_CALIBRATED.names() == ["unused", "dead", "weak_signal"]
