"""On which line of a TOML text each key is, which the standard library's parser does not tell.

The scanner follows TOML 1.0 as far as it must to find keys: it skips values by their ends and does
not judge them, because the parser has. On text that is no TOML it says so, or finds what it can.
"""

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

KeyPath = tuple[int | str, ...]
"""Keys from the top down; whole numbers count the elements of lists, from 0."""

DEEPEST = 32
"""Tables and lists inside each other; far deeper ones exhaust the stack of the JSON encoder."""

_LONG_KEY = re.compile(
    r"""(?<![A-Za-z0-9_-])(?:(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+)"""
    rf"{{{DEEPEST}}}"
)
"""What may be such a key, or some text between quotes."""
_BLANK = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+")
_SPACE = re.compile(r"[ \t]*+")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_TEXT = re.compile(
    r'"""(?:[^"\\]++|\\.|"(?!""))*+"""(?:"{0,2})'
    r"|'''(?:[^']++|'(?!''))*+'''(?:'{0,2})"
    r'|"(?:[^"\\\n]++|\\.)*+"'
    r"|'[^'\n]*+'",
    re.DOTALL,
)
_WORD = re.compile(r"[^,\]}#\n]+")
"""A number, a date, true or false: up to what ends any of them."""
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Repetition:
    """A key that is set twice."""

    path: KeyPath
    """The key."""
    first: int
    """Line where it is set first, from 1."""
    second: int
    """Line where it is set again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLines:
    """The keys of a text."""

    lines: Mapping[KeyPath, int]
    """Line of each key and of each element of a list, from 1."""
    repetitions: tuple[Repetition, ...]
    """Keys set twice, which no TOML file may have."""

    def line_of(self, path: KeyPath) -> int | None:
        """Return the line of a key, or of the nearest table around it that has one."""
        for length in range(len(path), 0, -1):
            line = self.lines.get(path[:length])
            if line is not None:
                return line
        return None


def find_key_lines(text: str) -> KeyLines:
    r"""Find the line of every key.

    Raises
    ------
    ValueError
        If the text is no TOML, as far as this looks.

    Examples
    --------
    >>> found = find_key_lines('a = 1\n[b]\nc = [\n  2,\n  3,\n]\n')
    >>> found.lines[("b", "c", 1)], found.line_of(("b", "missing"))
    (5, 2)
    """
    scanner = _Scanner(text)
    try:
        scanner.scan()
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    return KeyLines(lines=scanner.lines, repetitions=tuple(scanner.repetitions))


class _LongKeyError(ValueError):
    def __init__(self, path: KeyPath, line: int) -> None:
        self.path = path
        self.line = line
        super().__init__("nested too deep")


def find_long_key(text: str) -> tuple[KeyPath, int] | None:
    r"""Return the first key of more than `DEEPEST` parts, cut to so many, and its line from 1.

    Examples
    --------
    >>> find_long_key("a." * 31 + "a = 1") is None
    True
    >>> path, line = find_long_key("x = 'a.b'\n" + "a." * 32 + "a = 1")
    >>> len(path), line
    (32, 2)
    """
    if not _LONG_KEY.search(text):
        return None  # as good as always, and fast
    try:
        _Scanner(text.replace("\r\n", "\n")).scan()
    except _LongKeyError as error:
        return error.path, error.line
    except (ValueError, RecursionError):  # the parser says what is wrong before it comes to the key
        return None
    return None


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line_ends = [match.start() for match in re.finditer("\n", text)]
        self._elements: dict[KeyPath, int] = {}
        """How many elements each array of tables has so far."""
        self._set: dict[KeyPath, int] = {}
        """Lines of what is set outright, and so only once."""
        self.lines: dict[KeyPath, int] = {}
        self.repetitions: list[Repetition] = []

    def scan(self) -> None:
        table: KeyPath = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._takes("[["):
                table = self._header(is_element=True)
            elif self._takes("["):
                table = self._header(is_element=False)
            else:
                self._pair(table)
            self._skip(_BLANK)

    def _header(self, *, is_element: bool) -> KeyPath:
        line, keys = self._line(), self._keys(())
        path: KeyPath = ()
        for key in keys[:-1]:
            path = self._inside((*path, key))
            self.lines.setdefault(path, line)
        path = (*path, keys[-1])
        if is_element:
            self.lines.setdefault(path, line)
            number = self._elements.get(path, 0)
            self._elements[path] = number + 1
            path = (*path, number)
            self.lines[path] = line
        else:
            self._note(path, line)
        self._expect("]]" if is_element else "]")
        return path

    def _inside(self, path: KeyPath) -> KeyPath:
        """Return the path of an array's last element, where the path is one of an array."""
        return (*path, self._elements[path] - 1) if path in self._elements else path

    def _pair(self, table: KeyPath) -> None:
        line, path = self._line(), table
        *tables, last = self._keys(table)
        for key in tables:
            path = (*path, key)
            self.lines.setdefault(path, line)
        path = (*path, last)
        self._note(path, line)
        self._expect("=")
        self._skip(_SPACE)
        self._value(path)

    def _note(self, path: KeyPath, line: int) -> None:
        if path in self._set:
            self.repetitions.append(Repetition(path=path, first=self._set[path], second=line))
        self._set.setdefault(path, line)
        self.lines.setdefault(path, line)

    def _value(self, path: KeyPath) -> None:
        if self._takes("["):
            self._list(path)
        elif self._takes("{"):
            self._inline_table(path)
        elif self._skip(_TEXT) == 0 and self._skip(_WORD) == 0:
            raise ValueError("no value")

    def _list(self, path: KeyPath) -> None:
        number = 0
        self._skip(_BLANK)
        while not self._takes("]"):
            element = (*path, number)
            self.lines[element] = self._line()
            self._value(element)
            number += 1
            self._skip(_BLANK)
            if not self._takes(","):
                self._expect("]")
                return
            self._skip(_BLANK)

    def _inline_table(self, path: KeyPath) -> None:
        self._skip(_BLANK)
        while not self._takes("}"):
            self._pair(path)
            self._skip(_BLANK)
            if not self._takes(","):
                self._expect("}")
                return
            self._skip(_BLANK)

    def _keys(self, table: KeyPath) -> list[str]:
        keys = [self._key()]
        while self._takes("."):
            keys.append(self._key())
            if len(keys) > DEEPEST:
                raise _LongKeyError((*table, *keys)[:DEEPEST], self._line())
        return keys

    def _key(self) -> str:
        self._skip(_SPACE)
        start = self._at
        if self._skip(_BARE_KEY):
            key = self._text[start : self._at]
        elif self._skip(_TEXT):
            key = _unquoted(self._text[start : self._at])
        else:
            raise ValueError("no key")
        self._skip(_SPACE)
        return key

    def _skip(self, pattern: re.Pattern[str]) -> int:
        """Go past what a pattern matches; return how much that was."""
        match = pattern.match(self._text, self._at)
        start, self._at = self._at, match.end() if match else self._at
        return self._at - start

    def _takes(self, sign: str) -> bool:
        if not self._text.startswith(sign, self._at):
            return False
        self._at += len(sign)
        return True

    def _expect(self, sign: str) -> None:
        self._skip(_SPACE)
        if not self._takes(sign):
            raise ValueError(f"no {sign}")

    def _line(self) -> int:
        return bisect_right(self._line_ends, self._at - 1) + 1


def _unquoted(key: str) -> str:
    if key.startswith("'"):
        return key[1:-1]
    return _ESCAPE.sub(_unescaped, key[1:-1])


def _unescaped(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    if code:
        return chr(min(int(code, 16), 0x10FFFF))
    return _ESCAPES.get(match[3], match[3])
