"""How a run stands, in lines for a person."""

from hil.campaign.guards.known_answer_file import KnownAnswerCheck
from hil.campaign.run_status import RunStatus
from hil.cli.progress_words import (
    current_words,
    duration_words,
    errors_words,
    link_words,
    pause_words,
    percent,
    wait_words,
)
from hil.core.legible import printable


def status_lines(status: RunStatus) -> list[str]:
    """Return how a run stands, as lines for a person."""
    why = f" ({printable(status.reason)})" if status.reason else ""
    lines = [f"{printable(status.title) or 'run'}: {status.state}{why}"]
    if status.note:
        lines.append(f"  {printable(status.note)}")
    if status.chip:
        lines.append(f"  chip      {printable(status.chip)}")
    lines.append(f"  steps     {_steps_words(status)}")
    lines += _progress_lines(status)
    if status.known_answer is not None:
        lines.append(f"  known     {_known_answer_words(status.known_answer)}")
    if status.writer is not None:
        seen = status.updated_s_ago
        ago = "" if seen is None else f", last seen {duration_words(seen)} ago"
        lines.append(f"  writer    {printable(str(status.writer))}{ago}")
    return lines


def _steps_words(status: RunStatus) -> str:
    if not status.steps_skipped:
        return f"{status.steps_done} of {status.steps} finished"
    return f"{status.steps_done} finished, {status.steps_skipped} not needed, of {status.steps}"


def _known_answer_words(check: KnownAnswerCheck) -> str:
    alarm = "ALARM, " if check.is_alarm else ""
    paused = ", while paused" if check.is_paused else ""
    return (
        f"answers {alarm}{check.score:+.1f} sigma off, CUSUM {check.upper:.3g} up and "
        f"{check.lower:.3g} down ({printable(check.step)}, vector {check.vector}{paused})"
    )


def _progress_lines(status: RunStatus) -> list[str]:
    progress = status.progress
    if progress is None:
        return []
    lines = [f"  vectors   {progress.vectors_done} of {progress.vectors} read"]
    if not status.state.is_over:
        if progress.current:
            lines.append(f"  now       {current_words(progress)}")
        if progress.waiting is not None:
            lines.append(f"  wait      {wait_words(progress)}")
        if progress.pause is not None:
            lines.append(f"  pause     {pause_words(progress).removeprefix('paused ')}")
        left = "" if progress.pause else f", {duration_words(progress.eta_s)} left"
        lines.append(f"  time      {duration_words(progress.elapsed_s)} so far{left}")
    if progress.last_errors:
        step = printable(progress.last_errors_step)
        lines.append(f"  error     {errors_words(progress.last_errors)} ({step})")
    if "nmpu" in progress.worst_errors:
        lines.append(f"  worst     nmpu {percent(progress.worst_errors['nmpu'])}")
    lines.append(f"  link      {link_words(progress.faults)}")
    lines += [
        f"  FAILED    {printable(name)}: {printable(reason)}"
        for name, reason in progress.failed.items()
    ]
    if progress.unsafe:
        lines.append(f"  UNSAFE    {printable(progress.unsafe)}")
    return lines
