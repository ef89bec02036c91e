"""CRC-32C over arrays as they lie in memory."""

from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt


def extended_crc(crc: int, array: npt.NDArray[Any]) -> int:
    """Return a CRC-32C over what it was of, and the bytes of an array after that."""
    stored = np.ascontiguousarray(array)
    if google_crc32c.implementation != "c":  # that one takes nothing but bytes
        return int(google_crc32c.extend(crc, stored.tobytes()))
    return int(google_crc32c.extend(crc, stored))
