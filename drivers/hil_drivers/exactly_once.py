"""Operations that are finished exactly once, whatever the link does meanwhile.

Rules
-----
1. After a fault, the link is made usable and the device recognised before anything else is asked.
2. An operation that may have had its effect is settled first: the device is asked whether it had,
   and what it has not handed out is fetched. Only an operation that had none begins again.
3. An operation that cannot be settled begins again only if the request that met the fault may be
   sent twice (`hil_drivers.commands`).
4. A refusal that says that a request or its frame was changed on its way did no harm: the operation
   begins again. Where requests have no checksum, a refusal that may be due to such a change is
   believed when it comes twice.
5. From an operation's first fault on, a deadline runs, for all that is done after it.
"""

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from hil.core.errors import DeviceError, FrameError, TransportError
from hil_drivers.commands import Repeat, repeat_of
from hil_drivers.link_fault import (
    AnotherChipError,
    FaultKind,
    FrameFault,
    LinkClosedError,
    LinkFault,
    LinkHealth,
    StreamBrokenError,
    UnknownOutcomeError,
    kind_of,
)
from hil_drivers.recovery import RecoveryPolicy
from hil_drivers.scpi import ScpiError
from hil_drivers.session import Session

T = TypeVar("T")

_FINAL = (AnotherChipError, LinkClosedError, StreamBrokenError, UnknownOutcomeError)
"""Errors that no repetition can mend."""

_COMMAND_ERRORS = range(-199, -99)
"""The device could not read the message and did nothing (SCPI-99, volume 2, 21.8.9)."""
_WRONG_PARAMETERS = {ScpiError.DATA_OUT_OF_RANGE, ScpiError.ILLEGAL_PARAMETER}
_CHANGED = {ScpiError.COMMUNICATION_ERROR, ScpiError.BLOCK_DATA_ERROR}
"""Refusals of what this host has not sent: the text or the frame was changed on its way."""
_LOST_SETTINGS = {ScpiError.SETTINGS_CONFLICT, ScpiError.DATA_CORRUPT_OR_STALE}
"""What a device says that started again and lost its settings while the link stayed."""
_HARMLESS = {Repeat.SAFE, Repeat.MEASURES}


@dataclass(frozen=True, slots=True)
class _Noticed:
    """A fault that is not over."""

    kind: FaultKind
    request: str
    detail: str
    at_s: float


@dataclass(slots=True)
class _Attempt:
    """How an operation stands."""

    number: int = 0
    """Of this attempt, from 1."""
    first_fault: TransportError | FrameError | None = None
    """What began it all."""
    refusal: DeviceError | None = None
    """A refusal of the last attempt that may be due to the link, or to a reboot."""

    def doubts(self, error: DeviceError, *, has_checksum: bool) -> bool:
        """Tell whether to ask again about a refusal, of a request with or without a checksum."""
        may_be_garbled = error.code in _COMMAND_ERRORS or error.code in _WRONG_PARAMETERS
        if (has_checksum or not may_be_garbled) and not _hints_at_reboot(error):
            return False
        before = self.refusal
        return before is None or (error.code, error.request) != (before.code, before.request)


class ExactlyOnce:
    """Carries operations through the faults of a session's link.

    Parameters
    ----------
    session
        The conversation.
    policy
        When to give up.
    on_fault
        Called with every fault once it is over.
    recognise
        Called on a link that was made usable: recognises the device, gives it back settings that
        it has lost, and tells whether it had lost them.
    clock, sleep
        Monotonic seconds, the session's own clock; and how to let some pass.
    """

    def __init__(
        self,
        session: Session,
        policy: RecoveryPolicy,
        *,
        on_fault: Callable[[LinkFault], None],
        recognise: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._session = session
        self._policy = policy
        self._on_fault = on_fault
        self._recognise = recognise
        self._clock = clock
        self._sleep = sleep
        self._noticed: list[_Noticed] = []
        self._counts: Counter[FaultKind] = Counter()
        self._not_recovered = 0
        self._told_of: tuple[int, frozenset[FaultKind]] = (0, frozenset())
        session.on_dropped = self._tell_of_dropped

    @property
    def health(self) -> LinkHealth:
        """What the link has been through so far."""
        return LinkHealth(
            requests=self._session.requests,
            faults=self._counts,
            not_recovered=self._not_recovered,
        )

    def run(
        self,
        operation: Callable[[], T],
        *,
        settle: Callable[[], T | None] | None = None,
        limit_s: float = math.inf,
    ) -> T:
        """Carry out an operation.

        Parameters
        ----------
        operation
            Its requests; called again after a fault, from its beginning.
        settle
            Asks the device whether the operation had its effect: returns its result if so, None if
            it must begin again.
        limit_s
            How long everything may take together, where that must be less than the policy says.

        Raises
        ------
        TransportError, FrameError
            The first fault, with what became of it, when the policy gives up.
        DeviceError
            If the device refuses.
        AnotherChipError, UnknownOutcomeError
            If going on could do harm.
        """
        if math.isfinite(limit_s):
            self._session.deadline = self._clock() + limit_s
        try:
            return self._run(operation, settle)
        finally:
            self._session.deadline = math.inf
            self._end_faults(are_over=False)  # those of an operation that failed

    def tell(self, kind: FaultKind, detail: str) -> None:
        """Take note of a fault that the operation going on has found."""
        self._notice(kind, detail)

    def _run(self, operation: Callable[[], T], settle: Callable[[], T | None] | None) -> T:
        attempt = _Attempt()
        while True:
            attempt.number += 1
            try:
                result = self._try(operation, settle, attempt)
            except _FINAL:
                raise
            except DeviceError as error:
                if not self._may_ask_again(attempt, error):
                    # The link is well, and the device says no; or the link is not well.
                    self._end_faults(are_over=error.code not in _CHANGED)
                    raise
            except (TransportError, FrameError) as error:
                self._notice(kind_of(error), str(error))
                attempt.first_fault = attempt.first_fault or error
                attempt.refusal = None
                if not self._may_go_on(attempt.number, can_be_settled=settle is not None):
                    raise self._given_up(attempt.first_fault) from error
            else:
                if attempt.refusal is not None and not _hints_at_reboot(attempt.refusal):
                    self._notice(FaultKind.GARBLED_REQUEST, str(attempt.refusal))
                self._end_faults(are_over=True)
                return result

    def _try(
        self,
        operation: Callable[[], T],
        settle: Callable[[], T | None] | None,
        attempt: "_Attempt",
    ) -> T:
        refused = attempt.refusal
        if not self._session.is_in_step or _hints_at_reboot(refused):
            was_rebooted = self._get_ready()
            if refused is not None and not was_rebooted:
                raise refused
        result = settle() if settle is not None and attempt.number > 1 else None
        return operation() if result is None else result

    def _may_ask_again(self, attempt: "_Attempt", error: DeviceError) -> bool:
        """Take note of a refusal; tell whether it may be due to the link, or to a reboot."""
        is_last = attempt.number == self._policy.attempts or self._is_too_late()
        if error.code in _CHANGED:
            self._notice(FaultKind.GARBLED_REQUEST, str(error))
            attempt.refusal = None
            return not is_last
        is_doubted = attempt.doubts(error, has_checksum=self._session.has_checksums)
        attempt.refusal = error
        return is_doubted and not is_last

    def _may_go_on(self, attempts: int, *, can_be_settled: bool) -> bool:
        may_repeat = can_be_settled or repeat_of(self._session.request) in _HARMLESS
        return attempts < self._policy.attempts and may_repeat and not self._is_too_late()

    def _get_ready(self) -> bool:
        """Make the link usable and recognise the device; tell whether it had started again."""
        self._start_deadline()
        pause_s = self._policy.first_pause_s
        while True:
            try:
                if not self._session.is_in_step:
                    self._session.resynchronise()
                was_rebooted = self._recognise()
            except _FINAL:
                raise
            except (TransportError, FrameError) as error:
                if self._is_too_late():
                    raise
                self._notice(kind_of(error), str(error))
            else:
                if was_rebooted:
                    self._notice(FaultKind.REBOOT, "the device had started again")
                return was_rebooted
            self._sleep(max(0.0, min(pause_s, self._session.deadline - self._clock())))
            pause_s = min(2 * pause_s, self._policy.longest_pause_s)

    def _is_too_late(self) -> bool:
        return self._clock() >= self._session.deadline

    def _start_deadline(self) -> None:
        if math.isinf(self._session.deadline):
            self._session.deadline = self._clock() + self._policy.deadline_s

    def _notice(self, kind: FaultKind, detail: str) -> None:
        self._start_deadline()
        self._noticed.append(_Noticed(kind, self._session.request, detail, self._clock()))

    def _end_faults(self, *, are_over: bool) -> None:
        noticed, self._noticed = self._noticed, []
        now_s = self._clock()
        for fault in noticed:
            self._counts[fault.kind] += 1
            self._not_recovered += not are_over
            self._on_fault(
                LinkFault(
                    kind=fault.kind,
                    request=fault.request,
                    detail=fault.detail,
                    recovered_s=now_s - fault.at_s if are_over else None,
                )
            )

    def _given_up(self, first: TransportError | FrameError) -> TransportError | FrameError:
        if len(self._noticed) == 1:
            return first
        after_s = self._clock() - self._noticed[0].at_s
        kinds = Counter(fault.kind.value for fault in self._noticed)
        met = ", ".join(f"{kind} {count}" for kind, count in kinds.items())
        text = f"{first}; given up after another {after_s:.1f} s; met in all: {met}"
        return FrameFault(first.kind, text) if isinstance(first, FrameFault) else type(first)(text)

    def _tell_of_dropped(self, kind: FaultKind, request: str) -> None:
        self._counts[kind] += 1
        # A device may flood the link with old answers: one call for each kind and request will do.
        told_in, told = self._told_of
        told = told if told_in == self._session.requests else frozenset()
        if kind not in told:
            detail = "an answer was dropped"
            self._on_fault(LinkFault(kind=kind, request=request, detail=detail, recovered_s=0.0))
        self._told_of = (self._session.requests, told | {kind})


def _hints_at_reboot(error: DeviceError | None) -> bool:
    return error is not None and error.code in _LOST_SETTINGS
