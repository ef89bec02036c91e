"""One device out of several: ``[devices.NAME]`` replaces keys of ``[device]``.

The document is reduced before it is checked, so that everything behind it knows one device only.
"""

import re
from typing import Any

from hil.campaign.config.layers import LayeredDocument
from hil.core.errors import Problem
from hil.core.hints import did_you_mean
from hil.core.legible import quoted
from hil.core.toml_file import key_path
from hil.core.toml_lines import KeyPath

DEVICES = "devices"
"""Table with a table for each chip."""

CHIP_NAME = re.compile("[a-z][a-z0-9_]{0,31}")
"""What a chip may be called: its run is a folder of that name."""
_OPTION = "--chip"


def named_chips(document: dict[str, Any]) -> tuple[str, ...]:
    """Return the names of the chips of a campaign; none if it has one device without a name."""
    devices = document.get(DEVICES)
    return tuple(devices) if isinstance(devices, dict) else ()


def choose_chip(layers: LayeredDocument, chip: str | None) -> list[Problem]:
    """Reduce a document to one chip's device; return what is wrong with the names or the choice.

    Parameters
    ----------
    layers
        The document; where it has ``[devices]``, one of them becomes its ``[device]``.
    chip
        Which; None where nobody has chosen, which is a problem if there are several.
    """
    if DEVICES not in layers.document:
        if chip is None:
            return []
        message = f"{quoted(chip)}: the campaign names no chips in [{DEVICES}]; leave it out"
        return [Problem("", message, source=_OPTION)]
    problems = _wrong_names(layers)
    names = named_chips(layers.document)
    if names and not problems:
        problems = _wrong_choice(layers, names, chip)
    # Whatever is wrong with the choice, all else is checked with one of them.
    layers.choose_device(DEVICES, chip if chip in names else next(iter(names), ""))
    return problems


def spelled_keys(document: dict[str, Any], chip: str | None) -> dict[str, str]:
    """Return how the file says the keys of the device that a choice makes, where it is not so.

    Examples
    --------
    >>> document = {"device": {"timeout_s": 5}, "devices": {"left": {"resource": "mock://x"}}}
    >>> spelled_keys(document, "left")
    {'device.resource': 'devices.left.resource'}
    """
    devices, common = document.get(DEVICES), document.get("device", {})
    own = devices.get(chip) if isinstance(devices, dict) and chip is not None else None
    if not (isinstance(own, dict) and isinstance(common, dict)):
        return {}
    keys = [*own, *({"resource"} - own.keys() - common.keys())]
    return {f"device.{key}": f"{DEVICES}.{chip}.{key}" for key in keys}


def _wrong_names(layers: LayeredDocument) -> list[Problem]:
    devices = layers.document[DEVICES]
    if not isinstance(devices, dict) or not devices:
        return [_problem(layers, (DEVICES,), "must hold a table for each chip: [devices.left]")]
    problems = []
    for name, device in devices.items():
        here = (DEVICES, name)
        if not CHIP_NAME.fullmatch(name):
            message = (
                "is no name of a chip: must be a lower-case letter, then up to 31 lower-case "
                "letters, digits and underscores"
            )
            problems.append(_problem(layers, here, message))
        elif not isinstance(device, dict):
            message = f"must be a table with keys of [device], got {quoted(device)}"
            problems.append(_problem(layers, here, message))
    return problems


def _wrong_choice(
    layers: LayeredDocument, names: tuple[str, ...], chip: str | None
) -> list[Problem]:
    if chip is None:
        message = f"names {len(names)} chips, {_listed(names)}: choose one with {_OPTION}"
        return [_problem(layers, (DEVICES,), message)]
    if chip not in names:
        hint = did_you_mean(chip, names) or f"there are {_listed(names)}"
        return [Problem("", f"{quoted(chip)}: no such chip; {hint}", source=_OPTION)]
    return []


def _listed(names: tuple[str, ...]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _problem(layers: LayeredDocument, path: KeyPath, message: str) -> Problem:
    place = layers.place_of(path)
    return Problem(key_path(path), message, place.line, place.source)
