"""Plug-ins: parts that any installed distribution can bring, by the entry points of its metadata.

Rule 1: listing reads metadata only; nothing of a plug-in is imported before it is used.
Rule 2: a plug-in that cannot be used never stops what does without it: it is a `PluginWarning`
that names the plug-in, its distribution and the reason. Asked for by name, it is a `PluginError`.
Rule 3: what this project brings is found the same way.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata

from hil.core.errors import ConfigError, Problem
from hil.core.legible import printable, quoted


class PluginGroup(StrEnum):
    """What a plug-in is for: the group of its entry point."""

    CHIPS = "hil.chips"
    """Chip drivers: `hil_drivers.chip_driver.ChipDriver`."""
    TRANSPORTS = "hil.transports"
    """What carries bytes, by the scheme of a resource: `hil_drivers.transport_driver`."""
    EXPORTERS = "hil.exporters"
    """Formats of coefficients, by name: `hil_datasets.export.exporter.Exporter`."""
    INSTRUMENTS = "hil.instruments"
    """Bench instruments: `hil.campaign.instrument_driver.InstrumentDriver`."""


API_VERSIONS = {
    PluginGroup.CHIPS: 1,
    PluginGroup.TRANSPORTS: 1,
    PluginGroup.EXPORTERS: 1,
    PluginGroup.INSTRUMENTS: 1,
}
"""The version of each group's interface that this program speaks."""

_METHODS = {
    PluginGroup.CHIPS: ("check_resource", "open_chip"),
    PluginGroup.TRANSPORTS: ("check_resource", "open_transport"),
    PluginGroup.EXPORTERS: ("export",),
    PluginGroup.INSTRUMENTS: ("open_instrument",),
}
_TEXTS = {
    PluginGroup.CHIPS: ("summary", "resource_form"),
    PluginGroup.TRANSPORTS: ("summary", "resource_form"),
    PluginGroup.EXPORTERS: ("summary",),
    PluginGroup.INSTRUMENTS: ("summary",),
}


class PluginWarning(UserWarning):
    """A plug-in that cannot be used, and why; the program goes on without it."""


class PluginError(ConfigError):
    """A plug-in that was asked for cannot be used, or is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """What metadata say of a plug-in."""

    group: PluginGroup
    """What it is for."""
    name: str
    """Name by which it is asked for."""
    target: str
    """Where its object is, ``module:attribute``."""
    distribution: str
    """Name of the distribution that brings it."""
    version: str
    """Version of that."""

    def __str__(self) -> str:
        return f"plug-in {self.name} ({self.group}) of {self.distribution} {self.version}"

    def load(self) -> object:
        """Import its object, and see that it is one of its group.

        Raises
        ------
        PluginError
            If it cannot be imported, whatever it raises, or is of another version.
        """
        entry = metadata.EntryPoint(name=self.name, value=self.target, group=self.group)
        try:
            found: object = entry.load()
        except (Exception, SystemExit) as error:
            reason = printable(f"{type(error).__name__}: {error}".rstrip(": "))
            raise self._unusable(f"cannot be imported from {self.target}: {reason}") from error
        speaks = getattr(found, "api_version", None)
        due = API_VERSIONS[self.group]
        if speaks != due:
            message = f"has api_version {speaks!r}: this program speaks {due}"
            if speaks is None:
                message = f"has no api_version: must be {due}"
            raise self._unusable(message)
        for name in _METHODS[self.group]:
            if not callable(getattr(found, name, None)):
                raise self._unusable(f"{self.target} has no method {name}")
        for name in _TEXTS[self.group]:
            if not isinstance(getattr(found, name, None), str):
                raise self._unusable(f"{self.target} has no text {name}")
        return found

    def _unusable(self, reason: str) -> PluginError:
        return PluginError(str(self), [Problem("", reason)])


def warn_of(error: PluginError) -> None:
    """Warn of a plug-in that cannot be used."""
    warnings.warn(PluginWarning(str(error)), stacklevel=3)


def list_plugins(
    group: PluginGroup, *, on_broken: Callable[[PluginError], None] = warn_of
) -> list[Plugin]:
    """Return the plug-ins of a group, by name; imports none of them.

    Parameters
    ----------
    group
        What they are for.
    on_broken
        Called for metadata that cannot be read, and for a name that two distributions bring: such
        plug-ins are left out, as neither may stand in for the other.
    """
    found: dict[str, list[Plugin]] = {}
    for plugin in _declared(group, on_broken):
        found.setdefault(plugin.name, []).append(plugin)
    usable = []
    for name in sorted(found):
        first, *others = found[name]
        if others:
            on_broken(_ambiguous(found[name]))
        else:
            usable.append(first)
    return usable


def find_plugin(group: PluginGroup, name: str) -> Plugin:
    """Return a plug-in by name; imports nothing.

    Raises
    ------
    PluginError
        If there is none of that name, or more than one.
    """
    broken: list[PluginError] = []
    found = [plugin for plugin in _declared(group, broken.append) if plugin.name == name]
    if len(found) > 1:
        raise _ambiguous(found)
    if not found:
        names = [plugin.name for plugin in list_plugins(group, on_broken=lambda _: None)]
        known = f"there are {', '.join(names)}" if names else "there are none"
        unread = "".join(f"; {error}" for error in broken)
        raise PluginError(str(group), [Problem("", f"no plug-in {quoted(name)}: {known}{unread}")])
    return found[0]


def load_plugin(group: PluginGroup, name: str) -> object:
    """Return the object of a plug-in that is asked for by name.

    Raises
    ------
    PluginError
        If it is not there or cannot be used; the message names it, its distribution and the reason.
    """
    return find_plugin(group, name).load()


def load_usable(
    group: PluginGroup, *, on_broken: Callable[[PluginError], None] = warn_of
) -> dict[str, object]:
    """Return the objects of all plug-ins of a group that can be used, by name.

    Parameters
    ----------
    group
        What they are for.
    on_broken
        Called for each that cannot be used.
    """
    usable: dict[str, object] = {}
    for plugin in list_plugins(group, on_broken=on_broken):
        try:
            usable[plugin.name] = plugin.load()
        except PluginError as error:
            on_broken(error)
    return usable


def _declared(group: PluginGroup, on_broken: Callable[[PluginError], None]) -> Iterator[Plugin]:
    # Not metadata.entry_points(): one distribution whose file it cannot read makes it fail whole.
    seen: set[str] = set()
    for distribution in metadata.distributions():
        try:
            # First what is cheap: of a hundred distributions hardly one has such entries.
            entries = [entry for entry in distribution.entry_points if entry.group == group]
            if not entries:
                continue
            name = _name_of(distribution)
            key = name.lower().replace("_", "-").replace(".", "-")
            if key in seen:
                continue  # the same distribution, further back on the path
            seen.add(key)
            if _is_shadowed(distribution, name):
                continue
            version = printable(str(distribution.version))
        except Exception as error:  # noqa: BLE001 - a damaged installation may raise anything
            reason = printable(f"{type(error).__name__}: {error}")
            problem = Problem("", f"its metadata cannot be read: {reason}")
            on_broken(PluginError(f"distribution {_name_of(distribution)}", [problem]))
            continue
        for entry in entries:
            yield Plugin(
                group=group,
                name=printable(entry.name),
                target=printable(entry.value),
                distribution=name,
                version=version,
            )


def _is_shadowed(distribution: metadata.Distribution, name: str) -> bool:
    """Tell whether another of its name is further forward on the path, and is the one imported."""
    try:
        # By the names of the folders: reads no metadata.
        first = metadata.distribution(name)
    except metadata.PackageNotFoundError:  # a folder of another name than its metadata say
        return False
    return str(first.locate_file("")) != str(distribution.locate_file(""))


def _name_of(distribution: metadata.Distribution) -> str:
    try:
        return printable(str(distribution.metadata["Name"]))
    except Exception:  # noqa: BLE001 - as above
        return "unknown"


def _ambiguous(plugins: list[Plugin]) -> PluginError:
    name = plugins[0].name
    owners = " and ".join(f"{plugin.distribution} {plugin.version}" for plugin in plugins)
    reason = f"{owners} both bring a plug-in of this name; remove one of them"
    return PluginError(f"plug-in {name} ({plugins[0].group})", [Problem("", reason)])
