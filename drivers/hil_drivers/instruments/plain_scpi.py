"""Plain SCPI over a `Transport`: one line out, one line back, in step.

Nothing in plain SCPI tells which answer belongs to which query. So whatever breaks an exchange (a
timeout, a lost link, Ctrl-C) also ends the trust in what arrives: before the next request the link
is cleared, what had arrived is forgotten, and the instrument must say again that it is the same.

An instrument may also say a line too many, which shifts every answer behind it by one. What lies
there before a request is found by a look at the link; what comes later, by a fence: behind a
reading the identity is asked for, and where something else comes, neither counts.
"""

from collections.abc import Callable

from hil.core.errors import DeviceError, InstrumentError, ReadingError, TransportTimeoutError
from hil.core.legible import printable, quoted
from hil_drivers.scpi import LONGEST_LINE
from hil_drivers.transport import Transport, is_duplex

_IDENTIFY = "*IDN?"
_FENCED_ATTEMPTS = 3
"""How often a reading is taken that the identity does not follow."""
_GLANCE_S = 1e-4
"""How long to look for bytes that nobody asked for; a timeout of 0 means another kind of socket."""
_LONGEST_QUEUE = 64
"""Errors asked for at once; a queue that is longer never ends."""


class PlainScpi:
    """A conversation with one instrument.

    Parameters
    ----------
    transport
        The open link; closed with the conversation.
    timeout_s
        How long an answer may take, in seconds.
    error_query
        Asks for the oldest error of the queue; empty where the instrument has none.
    clock
        Monotonic seconds.

    Raises
    ------
    TransportError
        If the instrument is absent or silent.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        timeout_s: float,
        error_query: str,
        clock: Callable[[], float],
    ) -> None:
        self._transport = transport
        self._timeout_s = timeout_s
        self._error_query = error_query
        self._clock = clock
        self._is_in_step = True
        try:
            self.identity = printable(self._ask(_IDENTIFY))
            """What the instrument says it is."""
        except BaseException:
            self._transport.close()
            raise
        self.recoveries = 0
        """How often the link was cleared."""

    @property
    def resource(self) -> str:
        """The resource string of the link."""
        return self._transport.resource

    def tell(self, text: str) -> None:
        """Send a command, and ask whether the instrument complains.

        Raises
        ------
        DeviceError
            If it does: the oldest error of the queue, which is empty afterwards.
        """
        self._look()
        self._begin()
        self._run(lambda: self._send(text))
        errors = self.take_errors()
        if errors:
            raise DeviceError(*errors[0], request=text)

    def ask(self, text: str) -> str:
        """Send a query and return the line it is answered with.

        Raises
        ------
        ReadingError
            If the answer is too long, or more than one line.
        """
        self._look()
        return self._ask_next(text)

    def ask_fenced(self, text: str) -> str:
        """Send a query and return its answer, which is no other one's: the identity follows it.

        Raises
        ------
        ReadingError
            If it does not, time after time.
        """
        for attempt in range(1, _FENCED_ATTEMPTS + 1):
            try:
                answer = self.ask(text)
                # No look before it: what lies there may be the true answer, behind a stale one.
                follows = printable(self._run(lambda: self._ask(_IDENTIFY)))
            except ReadingError:  # two lines at once, or one without an end
                if attempt == _FENCED_ATTEMPTS:
                    raise
                continue
            if follows == self.identity:
                return answer
            self._is_in_step = False
        raise ReadingError(
            f"{text}: answered {quoted(answer)}, and then {quoted(follows)} to {_IDENTIFY}: its "
            f"answers are out of step, {_FENCED_ATTEMPTS} times in a row; no reading was taken"
        )

    def take_errors(self) -> list[tuple[int, str]]:
        """Empty the error queue; return code and words of each, the oldest first."""
        errors: list[tuple[int, str]] = []
        while self._error_query:
            # No look: it would drop the errors of what was just told.
            answer = self._ask_next(self._error_query)
            code, _, words = answer.partition(",")
            try:
                number = int(code)
            except ValueError:
                self._is_in_step = False
                raise ReadingError(
                    f"{self._error_query}: answered {quoted(answer)} where an error number is due"
                ) from None
            if number == 0:
                break
            if len(errors) == _LONGEST_QUEUE:
                raise InstrumentError(
                    f"{self._error_query}: more than {_LONGEST_QUEUE} errors, the last {number}"
                )
            errors.append((number, printable(words.strip().strip('"'))))
        return errors

    def close(self) -> None:
        """Close the link."""
        self._transport.close()

    def _begin(self) -> None:
        if self._is_in_step:
            return
        self._transport.clear(timeout_s=self._timeout_s)
        self.recoveries += 1
        identity = printable(self._ask(_IDENTIFY))
        if identity != self.identity:
            raise InstrumentError(
                f"{self._transport.resource}: was {quoted(self.identity)} and says now that it is "
                f"{quoted(identity)}"
            )
        self._is_in_step = True
        self.take_errors()  # those of the broken exchange say nothing about the next one

    def _ask_next(self, text: str) -> str:
        self._begin()
        return self._run(lambda: self._ask(text))

    def _look(self) -> None:
        """Find what nobody has asked for: whatever is asked next would be answered with it."""
        if not (self._is_in_step and is_duplex(self._transport)):
            return  # on a bus an instrument speaks only when it is asked
        buffer = memoryview(bytearray(LONGEST_LINE))
        self._is_in_step = False
        try:
            self._transport.receive_into(buffer, is_whole=False, timeout_s=_GLANCE_S)
        except TransportTimeoutError:
            self._is_in_step = True

    def _run(self, exchange: Callable[[], str]) -> str:
        try:
            return exchange()
        except BaseException:  # Ctrl-C between request and answer, too
            self._is_in_step = False
            raise

    def _send(self, text: str) -> str:
        self._transport.send(text.encode("ascii") + b"\n", timeout_s=self._timeout_s)
        return ""

    def _ask(self, text: str) -> str:
        deadline = self._clock() + self._timeout_s
        self._send(text)
        line = bytearray()
        buffer = memoryview(bytearray(LONGEST_LINE))
        while b"\n" not in line:
            left_s = deadline - self._clock()
            if left_s <= 0:
                raise self._too_late(text)
            try:
                count = self._transport.receive_into(buffer, is_whole=False, timeout_s=left_s)
            except TransportTimeoutError as error:
                raise self._too_late(text) from error
            line += buffer[:count]
            if len(line) > LONGEST_LINE:
                raise ReadingError(f"{text}: answered more than {LONGEST_LINE} bytes")
        answer, _, rest = bytes(line).partition(b"\n")
        if rest:
            raise ReadingError(
                f"{text}: answered more than one line: {quoted(answer)}, then {quoted(rest)}"
            )
        return answer.decode("ascii", "replace").strip()

    def _too_late(self, text: str) -> TransportTimeoutError:
        return TransportTimeoutError(
            f"{self._transport.resource}: no whole answer to {text} within {self._timeout_s:g} s"
        )
