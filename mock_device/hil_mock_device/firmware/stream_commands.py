"""The commands that stream counts: frames are made when there is leave to send them, no sooner."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from hil.core.array_types import ScalarT
from hil_drivers.frames import CRC_BYTES, HEADER_BYTES, encode_frame, frame_parts
from hil_drivers.link import encode_answer
from hil_drivers.scpi import ScpiError, matches
from hil_drivers.stream_window import LARGEST_WINDOW, MOST_VECTORS, StreamShape
from hil_mock_device.firmware.call import (
    Call,
    Handler,
    no_parameters,
    only_parameter,
    refusal,
)
from hil_mock_device.firmware.settings import Settings, Stream
from hil_mock_device.silicon import Silicon

_LARGEST_FRAME = 4 << 20
_CHIP, _LATCHED = "CHIP", "LATChed"

_Count = Callable[[int, int], npt.NDArray[np.uint16]]
"""From the first vector and the one after the last to their counts (vector, polarity, column)."""


class StreamCommands:
    """``STReam``.

    Parameters
    ----------
    silicon, settings
        What the commands work on.
    """

    def __init__(self, silicon: Silicon, settings: Settings) -> None:
        self._silicon = silicon
        self._settings = settings

    def handlers(self) -> dict[str, Handler]:
        """Return each command's pattern with its handler."""
        return {
            "STReam:STARt": self._start,
            "STReam:ACKNowledge": self._acknowledge,
            "STReam:FETCh?": self._fetch,
            "STReam:STATe?": self._tell_state,
            "STReam:STOP": self._stop,
        }

    def pushed(self, client: int) -> Iterator[bytes]:
        """Make and yield what may be pushed to a client now, frame by frame."""
        while True:
            stream = self._settings.stream  # it may have been stopped since the last frame
            if stream is None or stream.client != client or not stream.has_leave:
                return
            yield encode_answer(stream.tag, frame_parts(stream.make_next()))

    def _start(self, call: Call) -> None:
        settings = self._settings
        if call.sequence == 0:
            detail = "a stream's frames carry the tag of its start: send it with one"
            raise refusal(ScpiError.SETTINGS_CONFLICT, detail)
        shape, source = self._parse(call)
        if matches(_CHIP, source):
            core, read_mode, count = settings.core, settings.read_mode, self._converter(shape)
        elif matches(_LATCHED, source):
            if settings.latched is None:
                detail = "no counts are latched: send READ?"
                raise refusal(ScpiError.DATA_CORRUPT_OR_STALE, detail)
            core, read_mode = settings.latched.core, settings.latched.read_mode
            counts = _round_and_round(settings.latched.counts, shape.frame_vectors)
            length = len(settings.latched.counts)

            def count(first: int, end: int) -> npt.NDArray[np.uint16]:
                return counts[first % length :][: end - first]
        else:
            detail = f"source {source[:20]}: must be {_CHIP} or {_LATCHED}"
            raise refusal(ScpiError.ILLEGAL_PARAMETER, detail)
        settings.stream = Stream(
            tag=call.sequence,
            client=call.client,
            core=core,
            read_mode=read_mode,
            shape=shape,
            count=count,
        )

    def _converter(self, shape: StreamShape) -> _Count:
        settings = self._settings
        if settings.inputs is None:
            detail = "no input vectors: send INPut:DATA first"
            raise refusal(ScpiError.SETTINGS_CONFLICT, detail)
        core, read_mode = settings.core, settings.read_mode
        inputs, length = (
            _round_and_round(settings.inputs, shape.frame_vectors),
            len(settings.inputs),
        )

        def convert(first: int, end: int) -> npt.NDArray[np.uint16]:
            return self._silicon.convert(core, read_mode, inputs[first % length :][: end - first])

        return convert

    def _parse(self, call: Call) -> tuple[StreamShape, str]:
        *numbers, source = (
            call.parameters if len(call.parameters) == 4 else [*call.parameters, _CHIP]
        )
        if call.block is not None or len(numbers) > 3:
            raise refusal(ScpiError.PARAMETER_NOT_ALLOWED, "VECTORS,FRAME_VECTORS,WINDOW are due")
        if len(numbers) < 3:
            raise refusal(ScpiError.MISSING_PARAMETER, "VECTORS,FRAME_VECTORS,WINDOW are due")
        geometry = self._silicon.geometry
        room = (_LARGEST_FRAME - HEADER_BYTES - CRC_BYTES) // (4 * geometry.columns)
        shape = StreamShape(
            _number("VECTORS", numbers[0], 1, MOST_VECTORS),
            _number("FRAME_VECTORS", numbers[1], 1, min(room, geometry.max_vectors)),
            _number("WINDOW", numbers[2], 0, LARGEST_WINDOW),
        )
        return shape, source

    def _acknowledge(self, call: Call) -> None:
        word, stream = only_parameter(call), self._stream()
        vector = _number("N", word, 0, stream.sent_to)
        if vector % stream.shape.frame_vectors and vector != stream.shape.vectors:
            detail = f"N {vector}: must be where a frame of {stream.shape.frame_vectors} ends"
            raise refusal(ScpiError.DATA_OUT_OF_RANGE, detail)
        stream.acknowledge(vector)
        stream.client = call.client

    def _fetch(self, call: Call) -> bytes:
        word, stream = only_parameter(call), self._stream()
        first = _number("FIRST", word, 0, stream.shape.vectors - 1)
        if not stream.shape.window and first == stream.sent_to:
            stream.acknowledge(first)  # who asks for it holds all before
            stream.make_next()
        if first not in stream.kept:
            detail = f"vectors from {first} on are not kept"
            raise refusal(ScpiError.DATA_OUT_OF_RANGE, detail)
        return encode_frame(stream.frame(first, call.sequence))

    def _tell_state(self, call: Call) -> str:
        no_parameters(call)
        stream = self._settings.stream
        if stream is None:
            return "0,0,0,0"
        return f"{stream.tag},{stream.shape.vectors},{stream.acknowledged},{stream.sent_to}"

    def _stop(self, call: Call) -> None:
        no_parameters(call)
        self._settings.stream = None

    def _stream(self) -> Stream:
        if self._settings.stream is None:
            raise refusal(ScpiError.SETTINGS_CONFLICT, "no stream: send STReam:STARt")
        return self._settings.stream


def _round_and_round(array: npt.NDArray[ScalarT], more: int) -> npt.NDArray[ScalarT]:
    """Return an array with `more` vectors at its end, so that a frame is one piece of it."""
    return np.resize(array, (len(array) + more, *array.shape[1:]))


def _number(name: str, word: str, lowest: int, highest: int) -> int:
    if not word.isascii() or not word.isdigit() or not lowest <= int(word[:12]) <= highest:
        detail = f"{name} {word[:20]}: must be {lowest} to {highest}"
        raise refusal(ScpiError.DATA_OUT_OF_RANGE, detail)
    return int(word)
