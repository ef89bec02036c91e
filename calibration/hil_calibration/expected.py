"""What an ideal chip would answer: exact integer products, at the speed of floating point."""

import numpy as np
import numpy.typing as npt

_FLOAT32_EXACT = 1 << 24
_LARGEST_PRODUCT = 128 * 128


def expected_outputs(
    inputs: npt.NDArray[np.int8], weights: npt.NDArray[np.int8]
) -> npt.NDArray[np.int32]:
    """Multiply inputs (vector, row) with weights (row, column), exactly.

    Integer matrix products run without BLAS. Codes are at most 128 in magnitude, so up to 1,024
    rows no partial sum passes 2**24, where float32 is exact; above that float64 is taken.

    Returns
    -------
    Sums of input code times weight code, shape (vector, column).
    """
    rows = weights.shape[0]
    exact = np.float32 if rows * _LARGEST_PRODUCT <= _FLOAT32_EXACT else np.float64
    return np.asarray(inputs.astype(exact) @ weights.astype(exact), dtype=np.int32)
