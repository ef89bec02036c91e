"""Bulk reads from a serial line: our packets against pyserial's bare ``read(n)`` over a pty.

::

    python -m benchmarks.serial_line [--mebibytes 16] [--repeats 5] [--json FILE]

The far end is a process of its own. For ``read(n)`` it writes random bytes; for packets it writes
the same bytes in packets made before, as far as the acknowledgements give leave, and is credited
with those bytes only, not with what packets add.
"""

import argparse
import json
import os
import select
import time
import tty
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import serial

from benchmarks.timing import Contender, Timed, time_in_turns
from hil_drivers.packet_end import PacketEnd
from hil_drivers.packets import (
    DELIMITER,
    FIRST_EPOCH,
    PacketReader,
    PacketType,
    encode_content,
    unwrap,
)
from hil_drivers.serial_address import SerialAddress
from hil_drivers.serial_port import SerialTransport

_WAIT_S = 30.0
_READ_BYTES = 1 << 16
_BAUD = 12_000_000
_GO = b"G"
_PACKET_BYTES = 1040
"""What 1,024 bytes make at most, delimiters included, and one more delimiter."""
_PACKETS_AT_ONCE = 32

_Write = Callable[[int, bytes], None]
_Read = Callable[[str, int], None]

BARE, WHAT_WAITS, OURS = "pyserial read(65536)", "pyserial read(in_waiting)", "SerialTransport"


def serial_contenders(size: int) -> list[Contender]:
    """Return the bulk reads of `size` bytes, each with a far end of its own for every execution."""
    data = os.urandom(size)
    packets = _in_packets(data)
    programs: list[tuple[str, bytes, _Write, _Read]] = [
        (BARE, data, _write_plainly, _read_n),
        (WHAT_WAITS, data, _write_plainly, _read_what_waits),
        (OURS, packets, _write_packets, _read_packets),
    ]
    return [
        Contender(name=name, work=size, run=partial(_run, sent, size, write, read))
        for name, sent, write, read in programs
    ]


def _run(data: bytes, size: int, write: _Write, read: _Read) -> None:
    number, client = os.openpty()
    tty.setraw(client)
    process = os.fork()
    if process == 0:
        try:
            write(number, data)
        finally:
            os._exit(0)
    try:
        read(os.ttyname(client), size)
    finally:
        os.kill(process, 9)
        os.waitpid(process, 0)
        os.close(number)
        os.close(client)


def _write_plainly(number: int, data: bytes) -> None:
    os.read(number, 1)
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(number, rest[:_READ_BYTES]) :]


def _write_packets(number: int, data: bytes) -> None:
    end = PacketEnd()
    is_asked = bytearray(1)
    while is_asked != _GO:
        end.receive(os.read(number, _READ_BYTES), time.monotonic())
        end.take_into(memoryview(is_asked))
        os.write(number, end.to_send(time.monotonic()))
    reader, written, limit = PacketReader(), 0, 255
    while written * _PACKET_BYTES < len(data):
        size = min(limit - written, _PACKETS_AT_ONCE)
        if size and not select.select([number], [], [], 0)[0]:
            rest = memoryview(data)[written * _PACKET_BYTES : (written + size) * _PACKET_BYTES]
            while rest:
                rest = rest[os.write(number, rest) :]
            written += size
        else:
            for content in reader.receive(os.read(number, _READ_BYTES)):
                limit = unwrap(int.from_bytes(content[4:6], "little"), near=limit)
    os.read(number, _READ_BYTES)


def _in_packets(data: bytes) -> bytes:
    """Return data in packets of one length each."""
    packets = [
        encode_content(PacketType.DATA, FIRST_EPOCH, (at // 1024) & 0xFFFF, data[at : at + 1024])
        for at in range(0, len(data), 1024)
    ]
    return b"".join(packet.ljust(_PACKET_BYTES, DELIMITER) for packet in packets)


def _read_n(path: str, size: int) -> None:
    with serial.Serial(path, _BAUD, timeout=_WAIT_S) as port:
        port.write(_GO)
        left = size
        while left:
            left -= len(port.read(min(_READ_BYTES, left)))


def _read_what_waits(path: str, size: int) -> None:
    with serial.Serial(path, _BAUD, timeout=_WAIT_S) as port:
        port.write(_GO)
        left = size
        while left:
            left -= len(port.read(min(port.in_waiting or 1, left)))


def _read_packets(path: str, size: int) -> None:
    address = SerialAddress(path, _BAUD)
    transport = SerialTransport(address, resource=address.resource, timeout_s=_WAIT_S)
    transport.send(_GO, timeout_s=_WAIT_S)
    buffer = memoryview(bytearray(_READ_BYTES))  # used again and again, as bare reads are dropped
    left = size
    while left:
        left -= transport.receive_into(buffer[:left], is_whole=True, timeout_s=_WAIT_S)
    transport.close()


def serial_table(timed: dict[str, Timed]) -> list[str]:
    """Return rates, and the share of pyserial's bare read."""
    bare = timed[BARE]
    return [
        f"{name:30}{1e3 * median(entry.seconds):10.1f} ms{entry.rate / 1e6:9.1f} MB/s"
        f"{entry.rate / bare.rate:9.2f}{entry.best_rate / bare.best_rate:9.2f}"
        for name, entry in timed.items()
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serial_line", description=__doc__)
    parser.add_argument("--mebibytes", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every time here")
    options = parser.parse_args()
    timed = time_in_turns(serial_contenders(options.mebibytes << 20), options.repeats)
    print("\n".join(serial_table(timed)))
    print("last columns: rate against pyserial read(65536), by median and by shortest time")
    if options.json:
        seconds = {name: list(entry.seconds) for name, entry in timed.items()}
        options.json.write_text(json.dumps({"bytes": options.mebibytes << 20, "seconds": seconds}))


if __name__ == "__main__":
    main()
