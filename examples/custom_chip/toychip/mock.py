"""A toychip that is not there: ``python -m toychip.mock --port 7777`` serves one."""

import argparse
import socketserver
import threading
import zlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ReadMode
from hil_calibration.nmpu import apply_nmpu

from toychip.wire import (
    GEOMETRY,
    HEADER,
    HELD,
    TEMPERATURE,
    WHERE,
    Message,
    Operation,
    Status,
    decode_header,
)

CORES, ROWS, COLUMNS = 2, 32, 16
COUNTER_BITS, MOST_VECTORS = 12, 512
_ONE_PHASE = list(ReadMode).index(ReadMode.ONE_PHASE)


class RefusedError(Exception):
    """What the chip does not do, as a `Status`."""

    def __init__(self, status: Status, words: str) -> None:
        super().__init__(words)
        self.status = status


class Silicon:
    """Crossbars with a gain and an offset of its own for each counter, and noise."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        size = (CORES, 2, COLUMNS)
        self._gain = self._rng.normal(0.004, 0.0003, size)  # counts per input times weight
        self._offset = self._rng.normal(12.0, 2.0, size)
        self._weights: dict[int, npt.NDArray[np.int64]] = {}
        self._nmpu: dict[tuple[int, int], tuple[NmpuFormat, NmpuRegisters]] = {}
        self._programmings: dict[int, tuple[int, int]] = {}
        self._latched: npt.NDArray[np.uint16] | None = None

    def do(self, operation: int, payload: bytes) -> bytes:
        """Carry out a request; return the payload of its answer."""
        actions: dict[int, Callable[[bytes], bytes]] = {
            Operation.IDENTIFY: lambda _: b"Toy lab\ntoychip\nT-1\n1.0",
            Operation.MEASURE_SIZE: lambda _: GEOMETRY.pack(
                CORES, ROWS, COLUMNS, COUNTER_BITS, MOST_VECTORS
            ),
            Operation.RESET: self._reset,
            Operation.PROGRAM: self._program,
            Operation.READ: self._read,
            Operation.READ_CORRECTED: self._read_corrected,
            Operation.LATCHED: self._hand_out_latched,
            Operation.WRITE_NMPU: self._write_nmpu,
            Operation.READ_NMPU: self._read_nmpu,
            Operation.TEMPERATURE: self._measure_temperature,
            Operation.HELD: self._tell_what_is_held,
            Operation.SAFE: lambda _: b"",  # it drives inputs only while it multiplies
        }
        if operation not in actions:
            raise RefusedError(Status.UNKNOWN_OPERATION, f"operation {operation}")
        return actions[operation](payload)

    def _reset(self, _: bytes) -> bytes:
        self._latched = None
        return b""

    def _program(self, payload: bytes) -> bytes:
        core, _, _, rest = _where(payload)
        self._weights[core] = _codes(rest, (ROWS, COLUMNS)).astype(np.int64)
        times, _ = self._programmings.get(core, (0, 0))
        self._programmings[core] = (times + 1, zlib.crc32(rest))
        return b""

    def _tell_what_is_held(self, payload: bytes) -> bytes:
        core, _, _, _ = _where(payload)
        return HELD.pack(*self._programmings.get(core, (0, 0)))

    def _read(self, payload: bytes) -> bytes:
        core, read_mode, vectors, rest = _where(payload)
        if core not in self._weights:
            raise RefusedError(Status.NOT_PROGRAMMED, f"core {core} holds no weights")
        inputs = _codes(rest, (vectors, ROWS)).astype(np.int64)
        net = inputs @ self._weights[core]
        size = np.abs(inputs) @ np.abs(self._weights[core])
        if read_mode == _ONE_PHASE:
            products = np.stack([np.maximum(net, 0), np.maximum(-net, 0)], axis=1)
        else:
            products = np.stack([size + net, size - net], axis=1) // 2
        noise = self._rng.normal(0, 0.5, products.shape)
        counts = np.rint(products * self._gain[core] + self._offset[core] + noise)
        self._latched = counts.clip(0, (1 << COUNTER_BITS) - 1).astype(np.uint16)
        return self._latched.astype(">u2").tobytes()

    def _read_corrected(self, payload: bytes) -> bytes:
        core, read_mode, _, _ = _where(payload)
        fmt, registers = self._settings(core, read_mode)
        self._read(payload)
        assert self._latched is not None
        return apply_nmpu(self._latched[:, 0], self._latched[:, 1], registers, fmt).tobytes()

    def _hand_out_latched(self, payload: bytes) -> bytes:
        _, _, vectors, _ = _where(payload)
        if self._latched is None or len(self._latched) != vectors:
            raise RefusedError(Status.NOTHING_LATCHED, f"no {vectors} vectors are latched")
        return self._latched.astype(">u2").tobytes()

    def _write_nmpu(self, payload: bytes) -> bytes:
        core, read_mode, _, rest = _where(payload)
        text, _, codes = rest.partition(b"\0")
        try:
            fmt = NmpuFormat.from_text(text.decode())
            codes_of = np.frombuffer(codes, ">i2").reshape(4, COLUMNS).astype(np.int16)
            registers = NmpuRegisters.from_codes(codes_of)
            registers.check_fits(fmt)
        except ValueError as error:
            raise RefusedError(Status.BAD_VALUE, str(error)) from error
        self._nmpu[core, read_mode] = (fmt, registers)
        return b""

    def _read_nmpu(self, payload: bytes) -> bytes:
        core, read_mode, _, _ = _where(payload)
        fmt, registers = self._settings(core, read_mode)
        return fmt.to_text().encode() + b"\0" + registers.to_codes().astype(">i2").tobytes()

    def _measure_temperature(self, payload: bytes) -> bytes:
        _where(payload)
        return TEMPERATURE.pack(27.5)

    def _settings(self, core: int, read_mode: int) -> tuple[NmpuFormat, NmpuRegisters]:
        if (core, read_mode) not in self._nmpu:
            raise RefusedError(Status.NOT_CORRECTED, f"core {core} has no NMPU registers")
        return self._nmpu[core, read_mode]


def _where(payload: bytes) -> tuple[int, int, int, bytes]:
    if len(payload) < WHERE.size:
        raise RefusedError(Status.BAD_PAYLOAD, f"{len(payload)} bytes")
    core, read_mode, vectors = WHERE.unpack_from(payload)
    if not 0 <= core < CORES:
        raise RefusedError(Status.NO_SUCH_CORE, f"core {core}: must be 0 to {CORES - 1}")
    return core, read_mode, vectors, payload[WHERE.size :]


def _codes(data: bytes, shape: tuple[int, int]) -> npt.NDArray[np.int8]:
    if len(data) != shape[0] * shape[1] or not 1 <= shape[0] <= MOST_VECTORS:
        raise RefusedError(Status.BAD_PAYLOAD, f"{len(data)} bytes are no {shape}")
    codes = np.frombuffer(data, np.int8).reshape(shape)
    if (codes == -128).any():
        raise RefusedError(Status.BAD_VALUE, "-128 is no code: must be -127 to 127")
    return codes


class Server(socketserver.ThreadingTCPServer):
    """Serves one chip to any number of connections, one request at a time."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, silicon: Silicon) -> None:
        self.silicon = silicon
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", port), Conversation)


class Conversation(socketserver.StreamRequestHandler):
    """One connection."""

    server: Server

    def handle(self) -> None:
        """Answer until the host hangs up, or sends what is no request."""
        while len(header := self.rfile.read(HEADER.size)) == HEADER.size:
            try:
                operation, _, number, length = decode_header(header)
            except ValueError:
                return
            payload = self.rfile.read(length)
            with self.server.lock:
                try:
                    status, answer = Status.OK, self.server.silicon.do(operation, payload)
                except RefusedError as error:
                    status, answer = error.status, str(error).encode()
            try:
                self.wfile.write(Message(operation, status, number, answer).encode())
            except OSError:
                return  # the host did not wait for it


def main() -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=7777, help="0 takes any free one")
    parser.add_argument("--seed", type=int, default=0, help="which chip")
    options = parser.parse_args()
    with Server(options.port, Silicon(options.seed)) as server:
        print(f"toychip://127.0.0.1:{server.server_address[1]}", flush=True)
        server.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    main()
