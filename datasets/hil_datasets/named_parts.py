"""Mappings of an opened run: a key that is not there is told with those that are."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

K = TypeVar("K")
V = TypeVar("V")

_MOST_TOLD = 12


class NamedParts(Mapping[K, V]):
    """A mapping that cannot be changed, and also takes the names of its keys.

    Parameters
    ----------
    parts
        What is in it.
    what
        What a key is, for messages: ``core``.
    name_of
        Returns what a key is called.
    """

    def __init__(
        self, parts: Mapping[K, V], *, what: str, name_of: Callable[[K], str] = str
    ) -> None:
        self._parts = dict(parts)
        self._what = what
        self._names = {name_of(key): key for key in self._parts}

    def __getitem__(self, key: Any) -> V:
        """Return the part of a key, or of the name of one.

        Raises
        ------
        KeyError
            If there is none; it names those that there are.
        """
        found: Any = self._names.get(key, key) if isinstance(key, str) else key
        try:
            return self._parts[found]
        except KeyError:
            there = ", ".join(list(self._names)[:_MOST_TOLD]) or "none"
            more = len(self._names) - _MOST_TOLD
            there += f" and {more} more" if more > 0 else ""
            raise KeyError(f"no {self._what} {key!s}: there are {there}") from None

    def __iter__(self) -> Iterator[K]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def __repr__(self) -> str:
        return f"<{', '.join(self._names)}>"
