"""The process that has imported `hil`: forks a child for each program that is asked for.

A question is its length, then program, arguments, environment, folder and ignored signals as
`marshal` has them, with three descriptors; the answer is the child's id, then the status it ended
with, four bytes each.
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
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hil.cli import chips_run
from hil_mock_device import launch
from hil_mock_device.__main__ import main as serve_mock

IMPORTED = (
    "hil.cli",
    "hil.campaign.chips.campaigns",
    "hil.campaign.runner",
    "hil.recorded.refit",
    "hil.report.summary",
    "hil_datasets.export.exporter",
    "hil_datasets.integrity.run_check",
    "hil_datasets.opened_run",
    "numpy.random",
)
"""What most programs import."""
FOR_NETWORKS = ("torch", "sklearn.datasets", "hil.inference.evaluations.running")
"""What evaluations of networks import besides, which takes seconds: in a process of its own."""


@dataclass(frozen=True)
class Question:
    """A program as it is asked for."""

    program: str
    """``hil`` or ``hil_mock_device``."""
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
        program, arguments, environment, place, ignored = marshal.loads(content[4:])  # noqa: S302
        return cls(program, arguments, environment, place, ignored, streams)

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
        sys.argv = [str(Path(sys.executable).with_name(self.program)), *self.arguments]


class Children:
    """The commands that are being carried out.

    Parameters
    ----------
    listening
        Where they are asked for.
    for_networks
        Where evaluations of networks are. The first one makes a second process like this one.
    """

    def __init__(self, listening: socket.socket, for_networks: socket.socket | None = None) -> None:
        self._listening, self._for_networks = listening, for_networks
        self._waiting = selectors.DefaultSelector()
        self._waiting.register(0, selectors.EVENT_READ)
        self._waiting.register(listening, selectors.EVENT_READ)
        if for_networks is not None:
            self._waiting.register(for_networks, selectors.EVENT_READ)
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
                elif key.fileobj is self._for_networks:
                    self._waiting.unregister(key.fileobj)
                    if os.fork() == 0:
                        self._leave_to_parent()
                        import_all(FOR_NETWORKS)
                        return Children(self._for_networks).next_question()
                    self._for_networks.close()
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
            self._leave_to_parent()
            asker.close()
            return question
        for descriptor in question.streams:
            os.close(descriptor)
        asker.sendall(child.to_bytes(4, "little"))
        place = os.pidfd_open(child)
        self._askers[place] = (child, asker)
        self._waiting.register(place, selectors.EVENT_READ)
        self._waiting.register(asker, selectors.EVENT_READ, place)
        return None

    def _leave_to_parent(self) -> None:
        self._waiting.close()
        for place, (_, asker) in self._askers.items():
            os.close(place)
            asker.close()
        self._listening.close()

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


def import_all(names: Iterable[str]) -> None:
    """Import what is installed of some modules."""
    for name in names:
        with suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a child that looks at all of it would copy it


def listen_at(place: str) -> socket.socket:
    """Return a socket that listens."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(place)
    listening.listen(64)
    return listening


def main() -> None:
    """Answer until stdin ends."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as `hil` has it: no thread before a fork
    place, script, mock = sys.argv[1:]
    import_all(IMPORTED)
    # What it starts itself is forked too.
    chips_run._HIL = (script,)  # type: ignore[assignment]
    launch.SERVER = (mock,)  # type: ignore[assignment]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is for whoever asks
    listening, for_networks = listen_at(place), listen_at(f"{place}-for-networks")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    question = Children(listening, for_networks).next_question()
    if question is not None:
        question.take_over()
        run(question.program)


def run(program: str) -> None:
    """Run a program, and end as an interpreter does, without taking everything apart."""
    from hil.cli import main as hil  # noqa: PLC0415 - was imported before

    code = 0
    try:
        if program == "hil":
            hil()
        else:
            code = serve_mock()
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
