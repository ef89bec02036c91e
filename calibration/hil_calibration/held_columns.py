"""Whether a format holds most columns of a core, or only an odd one falls short of it.

A column whose counts or offset run over the end of a register is flagged and costs itself. Where
that befalls most of a core, the format is the fault and not the column, and it is refused.
"""

import numpy as np
import numpy.typing as npt

from hil.core.array_types import ScalarT
from hil.core.correction import Correction
from hil.core.nmpu_format import NmpuFormat, OffsetAt
from hil_calibration.format_choice import require_format, shortfalls

_MOST = 0.5
"""Share of the calibrated columns beyond which the format is refused."""


def require_format_of_most(
    correction: Correction,
    fmt: NmpuFormat,
    *,
    is_calibrated: npt.NDArray[np.bool_],
    counts: npt.NDArray[np.uint16],
    saturated_share: float,
    headroom: float,
) -> None:
    """Refuse a format that most of a core's calibrated columns do not fit.

    Parameters
    ----------
    correction
        Gains and offsets in output LSB, with no mixed signs in a column.
    fmt
        The format, with the tile's shift.
    is_calibrated
        Which columns have a correction, shape (column,).
    counts
        Sample of calibration readouts, shape (vector, polarity, column), at least one vector.
    saturated_share
        Share of a column's counts that may be clipped before it is called saturated; as many of
        the largest counts and results do not count.
    headroom
        Factor left in the scales for drift, 1 <= headroom.

    Raises
    ------
    CalibrationError
        With what does not fit, and the smallest format that holds the columns.
    """
    live = np.flatnonzero(is_calibrated)
    highest = highest_whole(counts.reshape(-1, counts.shape[2]), saturated_share)

    def lacking(columns: npt.NDArray[np.intp]) -> set[str]:
        part = Correction(
            a_p=correction.a_p[columns], a_n=correction.a_n[columns], b=correction.b[columns]
        )
        most = int(highest[columns].max(initial=0))
        found = shortfalls(part, fmt, highest_count=most, headroom=headroom)
        return {shortfall.parameter for shortfall in found}

    if not lacking(live):
        return
    is_over = _largest_results(correction, fmt, counts, saturated_share) > (
        ((1 << (fmt.acc_bits - 1)) - 1) * 2.0**-fmt.off_frac
    )
    # Not every result that could be reached is: a width of results needs to be proved short.
    spared = [set() if over else {"acc_bits"} for over in is_over]
    short = [column for column in live if lacking(np.array([column])) - spared[column]]
    if len(short) > _MOST * live.size:
        # Over all columns, so that a message names them by their own numbers.
        most = int(highest[live].max())
        require_format(correction, fmt, highest_count=most, headroom=headroom)


def highest_whole(values: npt.NDArray[ScalarT], saturated_share: float) -> npt.NDArray[ScalarT]:
    """Return the largest value of each column but for a share of them.

    Parameters
    ----------
    values
        Shape (sample, column), at least one sample.
    saturated_share
        Share of the largest values that does not count.

    Examples
    --------
    >>> highest_whole(np.array([[5, 7], [900, 7]]), 0.0)
    array([900,   7])
    >>> highest_whole(np.array([[5, 7], [900, 7]]), 0.5)
    array([5, 7])
    """
    place = max(len(values) - 1 - int(saturated_share * len(values)), 0)
    return np.asarray(np.partition(values, place, axis=0)[place])


def _largest_results(
    correction: Correction,
    fmt: NmpuFormat,
    counts: npt.NDArray[np.uint16],
    saturated_share: float,
) -> npt.NDArray[np.float64]:
    """Return the largest magnitude of the compressed result of each column, output LSB."""
    results = correction.apply(counts)
    if fmt.offset_at is not OffsetAt.BEFORE_SHIFT:
        results -= correction.b
    return highest_whole(np.abs(results), saturated_share)
