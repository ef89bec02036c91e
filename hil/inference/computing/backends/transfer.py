"""The chip that a run has measured: its transfer and its noise, in bulk.

Every core counts as its own readouts say: `hil.inference.computing.backends.transfer_fit`. New
weights are off as those of the run were; where the run has too few vectors to tell errors of
weights from noise, both are noise.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ReadMode
from hil.inference.computing.backends.exact_products import ExactWeights, signed_products
from hil.inference.computing.backends.held_tiles import HeldTiles
from hil.inference.computing.backends.measured_cores import MeasuredChip, measure_run
from hil.inference.computing.backends.published_drift import DRIFT, drift_note, fresh_age_s
from hil.inference.computing.backends.transfer_fit import CoreTransfer, WeightErrors
from hil.inference.computing.backends.vector_noise import VectorNoise
from hil.inference.computing.blockwise import for_each_block
from hil.inference.computing.readings import ChipFacts
from hil.inference.placing.tiles import ProgrammedTile
from hil_datasets.run_source import RunSource
from hil_mock_device.conductance_drift import draw_exponents, drifted_weights

if TYPE_CHECKING:
    import torch

_WEIGHT_STREAM, _DRIFT_STREAM = 1, 2


@dataclass(frozen=True, kw_only=True)
class _HeldWeights:
    """What the cells of a core hold, shape (row, column), codes, and how they age."""

    codes: npt.NDArray[np.float64]
    exponents: npt.NDArray[np.float64]


class TransferReadings:
    """Cores as a run has measured them, `CoreReadings`.

    Parameters
    ----------
    chip
        What `hil.inference.computing.backends.measured_cores.measure_run` found.
    seed
        Of the noise and of the errors of weights.
    device
        Where tensors are.
    """

    def __init__(
        self, chip: MeasuredChip, *, seed: int = 0, device: "torch.device | None" = None
    ) -> None:
        import torch  # noqa: PLC0415 - the extra `inference`

        self._device = device or torch.device("cpu")
        self._seed = seed
        self._age_s = self._fresh_s = fresh_age_s(chip.age_s)
        self._drift_note = drift_note(chip.age_s)
        self._facts = chip.facts
        self._transfers = chip.transfers
        self._held = HeldTiles(self._facts)
        self._noise = VectorNoise(seed, columns=self._facts.columns, device=self._device)
        self._weights: dict[int, _HeldWeights] = {}
        self._counters: dict[int, _TileCounter] = {}

    @classmethod
    def of_run(
        cls,
        run: RunSource,
        *,
        read_mode: ReadMode,
        seed: int = 0,
        device: "torch.device | None" = None,
    ) -> "TransferReadings":
        """Return the chip of a run, as it reads in a read mode.

        Raises
        ------
        DatasetError
            If the run has no calibration in this read mode, no readouts, or is damaged.
        """
        return cls(measure_run(run, read_mode), seed=seed, device=device)

    @property
    def device(self) -> "torch.device":
        """Where its tensors are."""
        return self._device

    @property
    def facts(self) -> ChipFacts:
        """What is known of the cores."""
        return self._facts

    @property
    def transfers(self) -> Mapping[int, CoreTransfer]:
        """The transfer of every measured core, by core."""
        return self._transfers

    @property
    def drift_note(self) -> str:
        """By which law its cells drift."""
        return self._drift_note

    @property
    def fresh_age_s(self) -> float:
        """At which age its cells were measured, seconds, from t0 on."""
        return self._fresh_s

    def program(self, tiles: Sequence[ProgrammedTile]) -> None:
        """Program tiles, each onto its own core.

        Raises
        ------
        ConfigError
            If a core was not measured, or is too small.
        """
        self._held.place(tiles)
        self._counters.clear()
        self._age_s = self._fresh_s
        self._weights = {one.tile.core: self._hold(one) for one in tiles}

    def counts(self, core: int, input_codes: "torch.Tensor", *, first: int) -> "torch.Tensor":
        """Multiply input vectors: see `hil.inference.computing.readings.CoreReadings`."""
        import torch  # noqa: PLC0415 - the extra `inference`

        counter = self._counter(core)
        vectors, columns = len(input_codes), counter.columns
        counts = torch.empty((vectors, 2, columns), dtype=torch.int32, device=self._device)
        rows = self._noise.rows(core, first=first, vectors=vectors)
        tables = self._noise.tables(columns)

        def work(start: int, stop: int) -> None:
            noise = tables[0].index_select(0, rows[0, start:stop])
            noise.add_(tables[1].index_select(0, rows[1, start:stop]))
            counts[start:stop] = counter.count(input_codes[start:stop], noise)

        for_each_block(work, vectors, values=2 * columns, device=self._device)
        return counts

    def load(self, core: int, fmt: NmpuFormat, registers: NmpuRegisters) -> None:
        """Do nothing: the correction computes the codes from the counts."""

    def corrected(
        self, core: int, input_codes: "torch.Tensor", *, first: int
    ) -> "torch.Tensor | None":
        """Return None: the correction computes the codes from the counts."""
        return None

    def advance_time(self, seconds: float) -> None:
        """Let the cells drift: see `hil.inference.computing.backends.published_drift`."""
        if seconds > 0:
            self._age_s += seconds
            self._counters.clear()

    def close(self) -> None:
        """Forget what was computed ahead."""
        self._counters.clear()

    def _hold(self, one: ProgrammedTile) -> _HeldWeights:
        codes, core = one.weight_codes, one.tile.core
        digest = zlib.crc32(np.ascontiguousarray(codes).data)
        errors = self._transfers[core].weight_errors
        rng = np.random.default_rng([self._seed, _WEIGHT_STREAM, core, digest])
        return _HeldWeights(
            codes=_with_errors(codes, errors, rng),
            exponents=draw_exponents(
                codes,
                DRIFT,
                devices_per_cell=2,
                rng=np.random.default_rng([self._seed, _DRIFT_STREAM, core, digest]),
            ),
        )

    def _counter(self, core: int) -> "_TileCounter":
        if core not in self._counters:
            tile, held = self._held.tile(core), self._weights[core]
            present = drifted_weights(
                held.codes, held.exponents, age_ratio=self._age_s / self._fresh_s
            )
            self._counters[core] = _TileCounter(
                self._transfers[core],
                ExactWeights.of(present, self._device),
                tile.column_count,
                self._facts,
                self._device,
            )
        return self._counters[core]


class _TileCounter:
    """The counters behind the columns of a tile."""

    def __init__(
        self,
        transfer: CoreTransfer,
        weights: ExactWeights,
        columns: int,
        facts: ChipFacts,
        device: "torch.device",
    ) -> None:
        import torch  # noqa: PLC0415 - the extra `inference`

        self.columns = columns
        self._weights = weights
        self._read_mode = facts.read_mode
        self._top = (1 << facts.counter_bits) - 1
        self._offset, self._gain, self._curvature, self._noise = (
            torch.tensor(values[:, :columns], dtype=torch.float32, device=device)
            for values in (transfer.offset + 0.5, transfer.gain, transfer.curvature, transfer.noise)
        )
        self._is_bent = bool(self._curvature.any())

    def count(self, input_codes: "torch.Tensor", noise: "torch.Tensor") -> "torch.Tensor":
        """Return counts (vector, polarity, column), not cut to integers; `noise` is overwritten."""
        # One rounding after the other, none fused: the same bits on every kind of device.
        analog = signed_products(self._weights, input_codes, self._read_mode)
        slope = self._gain
        if self._is_bent:
            slope = (analog * self._curvature).add_(self._gain)
        analog.mul_(slope).add_(self._offset).add_(noise.mul_(self._noise))
        return analog.clamp_(0, self._top)  # half a count is added: cutting off rounds


def _with_errors(
    codes: npt.NDArray[np.int8], errors: WeightErrors | None, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    wanted = codes.astype(np.float64)
    if errors is None:
        return wanted
    return wanted + errors.rms_of(codes) * rng.standard_normal(codes.shape)
