"""Reading memory in the order of its addresses. Imports numba: import it inside a function."""

from typing import Any

from numba import njit

Array = Any  # inside the compiled loops the element type is numba's affair


@njit(nogil=True, cache=True)
def total_of(words: Array) -> int:
    """Read memory, as fast as it goes."""
    total = 0
    for index in range(words.size):
        total += words[index]
    return total
