"""Which formats are worth their bits."""

from collections.abc import Sequence

from hil.core.nmpu_format import NmpuFormat

COST_MODEL = (
    "register bits per column: both scales (one, if it is shared) and the offset; the swap bit, "
    "the shift of the tile, and the widths of input, products, accumulator and output are not "
    "counted"
)
"""What `register_bits` counts, in words."""


def register_bits(fmt: NmpuFormat) -> int:
    """Return how many register bits a format needs for each column; see `COST_MODEL`.

    Examples
    --------
    >>> register_bits(NmpuFormat()), register_bits(NmpuFormat(shared_scale=True))
    (24, 16)
    """
    scales = 1 if fmt.shared_scale else 2
    return scales * (fmt.scale_int + fmt.scale_frac) + fmt.off_bits


def pareto_set(points: Sequence[tuple[int, float]]) -> list[int]:
    """Return which points no other point beats, by rising cost.

    A point is beaten by one that costs no more and errs no more, and less in one of the two. Of
    points equal in both, the first stays.

    Parameters
    ----------
    points
        Cost and error of each.

    Returns
    -------
    Positions in `points`.

    Examples
    --------
    >>> pareto_set([(24, 0.2), (16, 0.5), (20, 0.2), (18, 0.6)])
    [1, 2]
    """
    chosen: list[int] = []
    best = float("inf")
    # Sorting is stable and the position comes last, so the first of equals comes first.
    for _, error, position in sorted((*point, at) for at, point in enumerate(points)):
        if error < best:
            chosen.append(position)
            best = error
    return chosen
