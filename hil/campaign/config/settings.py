"""Single settings of a campaign: environment variables and ``--set key.path=value``."""

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from hil.campaign.config.layers import Layer
from hil.core.errors import Problem
from hil.core.legible import cut_short, printable, quoted
from hil.core.toml_file import Place
from hil.core.toml_lines import DEEPEST, find_long_key

ENVIRONMENT_PREFIX = "HIL_SET__"
"""How the names of environment variables begin that set a key: ``HIL_SET__DEVICE__TIMEOUT_S``."""
SET_OPTION = "--set"
"""The option that sets a key."""


def environment_settings(
    environment: Mapping[str, str],
) -> tuple[list[Layer], list[Problem]]:
    """Return what environment variables set, sorted by their names, and what is wrong with them."""
    given: list[tuple[str, list[str], str]] = []
    problems = []
    for name, text in sorted(environment.items()):
        if not name.startswith(ENVIRONMENT_PREFIX):
            continue
        rest = name.removeprefix(ENVIRONMENT_PREFIX)
        keys = (rest.lower() if rest.isupper() else rest).split("__")
        message = ""
        if not _is_unicode(name + text):
            message = "holds bytes that are no UTF-8"
        elif not all(keys):
            message = f"names no key: must be {ENVIRONMENT_PREFIX}SECTION__KEY"
        elif len(keys) > DEEPEST:
            message = f"names a key of {len(keys)} levels: must be at most {DEEPEST}"
        if message:
            problems.append(Problem("", message, source=cut_short(printable(name))))
        else:
            given.append((name, keys, text))
    return _layers(given, problems), problems


def assigned_settings(assignments: Sequence[str]) -> tuple[list[Layer], list[Problem]]:
    """Return what ``key.path=value`` texts set, in their order, and what is wrong with them."""
    given: list[tuple[str, list[str], str]] = []
    problems = []
    for assignment in assignments:
        key, sign, text = assignment.partition("=")
        keys = _keys_of(key)
        if sign and keys and _is_unicode(text):
            given.append((SET_OPTION, keys, text))
        else:
            message = f"{quoted(assignment)}: must be KEY.PATH=VALUE, such as device.timeout_s=5"
            problems.append(Problem("", message, source=SET_OPTION))
    return _layers(given, problems), problems


def value_from_text(text: str) -> Any:
    """Return a TOML value where the text is one, else the text itself.

    Examples
    --------
    >>> value_from_text("[0, 1]"), value_from_text("mock://quickstart"), value_from_text('"5"')
    ([0, 1], 'mock://quickstart', '5')
    """
    if find_long_key(f"value = {text}"):
        return text
    try:
        document = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return document["value"] if document.keys() == {"value"} and "\n" not in text else text


def _layers(given: list[tuple[str, list[str], str]], problems: list[Problem]) -> list[Layer]:
    layers, seen = [], set()
    for source, keys, text in given:
        if tuple(keys) in seen:
            problems.append(Problem(".".join(keys), "is given twice", source=source))
        seen.add(tuple(keys))
        document: Any = value_from_text(text)
        for key in reversed(keys):
            document = {key: document}
        layers.append(Layer(document=document, place_of=_always(Place(source))))
    return layers


def _is_unicode(text: str) -> bool:
    """Tell whether a text of the system's can be written: bytes that are no UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _always(place: Place) -> Any:
    return lambda _: place


def _keys_of(text: str) -> list[str]:
    """Return the keys of a dotted TOML key; empty if the text is none."""
    if find_long_key(f"{text} = 0"):
        return []
    try:
        inner: Any = tomllib.loads(f"{text} = 0") if "\n" not in text else 0
    except (ValueError, RecursionError):
        return []
    keys = []
    while isinstance(inner, dict):
        if len(inner) != 1:
            return []
        ((key, inner),) = inner.items()
        keys.append(key)
    return keys if inner == 0 else []
