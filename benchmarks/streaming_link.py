"""Streams and blocks over a loopback socket: the driver and the mock against bare sockets.

::

    python -m benchmarks.streaming_link [--mebibytes 256] [--repeats 5] [--json FILE]

The far end is a process of its own that only sends bytes made before, so that it is no bottleneck;
for a stream it sends half a window for each acknowledgement.
"""

import argparse
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyvisa

from benchmarks.timing import Contender, Timed, time_in_turns
from hil.core.readout import ReadMode
from hil_drivers.connect import board_over, connect_chip
from hil_drivers.frames import Frame, FrameKind, frame_parts
from hil_drivers.link import encode_answer
from hil_drivers.session import Session
from hil_drivers.tcp import TcpTransport
from hil_drivers.visa import VisaTransport
from hil_mock_device.launch import MockProcess

COLUMNS = 256
FRAME_VECTORS = 1023
"""As many as fit 1 MiB."""
WINDOW = 8
_WAIT_S = 30.0

BARE = "sendall to recv_into"
OURS = "sendall to our stream"
MOCK = "mock's stream to recv_into"
BOTH = "mock's stream to our stream"
VISA = "block to VisaTransport"
PYVISA = "block to query_binary_values"
PYVISA_BEST = "... without newlines among its bytes"
"""pyvisa-py stops at each newline; counts have many, so this is what it could do at best."""

RATIOS = ((OURS, BARE), (MOCK, BARE), (BOTH, BARE), (VISA, PYVISA), (VISA, PYVISA_BEST))
"""What is compared with what."""

_FIRST_TAG = 1
_STREAM_TAG = 5
"""After the four questions of the driver's handshake."""

Serve = Callable[[socket.socket], None]


@contextmanager
def far_end(serve: Serve) -> Iterator[int]:
    """Serve the clients of a loopback port, one after the other, in a process; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        process = os.fork()
        if process == 0:
            try:
                while True:
                    client, _ = server.accept()
                    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    with client, suppress(OSError):  # one who leaves early harms nobody else
                        serve(client)
            except KeyboardInterrupt:
                pass
            finally:
                os._exit(0)
        try:
            yield port
        finally:
            os.kill(process, 9)
            os.waitpid(process, 0)


@contextmanager
def link_contenders(mebibytes: int) -> Iterator[list[Contender]]:
    """Give the contenders, with their far ends running."""
    with ExitStack() as ends:
        yield [*_stream_contenders(ends, mebibytes), *_block_contenders(ends)]


def _stream_contenders(ends: ExitStack, frames: int) -> Iterator[Contender]:
    answers = _made_before(frames)
    size = sum(map(len, answers))
    bare = ends.enter_context(far_end(partial(_send_all, answers)))
    yield Contender(name=BARE, work=size, run=partial(_receive_bare, bare, size))
    vectors = frames * FRAME_VECTORS
    played = _resource(ends.enter_context(far_end(partial(_play_board, answers))))
    yield Contender(name=OURS, work=size, run=partial(_receive_stream, played, vectors))
    mock = ends.enter_context(
        MockProcess(["--profile", "quickstart", "--tcp", "127.0.0.1:0"])
    ).resource
    _latch_counts(mock)
    port = int(mock.split("::")[2])
    start = b"@1 STReam:STARt %d,%d,%d,LATC\n" % (vectors, FRAME_VECTORS, WINDOW)
    yield Contender(name=MOCK, work=size, run=partial(_receive_bare, port, size, start))
    yield Contender(name=BOTH, work=size, run=partial(_receive_stream, mock, vectors))


def _block_contenders(ends: ExitStack) -> Iterator[Contender]:
    (answer,) = _made_before(1, tag=_FIRST_TAG)
    port = ends.enter_context(far_end(partial(_answer_with, answer)))
    transport = VisaTransport(_resource(port), timeout_s=_WAIT_S)
    ends.callback(transport.close)
    yield Contender(name=VISA, work=len(answer), run=partial(_read_block, transport))
    without_tag = answer.partition(b" ")[2]
    yield _pyvisa_contender(ends, PYVISA, without_tag)
    yield _pyvisa_contender(ends, PYVISA_BEST, without_tag[:-1].replace(b"\n", b"\v") + b"\n")


def _pyvisa_contender(ends: ExitStack, name: str, answer: bytes) -> Contender:
    port = ends.enter_context(far_end(partial(_answer_with, answer)))
    device: Any = pyvisa.ResourceManager("@py").open_resource(
        _resource(port), read_termination="\n", write_termination="\n", timeout=1000 * _WAIT_S
    )
    ends.callback(device.close)
    query = partial(
        device.query_binary_values,
        "READ?",
        datatype="H",
        container=np.array,
        expect_termination=True,
    )
    return Contender(name=name, work=len(answer), run=query)


def _made_before(frames: int, *, tag: int = _STREAM_TAG) -> list[bytes]:
    """Return the messages of a stream of 12-bit counts."""
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 4096, (FRAME_VECTORS, 2, COLUMNS), dtype=np.uint16)
    return [
        encode_answer(
            tag,
            frame_parts(
                Frame(
                    kind=FrameKind.COUNTS,
                    sequence=tag,
                    core=0,
                    read_mode=ReadMode.ONE_PHASE,
                    payload=counts,
                    first_vector=number * FRAME_VECTORS,
                )
            ),
        )
        for number in range(frames)
    ]


def _send_all(answers: list[bytes], client: socket.socket) -> None:
    for answer in answers:
        client.sendall(answer)


def _play_board(answers: list[bytes], client: socket.socket) -> None:
    """Answer the driver's handshake, and stream what it gives leave to."""
    texts = {
        b"CHIP:PROTocol?": b"2",
        b"CHIP:GEOMetry?": b"1,1,%d,12,4096" % COLUMNS,
        b"*IDN?": b"Example,Board,7,1.0",
        b"SYSTem:BOOT?": b"first",
    }
    leave = {b"STReam:STARt": WINDOW, b"STReam:ACKNowledge": WINDOW // 2}
    rest = iter(answers)
    for line in client.makefile("rb"):
        tag, header, *_ = line.split()
        client.sendall(tag + b" " + texts.get(header, b"OK") + b"\n")
        for answer in islice(rest, leave.get(header, 0)):
            client.sendall(answer)


def _answer_with(answer: bytes, client: socket.socket) -> None:
    for _ in client.makefile("rb"):
        client.sendall(answer)


def _resource(port: int) -> str:
    return f"TCPIP0::127.0.0.1::{port}::SOCKET"


def _receive_bare(port: int, size: int, start: bytes = b"") -> None:
    """Receive so many bytes; after a `start`, acknowledge each half of a window."""
    buffer = bytearray(1 << 20)
    with socket.create_connection(("127.0.0.1", port), timeout=_WAIT_S) as link:
        link.sendall(start)
        half = WINDOW // 2 * (4 * COLUMNS * FRAME_VECTORS)
        received = acknowledged = 0
        while received < size:
            received += link.recv_into(buffer)
            if start and received // half > acknowledged:
                acknowledged = received // half
                vector = acknowledged * WINDOW // 2 * FRAME_VECTORS
                link.sendall(b"@%d STReam:ACKNowledge %d\n" % (acknowledged + 1, vector))


def _receive_stream(resource: str, vectors: int) -> None:
    host, port = "127.0.0.1", int(resource.split("::")[2])
    transport = TcpTransport(host, port, resource=resource, timeout_s=_WAIT_S)
    board = board_over(transport, _WAIT_S, first_tag=_FIRST_TAG)
    with board.stream_latched_counts(
        0, ReadMode.ONE_PHASE, vectors=vectors, frame_vectors=FRAME_VECTORS, window=WINDOW
    ) as stream:
        came = sum(len(block.counts) for block in stream)
    board.close()
    if came != vectors or board.health.faults:
        raise RuntimeError(f"{came} of {vectors} vectors came; {board.health}")


def _read_block(transport: VisaTransport) -> None:
    Session(transport, timeout_s=_WAIT_S, first_tag=_FIRST_TAG).ask_frame("READ?", FrameKind.COUNTS)


def _latch_counts(resource: str) -> None:
    rng = np.random.default_rng(0)
    board = connect_chip(resource, timeout_s=_WAIT_S)
    size = board.geometry()
    board.program(0, rng.integers(-127, 128, (size.rows, size.columns), dtype=np.int8))
    inputs = rng.integers(-127, 128, (FRAME_VECTORS, size.rows), dtype=np.int8)
    board.read_counts(0, ReadMode.ONE_PHASE, inputs)
    board.close()


def link_table(timed: dict[str, Timed]) -> list[str]:
    """Return rates, then the ratios that count."""
    lines = [
        f"{name:32}{1e3 * median(entry.seconds):10.1f} ms{entry.rate / 1e9:9.3f} GB/s"
        for name, entry in timed.items()
    ]
    for kernel, rival in RATIOS:
        ratio = timed[kernel].rate / timed[rival].rate
        best = timed[kernel].best_rate / timed[rival].best_rate
        lines.append(f"{kernel} against {rival}: {ratio:.2f} x (best against best {best:.2f})")
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streaming_link")
    parser.add_argument("--mebibytes", type=int, default=256, help="length of the streams")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every time here")
    options = parser.parse_args()
    with link_contenders(options.mebibytes) as contenders:
        timed = time_in_turns(contenders, options.repeats)
    print("\n".join(link_table(timed)))
    if options.json:
        seconds = {name: list(entry.seconds) for name, entry in timed.items()}
        work = {name: entry.work for name, entry in timed.items()}
        options.json.write_text(json.dumps({"bytes": work, "seconds": seconds}))


if __name__ == "__main__":
    main()
