"""Why steps of visits were skipped or taken again: in a line each, or every one of them."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from rich.text import Text

from hil.core.legible import printable
from hil.report.visits import Recalibration, VisitSummary

_STEP_NAME = re.compile(r"core[0-9]+_\S+")
_MOST_KINDS = 3
"""Kinds of reasons named in a line."""


def reason_lines(visits: Sequence[VisitSummary], *, has_details: bool) -> Iterator[Text]:
    """Yield what was skipped and what was calibrated again, and why.

    Parameters
    ----------
    visits
        The visits of a run.
    has_details
        Whether each step is told with its reason.
    """
    skipped = [each for visit in visits for each in visit.skipped]
    recalibrated = [each for visit in visits for each in visit.recalibrated]
    taken = sum(kind.steps for visit in visits for kind in visit.kinds)
    told = {
        f"skipped: {len(skipped)} of {len(skipped) + taken} steps": [
            (each.step, each.reason) for each in skipped
        ],
        f"calibrated again: {len(recalibrated)} of {taken} steps": [
            (each.step, each.reason) for each in recalibrated
        ],
    }
    for what, reasons in told.items():
        if reasons:
            yield Text(f"{what} ({_summed_up([reason for _, reason in reasons])})")
            if has_details:
                yield from (Text(f"  {step}: {printable(why)}") for step, why in reasons)
    yield from _in_vain(recalibrated, has_details=has_details)
    if not has_details and (skipped or recalibrated):
        yield Text("why of each: hil info --details")


def _in_vain(recalibrated: Sequence[Recalibration], *, has_details: bool) -> Iterator[Text]:
    # The last one of a core in a read mode tells how things stand.
    last = {each.step.partition("_visit")[0]: each.remark for each in recalibrated}
    remarks = [remark for remark in last.values() if remark]
    if not remarks:
        return
    if has_details or len(remarks) == 1:
        yield from (Text(printable(remark), style="yellow") for remark in remarks)
        return
    yield Text(
        f"calibrated again in vain: {len(remarks)} of {len(last)} cores and read modes "
        f"({_summed_up(remarks)})",
        style="yellow",
    )


def _summed_up(reasons: Sequence[str]) -> str:
    """Return how many have which reason, without the numbers of each.

    Examples
    --------
    >>> _summed_up(["the error of core00_a_probe is 1 %: within the limit", "no: within the limit"])
    '2 within the limit'
    """
    alike = Counter(_STEP_NAME.sub("the probe", why.rpartition(": ")[2]) for why in reasons)
    shown = [f"{count} {printable(why)}" for why, count in alike.most_common(_MOST_KINDS)]
    left = len(reasons) - sum(count for _, count in alike.most_common(_MOST_KINDS))
    return "; ".join(shown + ([f"{left} for other reasons"] if left else []))
