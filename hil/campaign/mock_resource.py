"""What a ``mock://`` resource says, and the private mock process that it starts."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from hil.campaign.replay_resource import REPLAY
from hil.campaign.resource_options import split_options
from hil.core.legible import one_line, quoted
from hil_mock_device.choices import BUILT_IN, LONGEST_VECTOR_S
from hil_mock_device.launch import MockProcess
from hil_mock_device.paced_chip import check_vector_s
from hil_mock_device.profile import parse_seed

MOCK = "mock://"
"""What the resource of a private mock begins with."""
TIME_KEEPER = "chamber"
"""The mock instrument that moves the time of its mock."""
_ANY_PORT = "127.0.0.1:0"
_OPTIONS = ("seed", "truth", "bench_speed", "vector_s", "time")


@dataclass(frozen=True, slots=True, kw_only=True)
class MockResource:
    """What a ``mock://`` resource says."""

    profile: str
    """Name or path of the profile."""
    seed: int | None
    """Which chip of the kind; the campaign's seed where None."""
    truth: str | None
    """Where the mock writes what its chip really is."""
    bench_speed: float | None = None
    """Seconds that pass for its bench instruments in a second; 1 where None."""
    vector_s: float | None = None
    """Seconds that its chip takes for a vector; as fast as it can where None."""
    has_virtual_time: bool = False
    """Whether time passes for chip and instruments only when the campaign waits."""

    @classmethod
    def parse(cls, resource: str) -> "MockResource":
        """Read ``mock://PROFILE[?seed=N][&truth=FILE][&bench_speed=X][&vector_s=T][&time=virtual]``.

        Raises
        ------
        ValueError
            If it has no profile, or unknown, repeated or wrong options.
        """
        shown = quoted(resource)
        profile, options = split_options(resource, MOCK, _OPTIONS)
        if profile not in BUILT_IN and not profile.endswith(".toml"):
            known = ", ".join(f"mock://{name}" for name in BUILT_IN)
            raise ValueError(f"{shown}: no such profile; use {known} or mock://PATH.toml")
        truth = options.get("truth")
        if truth is not None and not one_line(truth):
            raise ValueError(f"{shown}: truth must name a new file")
        seed, speed = options.get("seed"), options.get("bench_speed")
        vector_s = options.get("vector_s")
        return cls(
            profile=profile,
            seed=None if seed is None else parse_seed(seed),
            truth=truth,
            bench_speed=None if speed is None else _parse_speed(speed, shown),
            vector_s=None if vector_s is None else _parse_vector_s(vector_s, shown),
            has_virtual_time=_parse_time(options, shown),
        )


def check_bench_of(device: str, instruments: Mapping[str, str]) -> None:
    """Raise ValueError if the instruments around a device cannot be those of a mock, or must be.

    Parameters
    ----------
    device
        Resource of the device.
    instruments
        Instrument to its resource.
    """
    if device.startswith(REPLAY):
        return  # a recording keeps the conditions it was recorded in
    is_virtual = _is_virtual(device)
    for name, resource in instruments.items():
        is_mock = resource.startswith(MOCK)
        if is_mock and not device.startswith(MOCK):
            raise ValueError(
                f"instruments.{name}.resource is {resource}: only a mock:// device has mock "
                "instruments"
            )
        if is_virtual and not is_mock:
            raise ValueError(
                f"instruments.{name}.resource is {resource}: device.resource has time=virtual, in "
                "which nobody waits for a real instrument; leave out time=virtual, or use "
                "mock://chamber or mock://supply"
            )


def _is_virtual(device: str) -> bool:
    try:
        return device.startswith(MOCK) and MockResource.parse(device).has_virtual_time
    except ValueError:
        return False  # a plug-in's own resource


def start_mock(resource: str, base: Path, seed: int, instruments: Collection[str]) -> MockProcess:
    """Start the private mock of a resource, with bench instruments; its ``with`` block ends it."""
    mock = MockResource.parse(resource)
    profile = mock.profile if mock.profile in BUILT_IN else str(base / mock.profile)
    chip_seed = seed if mock.seed is None else mock.seed
    arguments = ["--profile", profile, "--seed", str(chip_seed)]
    if mock.truth is not None:
        arguments += ["--truth", mock.truth]
    if mock.vector_s is not None:
        arguments += ["--vector-s", str(mock.vector_s)]
    speed = mock.bench_speed
    if mock.has_virtual_time:
        # The chamber's link is what moves a time that stands still by itself.
        instruments, speed = {*instruments, TIME_KEEPER}, 0.0
    for name in sorted(instruments):
        arguments += [f"--{name}", _ANY_PORT]
    if instruments and speed is not None:
        arguments += ["--bench-speed", str(speed)]
    return MockProcess(arguments)


def _parse_speed(text: str, shown: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not 0 <= speed < math.inf:
        raise ValueError(f"{shown}: bench_speed must be a number, 0 or more")
    return speed


def _parse_vector_s(text: str, shown: str) -> float:
    try:
        return check_vector_s(float(text) if text.strip() else math.nan)
    except ValueError as error:
        raise ValueError(
            f"{shown}: vector_s must be a number, 0 to {LONGEST_VECTOR_S:g} seconds"
        ) from error


def _parse_time(options: Mapping[str, str], shown: str) -> bool:
    time = options.get("time")
    if time not in {None, "virtual"}:
        raise ValueError(f"{shown}: time must be virtual, or left out for the time of the clock")
    if time is not None and "bench_speed" in options:
        raise ValueError(f"{shown}: a virtual time has no bench_speed: leave out one of the two")
    return time is not None
