"""How fast the mock chip counts, against the bare matrix products that it needs.

``python -m benchmarks.mock_chip`` prints the ratios by itself.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.timing import Contender, Timed, time_in_turns
from hil.core.readout import ReadMode
from hil_calibration.kernels import numba_extra
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.profile import load_profile

VECTORS = 4096
PRODUCTS = {ReadMode.ONE_PHASE: 1, ReadMode.FOUR_PHASE: 2}
"""Matrix products that a readout needs: x w, and |x| |w| in four-phase mode."""
_BARE = "bare float32 product"


def mock_contenders(vectors: int = VECTORS) -> Iterator[Contender]:
    """Yield one bare product of a core, and readouts with every effect on; work is in products."""
    profile = load_profile("hermes-like", base=Path())
    rng = np.random.default_rng(0)
    size = (profile.array.rows, profile.array.columns)
    weights = rng.normal(0, 40, size).clip(-127, 127).astype(np.int8)
    inputs = rng.integers(-127, 128, (vectors, profile.array.rows)).astype(np.int8)
    driven, held = inputs.astype(np.float32), weights.astype(np.float32)
    out = np.empty((vectors, profile.array.columns), np.float32)
    yield Contender(name=_BARE, work=1.0, run=lambda: np.matmul(driven, held, out=out))
    chip = ChipModel(profile)
    chip.program(0, weights)
    for mode, products in PRODUCTS.items():
        for compiled in (False, True):
            if compiled and not numba_extra.is_installed():
                continue
            yield Contender(
                name=_name(mode, compiled=compiled),
                work=float(products),
                run=partial(_count, chip, mode, inputs, compiled=compiled),
            )


def _count(
    chip: ChipModel, mode: ReadMode, inputs: npt.NDArray[np.int8], *, compiled: bool
) -> None:
    chip.readout(0, mode).count(inputs, compiled=compiled)


def mock_table(timed: dict[str, Timed]) -> list[str]:
    """Return a line for each way to count: its rate over that of the bare products it needs."""
    bare = timed[_BARE]
    lines = []
    for mode in PRODUCTS:
        for compiled in (False, True):
            name = _name(mode, compiled=compiled)
            if name not in timed:
                lines.append(f"{name}: absent, needs numba (pip install 'aimc-hil[fast]')")
                continue
            ratio, best = timed[name].rate / bare.rate, timed[name].best_rate / bare.best_rate
            lines.append(f"{name}: {ratio:.2f} of the bare products (best against best {best:.2f})")
    return lines


def _name(mode: ReadMode, *, compiled: bool) -> str:
    return f"mock, all physics, {mode}, {'numba' if compiled else 'numpy'}"


if __name__ == "__main__":
    print("\n".join(mock_table(time_in_turns(list(mock_contenders()), 15))))
