"""One document out of several: a campaign file, the files it includes, and single settings."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hil.campaign.config.limits import (
    Bound,
    HardLimit,
    bound_at,
    fixed_keys,
    is_moved,
    is_number,
    named,
)
from hil.core.errors import Problem
from hil.core.legible import quoted
from hil.core.toml_file import Place, key_path
from hil.core.toml_lines import KeyPath

_DEEPEST = 32
"""Tables inside each other that are merged; deeper ones are refused as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What one file, one environment variable or one option says."""

    document: dict[str, Any]
    """Its tables and values."""
    place_of: Callable[[KeyPath], Place]
    """Where it says so."""


class LayeredDocument:
    """The layers so far as one document, which knows where each of its values is from."""

    def __init__(self, campaign: Layer) -> None:
        self.document: dict[str, Any] = {}
        """Tables and values of all layers."""
        self.problems: list[Problem] = []
        """Where layers contradict each other."""
        self._campaign = campaign
        self._layers: dict[KeyPath, Layer] = {}
        self._hard_limits: list[HardLimit] = []
        self._fixed: dict[KeyPath, tuple[Any, Place]] = {}
        self._merge(self.document, campaign, (), campaign.document, self._refuse)

    def include(self, layer: Layer) -> None:
        """Add a bench file: it may say nothing else than what is said already."""
        self._merge(self.document, layer, (), layer.document, self._refuse)
        for path, said in fixed_keys(layer.document).items():
            if said is not None or path not in self._fixed:
                self._fixed[path] = (said, layer.place_of(path))

    def override(self, layer: Layer) -> None:
        """Add a setting: it stands in place of what is said already."""
        self._merge(self.document, layer, (), layer.document, self._replace)

    def choose_device(self, table: str, name: str) -> None:
        """Let the keys of ``[TABLE.NAME]`` replace those of ``[device]``; drop the whole table."""
        devices = self.document.pop(table)
        chosen = devices.get(name) if isinstance(devices, dict) else None
        common = self.document.get("device", {})
        if isinstance(chosen, dict) and isinstance(common, dict):
            self.document["device"] = {**common, **chosen}
        for path in [known for known in self._layers if known[0] == table]:
            layer = self._layers.pop(path)
            if path[1:2] == (name,) and (len(path) > 2 or ("device",) not in self._layers):
                self._layers["device", *path[2:]] = _from_table(layer, (table, name))

    def place_of(self, path: KeyPath) -> Place:
        """Return where a key was set, or else the nearest table around it."""
        for length in range(len(path), 0, -1):
            layer = self._layers.get(path[:length])
            if layer is not None:
                return layer.place_of(path)
        return Place(self._campaign.place_of(()).source)

    def is_set(self, path: KeyPath) -> bool:
        """Tell whether any layer sets a key, so that it is no default."""
        return path in self._layers

    def check_hard_limits(self) -> None:
        """Add the problems of values that are wider than a hard limit."""
        for path, (said, place) in self._fixed.items():
            if is_moved(path, said, value := self._value_at(path)):
                here = self.place_of(path)
                message = (
                    f"is {quoted(value)}: the instrument has hard limits in {named(place)}; only "
                    "the bench file may change it"
                )
                self.problems.append(Problem(key_path(path), message, here.line, here.source))
        for limit in self._hard_limits:
            value = self._value_at(limit.path)
            if not limit.holds(value):
                self.problems.append(limit.problem(value, self.place_of(limit.path)))

    def _value_at(self, path: KeyPath) -> Any:
        value: Any = self.document
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def _merge(
        self,
        table: dict[str, Any],
        layer: Layer,
        path: KeyPath,
        addition: dict[str, Any],
        on_second: Callable[[dict[str, Any], Layer, KeyPath, Any], None],
    ) -> None:
        for key, value in addition.items():
            here = (*path, key)
            if layer is not self._campaign and on_second == self._refuse:
                self._note_hard_limit(layer, here, value)
            is_deeper = isinstance(value, dict) and len(here) < _DEEPEST
            if key not in table:
                self._layers[here] = layer
                table[key] = {} if is_deeper else value
            if is_deeper and isinstance(table[key], dict):
                self._merge(table[key], layer, here, value, on_second)
            elif self._layers.get(here) is not layer:
                on_second(table, layer, here, value)

    def _note_hard_limit(self, layer: Layer, path: KeyPath, value: Any) -> None:
        bound = bound_at(path)
        if bound is not None and is_number(value):
            place = layer.place_of(path)
            limit = HardLimit(path=path, bound=bound, value=value, place=place)
            self._hard_limits.append(limit)

    def _refuse(self, table: dict[str, Any], layer: Layer, path: KeyPath, value: Any) -> None:
        before, bound = table[str(path[-1])], bound_at(path)
        if bound is not None and is_number(value) and is_number(before):
            if self._layers[path] is not self._campaign:  # of two bench files the narrower
                pick = max if bound is Bound.LOWEST else min
                if pick(before, value) != before:
                    self._replace(table, layer, path, value)
            return
        if _are_same(before, value):
            return
        first, second = self._layers[path].place_of(path), layer.place_of(path)
        self.problems.append(
            Problem(
                key_path(path),
                f"is {quoted(before)} here and {quoted(value)} in {named(second)}: say it in one "
                "place only, or replace it with --set",
                first.line,
                first.source,
            )
        )

    def _replace(self, table: dict[str, Any], layer: Layer, path: KeyPath, value: Any) -> None:
        for inner in [known for known in self._layers if known[: len(path)] == path]:
            del self._layers[inner]
        self._layers[path] = layer
        table[str(path[-1])] = value


def _from_table(layer: Layer, table: KeyPath) -> Layer:
    """Return a layer that is asked for keys of ``device``, and has them in another table."""
    return Layer(document=layer.document, place_of=lambda path: layer.place_of((*table, *path[1:])))


def _are_same(one: Any, other: Any) -> bool:
    # True is 1 to Python, and not to TOML.
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
