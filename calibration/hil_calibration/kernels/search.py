"""The search over neighbouring register codes for the least error of the integer model.

`search_numpy` is the reference; `search_compiled` returns the same codes, bit for bit. That two
programs agree on which of two close candidates is better needs sums that do not depend on their
order. So the expected outputs are rounded to a multiple of a power of two so fine that a float64
just holds the whole sum: every score is then exact. 512 vectors of outputs up to 128 LSB are
rounded to 2**-28 LSB.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from hil.core.fixed_point import QFormat
from hil.core.nmpu_format import NmpuFormat
from hil_calibration.kernels import numba_extra
from hil_calibration.kernels.datapath import datapath_of
from hil_calibration.kernels.threads import over_chunks
from hil_calibration.nmpu import nmpu_outputs

CodeArray = npt.NDArray[np.int64]

SCALE_STEPS = ((0, 0), *(pair for pair in product((-1, 0, 1), repeat=2) if pair != (0, 0)))
"""Steps of (scale_p, scale_n) in the order they are tried; of equals, the first stays."""
_CHUNK_COLUMNS = 32
_CANDIDATES = 45
"""Outputs computed for each vector and column: nine pairs of scales, five offsets each."""
_LOADING = numba_extra.LoadingChoice(1 << 27)
"""Outputs that numpy computes in about a second: the searches of 22 cores of 256 columns with
512 vectors. Loading takes half of that, or 3 s more where the loops are still to be compiled.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchStart:
    """What the search begins with: rounded codes, and the sample that judges them."""

    fmt: NmpuFormat
    """The unit's format with the tile's shift."""
    scale_p: CodeArray
    """Scale of the P branch, shape (column,)."""
    scale_n: CodeArray
    """Scale of the N branch, shape (column,)."""
    offset: CodeArray
    """Offset, shape (column,)."""
    swap: npt.NDArray[np.bool_]
    """Whether P and N change places, shape (column,)."""
    counts: npt.NDArray[np.uint16]
    """Sample of readouts, shape (vector, polarity, column)."""
    expected: npt.NDArray[np.float64]
    """Their expected outputs, shape (vector, column), output LSB."""

    def __post_init__(self) -> None:
        if not np.isfinite(self.expected).all():
            raise ValueError("an expected output is not finite")

    @property
    def fine(self) -> float:
        """Steps per output LSB that expected outputs are rounded to, a power of two.

        A score is a sum of ``q * (q * fine - 2 * expected)`` with ``|q| <= 128`` over all vectors;
        none of its partial sums may exceed 2**53.
        """
        largest = float(np.abs(self.expected).max(initial=0.0))
        terms = max(len(self.expected), 1) * 128 * (128 + 2 * largest + 1)
        return float(2.0 ** np.floor(np.log2(2.0**53 / terms)))

    @property
    def fine_expected(self) -> npt.NDArray[np.float64]:
        """Expected outputs in steps of ``1 / fine`` LSB: whole numbers, shape (vector, column)."""
        return np.rint(self.expected * self.fine)


def search(start: SearchStart) -> tuple[CodeArray, CodeArray, CodeArray]:
    """Return per column the scales and the offset with the least mean-square error.

    Tried are each scale and its two neighbours, and with each pair of scales the offset as it is,
    fitted again, and one code to each side of that. The compiled search is used if numba is
    installed, and loaded already or worth loading.
    """
    if _LOADING.wants_numba(start.expected.size * _CANDIDATES):
        return search_compiled(start)
    return search_numpy(start)


def search_numpy(start: SearchStart) -> tuple[CodeArray, CodeArray, CodeArray]:
    """Search with numpy: the reference."""
    register, fine, target = start.fmt.offset_format, start.fine, start.fine_expected
    best_score = np.full(start.offset.shape, np.inf)
    best = np.stack([start.scale_p, start.scale_n, start.offset])
    for step_p, step_n in _steps(start.fmt):
        near_p = neighbour(start.scale_p, step_p, start.fmt.scale_format)
        near_n = neighbour(start.scale_n, step_n, start.fmt.scale_format)
        outputs = _outputs(start, near_p, near_n, start.offset)
        bias = (outputs * fine - target).sum(axis=0) / (fine * len(target))
        refitted = start.offset - np.rint(bias / register.step).astype(np.int64)
        # The offset as it was: clipped outputs hide part of the bias from the refit.
        for wanted in (start.offset, refitted, refitted - 1, refitted + 1):
            offset = np.clip(wanted, register.lowest_code, register.highest_code)
            outputs = _outputs(start, near_p, near_n, offset)
            score = (outputs * (outputs * fine - 2 * target)).sum(axis=0)
            is_better = score < best_score
            best_score = np.where(is_better, score, best_score)
            best = np.where(is_better, np.stack([near_p, near_n, offset]), best)
    return best[0], best[1], best[2]


def search_compiled(
    start: SearchStart, *, threads: int | None = 1
) -> tuple[CodeArray, CodeArray, CodeArray]:
    """Search with compiled loops: the codes of `search_numpy`.

    One core of a chip takes milliseconds, so that a second thread costs more than it brings.

    Raises
    ------
    ImportError
        If numba is not installed.
    """
    numba_extra.require()
    from hil_calibration.kernels import compiled_search  # noqa: PLC0415 - numba costs 0.4 s

    codes = np.stack([start.scale_p, start.scale_n, start.offset]).astype(np.int64)
    found = codes.copy()
    register, path, fine = start.fmt.offset_format, datapath_of(start.fmt), start.fine
    steps = np.array(_steps(start.fmt), np.int64)
    limits = (start.fmt.scale_format.highest_code, register.lowest_code, register.highest_code)
    counts, target = np.ascontiguousarray(start.counts), start.fine_expected

    def run(first: int, stop: int) -> None:
        compiled_search.search_columns(
            counts, target, fine, register.step, start.swap, codes, steps, limits, path,
            first, stop, found,
        )  # fmt: skip

    over_chunks(run, codes.shape[1], size=_CHUNK_COLUMNS, threads=threads)
    return found[0], found[1], found[2]


def neighbour(scale: CodeArray, step: int, register: QFormat) -> CodeArray:
    """Return the codes one step on. A branch that is off stays off: that was the fit's decision."""
    return np.where(scale == 0, 0, np.clip(scale + step, 0, register.highest_code))


def _steps(fmt: NmpuFormat) -> list[tuple[int, int]]:
    return [(p, n) for p, n in SCALE_STEPS if p == n or not fmt.shared_scale]


def _outputs(
    start: SearchStart, scale_p: CodeArray, scale_n: CodeArray, offset: CodeArray
) -> npt.NDArray[np.float64]:
    return nmpu_outputs(
        start.counts[:, 0],
        start.counts[:, 1],
        scale_p=scale_p,
        scale_n=scale_n,
        offset=offset,
        swap=start.swap,
        fmt=start.fmt,
    ).astype(np.float64)
