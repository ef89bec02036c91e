"""The mock as a server process: any number of listeners in front of one instrument."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence

from hil.core.errors import ConfigError, Problem
from hil_mock_device.listeners.listener import Listener, MakeConversation


def serve(
    listeners: Sequence[Listener],
    make_conversation: MakeConversation,
    *,
    on_ready: Callable[[Sequence[str]], None],
    stops_with_stdin: bool = False,
) -> None:
    """Let clients in until SIGINT or SIGTERM.

    Parameters
    ----------
    listeners
        The ways in.
    make_conversation
        Begins the conversation of one more client with the instrument.
    on_ready
        Called with the resource strings, in the order of `listeners`, once clients can connect,
        and before any is answered; what it raises ends the server.
    stops_with_stdin
        Whether to stop at the end of standard input too: a server that must not outlive the
        process that started it, even if that one is killed.

    Raises
    ------
    ConfigError
        If an address cannot be listened on.
    """
    asyncio.run(_serve(listeners, make_conversation, on_ready, stops_with_stdin))


async def _serve(
    listeners: Sequence[Listener],
    make_conversation: MakeConversation,
    on_ready: Callable[[Sequence[str]], None],
    stops_with_stdin: bool,  # noqa: FBT001 - private
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    if stops_with_stdin:
        _watch_stdin(loop, stop)
    try:
        on_ready([await listener.start(make_conversation) for listener in listeners])
        await stop.wait()
    finally:
        # All of them at once: one whose client is slow to go holds up no other.
        await asyncio.gather(*(listener.close() for listener in listeners))


def _watch_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    def read() -> None:
        if not os.read(stdin, 1024):
            loop.remove_reader(stdin)
            stop.set()

    try:
        stdin = sys.stdin.fileno()
        loop.add_reader(stdin, read)
    except (OSError, AttributeError) as error:  # a file, /dev/null, or closed altogether
        raise ConfigError(
            "standard input",
            [Problem("", "must be a pipe or a terminal: its end stops the server")],
        ) from error
