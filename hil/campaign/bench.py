"""From a resource string to a chip that is ready, and back to a bench that is safe."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qsl

from hil.campaign.instrument_config import InstrumentSection
from hil.campaign.instruments import BenchInstruments, open_instruments
from hil.campaign.replay_resource import REPLAY, ReplayResource, board_of_recording
from hil.core.errors import ConfigError, HilError, Problem
from hil.core.legible import one_line, quoted
from hil_datasets.recording import Recording
from hil_drivers.aimc_board import AimcBoard
from hil_drivers.chip import Chip
from hil_drivers.chip_driver import DEFAULT_DRIVER, ChipOptions, find_chip_driver
from hil_drivers.link_fault import LinkFault
from hil_drivers.open_transport import TransportChoice
from hil_drivers.open_transport import check_resource as check_transport
from hil_drivers.recovery import RecoveryPolicy
from hil_mock_device.launch import MockProcess
from hil_mock_device.profile import BUILT_IN, parse_seed
from hil_mock_device.replay_conversation import Tempo

_MOCK = "mock://"
_MOCK_RECOVERY_S = 2.0
"""A private mock answers at once, or is dead."""
_ANY_PORT = "127.0.0.1:0"
_REPLAY_TIMEOUT_S = 60.0
_AT_ONCE = Tempo(speed=math.inf, plays_faults=False)


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

    @classmethod
    def parse(cls, resource: str) -> "MockResource":
        """Read ``mock://PROFILE[?seed=N][&truth=FILE][&bench_speed=X]``.

        Raises
        ------
        ValueError
            If it has no profile, or unknown, repeated or wrong options.
        """
        shown = quoted(resource)
        profile, _, query = resource.removeprefix(_MOCK).partition("?")
        given = parse_qsl(query, keep_blank_values=True)
        options = dict(given)
        unknown = sorted(set(options) - {"seed", "truth", "bench_speed"})
        if unknown:
            raise ValueError(
                f"{shown}: unknown option {quoted(unknown[0])}; use seed, truth and bench_speed"
            )
        if len(given) > len(options):
            raise ValueError(f"{shown}: gives an option twice")
        if profile not in BUILT_IN and not profile.endswith(".toml"):
            known = ", ".join(f"mock://{name}" for name in BUILT_IN)
            raise ValueError(f"{shown}: no such profile; use {known} or mock://PATH.toml")
        truth = options.get("truth")
        if truth is not None and not one_line(truth):
            raise ValueError(f"{shown}: truth must name a new file")
        seed, speed = options.get("seed"), options.get("bench_speed")
        return cls(
            profile=profile,
            seed=None if seed is None else parse_seed(seed),
            truth=truth,
            bench_speed=None if speed is None else _parse_speed(speed, shown),
        )


def check_resource(resource: str) -> None:
    """Raise ValueError if a resource string is none that `open_device` takes."""
    if resource.startswith(_MOCK):
        MockResource.parse(resource)
    elif resource.startswith(REPLAY):
        ReplayResource.parse(resource)
    else:
        check_transport(resource)


class OpenDevice:
    """An open chip, and the instruments that may be put around it.

    Parameters
    ----------
    chip
        The chip.
    mock_instruments
        Bench instruments of the chip's own mock: name to resource string.
    on_unsafe
        Called with the reason if something could not be left safe.
    """

    def __init__(
        self, chip: Chip, mock_instruments: Mapping[str, str], on_unsafe: Callable[[str], None]
    ) -> None:
        self.chip = chip
        """The chip."""
        self._mock_instruments = mock_instruments
        self._on_unsafe = on_unsafe
        self._is_safe = False

    @contextmanager
    def instruments(self, sections: Mapping[str, InstrumentSection]) -> Iterator[BenchInstruments]:
        """Open the instruments around the chip for the length of a ``with`` block.

        On every way out the chip is made safe first, while it is still fed, then they are.

        Parameters
        ----------
        sections
            The campaign file's ``[instruments]``.

        Raises
        ------
        ConfigError, TransportError, InstrumentError, DeviceError
            As `open_instruments`.
        """
        with open_instruments(
            sections, mock_addresses=self._mock_instruments, on_unsafe=self._on_unsafe
        ) as instruments:
            try:
                yield instruments
            finally:
                self.make_safe()

    def make_safe(self) -> None:
        """Make the chip safe, unless that was done or tried already."""
        if self._is_safe:
            return
        try:
            self.chip.safe()
        except HilError as error:
            self._on_unsafe(f"the chip may not be safe, SAFE did not reach it: {error}")
        self._is_safe = True


@contextmanager
def open_device(
    resource: str,
    *,
    base: Path,
    seed: int,
    timeout_s: float,
    choice: TransportChoice,
    recovery_s: float = RecoveryPolicy().deadline_s,
    driver: str = DEFAULT_DRIVER,
    on_unsafe: Callable[[str], None],
    on_fault: Callable[[LinkFault], None] = lambda _: None,
    recording: Recording | None = None,
    mock_instruments: Collection[str] = (),
) -> Iterator[OpenDevice]:
    """Open a chip for the length of a ``with`` block, and leave it safe.

    Parameters
    ----------
    resource
        ``mock://PROFILE`` starts a private mock server process; ``replay://FOLDER`` plays a
        recording; anything else is connected to.
    base
        Folder that the relative path of a profile or a recording starts from.
    seed
        Seed of a mock chip whose resource names none.
    timeout_s
        How long an answer may take.
    choice
        Who carries the bytes.
    recovery_s
        How long an operation may go on after the first fault of its link; a private mock has less.
    driver
        Name of the chip driver; only the default one knows ``mock://`` and ``replay://``.
    on_unsafe
        Called with the reason if something could not be left safe.
    on_fault
        Called with every fault of the link once it is over.
    recording
        What ``replay://`` plays, where the caller has loaded it.
    mock_instruments
        Names of the bench instruments that a private mock is to have.

    Raises
    ------
    TransportError, FrameError
        If the device cannot be reached or does not speak the protocol.
    DatasetError
        If a recording cannot be read.
    """
    options = ChipOptions(
        timeout_s=timeout_s, recovery_s=recovery_s, transport=choice, on_fault=on_fault
    )
    addresses: Mapping[str, str] = {}
    with ExitStack() as stack:
        chip: Chip
        if driver != DEFAULT_DRIVER:
            chip = _open_plugin(driver, resource, options)
        elif resource.startswith(REPLAY):
            replay = ReplayResource.parse(resource)
            chip = board_of_recording(
                replay.load(base) if recording is None else recording,
                replay.tempo,
                resource=resource,
                timeout_s=timeout_s,
                on_fault=on_fault,
            )
        else:
            address = resource
            if resource.startswith(_MOCK):
                mock = stack.enter_context(_start_mock(resource, base, seed, mock_instruments))
                address, addresses = mock.resource, mock.instruments
                options = replace(options, recovery_s=min(recovery_s, _MOCK_RECOVERY_S))
            chip = find_chip_driver(driver).open_chip(address, options)
        stack.callback(chip.close)
        device = OpenDevice(chip, addresses, on_unsafe)
        stack.callback(device.make_safe)
        yield device


@contextmanager
def open_mock_instruments(
    resource: str, *, base: Path, seed: int, names: Collection[str]
) -> Iterator[Mapping[str, str]]:
    """Start the mock device of a resource just to look at its bench instruments.

    Parameters
    ----------
    resource, base, seed
        As in `open_device`.
    names
        Names of the instruments.

    Yields
    ------
    Instrument to resource string; none if none is asked for, or the device is no mock.
    """
    if not names or not resource.startswith(_MOCK):
        yield {}
        return
    with _start_mock(resource, base, seed, names) as mock:
        yield mock.instruments


@contextmanager
def open_recording(recording: Recording) -> Iterator[AimcBoard]:
    """Open a recording as a chip that answers at once, without faults."""
    chip = board_of_recording(
        recording, _AT_ONCE, resource="recording", timeout_s=_REPLAY_TIMEOUT_S
    )
    try:
        yield chip
    finally:
        chip.close()


def _parse_speed(text: str, shown: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not 0 <= speed < math.inf:
        raise ValueError(f"{shown}: bench_speed must be a number, 0 or more")
    return speed


def _start_mock(resource: str, base: Path, seed: int, instruments: Collection[str]) -> MockProcess:
    mock = MockResource.parse(resource)
    profile = mock.profile if mock.profile in BUILT_IN else str(base / mock.profile)
    chip_seed = seed if mock.seed is None else mock.seed
    arguments = ["--profile", profile, "--seed", str(chip_seed)]
    if mock.truth is not None:
        arguments += ["--truth", mock.truth]
    for name in sorted(instruments):
        arguments += [f"--{name}", _ANY_PORT]
    if instruments and mock.bench_speed is not None:
        arguments += ["--bench-speed", str(mock.bench_speed)]
    return MockProcess(arguments)


def _open_plugin(driver: str, resource: str, options: ChipOptions) -> Chip:
    found = find_chip_driver(driver)
    try:
        found.check_resource(resource)
    except ValueError as error:
        raise ConfigError("device.resource", [Problem("", str(error))]) from error
    return found.open_chip(resource, options)
