"""Running the checks one after the other, whatever each of them does."""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress

from hil_drivers.conformance.check import Check, FailedError, Finding, Result, SkippedError, shown
from hil_drivers.conformance.identity_checks import IDENTITY_CHECKS
from hil_drivers.conformance.link_checks import LINK_CHECKS
from hil_drivers.conformance.nmpu_checks import NMPU_CHECKS
from hil_drivers.conformance.readout_checks import READOUT_CHECKS
from hil_drivers.conformance.refusal_checks import REFUSAL_CHECKS
from hil_drivers.conformance.state_checks import STATE_CHECKS
from hil_drivers.conformance.workbench import TestPlan, Workbench

CHECKS: tuple[Check, ...] = (
    *IDENTITY_CHECKS,
    *READOUT_CHECKS,
    *NMPU_CHECKS,
    *REFUSAL_CHECKS,
    *STATE_CHECKS,
    *LINK_CHECKS,
)
"""Every check, in the order in which they are made."""

LEFT_SAFE = "the chip is left safe"
"""The last claim: it is tried whatever happened before."""

_SHORTEST_LIMIT_S = 60.0
_TIMEOUTS = 30
"""A check may take so many timeouts; the driver hangs if it takes longer."""


def run_checks(
    plan: TestPlan, *, checks: tuple[Check, ...] = CHECKS, limit_s: float | None = None
) -> Iterator[Finding]:
    """Make the checks; each finding comes as soon as it is known.

    Parameters
    ----------
    plan
        What is tested.
    checks
        Which checks.
    limit_s
        How long one may take until the driver counts as hung; then the rest are skipped, as nobody
        can take a connection away from it. By the timeout where None.
    """
    limit_s = max(_SHORTEST_LIMIT_S, _TIMEOUTS * plan.timeout_s) if limit_s is None else limit_s
    hung = False
    bench = Workbench(plan)
    try:
        for check in (*checks, Check(LEFT_SAFE, _leave_safe)):
            if hung:
                reason = "the driver still hangs in an earlier check"
                yield Finding(claim=check.claim, result=Result.SKIP, evidence=reason, seconds=0.0)
                continue
            finding, hung = _make(check, bench, limit_s)
            if finding.result is Result.FAIL and not hung:
                with suppress(Exception):  # what is wrong with it was said by a finding
                    bench.let_go()
            yield finding
    finally:
        if not hung:
            with suppress(Exception):
                bench.let_go()


def _make(check: Check, bench: Workbench, limit_s: float) -> tuple[Finding, bool]:
    """Make one check in a thread of its own; return its finding and whether it hangs."""
    outcome: list[tuple[Result, str]] = []
    thread = threading.Thread(target=lambda: outcome.append(_try(check, bench)), daemon=True)
    start = time.monotonic()
    thread.start()
    thread.join(limit_s)
    seconds = time.monotonic() - start
    hangs = not outcome
    result, evidence = (
        (Result.FAIL, f"did not end within {limit_s:g} s: the driver hangs")
        if hangs
        else outcome[0]
    )
    return Finding(claim=check.claim, result=result, evidence=evidence, seconds=seconds), hangs


def _try(check: Check, bench: Workbench) -> tuple[Result, str]:
    try:
        return Result.PASS, check.try_it(bench)
    except SkippedError as reason:
        return Result.SKIP, str(reason)
    except FailedError as seen:
        return Result.FAIL, str(seen)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a driver may raise anything
        return Result.FAIL, f"raised {shown(error)}"


def _leave_safe(bench: Workbench) -> str:
    bench.chip.safe()
    bench.let_go()
    return f"{bench.programmings} programmings in all"
