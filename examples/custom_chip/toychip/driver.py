"""The driver: toychip as a `hil_drivers.chip.Chip`."""

import math
import re
import socket
import struct
import time
import zlib
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
from hil.core.errors import (
    DeviceError,
    FrameError,
    LinkLostError,
    TransportError,
    TransportTimeoutError,
)
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ChipGeometry, ChipIdentity, ReadMode
from hil_drivers.chip import Chip, CorrectedReadout
from hil_drivers.chip_driver import ChipOptions

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

_RESOURCE = re.compile(r"toychip://(?P<host>[^:/\s]+):(?P<port>\d{1,5})")


class ToyDriver:
    """What the entry point leads to."""

    api_version = 1
    summary = "toychip, the smallest chip that can be calibrated"
    resource_form = "toychip://HOST:PORT"

    def check_resource(self, resource: str) -> None:
        """Raise ValueError if a string is no resource of toychip."""
        if not _RESOURCE.fullmatch(resource):
            raise ValueError(f"{resource!r} is no toychip: use {self.resource_form}")

    def open_chip(self, resource: str, options: ChipOptions) -> Chip:
        """Open the link to a chip."""
        self.check_resource(resource)
        return ToyChip(resource, timeout_s=options.timeout_s)


DRIVER = ToyDriver()


class ToyChip:
    """An open link to a toychip.

    A request that fails breaks the connection, and the next request makes a new one: nothing that
    is late can arrive on it. Nothing is repeated, as nobody knows whether it was carried out.
    """

    def __init__(self, resource: str, *, timeout_s: float) -> None:
        address = _RESOURCE.fullmatch(resource)
        assert address is not None
        self._resource = resource
        self._address = (address["host"], int(address["port"]))
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None
        self._is_closed = False
        self._number = 0
        self._identity: ChipIdentity | None = None
        try:
            self._identity = self._ask_identity()
            self._geometry = self._ask_geometry()
        except BaseException:
            self.close()
            raise

    def identify(self) -> ChipIdentity:
        """Return who the chip says it is."""
        return self._ask_identity()

    def geometry(self) -> ChipGeometry:
        """Return how large the chip is."""
        return self._geometry

    def reset(self) -> None:
        """Return to the power-on settings; programmed weights stay."""
        self._exchange(Operation.RESET)

    def program(self, core: int, weights: npt.NDArray[np.int8]) -> None:
        """Program a core's weights, shape (row, column)."""
        self._check_shape("weights", weights, (self._geometry.rows, self._geometry.columns))
        self._exchange(Operation.PROGRAM, WHERE.pack(core, 0, 0) + weights.tobytes())

    def holds(self, core: int, weights: npt.NDArray[np.int8]) -> bool:
        """Tell whether a core was programmed with these weights last, and has kept them."""
        self._check_shape("weights", weights, (self._geometry.rows, self._geometry.columns))
        _, held = self._held(core)
        return bool(held == zlib.crc32(weights.tobytes()) != 0)

    def times_programmed(self, core: int) -> int:
        """Return how often a core was programmed in its life, by whomever."""
        return int(self._held(core)[0])

    def read_counts(
        self, core: int, read_mode: ReadMode, inputs: npt.NDArray[np.int8]
    ) -> npt.NDArray[np.uint16]:
        """Multiply input vectors (vector, row); return counts (vector, polarity, column)."""
        payload = self._drive(core, read_mode, inputs)
        return self._counts(self._exchange(Operation.READ, payload), len(inputs))

    def read_corrected(
        self, core: int, read_mode: ReadMode, inputs: npt.NDArray[np.int8]
    ) -> npt.NDArray[np.int8]:
        """Multiply input vectors (vector, row); return the NMPU's outputs (vector, column)."""
        payload = self._drive(core, read_mode, inputs)
        answer = self._exchange(Operation.READ_CORRECTED, payload)
        return self._array(answer, ">i1", (len(inputs), self._geometry.columns)).astype(np.int8)

    def read_corrected_with_counts(
        self, core: int, read_mode: ReadMode, inputs: npt.NDArray[np.int8]
    ) -> CorrectedReadout:
        """Multiply input vectors (vector, row) once; return outputs and counts of that."""
        outputs = self.read_corrected(core, read_mode, inputs)
        counts = self.latched_counts(core, read_mode, len(inputs))
        return CorrectedReadout(outputs=outputs, counts=counts)

    def latched_counts(
        self, core: int, read_mode: ReadMode, vectors: int
    ) -> npt.NDArray[np.uint16]:
        """Return the counts (vector, polarity, column) behind the last multiplication."""
        payload = WHERE.pack(core, _code(read_mode), vectors)
        return self._counts(self._exchange(Operation.LATCHED, payload), vectors)

    def write_nmpu(
        self, core: int, read_mode: ReadMode, fmt: NmpuFormat, registers: NmpuRegisters
    ) -> None:
        """Load NMPU registers and format for a core in a read mode."""
        codes = registers.to_codes().astype(">i2").tobytes()
        payload = WHERE.pack(core, _code(read_mode), 0) + fmt.to_text().encode() + b"\0" + codes
        self._exchange(Operation.WRITE_NMPU, payload)

    def read_nmpu(self, core: int, read_mode: ReadMode) -> tuple[NmpuFormat, NmpuRegisters]:
        """Return what `write_nmpu` loaded."""
        payload = WHERE.pack(core, _code(read_mode), 0)
        text, _, codes = self._exchange(Operation.READ_NMPU, payload).partition(b"\0")
        registers = self._array(codes, ">i2", (4, self._geometry.columns)).astype(np.int16)
        try:
            return NmpuFormat.from_text(text.decode()), NmpuRegisters.from_codes(registers)
        except ValueError as error:
            raise FrameError(f"{self._resource}: NMPU settings make no sense: {error}") from error

    def temperature_c(self, core: int, read_mode: ReadMode) -> float:
        """Return the chip's temperature near a core, in degrees Celsius."""
        payload = WHERE.pack(core, _code(read_mode), 0)
        (celsius,) = self._unpack(TEMPERATURE, self._exchange(Operation.TEMPERATURE, payload))
        if not math.isfinite(celsius):
            raise FrameError(f"{self._resource}: {celsius} is no temperature")
        return float(celsius)

    def safe(self) -> None:
        """Leave the chip with no input driven and the NMPU off."""
        self._exchange(Operation.SAFE)

    def close(self) -> None:
        """Close the link."""
        self._is_closed = True
        self._hang_up()

    def _ask_identity(self) -> ChipIdentity:
        fields = self._exchange(Operation.IDENTIFY).decode(errors="replace").split("\n")
        if len(fields) != 4:
            raise FrameError(f"{self._resource}: {len(fields)} fields of identity: 4 are due")
        identity = ChipIdentity(**dict(zip(_IDENTITY, fields, strict=True)))
        if self._identity not in {None, identity}:
            raise LinkLostError(f"{self._resource}: it was {self._identity}; it is {identity}")
        return identity

    def _ask_geometry(self) -> ChipGeometry:
        numbers = map(int, self._unpack(GEOMETRY, self._exchange(Operation.MEASURE_SIZE)))
        return ChipGeometry(**dict(zip(_GEOMETRY, numbers, strict=True)))

    def _held(self, core: int) -> tuple[int | float, ...]:
        return self._unpack(HELD, self._exchange(Operation.HELD, WHERE.pack(core, 0, 0)))

    def _drive(self, core: int, read_mode: ReadMode, inputs: npt.NDArray[np.int8]) -> bytes:
        self._check_shape("inputs", inputs, (len(inputs), self._geometry.rows))
        if not 1 <= len(inputs) <= self._geometry.max_vectors:
            raise ValueError(
                f"{len(inputs)} vectors: must be 1 to {self._geometry.max_vectors} at once"
            )
        return WHERE.pack(core, _code(read_mode), len(inputs)) + inputs.tobytes()

    def _counts(self, answer: bytes, vectors: int) -> npt.NDArray[np.uint16]:
        shape = (vectors, 2, self._geometry.columns)
        return self._array(answer, ">u2", shape).astype(np.uint16)

    def _array(self, data: bytes, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        try:
            return np.frombuffer(data, dtype).reshape(shape)
        except ValueError as error:
            raise FrameError(f"{self._resource}: {len(data)} bytes are no {shape}") from error

    def _unpack(self, form: struct.Struct, answer: bytes) -> tuple[int | float, ...]:
        try:
            return form.unpack(answer)
        except struct.error as error:
            raise FrameError(f"{self._resource}: {answer!r}: {error}") from error

    def _check_shape(self, name: str, array: npt.NDArray[np.int8], shape: tuple[int, ...]) -> None:
        if array.shape != shape or array.dtype != np.int8:
            raise ValueError(f"{name}: must be int8 of {shape}, got {array.dtype} of {array.shape}")

    def _exchange(self, operation: Operation, payload: bytes = b"") -> bytes:
        """Make one request; return the payload of its answer."""
        if self._is_closed:
            raise LinkLostError(f"{self._resource}: the link is closed")
        deadline = time.monotonic() + self._timeout_s
        self._number += 1
        try:
            return self._request(operation, payload, deadline)
        except DeviceError:
            raise
        except TimeoutError as error:
            self._hang_up()
            raise TransportTimeoutError(
                f"{self._resource}: no answer to {operation.name} within {self._timeout_s:g} s"
            ) from error
        except (ValueError, FrameError) as error:
            self._hang_up()
            raise FrameError(f"{self._resource}: {operation.name}: {error}") from error
        except OSError as error:
            self._hang_up()
            raise LinkLostError(f"{self._resource}: {operation.name}: {error}") from error
        except BaseException:  # Ctrl-C: the answer is still to come
            self._hang_up()
            raise

    def _request(self, operation: Operation, payload: bytes, deadline: float) -> bytes:
        link = self._connected(deadline)
        _wait_at_most(link, deadline)
        link.sendall(Message(operation, Status.OK, self._number, payload).encode())
        header = _receive(link, HEADER.size, deadline)
        answered, status, number, length = decode_header(header)
        words = _receive(link, length, deadline)
        if (answered, number) != (operation, self._number):
            raise FrameError(f"answer {number} to operation {answered}, not {self._number}")
        if status != Status.OK:
            raise DeviceError(status, words.decode(errors="replace"), request=operation.name)
        return words

    def _connected(self, deadline: float) -> socket.socket:
        if self._socket is None:
            left_s = max(0.001, deadline - time.monotonic())
            try:
                self._socket = socket.create_connection(self._address, timeout=left_s)
            except TimeoutError:
                raise
            except OSError as error:
                raise TransportError(f"{self._resource}: cannot connect: {error}") from error
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket

    def _hang_up(self) -> None:
        link, self._socket = self._socket, None
        if link is not None:
            with suppress(OSError):
                link.close()


_IDENTITY = ("manufacturer", "model", "serial", "firmware")
_GEOMETRY = ("cores", "rows", "columns", "counter_bits", "max_vectors")


def _code(read_mode: ReadMode) -> int:
    return list(ReadMode).index(read_mode)


def _receive(link: socket.socket, size: int, deadline: float) -> bytes:
    data = bytearray(size)
    have = 0
    with memoryview(data) as view:
        while have < size:
            _wait_at_most(link, deadline)
            count = link.recv_into(view[have:])
            if count == 0:
                raise ConnectionError("the chip closed the connection")
            have += count
    return bytes(data)


def _wait_at_most(link: socket.socket, deadline: float) -> None:
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    link.settimeout(left_s)
