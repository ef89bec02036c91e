"""How far a run is, in words: for the terminal and for plain lines."""

from collections.abc import Mapping

from hil.campaign.run_events import RunState
from hil.campaign.run_progress import RunProgress
from hil.core.legible import printable

_SECONDS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def duration_words(seconds: float | None) -> str:
    """Return a duration in its two largest units.

    Examples
    --------
    >>> duration_words(93784)
    '1 d 2 h'
    >>> duration_words(4.4)
    '4 s'
    >>> duration_words(None)
    'unknown'
    """
    if seconds is None:
        return "unknown"
    left = max(0, round(seconds))
    parts: list[str] = []
    for unit, size in _SECONDS:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {unit}")
        if len(parts) == 2:
            break
    return " ".join(parts) or "0 s"


def percent(error: float | None) -> str:
    """Return a relative error in per cent.

    Examples
    --------
    >>> percent(0.0314)
    '3.14 %'
    """
    return "none" if error is None else f"{100 * error:.3g} %"


def errors_words(errors: Mapping[str, float | None]) -> str:
    """Return the errors of each correction, in per cent."""
    return ", ".join(f"{printable(name)} {percent(error)}" for name, error in errors.items())


def link_words(faults: Mapping[str, int]) -> str:
    """Return how the link is.

    Examples
    --------
    >>> link_words({"timeout": 2, "wrong_crc": 1})
    '3 link faults (timeout 2, wrong_crc 1)'
    >>> link_words({})
    'no link faults'
    """
    if not faults:
        return "no link faults"
    kinds = ", ".join(f"{printable(kind)} {count}" for kind, count in faults.items())
    total = sum(faults.values())
    return f"{total} link fault{'s' if total != 1 else ''} ({kinds})"


def current_words(progress: RunProgress) -> str:
    """Return which steps are being taken, and how far they are."""
    return ", ".join(
        f"{printable(step.name)} {step.vectors_done}/{step.vectors}" for step in progress.current
    )


def wait_words(progress: RunProgress) -> str:
    """Return what a run waits for; empty if it does not.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from hil.campaign.run_progress import CurrentWait
    >>> from hil.campaign.run_tally import RunTally
    >>> progress = RunTally(clock=lambda: 0.0).progress()
    >>> wait_words(progress)
    ''
    >>> wait = CurrentWait(reason="until core 0 is 3 h old", left_s=7980.0)
    >>> wait_words(replace(progress, waiting=wait))
    'waits 2 h 13 min until core 0 is 3 h old'
    """
    wait = progress.waiting
    if wait is None:
        return ""
    left = "" if wait.left_s is None else f"{duration_words(wait.left_s)} "
    return f"waits {left}{printable(wait.reason)}"


def steps_words(done: int, skipped: int, steps: int) -> str:
    """Return how many steps are done; those that were not needed are not left either.

    Examples
    --------
    >>> steps_words(4, 0, 6)
    '4/6 steps'
    >>> steps_words(14, 2, 16)
    '14/16 steps, 2 not needed'
    """
    return f"{done}/{steps} steps" + (f", {skipped} not needed" if skipped else "")


def pause_words(progress: RunProgress) -> str:
    """Return how a pause stands; empty if the run is not paused.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from hil.campaign.pause_tally import CurrentPause
    >>> from hil.campaign.run_tally import RunTally
    >>> pause = CurrentPause(for_s=130.0, found="the chip is at 60 degrees Celsius", left_s=470.0)
    >>> pause_words(replace(RunTally(clock=lambda: 0.0).progress(), pause=pause))
    'paused for 2 min 10 s, stops in 7 min 50 s: the chip is at 60 degrees Celsius'
    """
    pause = progress.pause
    if pause is None:
        return ""
    stops = "" if pause.left_s is None else f", stops in {duration_words(pause.left_s)}"
    found = f": {printable(pause.found)}" if pause.found else ""
    return f"paused for {duration_words(pause.for_s)}{stops}{found}"


def line_of(progress: RunProgress) -> str:
    """Return how far a run is, as one plain line."""
    share = progress.vectors_done / progress.vectors if progress.vectors else 0.0
    parts = [
        steps_words(progress.steps_done, progress.steps_skipped, progress.steps),
        f"{100 * share:.0f} %",
        current_words(progress),
        details_words(progress),
    ]
    return ", ".join(part for part in parts if part)


def details_words(progress: RunProgress) -> str:
    """Return what stands behind a bar: wait, time left, last error, link, and an odd state."""
    parts = (
        wait_words(progress),
        pause_words(progress),
        f"{duration_words(progress.eta_s)} left"
        if progress.eta_s is not None and progress.pause is None
        else "",
        f"error {percent(progress.last_errors['nmpu'])}" if "nmpu" in progress.last_errors else "",
        link_words(progress.faults) if progress.faults else "",
        "" if progress.state in {RunState.RUNNING, RunState.PAUSED} else str(progress.state),
    )
    return ", ".join(part for part in parts if part)
