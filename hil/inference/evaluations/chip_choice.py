"""From what was asked for to who multiplies: a chip, a simulation, a run, or exact arithmetic."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hil.campaign.bench import require_resource
from hil.campaign.mock_resource import MOCK
from hil.core.errors import ConfigError, Problem
from hil.core.readout import ReadMode
from hil.inference.computing.backends.device import open_readings as open_device_readings
from hil.inference.computing.backends.ideal import IdealReadings
from hil.inference.computing.backends.profile import ProfileReadings, mock_profile
from hil.inference.computing.backends.transfer import TransferReadings
from hil.inference.computing.readings import CoreReadings
from hil.inference.corrections.stored_coefficients import (
    StoredCoefficients,
    open_coefficients,
    preferred_mode,
)
from hil.inference.evaluations.request import ChipChoice
from hil.inference.libraries import load_torch
from hil_datasets.calibration_choice import newest_calibrations
from hil_datasets.content_id import set_id
from hil_datasets.opened import open_source
from hil_mock_device.profile import MockProfile

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class OpenedReadings:
    """Who multiplies, and what it is."""

    readings: CoreReadings
    """Who multiplies."""
    identity: dict[str, str]
    """What its numbers depend on."""
    notes_of_drift: tuple[str, ...] = ()
    """By which law it ages, where nobody has measured that."""
    stored: StoredCoefficients | None = None
    """What its cores begin with, if a run was named for that."""


@contextmanager
def open_readings(
    choice: ChipChoice, *, on_words: Callable[[str], None] = lambda _: None
) -> Iterator[OpenedReadings]:
    """Open who multiplies for the length of a ``with`` block, and leave it safe.

    Parameters
    ----------
    choice
        Who.
    on_words
        Is told if a chip could not be left safe.

    Raises
    ------
    ConfigError
        If there is no such resource, or no such place to compute, or coefficients are another
        chip's.
    DatasetError
        If a run cannot be read, or has no calibration.
    TransportError, FrameError
        If a device cannot be reached or does not speak the protocol.
    """
    stored = _stored(choice)
    if stored is None:
        with _open_chip(choice, on_words) as opened:
            yield opened
        return
    with _open_chip(replace(choice, read_mode=stored.read_mode), on_words) as opened:
        stored.require_chip(opened.readings.facts)
        yield replace(opened, stored=stored, identity=opened.identity | stored.identity)


def _stored(choice: ChipChoice) -> StoredCoefficients | None:
    """Read the coefficients that are asked for, for the mode that the chip will read in."""
    if choice.coefficients is None:
        return None
    mode = choice.read_mode
    if mode is None and choice.run is not None:
        newest = newest_calibrations(open_source(choice.run).finished_steps())
        mode = preferred_mode({key.read_mode for key in newest})
    return open_coefficients(choice.coefficients, mode)


@contextmanager
def _open_chip(choice: ChipChoice, on_words: Callable[[str], None]) -> Iterator[OpenedReadings]:
    device = _torch_device(choice.torch_device)
    if choice.run is not None:
        opened = _of_run(choice, choice.run, device)
    elif choice.resource is None:
        opened = _exact(choice, device)
    elif is_modelled(choice):
        opened = _of_profile(choice, choice.resource, device)
    else:
        with _of_device(choice, choice.resource, device, on_words) as through_driver:
            yield through_driver
        return
    try:
        yield opened
    finally:
        opened.readings.close()


def is_modelled(choice: ChipChoice) -> bool:
    """Tell whether a chip is computed in this process, and no device is asked."""
    is_mock = choice.resource is None or choice.resource.startswith(MOCK)
    return is_mock and not choice.through_driver


def _exact(choice: ChipChoice, device: "torch.device") -> OpenedReadings:
    mode = choice.read_mode or ReadMode.FOUR_PHASE
    return OpenedReadings(
        readings=IdealReadings(read_mode=mode, device=device), identity={"chip": "exact"}
    )


def _of_profile(choice: ChipChoice, resource: str, device: "torch.device") -> OpenedReadings:
    profile = mock_profile(resource, base=choice.base, seed=choice.seed)
    mode = choice.read_mode or ReadMode.FOUR_PHASE
    readings = ProfileReadings(profile, read_mode=mode, device=device)
    return OpenedReadings(
        readings=readings,
        identity={
            "chip": readings.facts.name,
            "profile_sha256": _profile_sha256(profile),
        },
    )


def _profile_sha256(profile: MockProfile) -> str:
    return hashlib.sha256(profile.model_dump_json().encode()).hexdigest()


def _of_run(choice: ChipChoice, path: Path, device: "torch.device") -> OpenedReadings:
    run = open_source(path)
    newest = newest_calibrations(run.finished_steps())
    modes = {key.read_mode for key in newest}
    mode = choice.read_mode
    if mode is None:
        mode = preferred_mode(modes)
    readings = TransferReadings.of_run(run, read_mode=mode, seed=choice.seed, device=device)
    facts = [run.read_facts(key) for key in newest if key.read_mode is mode]
    identity = {
        "chip": str(facts[0].origin.chip),
        "run": path.resolve().name,
        "run_measured_utc": min(one.origin.measured_utc for one in facts),
        "run_coefficient_set_id": set_id((one.key, one.ids.coefficients) for one in facts),
        "run_readouts_sha256": _digest(sorted(one.raw_sha256 for one in facts)),
        "run_fresh_age_s": f"{readings.fresh_age_s:.9g}",
    }
    return OpenedReadings(
        readings=readings, identity=identity, notes_of_drift=(readings.drift_note,)
    )


def _digest(words: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


@contextmanager
def _of_device(
    choice: ChipChoice,
    resource: str,
    device: "torch.device",
    on_words: Callable[[str], None],
) -> Iterator[OpenedReadings]:
    require_resource(resource, choice.driver, where="--device")
    with open_device_readings(
        resource,
        read_mode=choice.read_mode or ReadMode.FOUR_PHASE,
        base=choice.base,
        seed=choice.seed,
        timeout_s=choice.timeout_s,
        driver=choice.driver,
        device=device,
        on_unsafe=lambda reason: on_words(f"warning: {reason}"),
    ) as readings:
        identity = {"chip": readings.facts.name, "resource": resource, "backend": "device"}
        if resource.startswith(MOCK):
            # The file of a profile may have changed, the resource that names it has not.
            profile = mock_profile(resource, base=choice.base, seed=choice.seed)
            identity["profile_sha256"] = _profile_sha256(profile)
        yield OpenedReadings(readings=readings, identity=identity)


def _torch_device(name: str) -> "torch.device":
    library = load_torch()
    if name == "cuda" and not library.cuda.is_available():
        message = "there is no CUDA device here, or torch is built without CUDA: use cpu"
        raise ConfigError("--torch-device", [Problem("", message)])
    found: torch.device = library.device(name)
    return found
