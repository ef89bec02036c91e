"""The link under test: its session, what the device is, and what it has to be left as."""

import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil.core.errors import DeviceError, HilError, TransportTimeoutError
from hil.core.nmpu_format import NmpuFormat
from hil.core.readout import ChipIdentity, ReadMode
from hil_drivers.board_requests import BoardRequests
from hil_drivers.frames import Frame, FrameKind, encode_frame
from hil_drivers.message_bytes import HIGHEST_TAG
from hil_drivers.scpi import ScpiError
from hil_drivers.session import Session
from hil_drivers.transport import Transport

CORE, READ_MODE = 0, ReadMode.FOUR_PHASE
"""What the tests select: every chip has them."""

_RESTORE_S = 10.0
"""How long leaving the device as it was may take."""
_FIRST_BYTES = 8


class HurriedTransport:
    """A transport whose reader can be in too much of a hurry: it gives up while an answer comes.

    Parameters
    ----------
    inner
        What carries the bytes.
    """

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self.gives_up_after: int | None = None
        """How many receptions, of a few bytes each, until time is up; None for as usual."""

    @property
    def resource(self) -> str:
        """The resource string it was opened with."""
        return self._inner.resource

    @property
    def line_faults(self) -> Mapping[str, int]:
        """What the transport says it has mended, where it mends anything."""
        faults: Mapping[str, int] = getattr(self._inner, "faults", {})
        return faults

    def send(self, data: bytes, *, timeout_s: float) -> None:
        """Send all of `data`."""
        self._inner.send(data, timeout_s=timeout_s)

    def receive_into(self, buffer: memoryview, *, is_whole: bool, timeout_s: float) -> int:
        """Receive, or give up."""
        if self.gives_up_after is None:
            return self._inner.receive_into(buffer, is_whole=is_whole, timeout_s=timeout_s)
        if self.gives_up_after == 0:
            raise TransportTimeoutError(f"{self.resource}: given up on purpose")
        self.gives_up_after -= 1
        few = buffer[:_FIRST_BYTES]
        return self._inner.receive_into(few, is_whole=False, timeout_s=timeout_s)

    def clear(self, *, timeout_s: float) -> None:
        """Let nothing sent or received before have any effect."""
        self._inner.clear(timeout_s=timeout_s)

    def close(self) -> None:
        """Close it."""
        self._inner.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What the device was set to before the tests."""

    core: str
    """Selected core."""
    read_mode: str
    """Selected read mode."""
    format_text: str
    """NMPU format of `CORE` in `READ_MODE`."""
    codes: npt.NDArray[np.int16] | None
    """NMPU registers of the same (register, column); None if none were loaded."""
    latched: int
    """Tag of the latched counts, 0 for none."""


class TestedLink:
    """A board on a link, without any recovery: whatever goes wrong is seen.

    Parameters
    ----------
    transport
        The open link, which this closes.
    timeout_s
        How long an answer may take.

    Raises
    ------
    TransportError, FrameError
        If what answers does not speak the protocol.
    """

    __test__ = False  # no test of pytest's

    def __init__(self, transport: Transport, *, timeout_s: float) -> None:
        self.transport = HurriedTransport(transport)
        """The link."""
        self.session = Session(
            self.transport, timeout_s=timeout_s, first_tag=1 + secrets.randbelow(HIGHEST_TAG)
        )
        """The conversation."""
        self.requests = BoardRequests(self.session)
        """The board's commands."""
        self.identity: ChipIdentity = self.requests.identity()
        """Who the device is."""
        self.holds_lock = False
        """Whether other clients are kept out."""
        self.has_measured = False
        """Whether counts of the tests may be latched."""
        self._before: Before | None = None

    @property
    def resource(self) -> str:
        """The resource string of the link."""
        return self.transport.resource

    @property
    def before(self) -> Before | None:
        """What the device was set to; None until `remember`."""
        return self._before

    def remember(self) -> Before:
        """Take note of what the tests will change, and select what they work on."""
        session = self.session
        core, read_mode = session.ask("CORE:SELect?"), session.ask("READ:MODE?")
        try:
            self.requests.select(CORE, READ_MODE)
            self._before = Before(
                core=core,
                read_mode=read_mode,
                format_text=session.ask("NMPU:FORMat?").strip('"'),
                codes=self._codes_or_none(),
                latched=self.requests.latched(),
            )
        except HilError:
            with suppress(HilError):  # the first error is the one to tell
                self._select_words(core, read_mode)
            raise
        return self._before

    def nmpu_format(self) -> NmpuFormat:
        """Ask for the format of the selected core and read mode."""
        return NmpuFormat.from_text(self.session.ask("NMPU:FORMat?").strip('"'))

    def write_codes(self, codes: npt.NDArray[np.int16]) -> None:
        """Load registers (register, column)."""
        self._send(FrameKind.REGISTERS, "NMPU:REGisters", codes)

    def read_codes(self) -> npt.NDArray[np.int16]:
        """Ask for the registers (register, column)."""
        frame = self.session.ask_frame("NMPU:REGisters?", FrameKind.REGISTERS)
        return frame.payload

    def write_inputs(self, inputs: npt.NDArray[np.int8]) -> None:
        """Hand over input vectors (vector, row); they are driven by a measurement only."""
        self._send(FrameKind.INPUTS, "INPut:DATA", inputs)

    def keep_others_out(self) -> bool | None:
        """Ask for the lock; None if the device knows no locks."""
        answer = self.requests.lock()
        self.holds_lock = answer is True
        return answer

    def come_back(self) -> bool:
        """Make the link usable after a failure; tell whether it is."""
        self.transport.gives_up_after = None
        try:
            self.session.resynchronise()
            if self.holds_lock:
                self.keep_others_out()
            if self._before is not None:
                self.requests.select(CORE, READ_MODE)
        except HilError:
            return False
        return True

    def restore(self) -> None:
        """Leave the device as it was before `remember`, and safe.

        Raises
        ------
        HilError
            If that did not succeed; the device must then be reset by a person.
        """
        self.transport.gives_up_after = None
        self.session.deadline = time.monotonic() + _RESTORE_S
        before = self._before
        try:
            if before is not None:
                self._put_back(before)
            self.requests.safe()
        finally:
            with suppress(HilError):
                if self.holds_lock and self.session.is_in_step:
                    self.requests.unlock(limit_s=1.0)
        self.holds_lock = False

    def _put_back(self, before: Before) -> None:
        if self.has_measured and before.latched == 0:
            self.requests.reset()
        self.requests.select(CORE, READ_MODE)
        now = self.session.ask("NMPU:FORMat?").strip('"'), self._codes_or_none()
        if now[0] != before.format_text or not _equal(now[1], before.codes):
            self.session.tell(f'NMPU:FORMat "{before.format_text}"')
            if before.codes is not None:
                self.write_codes(before.codes)
        self._select_words(before.core, before.read_mode)

    def _select_words(self, core: str, read_mode: str) -> None:
        self.session.tell(f"CORE:SELect {core}")
        self.session.tell(f"READ:MODE {read_mode}")

    def _codes_or_none(self) -> npt.NDArray[np.int16] | None:
        try:
            return self.read_codes()
        except DeviceError as error:
            if error.code != ScpiError.SETTINGS_CONFLICT:
                raise
            return None

    def _send(
        self, kind: FrameKind, command: str, payload: npt.NDArray[np.int16] | npt.NDArray[np.int8]
    ) -> None:
        def make_frame(tag: int) -> bytes:
            return encode_frame(
                Frame(kind=kind, sequence=tag, core=CORE, read_mode=READ_MODE, payload=payload)
            )

        self.session.tell_frame(command, make_frame)


def _equal(one: npt.NDArray[np.int16] | None, other: npt.NDArray[np.int16] | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)
