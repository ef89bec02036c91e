"""Array aliases, and the one way an array becomes part of a frozen value."""

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]

ScalarT = TypeVar("ScalarT", bound=np.generic)


def read_only(array: npt.NDArray[ScalarT]) -> npt.NDArray[ScalarT]:
    """Return a view of `array` that refuses to be written through."""
    view = array.view()
    view.flags.writeable = False
    return view
