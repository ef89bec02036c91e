"""Reading a campaign from everywhere it is said: file < environment < ``--set``, and includes.

A campaign file may include bench files: devices, instruments and limits, so that it can move from
bench to bench. What two files say must not differ; a limit may be made narrower. Environment and
``--set`` replace what the files say, within the hard limits of a bench file.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hil.campaign.chips.choice import DEVICES, choose_chip, named_chips, spelled_keys
from hil.campaign.config.layers import Layer, LayeredDocument
from hil.campaign.config.settings import assigned_settings, environment_settings
from hil.core.errors import ConfigError, Problem
from hil.core.hints import did_you_mean
from hil.core.toml_file import Place, TomlText, key_path, read_toml_bytes
from hil.core.toml_lines import KeyPath
from hil_mock_device.choices import BUILT_IN

BENCH_SECTIONS = ("device", DEVICES, "instruments", "limits")
"""What a bench file may define."""

_OTHER_BENCH_KEYS = ("schema_version", "include")
_DEEPEST_INCLUDE = 4
_MOST_FILES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigSources:
    """A campaign as one document, before it is checked."""

    source: str
    """Name of the campaign file."""
    layers: LayeredDocument
    """Everything that was said, and where."""
    benches: tuple[Layer, ...]
    """The included files."""
    problems: tuple[Problem, ...]
    """What is wrong with how it is put together."""
    chips: tuple[str, ...] = ()
    """Names in ``[devices]``; none where there is one device without a name."""
    spelled: Mapping[str, str] = field(default_factory=dict)
    """Key of the one device that was chosen to the key that says it in the file."""


def read_sources(
    content: bytes,
    path: Path,
    *,
    assignments: Sequence[str],
    environment: Mapping[str, str],
    chip: str | None = None,
) -> ConfigSources:
    """Put a campaign together from its file and everything else that sets a key.

    Parameters
    ----------
    content
        The campaign file's bytes.
    path
        Its place; what it includes is relative to its folder.
    assignments
        ``key.path=value`` texts.
    environment
        Environment variables.
    chip
        Which chip of ``[devices]``. What sets a key of ``device`` besides the files holds for every
        chip.

    Raises
    ------
    ConfigError
        If the campaign file is no TOML. All else becomes a problem of the result.
    """
    text = TomlText(content, source=str(path))
    campaign = Layer(document=text.document, place_of=text.place)
    in_environment, problems = environment_settings(environment)
    assigned, more = assigned_settings(assignments)
    settings = [*in_environment, *assigned]
    reader = _IncludeReader(path)
    includes = [campaign, *(layer for layer in settings if "include" in layer.document)]
    reader.read(includes[-1], path, chain=(path.resolve(),))
    layers = LayeredDocument(campaign)
    for bench in reader.layers:
        layers.include(bench)
    for setting in settings:
        if DEVICES in setting.document:
            layers.override(setting)
    chips, spelled = named_chips(layers.document), spelled_keys(layers.document, chip)
    choice_problems = choose_chip(layers, chip)
    for setting in settings:
        if DEVICES not in setting.document:
            layers.override(setting)
            for key in _device_keys(setting):
                spelled.pop(key, None)
    layers.check_hard_limits()
    return ConfigSources(
        source=str(path),
        layers=layers,
        benches=tuple(reader.layers),
        problems=(*problems, *more, *reader.problems, *choice_problems, *layers.problems),
        chips=chips,
        spelled=spelled,
    )


def _device_keys(setting: Layer) -> list[str]:
    device = setting.document.get("device")
    return [f"device.{key}" for key in device] if isinstance(device, dict) else []


class _IncludeReader:
    def __init__(self, campaign: Path) -> None:
        self._folder = campaign.parent
        self._read: set[Path] = set()
        self.layers: list[Layer] = []
        self.problems: list[Problem] = []

    def read(self, layer: Layer, path: Path, *, chain: tuple[Path, ...]) -> None:
        """Read what a layer includes, and what that includes; `chain` is how it was come to."""
        names = layer.document.get("include")
        if not isinstance(names, list):
            return  # none, or a wrong type, which the check of the whole names
        for number, name in enumerate(names):
            if isinstance(name, str):
                key: KeyPath = ("include", number)
                message = self._read_one(path.parent / name, chain)
                if message:
                    self._add(layer.place_of(key), key, message)

    def _read_one(self, path: Path, chain: tuple[Path, ...]) -> str:
        """Read a file; return why it cannot be included, if it cannot."""
        try:
            real = path.resolve()
        except (OSError, ValueError, RuntimeError) as error:  # a NUL, or links in a circle
            return f"cannot be found: {error}"
        refusal = self._refusal(real, chain)
        if refusal or real in self._read:
            return refusal
        self._read.add(real)
        try:
            content = read_toml_bytes(path)
        except ConfigError as error:
            return f"{error.source}: {error.problems[0].message}"
        try:
            text = TomlText(content, source=str(path))
        except ConfigError as error:
            self.problems += [replace(problem, source=str(path)) for problem in error.problems]
        else:
            self._take(text, path, chain=(*chain, real))
        return ""

    def _refusal(self, real: Path, chain: tuple[Path, ...]) -> str:
        if real in chain:
            names = " -> ".join(each.name for each in (*chain[chain.index(real) :], real))
            return f"includes itself: {names}"
        if len(chain) > _DEEPEST_INCLUDE:
            return f"is included too deep: at most {_DEEPEST_INCLUDE} files may include each other"
        if len(self._read) >= _MOST_FILES and real not in self._read:
            return f"is one file too many: at most {_MOST_FILES} may be included"
        return ""

    def _take(self, text: TomlText, path: Path, *, chain: tuple[Path, ...]) -> None:
        document = text.document
        for key in document:
            if key not in {*BENCH_SECTIONS, *_OTHER_BENCH_KEYS}:
                hint = did_you_mean(key, BENCH_SECTIONS) or "it may hold device, instruments"
                self._add(
                    text.place((key,)), (key,), f"does not belong in an included file; {hint}"
                )
        version: KeyPath = ("schema_version",)
        if document.get("schema_version", 1) != 1:
            self._add(
                text.place(version), version, f"must be 1, got {document['schema_version']!r}"
            )
        kept = {key: value for key, value in document.items() if key in BENCH_SECTIONS}
        if "device" in kept:
            kept["device"] = self._moved(kept["device"], path)
        if isinstance(devices := kept.get(DEVICES), dict):
            kept[DEVICES] = {name: self._moved(device, path) for name, device in devices.items()}
        self.layers.append(Layer(document=kept, place_of=text.place))
        self.read(Layer(document=document, place_of=text.place), path, chain=chain)

    def _moved(self, device: Any, path: Path) -> Any:
        """Return a device whose relative files are found from the campaign's folder as well."""
        resource = device.get("resource") if isinstance(device, dict) else None
        if not isinstance(resource, str):
            return device
        for scheme in ("mock://", "replay://"):
            name, sign, options = resource.removeprefix(scheme).partition("?")
            if not resource.startswith(scheme) or name in BUILT_IN or not name:
                continue
            folder = os.path.relpath(path.parent.resolve(), self._folder.resolve())
            moved = name if folder == "." else os.path.normpath(Path(folder) / name)
            return {**device, "resource": f"{scheme}{moved}{sign}{options}"}
        return device

    def _add(self, place: Place, key: KeyPath, message: str) -> None:
        self.problems.append(Problem(key_path(key), message, place.line, place.source))
