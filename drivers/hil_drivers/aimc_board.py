"""The chip driver for boards that speak ``docs/reference/protocol.md``.

Every operation begins by saying what it works on, core, read mode, NMPU and input vectors, so that
it can begin again on a device that has forgotten everything.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from hil.core.errors import DeviceError, HilError
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ChipGeometry, ChipIdentity, ReadMode
from hil_drivers.board_answers import crc_of_weights
from hil_drivers.board_programming import program_once
from hil_drivers.board_requests import PROTOCOL_VERSION, READ_MODE_WORDS, BoardRequests
from hil_drivers.chip import CorrectedReadout
from hil_drivers.exactly_once import ExactlyOnce
from hil_drivers.link_fault import FaultKind, LinkFault, LinkHealth
from hil_drivers.recognition import Recognition
from hil_drivers.recovery import RecoveryPolicy
from hil_drivers.scpi import ScpiError
from hil_drivers.session import Session
from hil_drivers.stream import (
    DEFAULT_WINDOW,
    CountStream,
    StreamPlan,
    StreamSource,
    plan_shape,
)

__all__ = ["PROTOCOL_VERSION", "READ_MODE_WORDS", "AimcBoard"]

_SAFE_LIMIT_S = 5.0
"""A device that cannot be made safe within this time has to be seen to by a person."""

T = TypeVar("T")


class AimcBoard:
    """`Chip` over a `Session`, through faults of its link.

    Parameters
    ----------
    session
        The conversation; the board closes it.
    recovery
        How long and how often operations are tried. Connecting is tried once.
    on_fault
        Called with every fault of the link once it is over.

    Raises
    ------
    FrameError
        If the device speaks another version of the protocol, or another protocol.
    """

    def __init__(
        self,
        session: Session,
        *,
        recovery: RecoveryPolicy | None = None,
        on_fault: Callable[[LinkFault], None] = lambda _: None,
    ) -> None:
        self._session = session
        self._requests = BoardRequests(session)
        self._recognition = Recognition(session, self._requests, self._tell)
        self._once = ExactlyOnce(
            session,
            recovery or RecoveryPolicy(),
            on_fault=on_fault,
            recognise=self._recognition.recognise,
        )

    @property
    def health(self) -> LinkHealth:
        """What the link has been through since it was opened."""
        return self._once.health

    def identify(self) -> ChipIdentity:
        """Return who the device says it is.

        Raises
        ------
        AnotherChipError
            If that is another chip than the one that was connected to.
        """
        return self._once.run(self._recognition.same_identity)

    def plays_recording(self) -> bool:
        """Tell whether the device plays a recording, and so may refuse what was not recorded."""
        return self._once.run(self._requests.plays_recording)

    def geometry(self) -> ChipGeometry:
        """Return how large the chip is."""
        return self._requests.geometry

    def reset(self) -> None:
        """Return to the power-on settings; programmed weights stay."""
        self._once.run(self._requests.reset)

    def program(self, core: int, weights: npt.NDArray[np.int8]) -> None:
        """Program a core's weights, shape (row, column).

        After a fault the core is asked how often it was programmed: it is programmed again only
        if that did not happen, or began and did not end.

        Raises
        ------
        UnknownOutcomeError
            If what the core remembers does not tell.
        """
        size = self.geometry()
        _check_shape("weights", weights, (size.rows, size.columns))
        program_once(self._session, self._requests, self._once, core, weights)

    def holds(self, core: int, weights: npt.NDArray[np.int8]) -> bool:
        """Tell whether a core was programmed with these weights last, shape (row, column)."""
        due = crc_of_weights(weights)  # 0 stands for none
        held = self._once.run(lambda: self._requests.programmings(core)).weights_crc
        return held == due != 0

    def times_programmed(self, core: int) -> int:
        """Return how often programming of a core was begun in its life."""
        return self._once.run(lambda: self._requests.programmings(core)).times

    def continue_at(self, core: int, read_mode: ReadMode, vector: int) -> bool:
        """Have a simulated chip go on with its noise from a place in the sequence.

        A run that was interrupted then ends with the counts that it would have had. Returns False
        where the device is no simulated one: its noise never comes again.
        """
        return self._once.run(lambda: self._requests.continue_at(core, read_mode, vector))

    def read_counts(
        self, core: int, read_mode: ReadMode, inputs: npt.NDArray[np.int8]
    ) -> npt.NDArray[np.uint16]:
        """Multiply input vectors (vector, row); return counts (vector, polarity, column)."""

        def take(query: str) -> npt.NDArray[np.uint16]:
            return self._requests.counts(query, core, read_mode, len(inputs))

        return self._measure(core, read_mode, inputs, "OFF", take, fetch="FETCh:COUNts?")

    def read_corrected(
        self, core: int, read_mode: ReadMode, inputs: npt.NDArray[np.int8]
    ) -> npt.NDArray[np.int8]:
        """Multiply input vectors (vector, row); return the NMPU's outputs (vector, column)."""

        def take(query: str) -> npt.NDArray[np.int8]:
            return self._requests.outputs(query, core, read_mode, len(inputs))

        return self._measure(core, read_mode, inputs, "ON", take, fetch="FETCh:OUTPuts?")

    def read_corrected_with_counts(
        self, core: int, read_mode: ReadMode, inputs: npt.NDArray[np.int8]
    ) -> CorrectedReadout:
        """Multiply input vectors (vector, row) once; return outputs and counts of that."""

        def take(query: str) -> CorrectedReadout:
            outputs = None
            try:
                outputs = self._requests.outputs(query, core, read_mode, len(inputs))
            except DeviceError as error:
                # A recording knows the outputs only for the registers it was recorded with; its
                # counts are latched all the same. Of a chip that is there, it is a refusal.
                missing = error.code == ScpiError.MASS_STORAGE_MISSING
                if not missing or not self._requests.plays_recording():
                    raise
            counts = self._requests.counts("FETCh:COUNts?", core, read_mode, len(inputs))
            return CorrectedReadout(outputs=outputs, counts=counts)

        return self._measure(core, read_mode, inputs, "ON", take, fetch="FETCh:OUTPuts?")

    @contextmanager
    def stream_counts(
        self,
        core: int,
        read_mode: ReadMode,
        inputs: npt.NDArray[np.int8],
        *,
        vectors: int,
        frame_vectors: int | None = None,
        window: int = DEFAULT_WINDOW,
    ) -> Iterator[CountStream]:
        """Multiply input vectors (vector, row) round and round; hand out counts as they come.

        A block is valid until the next one is asked for. Leaving the context stops the stream.

        Raises
        ------
        StreamBrokenError
            If the device has started again, or somebody else has stopped the stream.
        """
        self._check_inputs(inputs)

        def prepare() -> None:
            self._requests.drive(core, read_mode, inputs, nmpu="OFF")

        with self._stream(
            StreamSource.CHIP, core, read_mode, (vectors, frame_vectors, window), prepare
        ) as stream:
            yield stream

    @contextmanager
    def stream_latched_counts(
        self,
        core: int,
        read_mode: ReadMode,
        *,
        vectors: int,
        frame_vectors: int | None = None,
        window: int = DEFAULT_WINDOW,
    ) -> Iterator[CountStream]:
        """Hand out the latched counts round and round: the link's speed, without the chip's."""
        cut = (vectors, frame_vectors, window)
        with self._stream(StreamSource.LATCHED, core, read_mode, cut, lambda: None) as stream:
            yield stream

    @contextmanager
    def _stream(
        self,
        source: StreamSource,
        core: int,
        read_mode: ReadMode,
        cut: tuple[int, int | None, int],
        prepare: Callable[[], None],
    ) -> Iterator[CountStream]:
        vectors, frame_vectors, window = cut
        shape = plan_shape(
            self.geometry(), vectors=vectors, frame_vectors=frame_vectors, window=window
        )
        plan = StreamPlan(
            source=source,
            core=core,
            read_mode=read_mode,
            columns=self.geometry().columns,
            shape=shape,
        )
        stream = CountStream(self._session, self._once, self._requests, plan, prepare)
        try:
            stream.start()
            yield stream
        except BaseException:
            with suppress(HilError):  # the chip's own error goes up, not what it led to
                stream.close()
            raise
        stream.close()

    def latched_counts(
        self, core: int, read_mode: ReadMode, vectors: int
    ) -> npt.NDArray[np.uint16]:
        """Return the counts (vector, polarity, column) behind the last multiplication."""
        return self._once.run(
            lambda: self._requests.counts("FETCh:COUNts?", core, read_mode, vectors)
        )

    def write_nmpu(
        self, core: int, read_mode: ReadMode, fmt: NmpuFormat, registers: NmpuRegisters
    ) -> None:
        """Load NMPU registers and format for a core in a read mode."""
        # A new format makes the device forget them.
        self._recognition.loaded.pop((core, read_mode), None)
        self._once.run(lambda: self._requests.load_nmpu(core, read_mode, fmt, registers))
        self._recognition.loaded[core, read_mode] = (fmt, registers)

    def read_nmpu(self, core: int, read_mode: ReadMode) -> tuple[NmpuFormat, NmpuRegisters]:
        """Return what `write_nmpu` loaded."""
        return self._once.run(lambda: self._requests.nmpu(core, read_mode))

    def temperature_c(self, core: int, read_mode: ReadMode) -> float:
        """Return the chip's temperature near a core, in degrees Celsius."""
        return self._once.run(lambda: self._requests.temperature_c(core, read_mode))

    def safe(self) -> None:
        """Leave the chip with no input driven and the NMPU off."""
        self._once.run(self._requests.safe, limit_s=_SAFE_LIMIT_S)

    def reserve(self) -> None:
        """Keep every other client away until the link is closed, where the device knows locks.

        Raises
        ------
        LockedError
            If another client has the device to itself.
        """
        self._once.run(self._recognition.lock)

    def close(self) -> None:
        """Close the link."""
        self._recognition.unlock()
        self._session.close()

    def _tell(self, kind: FaultKind, detail: str) -> None:
        self._once.tell(kind, detail)

    def _measure(
        self,
        core: int,
        read_mode: ReadMode,
        inputs: npt.NDArray[np.int8],
        nmpu: str,
        take: Callable[[str], T],
        *,
        fetch: str,
    ) -> T:
        """Multiply once and `take` what ``READ?`` answers; after a fault, what `fetch` answers."""
        self._check_inputs(inputs)
        tags: set[int] = set()

        def operation() -> T:
            self._requests.drive(core, read_mode, inputs, nmpu=nmpu)
            tags.add(self._session.upcoming_tag)
            return take("READ?")

        def settle() -> T | None:
            return take(fetch) if tags and self._requests.latched() in tags else None

        return self._once.run(operation, settle=settle)

    def _check_inputs(self, inputs: npt.NDArray[np.int8]) -> None:
        size = self.geometry()
        _check_shape("inputs", inputs, (len(inputs), size.rows))
        if not 1 <= len(inputs) <= size.max_vectors:
            raise ValueError(
                f"{len(inputs)} input vectors: must be 1 to {size.max_vectors} at once"
            )


def _check_shape(name: str, array: npt.NDArray[np.int8], shape: tuple[int, ...]) -> None:
    if array.dtype != np.int8 or array.shape != shape:
        raise ValueError(f"{name}: must be int8 {shape}, got {array.dtype} {array.shape}")
