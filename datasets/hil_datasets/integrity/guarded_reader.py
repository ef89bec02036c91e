"""Reading files that may be made to break their reader: in a process that is allowed to die.

The HDF5 library can hang, crash or ask for any amount of memory on a file with a few flipped bits,
and a seal that fits says only that nothing was flipped since it was written. So HDF5 never
opens a file under suspicion in this process. A child opens it, with a limit on its memory that
follows from the size of the file, without core dumps and without plug-in filters. It has a
deadline; if it ends or the deadline passes, that is the answer, and the next question gets a new
child.
"""

import json
import os
import selectors
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hil.core.errors import DatasetError, Problem

_BYTES_PER_S = 20e6
"""Slowest disk that a deadline allows for."""
_LARGEST_ANSWER_BYTES = 64 << 20
_START_S = 120.0
"""How long a child may take to load its libraries, on a busy machine from a slow disk."""


class ReaderEndedError(Exception):
    """The child came to an end, or to its deadline, instead of an answer."""

    def __init__(self, reason: str, said: list[dict[str, Any]]) -> None:
        super().__init__(reason)
        self.said = said
        """What it had answered before."""


class GuardedReader:
    """Questions about files, answered by a child process.

    Parameters
    ----------
    patience_s
        How long an answer may take, besides the time that the bytes of the file take.
    """

    def __init__(self, *, patience_s: float = 20.0) -> None:
        self._patience_s = patience_s
        self._child: subprocess.Popen[bytes] | None = None
        self.deaths = 0
        """How many children have ended before their time."""

    def ask(self, what: str, path: Path, **details: Any) -> list[dict[str, Any]]:
        """Ask about a file; return what the child says, in its order.

        Parameters
        ----------
        what
            Which question: a name of `hil_datasets.integrity.reader_process`.
        path
            The file.
        details
            More about the question, as JSON holds it.

        Raises
        ------
        ReaderEndedError
            If the child crashes, or takes too long.
        DatasetError
            If no child starts: that is not the fault of the file, and says nothing of it.
        """
        question = {"what": what, "path": os.fspath(path.absolute()), **details}
        child = self._child if self._child is not None else self._start()
        if child.stdin is None or child.stdout is None:
            raise ReaderEndedError("the reader has no pipes", [])
        deadline_s = time.monotonic() + self._patience_s + _size_of(path) / _BYTES_PER_S
        said: list[dict[str, Any]] = []
        try:
            child.stdin.write(json.dumps(question).encode() + b"\n")
            child.stdin.flush()
            for answer in _answers(child.stdout.fileno(), deadline_s):
                if answer.get("is_end"):
                    return said
                said.append(answer)
        except TimeoutError:
            self._end()
            raise ReaderEndedError(
                "reading it takes for ever: the reader was ended", said
            ) from None
        except (OSError, EOFError, ValueError):
            pass
        raise ReaderEndedError(self._how_it_ended(), said)

    def _start(self) -> subprocess.Popen[bytes]:
        # -P: no module of the folder that `hil` is called in stands in for a library.
        self._child = subprocess.Popen(  # noqa: S603 - this interpreter, this package
            [sys.executable, "-P", "-c", _child_code()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # "::" is HDF5's word for no plug-in at all: a filter is somebody's code.
            env={**os.environ, "HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1"},
        )
        self._await_start(self._child)
        return self._child

    def _await_start(self, child: subprocess.Popen[bytes]) -> None:
        if child.stdout is None:
            return
        try:
            for answer in _answers(child.stdout.fileno(), time.monotonic() + _START_S):
                if answer.get("is_end"):
                    return
        except (TimeoutError, OSError, EOFError, ValueError) as error:
            self._end()
            message = (
                "cannot be used here: the process that opens HDF5 files does not start "
                "(python -c 'import h5py, numpy' may say why); this tells nothing of any file"
            )
            raise DatasetError("hil_datasets", [Problem("", message)]) from error

    def _how_it_ended(self) -> str:
        child = self._child
        try:
            code = None if child is None else child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            code = None
        self._end()
        return f"reading it crashed the HDF5 library: the reader ended with {code}"

    def _end(self) -> None:
        child, self._child = self._child, None
        self.deaths += 1
        if child is not None:
            _close(child)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        child, self._child = self._child, None
        if child is not None:
            _close(child)


def _child_code() -> str:
    # The path of this process, so that the child finds the same packages wherever they lie.
    path = [entry for entry in sys.path if entry]
    return (
        f"import sys; sys.path[:] = {path!r}; "
        "from hil_datasets.integrity.reader_process import main; main()"
    )


def _close(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except BrokenPipeError:  # a question that it did not live to take
                continue


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _answers(descriptor: int, deadline_s: float) -> Any:
    """Yield the objects that come out of a pipe, a line each, until the deadline."""
    rest = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, deadline_s - time.monotonic())):
                raise TimeoutError
            piece = os.read(descriptor, 1 << 16)
            if not piece or len(rest) > _LARGEST_ANSWER_BYTES:
                raise EOFError
            rest += piece
            *lines, last = rest.split(b"\n")
            rest = bytearray(last)
            for line in lines:
                yield json.loads(line)
