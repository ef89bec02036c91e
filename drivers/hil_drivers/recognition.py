"""Knowing a device again after the link to it was away, and giving back what it has forgotten."""

from collections.abc import Callable
from contextlib import suppress

from hil.core.errors import HilError
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ChipIdentity, ReadMode
from hil_drivers.board_requests import BoardRequests
from hil_drivers.link_fault import AnotherChipError, FaultKind, LockedError
from hil_drivers.session import Session

_UNLOCK_LIMIT_S = 1.0
"""A device that does not unlock does so when the connection closes."""


class Recognition:
    """What one board is known by, and what it was given.

    Parameters
    ----------
    session, requests
        The conversation with the board, which has shaken hands.
    tell
        Takes note of a fault of the operation going on.
    """

    def __init__(
        self, session: Session, requests: BoardRequests, tell: Callable[[FaultKind, str], None]
    ) -> None:
        self._session = session
        self._requests = requests
        self._tell = tell
        self._identity = requests.identity()
        self._boot = requests.boot()
        self.loaded: dict[tuple[int, ReadMode], tuple[NmpuFormat, NmpuRegisters]] = {}
        """NMPU settings that a new start of the firmware loses, by core and read mode."""
        self._fenced_at = session.resynchronisations
        self._is_locked = False

    def recognise(self) -> bool:
        """Keep others out, recognise the chip, give it back what a reboot has lost.

        Returns whether there was a reboot.

        Raises
        ------
        AnotherChipError
            If it is another chip.
        LockedError
            If another client has locked the device.
        """
        if self._fenced_at != self._session.resynchronisations:
            self.lock()
            self._fenced_at = self._session.resynchronisations
        boot = self._requests.boot()
        self.same_identity()
        if boot == self._boot:
            return False
        for (core, read_mode), (fmt, registers) in self.loaded.items():
            self._requests.load_nmpu(core, read_mode, fmt, registers)
        self._boot = boot
        return True

    def same_identity(self) -> ChipIdentity:
        """Ask who the device is; believe that it is another chip when it says so twice.

        Raises
        ------
        AnotherChipError
            If it is another chip.
        """
        identity = self._requests.identity()
        if identity != self._identity:
            detail = f"*IDN?: the device says it is {identity}; it was {self._identity}"
            self._tell(FaultKind.WRONG_ANSWER, detail)
            identity = self._requests.identity()
        if identity != self._identity:
            raise AnotherChipError(
                f"{self._session.resource}: another chip is at the end of the link: it was "
                f"{self._identity}; it is {identity}"
            )
        return identity

    def unlock(self) -> None:
        """Let others at the device again, where it was locked and can be reached."""
        if self._is_locked and self._session.is_in_step:
            with suppress(HilError):
                self._requests.unlock(limit_s=_UNLOCK_LIMIT_S)
        self._is_locked = False

    def lock(self) -> None:
        """Lock the device: requests of others, and of a former connection, can do nothing more.

        Raises
        ------
        LockedError
            If another client has it.
        """
        is_locked = self._requests.lock()
        if is_locked is False:
            raise LockedError(f"{self._session.resource}: another client has locked the device")
        self._is_locked = bool(is_locked)
