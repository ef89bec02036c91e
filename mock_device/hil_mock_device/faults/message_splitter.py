"""A client's bytes, cut into whole messages and otherwise unchanged, sans-IO.

What is no message of the protocol is handed on as it comes, for the device to judge. At most one
message is held.
"""

import re

from hil_drivers.scpi import LONGEST_LINE

_BEFORE_BLOCK = re.compile(rb"(?:[^\"'#\n]|\"[^\"\n]*\"|'[^'\n]*')*#")
_BLOCK = re.compile(rb"#([1-9])")
_BEGUN = re.compile(rb"#(?:[1-9][0-9]*)?")
"""All that there is of a block whose length is not yet whole."""
_END = re.compile(rb"\r?\n")


class MessageSplitter:
    """Cuts one stream.

    Parameters
    ----------
    largest_block
        Longest block that is waited for.
    """

    def __init__(self, largest_block: int) -> None:
        self._largest_block = largest_block
        self._held = bytearray()
        self._is_senseless = False

    def split(self, data: bytes) -> list[bytes]:
        """Take bytes; return the messages now complete, each with its newline."""
        self._held += data
        messages = []
        while self._held and (end := self._message_end()):
            messages.append(bytes(self._held[:end]))
            del self._held[:end]
        return messages

    def flush(self) -> tuple[bytes, bool]:
        """Return the beginning of a message, and whether it ends inside a block; forget it."""
        rest, is_in_block = bytes(self._held), _unquoted_block(self._held) is not None
        self.clear()
        return rest, is_in_block

    def clear(self) -> None:
        """Forget everything."""
        self._held.clear()
        self._is_senseless = False

    def _message_end(self) -> int:
        """Return the length of the first message, 0 while it is not complete."""
        held = self._held
        if self._is_senseless:
            return len(held)
        sign = _unquoted_block(held)
        if sign is None:
            end = held.find(b"\n", 0, LONGEST_LINE) + 1
            is_senseless = not end and len(held) >= LONGEST_LINE
        elif (span := _block_at(held, sign)) is None:
            end, is_senseless = 0, not _BEGUN.fullmatch(held, sign)
        else:
            newline = _END.match(held, span[1])
            end = newline.end() if newline else 0
            is_too_long = span[1] - span[0] > self._largest_block
            is_senseless = is_too_long or not (
                end or bytes(held[span[1] : span[1] + 2]) in (b"", b"\r")
            )
        return self._give_up() if is_senseless else end

    def _give_up(self) -> int:
        self._is_senseless = True
        return len(self._held)


def block_span(message: bytes) -> tuple[int, int] | None:
    r"""Return where the content of a message's block begins and ends, None without one.

    Examples
    --------
    >>> block_span(b"@5 #13abc\n")
    (6, 9)
    """
    sign = _unquoted_block(message)
    return None if sign is None else _block_at(message, sign)


def _unquoted_block(held: bytes | bytearray) -> int | None:
    line = _BEFORE_BLOCK.match(held, 0, LONGEST_LINE)
    return None if line is None else line.end() - 1


def _block_at(held: bytes | bytearray, sign: int) -> tuple[int, int] | None:
    start = _BLOCK.match(held, sign)
    if start is None:
        return None
    content = sign + 2 + int(start[1])
    digits = bytes(held[sign + 2 : content])
    if not digits.isdigit() or len(digits) < int(start[1]):
        return None
    return content, content + int(digits)
