"""Commands whose exit code is a verdict: it is given also where nobody reads their words any more.

Other commands end quietly, with 0, when the reader of a pipe leaves, as ``| head`` does. For one
that says whether something holds, 0 would be a lie where it does not.
"""

import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TextIO

ParametersT = ParamSpec("ParametersT")


def gives_verdict(function: Callable[ParametersT, Any]) -> Callable[ParametersT, Any]:
    """Let a command go on to its end, and to its own exit code, after its reader has left."""

    @wraps(function)
    def command(*args: ParametersT.args, **kwargs: ParametersT.kwargs) -> Any:
        stdout: TextIO | None = sys.stdout
        if stdout is None:  # closed from the start: nothing is written
            return function(*args, **kwargs)
        sys.stdout = _OutlivingStream(stdout)
        try:
            return function(*args, **kwargs)
        finally:
            sys.stdout = stdout

    return command


class _OutlivingStream:
    """A text stream that loses what is written after its reader has left."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write; return how many characters that were."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._lose_the_rest()
            return len(text)

    def flush(self) -> None:
        """Send what is buffered."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._lose_the_rest()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _lose_the_rest(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
