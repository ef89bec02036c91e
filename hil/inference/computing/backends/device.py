"""A chip in the loop: every multiplication goes through its driver, over its link.

Counts come in blocks as large as the device takes. A simulated chip is told which vector comes
next, so that its noise is that of the vector's number, as with the models; a real one has noise of
its own each time.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hil.campaign.bench import open_device
from hil.campaign.mock_resource import MOCK, MockResource
from hil.core.errors import ConfigError, Problem
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ReadMode
from hil.inference.computing.backends.held_tiles import HeldTiles
from hil.inference.computing.backends.profile import mock_profile, nominal_gain_of
from hil.inference.computing.readings import ChipFacts
from hil.inference.placing.tiles import ProgrammedTile
from hil_drivers.chip import Chip
from hil_drivers.chip_driver import DEFAULT_DRIVER
from hil_drivers.link_fault import LinkFault
from hil_drivers.open_transport import TransportChoice

if TYPE_CHECKING:
    import torch

_TIMEOUT_S = 60.0
"""How long an answer may take: a block of thousands of vectors is one."""


class DeviceReadings:
    """Cores of a chip behind its driver, `CoreReadings`.

    Parameters
    ----------
    chip
        The chip. Who opened it closes it.
    read_mode
        How it reads.
    sleep
        Lets seconds pass on the bench.
    nominal_gain
        Products that one count stands for, if somebody knows.
    device
        Where tensors are.

    Raises
    ------
    DeviceError, TransportError, FrameError
        If the chip does not say who it is.
    """

    def __init__(
        self,
        chip: Chip,
        *,
        read_mode: ReadMode,
        sleep: Callable[[float], None],
        nominal_gain: float | None = None,
        device: "torch.device | None" = None,
    ) -> None:
        import torch  # noqa: PLC0415 - the extra `inference`

        self._chip = chip
        self._sleep = sleep
        self._device = device or torch.device("cpu")
        size, identity = chip.geometry(), chip.identify()
        self._block = size.max_vectors
        self._facts = ChipFacts(
            name=str(identity),
            cores=tuple(range(size.cores)),
            rows=size.rows,
            columns=size.columns,
            counter_bits=size.counter_bits,
            read_mode=read_mode,
            nominal_gain=nominal_gain,
            identity=identity,
        )
        self._held = HeldTiles(self._facts)
        self._continue_at = getattr(chip, "continue_at", None)  # a plug-in need not have it

    @property
    def device(self) -> "torch.device":
        """Where its tensors are."""
        return self._device

    @property
    def facts(self) -> ChipFacts:
        """What is known of the cores."""
        return self._facts

    def program(self, tiles: Sequence[ProgrammedTile]) -> None:
        """Program tiles, each onto its own core. This wears the devices.

        Raises
        ------
        ConfigError
            If a core is not there, or too small; nothing was programmed then.
        DeviceError, TransportError
            If the chip refuses, or its link fails.
        """
        self._held.place(tiles)
        for one in tiles:
            self._chip.program(one.tile.core, self._held.padded_weights(one))

    def counts(self, core: int, input_codes: "torch.Tensor", *, first: int) -> "torch.Tensor":
        """Multiply input vectors: see `hil.inference.computing.readings.CoreReadings`.

        Raises
        ------
        DeviceError, TransportError, FrameError
            If the chip refuses, or its link fails for longer than the driver goes on.
        """
        import torch  # noqa: PLC0415 - the extra `inference`

        columns = self._held.tile(core).column_count
        counts = np.empty((len(input_codes), 2, columns), dtype=np.int32)
        for place, inputs in self._blocks(core, input_codes, first):
            block = self._chip.read_counts(core, self._facts.read_mode, inputs)
            counts[place : place + len(inputs)] = block[:, :, :columns]
        return torch.from_numpy(counts).to(self._device)

    def load(self, core: int, fmt: NmpuFormat, registers: NmpuRegisters) -> None:
        """Load a correction into the core's NMPU; columns that are not in use get scale 0.

        Raises
        ------
        DeviceError, TransportError, FrameError
            If the chip refuses, or its link fails.
        """
        codes = registers.to_codes()
        padded = np.zeros((len(codes), self._facts.columns), dtype=np.int16)
        padded[:, : codes.shape[1]] = codes
        whole = NmpuRegisters.from_codes(padded)
        self._chip.write_nmpu(core, self._facts.read_mode, fmt, whole)

    def corrected(
        self, core: int, input_codes: "torch.Tensor", *, first: int
    ) -> "torch.Tensor | None":
        """Multiply, and return the codes of the chip's own NMPU, which was loaded.

        Raises
        ------
        DeviceError, TransportError, FrameError
            If the chip refuses, or its link fails.
        """
        import torch  # noqa: PLC0415 - the extra `inference`

        columns = self._held.tile(core).column_count
        codes = np.empty((len(input_codes), columns), dtype=np.int8)
        for place, inputs in self._blocks(core, input_codes, first):
            block = self._chip.read_corrected(core, self._facts.read_mode, inputs)
            codes[place : place + len(inputs)] = block[:, :columns]
        return torch.from_numpy(codes).to(self._device)

    def advance_time(self, seconds: float) -> None:
        """Wait that long on the bench."""
        self._sleep(seconds)

    def close(self) -> None:
        """Leave the chip with no input driven and its NMPU off.

        Raises
        ------
        DeviceError, TransportError, FrameError
            If the chip refuses, or its link fails.
        """
        self._chip.safe()

    def _blocks(
        self, core: int, input_codes: "torch.Tensor", first: int
    ) -> Iterator[tuple[int, npt.NDArray[np.int8]]]:
        """Yield place and padded inputs of each block; the chip knows which vector comes."""
        inputs = input_codes.cpu().numpy()
        for place in range(0, len(inputs), self._block):
            if self._continue_at is not None:
                self._continue_at(core, self._facts.read_mode, first + place)
            yield place, self._held.padded_inputs(inputs[place : place + self._block])


@contextmanager
def open_readings(
    resource: str,
    *,
    read_mode: ReadMode,
    base: Path,
    seed: int = 0,
    timeout_s: float = _TIMEOUT_S,
    choice: TransportChoice = TransportChoice.AUTO,
    driver: str = DEFAULT_DRIVER,
    device: "torch.device | None" = None,
    on_unsafe: Callable[[str], None],
    on_fault: Callable[[LinkFault], None] = lambda _: None,
) -> Iterator[DeviceReadings]:
    """Open a chip as `CoreReadings` for the length of a ``with`` block, and leave it safe.

    On a private mock, ``mock://``, time passes only when it is asked to, and at once.

    Parameters
    ----------
    resource, base, seed, timeout_s, driver, on_unsafe, on_fault
        As for `hil.campaign.bench.open_device`.
    choice
        Who carries the bytes.
    read_mode
        How the chip reads.
    device
        Where tensors are.

    Raises
    ------
    ConfigError
        If the driver takes no such resource, or it is a recording.
    TransportError, FrameError, DeviceError
        If the chip cannot be reached, does not speak the protocol, or refuses.
    """
    if resource.startswith("replay://"):
        message = "a recording cannot multiply other vectors than those recorded; use --run"
        raise ConfigError(resource, [Problem("", message)])
    nominal_gain = None
    if resource.startswith(MOCK):
        resource = _with_virtual_time(resource)
        nominal_gain = nominal_gain_of(mock_profile(resource, base=base, seed=seed))
    with open_device(
        resource,
        base=base,
        seed=seed,
        timeout_s=timeout_s,
        choice=choice,
        driver=driver,
        on_unsafe=on_unsafe,
        on_fault=on_fault,
    ) as opened:
        yield DeviceReadings(
            opened.chip,
            read_mode=read_mode,
            sleep=opened.waits.sleep,
            nominal_gain=nominal_gain,
            device=device,
        )


def _with_virtual_time(resource: str) -> str:
    try:
        mock = MockResource.parse(resource)
    except ValueError:
        return resource  # `open_device` says what is wrong
    if mock.has_virtual_time or mock.bench_speed is not None:
        return resource
    return f"{resource}{'&' if '?' in resource else '?'}time=virtual"
