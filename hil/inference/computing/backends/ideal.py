"""Cores without a fault: exact products, and counters that round them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ReadMode
from hil.inference.computing.backends.exact_products import ExactWeights, signed_products
from hil.inference.computing.backends.held_tiles import HeldTiles
from hil.inference.computing.readings import ChipFacts
from hil.inference.placing.tiles import ProgrammedTile
from hil_mock_device.profile import CounterProfile

if TYPE_CHECKING:
    import torch

_COUNTER = CounterProfile()
"""Source of its magnitudes: ``docs/reference/mock-profile.md``."""


class IdealReadings:
    """Cores whose counters all have the nominal gain, no offset and no noise, `CoreReadings`.

    Parameters
    ----------
    read_mode
        Whether positive and negative products are counted apart, or their difference.
    cores, rows, columns
        How many cores, and their size.
    counter_bits
        Width of the counters.
    products_per_count
        Nominal gain; 1 makes every product a count, which needs counters of 23 bits.
    device
        Where tensors are.
    """

    def __init__(
        self,
        *,
        read_mode: ReadMode = ReadMode.FOUR_PHASE,
        cores: int = 1024,
        rows: int = 256,
        columns: int = 256,
        counter_bits: int = _COUNTER.bits,
        products_per_count: float = _COUNTER.full_scale_products / _COUNTER.counts_at_full_scale,
        device: "torch.device | None" = None,
    ) -> None:
        import torch  # noqa: PLC0415 - the extra `inference`

        self._device = device or torch.device("cpu")
        self._facts = ChipFacts(
            name="ideal cores",
            cores=tuple(range(cores)),
            rows=rows,
            columns=columns,
            counter_bits=counter_bits,
            read_mode=read_mode,
            nominal_gain=products_per_count,
        )
        self._held = HeldTiles(self._facts)
        self._weights: dict[int, ExactWeights] = {}

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
        self._weights = {
            one.tile.core: ExactWeights.of(one.weight_codes, self._device) for one in tiles
        }

    def counts(self, core: int, input_codes: "torch.Tensor", *, first: int) -> "torch.Tensor":
        """Multiply input vectors: see `CoreReadings`; `first` changes nothing."""
        import torch  # noqa: PLC0415 - the extra `inference`

        self._held.tile(core)
        gain = float(self._facts.nominal_gain or 1.0)
        products = signed_products(self._weights[core], input_codes, self._facts.read_mode)
        top = (1 << self._facts.counter_bits) - 1
        return products.div_(gain).round_().clamp_(0, top).to(torch.int32)

    def load(self, core: int, fmt: NmpuFormat, registers: NmpuRegisters) -> None:
        """Do nothing: the correction computes the codes from the counts."""

    def corrected(
        self, core: int, input_codes: "torch.Tensor", *, first: int
    ) -> "torch.Tensor | None":
        """Return None: the correction computes the codes from the counts."""
        return None

    def advance_time(self, seconds: float) -> None:
        """Do nothing: these cores do not age."""

    def close(self) -> None:
        """Forget the weights."""
        self._weights.clear()
