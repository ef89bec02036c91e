"""A mock chip in this process: the same physics and the same bits as the served one."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hil.campaign.mock_resource import MockResource
from hil.core.errors import ConfigError, Problem
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ReadMode
from hil.inference.computing.backends.held_tiles import HeldTiles
from hil.inference.computing.readings import ChipFacts
from hil.inference.placing.tiles import ProgrammedTile
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.counting import CoreReadout
from hil_mock_device.profile import MockProfile, load_profile

if TYPE_CHECKING:
    import torch


class ProfileReadings:
    """Cores of a mock chip, `CoreReadings`.

    Rows and columns that are not in use are left out: their counts would be read by nobody, and an
    input of 0 drives nothing, so that all others are the same.

    Parameters
    ----------
    profile
        Which chip of which kind.
    read_mode
        How it reads.
    device
        Where tensors are; the chip is computed on the processor.
    """

    def __init__(
        self, profile: MockProfile, *, read_mode: ReadMode, device: "torch.device | None" = None
    ) -> None:
        import torch  # noqa: PLC0415 - the extra `inference`

        array = profile.array
        self._device = device or torch.device("cpu")
        self._chip = ChipModel(profile)
        self._facts = ChipFacts(
            name=str(self._chip.identity),
            cores=tuple(range(array.cores)),
            rows=array.rows,
            columns=array.columns,
            counter_bits=profile.counter.bits,
            read_mode=read_mode,
            nominal_gain=nominal_gain_of(profile),
            identity=self._chip.identity,
        )
        self._held = HeldTiles(self._facts)
        self._readouts: dict[int, CoreReadout] = {}

    @property
    def device(self) -> "torch.device":
        """Where its tensors are."""
        return self._device

    @property
    def facts(self) -> ChipFacts:
        """What is known of the cores."""
        return self._facts

    def program(self, tiles: Sequence[ProgrammedTile]) -> None:
        """Program tiles, each onto its own core.

        Raises
        ------
        ConfigError
            If a core is not there, or too small.
        """
        self._held.place(tiles)
        self._readouts.clear()
        for one in tiles:
            self._chip.program(one.tile.core, self._held.padded_weights(one))

    def counts(self, core: int, input_codes: "torch.Tensor", *, first: int) -> "torch.Tensor":
        """Multiply input vectors: see `hil.inference.computing.readings.CoreReadings`."""
        import torch  # noqa: PLC0415 - the extra `inference`

        readout = self._readout(core)
        readout.noise.next_vector = first
        counts = readout.count(np.ascontiguousarray(input_codes.cpu().numpy()))
        return torch.from_numpy(counts.astype(np.int32)).to(self._device)

    def load(self, core: int, fmt: NmpuFormat, registers: NmpuRegisters) -> None:
        """Do nothing: the correction computes the same codes from the counts."""

    def corrected(
        self, core: int, input_codes: "torch.Tensor", *, first: int
    ) -> "torch.Tensor | None":
        """Return None: the correction computes the same codes from the counts."""
        return None

    def advance_time(self, seconds: float) -> None:
        """Let the programmed cores become older."""
        self._readouts.clear()
        self._chip.advance_time(seconds)

    def close(self) -> None:
        """Forget what was computed ahead."""
        self._readouts.clear()

    def _readout(self, core: int) -> CoreReadout:
        if core not in self._readouts:
            tile = self._held.tile(core)
            whole = self._chip.readout(core, self._facts.read_mode)
            self._readouts[core] = whole.part(rows=tile.row_count, columns=tile.column_count)
        return self._readouts[core]


def mock_profile(resource: str, *, base: Path, seed: int = 0) -> MockProfile:
    """Return the profile of a private mock, with the seed that its server would have.

    Parameters
    ----------
    resource
        ``mock://PROFILE``, with options.
    base
        Folder that the relative path of a profile starts from.
    seed
        Seed where the resource names none.

    Raises
    ------
    ConfigError
        If it names no profile that is there.
    """
    try:
        mock = MockResource.parse(resource)
    except ValueError as error:
        raise ConfigError(resource, [Problem("", str(error))]) from error
    profile = load_profile(mock.profile, base=base)
    return profile.model_copy(update={"seed": seed if mock.seed is None else mock.seed})


def nominal_gain_of(profile: MockProfile) -> float:
    """Return how many products one count of a nominal converter stands for."""
    return profile.counter.full_scale_products / profile.counter.counts_at_full_scale
