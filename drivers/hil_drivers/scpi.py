"""The text of the protocol: IEEE 488.2 program messages, blocks, and this protocol's tags.

A message is a command header, then its parameters after a blank, then a newline. A header ending
in ``?`` is a query. Keywords have a short form, their upper-case letters in the tables here
(``TEMPerature`` may be sent ``TEMP`` or ``TEMPERATURE``), in any case. One parameter may be a
definite-length block, ``#`` then the number of digits of the length, the length, the bytes
(IEEE 488.2-1992, 7.7.6); it is the last one.

A message may begin with a tag, ``@`` and a decimal number of up to 32 bits. A tagged message holds
one command and gets exactly one answer that begins with the same tag; that is how a host knows
which answer belongs to which request. Behind the tag may stand the message's checksum, ``*`` and
eight hexadecimal digits; its answer then has one, too. An untagged message is plain SCPI, for
people and for other programs.
"""

from enum import IntEnum
from functools import cache

LONGEST_LINE = 4096
"""Most bytes of a message before its block, newline included."""


class ScpiError(IntEnum):
    """Standard error numbers used by this protocol (SCPI-99, volume 2, chapter 21)."""

    NO_ERROR = 0
    SYNTAX_ERROR = -102
    DATA_TYPE_ERROR = -104
    PARAMETER_NOT_ALLOWED = -108
    MISSING_PARAMETER = -109
    UNDEFINED_HEADER = -113
    BLOCK_DATA_ERROR = -160
    INVALID_BLOCK_DATA = -161
    EXECUTION_ERROR = -200
    COMMAND_PROTECTED = -203
    TRIGGER_IGNORED = -211
    SETTINGS_CONFLICT = -221
    DATA_OUT_OF_RANGE = -222
    DATA_CORRUPT_OR_STALE = -230
    ILLEGAL_PARAMETER = -224
    HARDWARE_ERROR = -240
    MASS_STORAGE_MISSING = -251
    QUEUE_OVERFLOW = -350
    COMMUNICATION_ERROR = -360
    QUERY_INTERRUPTED = -410
    QUERY_DEADLOCKED = -430

    @property
    def words(self) -> str:
        """The standard's words for it."""
        return _WORDS[self]


_WORDS = {
    ScpiError.NO_ERROR: "No error",
    ScpiError.SYNTAX_ERROR: "Syntax error",
    ScpiError.DATA_TYPE_ERROR: "Data type error",
    ScpiError.PARAMETER_NOT_ALLOWED: "Parameter not allowed",
    ScpiError.MISSING_PARAMETER: "Missing parameter",
    ScpiError.UNDEFINED_HEADER: "Undefined header",
    ScpiError.BLOCK_DATA_ERROR: "Block data error",
    ScpiError.INVALID_BLOCK_DATA: "Invalid block data",
    ScpiError.EXECUTION_ERROR: "Execution error",
    ScpiError.COMMAND_PROTECTED: "Command protected",
    ScpiError.TRIGGER_IGNORED: "Trigger ignored",
    ScpiError.SETTINGS_CONFLICT: "Settings conflict",
    ScpiError.DATA_OUT_OF_RANGE: "Data out of range",
    ScpiError.DATA_CORRUPT_OR_STALE: "Data corrupt or stale",
    ScpiError.ILLEGAL_PARAMETER: "Illegal parameter value",
    ScpiError.HARDWARE_ERROR: "Hardware error",
    ScpiError.MASS_STORAGE_MISSING: "Missing mass storage",
    ScpiError.QUEUE_OVERFLOW: "Queue overflow",
    ScpiError.COMMUNICATION_ERROR: "Communication error",
    ScpiError.QUERY_INTERRUPTED: "Query INTERRUPTED",
    ScpiError.QUERY_DEADLOCKED: "Query DEADLOCKED",
}


def encode_block(data: bytes) -> bytes:
    """Return data as an IEEE 488.2 definite-length block, without a newline.

    Examples
    --------
    >>> encode_block(b"hello")
    b'#15hello'
    """
    return block_head(len(data)) + data


def block_head(size: int) -> bytes:
    """Return what stands before the `size` bytes of a block.

    Examples
    --------
    >>> block_head(44)
    b'#244'
    """
    length = str(size).encode()
    return b"#%d%s" % (len(length), length)


def matches(pattern: str, header: str) -> bool:
    """Tell whether a header is a command, in its long or short form, in any case.

    Examples
    --------
    >>> matches("SYSTem:ERRor[:NEXT]?", "syst:err?")
    True
    >>> matches("SYSTem:ERRor[:NEXT]?", "SYSTem:ERRO?")
    False
    """
    return header.upper().removeprefix(":") in spellings(pattern)


@cache
def spellings(pattern: str) -> frozenset[str]:
    """Return every spelling of a command's header, in upper case and without a leading colon.

    Examples
    --------
    >>> sorted(spellings("READ:MODE?"))
    ['READ:MODE?']
    >>> sorted(spellings("SYSTem:VERSion?"))
    ['SYST:VERS?', 'SYST:VERSION?', 'SYSTEM:VERS?', 'SYSTEM:VERSION?']
    """
    if "[" in pattern:
        before, _, rest = pattern.partition("[")
        optional, _, after = rest.partition("]")
        return spellings(before + after) | spellings(before + optional + after)
    query = "?" if pattern.endswith("?") else ""
    found = {""}
    for keyword in pattern.removesuffix("?").split(":"):
        short = "".join(letter for letter in keyword if not letter.islower())
        found = {
            f"{start}:{form}" if start else form
            for start in found
            for form in (short.upper(), keyword.upper())
        }
    return frozenset(spelling + query for spelling in found)


def split_parameters(text: str) -> list[str]:
    """Split parameters at commas outside quotes; quotes around a whole parameter are dropped.

    Examples
    --------
    >>> split_parameters('1, ONE, "a,b"')
    ['1', 'ONE', 'a,b']
    """
    parameters, current, quote = [], "", ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
            current += letter
        elif letter in "\"'":
            quote = letter
            current += letter
        elif letter == ",":
            parameters.append(current)
            current = ""
        else:
            current += letter
    stripped = [part.strip() for part in [*parameters, current]]
    if stripped == [""]:
        return []
    return [
        part[1:-1] if len(part) > 1 and part[0] == part[-1] and part[0] in "\"'" else part
        for part in stripped
    ]
