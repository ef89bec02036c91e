"""Telling somebody that a run has finished, failed or paused, without ever holding the run up.

Commands and posts are processes of their own, started by a thread of their own and ended when their
time is up. What fails is logged; secrets never are.
"""

import json
import logging
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any, Self

from hil.campaign.config.notify import NotifySection, Occasion
from hil.campaign.run_events import RunEnded, RunEvent, RunPaused, RunState
from hil.campaign.run_progress import utc_text
from hil.campaign.run_tally import RunTally
from hil.core.legible import cut_short, printable

_LOGGER = logging.getLogger(__name__)
_MOST_WAITING = 16
_LONGEST_PROBLEM = 500
_LOOK_EVERY_S = 0.05
_LONGEST_WORDS = 1 << 16
"""Bytes of a program's own words that are kept; what it writes beyond is thrown away."""
_MOST_READS = 16
"""Pieces of them that are read each time it is looked at: no flood keeps this from the clock."""
_WEB_HOOK = (sys.executable, "-P", "-m", "hil.campaign.web_hook")
"""``-P``: whatever lies in the folder that the campaign was started from is not imported."""


class Notifier:
    """A `RunWatcher` that tells somebody how a run goes.

    Parameters
    ----------
    section
        Whom, and when.
    now
        The time, UTC.
    clock
        Monotonic seconds.
    environment
        Where secrets come from.
    """

    def __init__(
        self,
        section: NotifySection,
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._section = section
        self._now = now
        self._clock = clock
        self._environment = dict(os.environ if environment is None else environment)
        self._tally = RunTally(clock=clock)
        self._waiting: Queue[bytes] = Queue(maxsize=_MOST_WAITING)
        self._no_more = Event()
        self._give_up = Event()
        self._thread: Thread | None = None

    def hear(self, event: RunEvent) -> None:
        """Take note of an event; have it told if it is one to tell."""
        self._tally.hear(event)
        occasion = next((one for one in _occasions(event) if one in self._section.on), None)
        if occasion is None:
            return
        body = json.dumps(self._message(occasion)).encode()
        try:
            self._waiting.put_nowait(body)
        except Full:
            _LOGGER.warning("notification of %s dropped: %d wait already", occasion, _MOST_WAITING)
            return
        if self._thread is None:
            self._thread = Thread(target=self._tell_all, name="run-notifier", daemon=True)
            self._thread.start()

    def tick(self) -> None:
        """Do nothing: a thread of its own does the work."""

    def close(self) -> None:
        """Wait until everybody is told, but no longer than the section's ``timeout_s``."""
        self._no_more.set()
        if self._thread is None:
            return
        self._thread.join(timeout=self._section.timeout_s)
        if self._thread.is_alive():
            self._give_up.set()
            self._thread.join(timeout=1.0)

    def _message(self, occasion: Occasion) -> dict[str, Any]:
        progress = self._tally.progress()
        return {
            "schema_version": 1,
            "occasion": str(occasion),
            "utc": utc_text(self._now()),
            "host": platform.node(),
            "run": str(self._tally.run or ""),
            **progress.to_json(),
        }

    def _tell_all(self) -> None:
        while not self._give_up.is_set():
            try:
                body = self._waiting.get(timeout=_LOOK_EVERY_S)
            except Empty:
                if self._no_more.is_set():
                    return
                continue
            try:
                self._tell(body)
            except Exception as error:  # noqa: BLE001 - whatever it is, the campaign goes on
                _LOGGER.warning("notification failed: %s", self._without_secrets(str(error)))
        if not self._waiting.empty():
            _LOGGER.warning("%d notifications dropped: out of time", self._waiting.qsize())

    def _tell(self, body: bytes) -> None:
        section = self._section
        if section.command is not None:
            problem = self._run(section.command, body, self._environment)
            self._log("command", section.command[0], problem)
        if section.url is not None and not self._give_up.is_set():
            missing = section.missing_variables(self._environment)
            if missing:
                problem = f"not set in the environment: {', '.join(missing)}"
            else:
                problem = self._run(_WEB_HOOK, self._post_request(body), self._environment)
            self._log("url", section.url, problem)

    def _log(self, what: str, whom: str, problem: str) -> None:
        if problem:
            problem = self._without_secrets(problem)
            _LOGGER.warning("notification by %s %s failed: %s", what, whom, problem)
        else:
            _LOGGER.info("notification by %s %s sent", what, whom)

    def _post_request(self, body: bytes) -> bytes:
        section = self._section
        return json.dumps(
            {
                "url": self._filled(section.url or ""),
                "headers": {name: self._filled(text) for name, text in section.headers.items()},
                "body": body.decode(),
                "timeout_s": section.timeout_s,
            }
        ).encode()

    def _filled(self, text: str) -> str:
        for placeholder, secret in self._section.secrets(self._environment).items():
            text = text.replace(placeholder, secret)
        return text

    def _without_secrets(self, text: str) -> str:
        for placeholder, secret in self._section.secrets(self._environment).items():
            text = text.replace(secret, placeholder)
        return text

    def _run(self, command: Sequence[str], content: bytes, environment: Mapping[str, str]) -> str:
        """Run a program to its end or the end of its time; return what went wrong, or nothing."""
        # A file as input: nothing waits for a program that does not read it. A pipe for its words,
        # read as they come: in a file they could fill the disk. Nothing waits for its end either.
        with tempfile.TemporaryFile() as stdin, _Words() as words:
            stdin.write(content)
            stdin.seek(0)
            try:
                process = subprocess.Popen(  # noqa: S603 - the campaign file's own command
                    list(command),
                    stdin=stdin,
                    stdout=subprocess.DEVNULL,
                    stderr=words.writer,
                    env=dict(environment),
                    start_new_session=True,  # Ctrl-C is for the campaign; and it ends as a group
                )
            except (OSError, ValueError) as error:
                return f"cannot be started: {getattr(error, 'strerror', None) or error}"
            problem = self._wait(process, words)
            said = printable(words.heard.decode(errors="replace").strip())
        if problem or process.returncode:
            problem = problem or f"ended with {process.returncode}"
            return f"{problem}: {cut_short(said, longest=_LONGEST_PROBLEM)}" if said else problem
        return ""

    def _wait(self, process: subprocess.Popen[bytes], words: "_Words") -> str:
        deadline_s = self._clock() + self._section.timeout_s
        while True:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=_LOOK_EVERY_S)
                words.hear()
                return ""
            words.hear()
            if self._give_up.is_set() or self._clock() >= deadline_s:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return f"did not end within {self._section.timeout_s:g} s, and was ended"


class _Words:
    """What a program writes to its standard error: the beginning of it."""

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe()
        os.set_blocking(self._reader, False)
        self.heard = b""

    def hear(self) -> None:
        """Take what is there."""
        for _ in range(_MOST_READS):
            try:
                piece = os.read(self._reader, _LONGEST_WORDS)
            except BlockingIOError:
                return
            self.heard += piece[: _LONGEST_WORDS - len(self.heard)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._reader)
        os.close(self.writer)


def _occasions(event: RunEvent) -> tuple[Occasion, ...]:
    """Return what an event is an occasion for; the first one that somebody asked for is told."""
    match event:
        case RunPaused():
            return (Occasion.PAUSE,)
        case RunEnded(state=RunState.COMPLETE):
            return (Occasion.FINISH,)
        case RunEnded(state=RunState.INCOMPLETE):
            return (Occasion.FAILURE, Occasion.FINISH)
        case RunEnded():
            return (Occasion.FAILURE,)
    return ()
