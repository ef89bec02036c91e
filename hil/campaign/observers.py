"""Everybody who watches a run, as one: none of them can stop it."""

import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from threading import Event, RLock, Thread
from types import TracebackType
from typing import Self

from hil.campaign.config.notify import NotifySection
from hil.campaign.log_file import RunLog
from hil.campaign.notify import Notifier
from hil.campaign.process_identity import ProcessTable
from hil.campaign.progress_file import ProgressFile
from hil.campaign.run_events import (
    RunEnded,
    RunEvent,
    RunStarted,
    RunState,
    RunWatcher,
)
from hil.core.errors import DatasetError, HilError
from hil_datasets.run_directory import RunDirectory

_LOGGER = logging.getLogger(__name__)


class Observers:
    """Tells several watchers what happens in a run, and about twice a second that time passes.

    One that raises goes on being told, since a full disk may be emptied; it is logged once. Use it
    in a ``with`` block: at its end a run of which no end was told is told to have ended as its
    journal or the error of the block says, and every watcher is closed.

    Parameters
    ----------
    watchers
        Who is told, in order; they are closed in the opposite one, so the log comes first.
    every_s
        Seconds between two ticks.
    """

    def __init__(self, watchers: Sequence[RunWatcher], *, every_s: float = 0.5) -> None:
        self._watchers = tuple(watchers)
        self._every_s = every_s
        self._logged: set[int] = set()
        self._lock = RLock()  # a watcher may log, and so come back here
        self._run: Path | None = None
        self._has_ended = False
        self._is_over = Event()
        self._ticker = Thread(target=self._tick_on, name="run-observers", daemon=True)

    def hear(self, event: RunEvent) -> None:
        """Tell everybody."""
        with self._lock:
            if isinstance(event, RunStarted):
                self._run, self._has_ended = event.run, False
            self._has_ended |= isinstance(event, RunEnded)
            for watcher in self._watchers:
                self._guard(watcher, lambda told=watcher: told.hear(event))  # type: ignore[misc]

    def _tick_on(self) -> None:
        while not self._is_over.wait(self._every_s):
            with self._lock:
                for watcher in self._watchers:
                    self._guard(watcher, watcher.tick)

    def _guard(self, watcher: RunWatcher, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - whatever it is, the campaign goes on
            if id(watcher) not in self._logged:
                self._logged.add(id(watcher))
                name = type(watcher).__name__
                _LOGGER.warning("%s does not work, the run goes on without: %s", name, error)

    def __enter__(self) -> Self:
        self._ticker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._run is not None and not self._has_ended:
            self.hear(_ending(self._run, error))
        self._is_over.set()
        self._ticker.join(timeout=5)
        for watcher in reversed(self._watchers):
            self._guard(watcher, watcher.close)


def why_ended(error: BaseException) -> str:
    """Return why a run has ended: with the name of the error where it is not for people."""
    name = "" if isinstance(error, HilError) and str(error) else f"{type(error).__name__}: "
    return f"{name}{error}".rstrip(": ")


def _ending(run: Path, error: BaseException | None) -> RunEnded:
    if isinstance(error, KeyboardInterrupt):
        return RunEnded(state=RunState.INTERRUPTED, reason="Ctrl-C or a signal")
    if error is not None:
        return RunEnded(state=RunState.FAILED, reason=why_ended(error))
    try:
        stops = [event for event in RunDirectory(run).events() if event["event"] == "stop"]
    except DatasetError as unreadable:
        return RunEnded(state=RunState.FAILED, reason=str(unreadable))
    is_whole = bool(stops) and stops[-1].get("status") == "complete"
    return RunEnded(state=RunState.COMPLETE if is_whole else RunState.INCOMPLETE)


def watch_run(
    *watchers: RunWatcher,
    notify: NotifySection | None,
    now: Callable[[], datetime],
    clock: Callable[[], float] = time.monotonic,
) -> Observers:
    """Return everybody who watches a run of this process: its files, `watchers`, notifications.

    Parameters
    ----------
    watchers
        Who else watches, such as a progress bar.
    notify
        Whom to tell how it goes; nobody where None.
    now
        The time, UTC.
    clock
        Monotonic seconds.
    """
    files = (
        RunLog(now=now),
        ProgressFile(writer=ProcessTable().own(), now=now, clock=clock),
    )
    notifiers = () if notify is None else (Notifier(notify, now=now, clock=clock),)
    return Observers([*files, *watchers, *notifiers])
