"""Text that came from outside, made fit for a message on somebody's terminal."""

_LONGEST_VALUE = 60
"""How much of a value is shown: enough to recognise it."""


def cut_short(text: str, *, longest: int = _LONGEST_VALUE) -> str:
    """Return a text with its middle left out where it is too long.

    Examples
    --------
    >>> cut_short("a file of somebody's.toml", longest=18)
    'a file of s...toml'
    """
    if len(text) <= longest:
        return text
    tail = longest // 4
    return f"{text[: longest - tail - 3]}...{text[-tail:]}"


def quoted(value: object) -> str:
    """Return a value as Python writes it, cut short."""
    return cut_short(repr(value))


def printable(text: str) -> str:
    r"""Return a text with each character that no terminal should be sent replaced by ``?``.

    Examples
    --------
    >>> printable("a\x1b[2Jb")
    'a?[2Jb'
    """
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def one_line(text: str) -> str:
    """Return a text that holds no control character (C0, delete, C1).

    Raises
    ------
    ValueError
        If it does: no title and no name of a file has one on purpose.
    """
    if any(letter < " " or "\x7f" <= letter < "\xa0" for letter in text):
        raise ValueError(f"must be without control characters, got {quoted(text)}")
    return text


def shown_beside(value: float, limit: float) -> str:
    """Return a value with three digits, or as many as tell on which side of a limit it is.

    Examples
    --------
    >>> [shown_beside(value, 0.1484) for value in (0.25, 0.14841, 0.1483999)]
    ['0.25', '0.14841', '0.148']
    """
    for digits in range(3, 17):
        shown = f"{value:.{digits}g}"
        if (float(shown) > limit) == (value > limit):
            return shown
    return repr(value)
