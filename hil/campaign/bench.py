"""From a resource string to a chip that is ready, and back to a bench that is safe."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from hil.campaign.bench_time import BenchTime, PlayedTime, RealTime, open_virtual_time
from hil.campaign.config.instruments import InstrumentSection
from hil.campaign.instruments import BenchInstruments, open_instruments
from hil.campaign.mock_resource import MOCK, TIME_KEEPER, MockResource, start_mock
from hil.campaign.replay_resource import REPLAY, ReplayResource, board_of_recording
from hil.campaign.run_events import RunEvent
from hil.campaign.waits import Waits
from hil.core.errors import ConfigError, HilError, Problem
from hil_datasets.recording import Recording
from hil_drivers.aimc_board import AimcBoard
from hil_drivers.chip import Chip
from hil_drivers.chip_driver import DEFAULT_DRIVER, ChipOptions, find_chip_driver
from hil_drivers.link_fault import LinkFault
from hil_drivers.open_transport import TransportChoice
from hil_drivers.open_transport import check_resource as check_transport
from hil_drivers.recovery import RecoveryPolicy
from hil_mock_device.replay_conversation import Tempo

_MOCK_RECOVERY_S = 2.0
"""A private mock answers at once, or is dead."""
_REPLAY_TIMEOUT_S = 60.0
_AT_ONCE = Tempo(speed=math.inf, plays_faults=False)


def check_resource(resource: str) -> None:
    """Raise ValueError if a resource string is none that `open_device` takes."""
    if resource.startswith(MOCK):
        MockResource.parse(resource)
    elif resource.startswith(REPLAY):
        ReplayResource.parse(resource)
    else:
        check_transport(resource)


def require_resource(resource: str, driver: str, *, where: str) -> None:
    """Raise ConfigError if a resource string is none that a driver takes.

    Parameters
    ----------
    resource
        The resource string.
    driver
        Name of the chip driver.
    where
        Where the user has said it.
    """
    check = check_resource if driver == DEFAULT_DRIVER else find_chip_driver(driver).check_resource
    try:
        check(resource)
    except ValueError as error:
        raise ConfigError(where, [Problem("", str(error))]) from error


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
    time
        The time that passes for chip and instruments.
    on_wait
        Told of waits.
    on_ending
        Called before instruments are made safe: no wish to stop ends a wait from then on.
    """

    def __init__(
        self,
        chip: Chip,
        mock_instruments: Mapping[str, str],
        on_unsafe: Callable[[str], None],
        time: BenchTime,
        *,
        on_wait: Callable[[RunEvent], None],
        on_ending: Callable[[], None],
    ) -> None:
        self.chip = chip
        """The chip."""
        self.time = time
        """The time that passes for chip and instruments."""
        self.waits = Waits(time, on_wait)
        """How to let it pass so that who watches knows why."""
        self._on_ending = on_ending
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
            sections,
            mock_addresses=self._mock_instruments,
            on_unsafe=self._on_unsafe,
            clock=self.time.now_s,
            sleep=self.waits.sleep,
            told=self.waits.told,
            on_ending=self._on_ending,
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
    check: Callable[[], None] = lambda: None,
    on_wait: Callable[[RunEvent], None] = lambda _: None,
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
    check
        Called several times in a second while somebody waits; raises to end the wait.
    on_wait
        Told when a wait begins and ends.

    Raises
    ------
    ConfigError
        If the driver takes no such resource.
    TransportError, FrameError
        If the device cannot be reached or does not speak the protocol.
    DatasetError
        If a recording cannot be read.
    """
    require_resource(resource, driver, where="device.resource")
    options = ChipOptions(
        timeout_s=timeout_s, recovery_s=recovery_s, transport=choice, on_fault=on_fault
    )
    addresses: Mapping[str, str] = {}
    wishes = _Wishes(check)
    time: BenchTime = RealTime(wishes.check)
    with ExitStack() as stack:
        chip: Chip
        if driver != DEFAULT_DRIVER:
            chip = find_chip_driver(driver).open_chip(resource, options)
        elif resource.startswith(REPLAY):
            replay = ReplayResource.parse(resource)
            chip = board_of_recording(
                replay.load(base) if recording is None else recording,
                replay.tempo,
                resource=resource,
                timeout_s=timeout_s,
                on_fault=on_fault,
            )
            time = PlayedTime(wishes.check)
        else:
            address = resource
            if resource.startswith(MOCK):
                mock = stack.enter_context(start_mock(resource, base, seed, mock_instruments))
                address, addresses = mock.resource, mock.instruments
                if MockResource.parse(resource).has_virtual_time:
                    keeper = open_virtual_time(addresses[TIME_KEEPER], wishes.check)
                    time = stack.enter_context(keeper)
                options = replace(options, recovery_s=min(recovery_s, _MOCK_RECOVERY_S))
            chip = find_chip_driver(driver).open_chip(address, options)
        stack.callback(chip.close)
        device = OpenDevice(chip, addresses, on_unsafe, time, on_wait=on_wait, on_ending=wishes.end)
        stack.callback(device.make_safe)
        yield device


class _Wishes:
    """Whether somebody wants the run to stop; at its end nobody is heard any more."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._is_ending = False

    def check(self) -> None:
        if not self._is_ending:
            self._check()

    def end(self) -> None:
        self._is_ending = True


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
    if not names or not resource.startswith(MOCK):
        yield {}
        return
    with start_mock(resource, base, seed, names) as mock:
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
