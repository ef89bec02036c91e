"""The process that has imported `hil`: forks a child for each command that is asked for.

A question is its length, then arguments, environment, folder and ignored signals as `marshal` has
them, with three descriptors; the answer is the child's id, then the status it ended with, four
bytes each.
"""

import atexit
import gc
import importlib
import marshal
import os
import selectors
import signal
import socket
import sys
import threading
import traceback
from dataclasses import dataclass
from pathlib import Path

IMPORTED = (
    "hil.campaign.chips.campaigns",
    "hil.campaign.runner",
    "hil.recorded.refit",
    "hil.report.summary",
    "hil_datasets.export.exporter",
    "hil_datasets.integrity.run_check",
    "hil_datasets.opened_run",
    "numpy.random",
)
"""What most commands import."""


@dataclass(frozen=True)
class Question:
    """A command as it is asked for."""

    arguments: list[str]
    environment: dict[str, str]
    folder: str
    ignored: list[int]
    """Signals."""
    streams: list[int]
    """Descriptors of its stdin, stdout and stderr."""

    @classmethod
    def receive(cls, asker: socket.socket) -> "Question":
        content, streams, _, _ = socket.recv_fds(asker, 1 << 16, 3)
        length = int.from_bytes(content[:4], "little")
        while len(content) < 4 + length:
            content += asker.recv(1 << 16)
        arguments, environment, place, ignored = marshal.loads(content[4:])  # noqa: S302 - ours
        return cls(arguments, environment, place, ignored, streams)

    def take_over(self) -> None:
        """Give this process the arguments, environment, folder, signals and streams."""
        is_ignored = signal.SIGINT in self.ignored
        signal.signal(signal.SIGINT, signal.SIG_IGN if is_ignored else signal.default_int_handler)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN if number in self.ignored else signal.SIG_DFL)
        for place, descriptor in enumerate(self.streams):
            os.dup2(descriptor, place)
            os.close(descriptor)
        sys.stdin = os.fdopen(0, closefd=False)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
        os.environ.clear()
        os.environ.update(self.environment)
        os.chdir(self.folder)
        sys.argv = [str(Path(sys.executable).with_name("hil")), *self.arguments]


class Children:
    """The commands that are being carried out."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._waiting = selectors.DefaultSelector()
        self._waiting.register(0, selectors.EVENT_READ)
        self._waiting.register(listening, selectors.EVENT_READ)
        self._askers: dict[int, tuple[int, socket.socket]] = {}

    def next_question(self) -> Question | None:
        """Return a question in the child that is to answer it; None in the end."""
        while True:
            for key, _ in self._waiting.select():
                if key.fd == 0:
                    return None
                if key.fileobj is self._listening:
                    question = self._fork()
                    if question is not None:
                        return question
                elif key.data is None:
                    self._end(key.fd)
                elif key.data in self._askers:  # whoever asked has gone
                    os.kill(self._askers[key.data][0], signal.SIGKILL)
                    self._waiting.unregister(key.fileobj)

    def _fork(self) -> Question | None:
        asker, _ = self._listening.accept()
        question = Question.receive(asker)
        child = os.fork()
        if child == 0:
            self._waiting.close()
            for place, (_, other) in self._askers.items():
                os.close(place)
                other.close()
            asker.close()
            self._listening.close()
            return question
        for descriptor in question.streams:
            os.close(descriptor)
        asker.sendall(child.to_bytes(4, "little"))
        place = os.pidfd_open(child)
        self._askers[place] = (child, asker)
        self._waiting.register(place, selectors.EVENT_READ)
        self._waiting.register(asker, selectors.EVENT_READ, place)
        return None

    def _end(self, place: int) -> None:
        child, asker = self._askers.pop(place)
        self._waiting.unregister(place)
        os.close(place)
        _, status = os.waitpid(child, 0)
        try:
            self._waiting.unregister(asker)
            asker.sendall(status.to_bytes(4, "little"))
        except (KeyError, OSError):  # it has gone
            pass
        asker.close()


def main() -> None:
    """Answer until stdin ends."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as `hil` has it: no thread before a fork
    for name in ("hil.cli", *IMPORTED):
        importlib.import_module(name)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is for whoever asks
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(sys.argv[1])
    listening.listen(64)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    gc.collect()
    gc.freeze()  # a child that looks at all of it would copy it
    question = Children(listening).next_question()
    if question is not None:
        question.take_over()
        run_hil()


def run_hil() -> None:
    """Run the command line, and end as an interpreter does, without taking everything apart."""
    from hil.cli import main as hil  # noqa: PLC0415 - was imported before

    code = 0
    try:
        hil()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter does it
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
