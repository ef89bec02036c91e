"""Plain SCPI over a `Transport`: one line out, one line back, in step.

Nothing in plain SCPI tells which answer belongs to which query. So whatever breaks an exchange (a
timeout, a lost link, Ctrl-C) also ends the trust in what arrives: before the next request the link
is cleared, what had arrived is forgotten, and the instrument must say again that it is the same.
"""

from collections.abc import Callable

from hil.core.errors import DeviceError, InstrumentError, ReadingError, TransportTimeoutError
from hil.core.legible import printable, quoted
from hil_drivers.scpi import LONGEST_LINE
from hil_drivers.transport import Transport

_IDENTIFY = "*IDN?"
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
        self._begin()
        return self._run(lambda: self._ask(text))

    def take_errors(self) -> list[tuple[int, str]]:
        """Empty the error queue; return code and words of each, the oldest first."""
        errors: list[tuple[int, str]] = []
        while self._error_query:
            answer = self.ask(self._error_query)
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
