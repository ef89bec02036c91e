"""How fast tiles multiply, count and correct, against a bare product and aihwkit's torch tile.

One tile of 256 x 256, int8 inputs, one phase, with noise, converters and a correction; all take
turns in one run. ``python -m benchmarks.inference`` prints the ratios, ``--json FILE`` keeps every
time. aihwkit (Rasch et al., arXiv 2104.02184) is compared where it is installed.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from benchmarks.machine import describe_machine, load_average
from benchmarks.timing import Contender, Timed, time_in_turns
from hil.core.correction import Correction
from hil.core.nmpu_format import NmpuFormat, NmpuRegisters
from hil.core.readout import ReadMode
from hil.inference.computing.backends.measured_cores import MeasuredChip
from hil.inference.computing.backends.profile import ProfileReadings
from hil.inference.computing.backends.transfer import TransferReadings
from hil.inference.computing.backends.transfer_fit import CoreTransfer
from hil.inference.computing.readings import ChipFacts, CoreReadings
from hil.inference.corrections.calibrated import CalibratedCores
from hil.inference.corrections.kinds import CorrectionKind
from hil.inference.corrections.making import make_corrections
from hil.inference.placing.tiles import ProgrammedTile, Tile
from hil_calibration.calibrate import CoreCalibration
from hil_mock_device.profile import load_profile

if TYPE_CHECKING:
    import torch

SIZE = 256
VECTORS = 10_000
_BARE = "bare float32 product"
_AIHWKIT = "aihwkit torch tile"
_GAIN = 420 / 200_000
"""Counts per product, as the mock's nominal converters."""


def inference_contenders(vectors: int = VECTORS, *, where: str = "cpu") -> Iterator[Contender]:
    """Yield all of them; work is in multiplications of a vector by the tile.

    Parameters
    ----------
    vectors
        Batch.
    where
        ``cpu`` or ``cuda``.
    """
    import torch

    device = torch.device(where)
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 40, (SIZE, SIZE)).clip(-127, 127).astype(np.int8)
    inputs = torch.from_numpy(rng.integers(-127, 128, (vectors, SIZE)).astype(np.int8)).to(device)
    driven, held = inputs.float(), torch.from_numpy(weights).float().to(device)
    work = float(vectors)
    yield Contender(name=_BARE, work=work, run=_waited(lambda: driven @ held, device))
    transfer = TransferReadings(_measured_chip(rng), device=device)
    profile = ProfileReadings(
        load_profile("hermes-like", base=Path()), read_mode=ReadMode.ONE_PHASE, device=device
    )
    tile = Tile(core=0, layer=0, group=0, rows=slice(0, SIZE), columns=slice(0, SIZE))
    for readings in (transfer, profile):
        readings.program([ProgrammedTile(tile=tile, weight_codes=weights)])
    cores = CalibratedCores(calibrations={0: _calibration(rng)}, nominal_gain=1 / _GAIN)
    for kind in CorrectionKind:
        run = _corrected(transfer, kind, cores, inputs)
        yield Contender(name=f"measured transfer, {kind}", work=work, run=_waited(run, device))
    run = _corrected(profile, CorrectionKind.NMPU, cores, inputs)
    yield Contender(name="mock chip's physics, nmpu", work=work, run=_waited(run, device))
    yield from aihwkit_contenders(weights, driven / 127, device)


def aihwkit_contenders(
    weights: npt.NDArray[np.int8], inputs: "torch.Tensor", device: "torch.device"
) -> Iterator[Contender]:
    """Yield aihwkit's torch tile as it comes, and without its searches for ranges; none if absent.

    Both have its DAC of 7 bits, its ADC of 9, its noise, and one scale and offset per column.
    """
    import torch

    try:
        from aihwkit.nn import AnalogLinear
        from aihwkit.simulator.configs import TorchInferenceRPUConfig
        from aihwkit.simulator.parameters.enums import BoundManagementType, NoiseManagementType
    except ImportError:
        return
    for name in ("as it comes", "no range searches"):
        config = TorchInferenceRPUConfig()
        config.mapping.weight_scaling_columnwise = True
        config.mapping.max_input_size = config.mapping.max_output_size = SIZE
        if name != "as it comes":
            config.forward.noise_management = NoiseManagementType.NONE
            config.forward.bound_management = BoundManagementType.NONE
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            layer = AnalogLinear(SIZE, SIZE, bias=True, rpu_config=config).to(device).eval()
            layer.set_weights(torch.from_numpy(weights.T.astype(np.float32) / 127))
        run = _without_gradients(layer, inputs)
        yield Contender(
            name=f"{_AIHWKIT}, {name}", work=float(len(inputs)), run=_waited(run, device)
        )


def inference_table(timed: dict[str, Timed]) -> list[str]:
    """Return a line for each way to multiply: its rate, and ratios to the rivals."""
    bare = timed[_BARE]
    rivals = [entry for name, entry in timed.items() if name.startswith(_AIHWKIT)]
    lines = [f"{'':36}{'ms':>9}{'MVM/s':>12}{'of bare':>9}" + "".join(
        f"{'x ' + entry.name.removeprefix(_AIHWKIT + ', '):>20}" for entry in rivals
    )]  # fmt: skip
    for name, entry in timed.items():
        ratios = "".join(f"{entry.rate / rival.rate:20.2f}" for rival in rivals)
        lines.append(
            f"{name:36}{1e3 * median(entry.seconds):9.2f}{entry.rate:12,.0f}"
            f"{entry.rate / bare.rate:9.3f}{ratios}"
        )
    if not rivals:
        lines.append(f"{_AIHWKIT}: absent (not installed)")
    return lines


def _corrected(
    readings: CoreReadings, kind: CorrectionKind, cores: CalibratedCores, inputs: "torch.Tensor"
) -> Callable[[], object]:
    correction = make_corrections(kind, cores, device=readings.device)[0]
    return lambda: correction.outputs(readings.counts(0, inputs, first=0))


def _without_gradients(layer: Any, inputs: "torch.Tensor") -> Callable[[], object]:
    import torch

    def run() -> object:
        with torch.inference_mode():
            return layer(inputs)

    return run


def _waited(run: Callable[[], object], device: "torch.device") -> Callable[[], object]:
    """Return the same, finished when it returns."""
    import torch

    if device.type == "cpu":
        return run

    def finished() -> object:
        found = run()
        torch.cuda.synchronize(device)
        return found

    return finished


def _measured_chip(rng: np.random.Generator) -> MeasuredChip:
    """Return a core with the spreads of the mock's converters."""
    shape = (2, SIZE)
    transfer = CoreTransfer(
        offset=rng.normal(10.0, 2.0, shape),
        gain=_GAIN * rng.normal(1.0, 0.071, shape),
        curvature=np.zeros(shape),
        noise=np.full(shape, 0.7),
        weight_errors=None,
    )
    facts = ChipFacts(
        name="one core",
        cores=(0,),
        rows=SIZE,
        columns=SIZE,
        counter_bits=12,
        read_mode=ReadMode.ONE_PHASE,
        nominal_gain=1 / _GAIN,
    )
    return MeasuredChip(facts=facts, transfers={0: transfer}, age_s=300.0)


def _calibration(rng: np.random.Generator) -> CoreCalibration:
    zeros = np.zeros(SIZE)
    registers = NmpuRegisters(
        scale_p=rng.integers(100, 160, SIZE).astype(np.uint8),
        scale_n=rng.integers(100, 160, SIZE).astype(np.uint8),
        offset=rng.integers(-20, 20, SIZE).astype(np.int16),
        swap=np.zeros(SIZE, np.bool_),
    )
    fmt = NmpuFormat(shift=2)
    return CoreCalibration(
        output_lsb=1 / _GAIN,
        global_gain=1.0,
        correction=Correction(a_p=zeros + 0.25, a_n=zeros + 0.26, b=zeros - 3),
        a_p_se=zeros,
        a_n_se=zeros,
        b_se=zeros,
        residual_rms=zeros,
        r_squared=zeros,
        condition=zeros,
        glitch_share=zeros,
        saturated_counts=np.zeros(SIZE, np.int64),
        flags=np.zeros(SIZE, np.uint16),
        fmt=fmt,
        registers=registers,
    )


def main() -> None:
    """Measure, print, store."""
    import torch

    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every time here")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="where")
    parser.add_argument("--vectors", type=int, default=VECTORS, help="batch")
    parser.add_argument("--repeats", type=int, default=15, help="rounds")
    parser.add_argument("--threads", type=int, help="threads of torch; its own choice if left out")
    parser.add_argument(
        "--processor-time", action="store_true", help="of all threads together, not wall time"
    )
    options = parser.parse_args()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    machine = describe_machine()
    contenders = list(inference_contenders(options.vectors, where=options.device))
    clock = time.process_time if options.processor_time else time.perf_counter
    timed = time_in_turns(contenders, options.repeats, clock=clock)
    machine["load_average_after"] = load_average()
    load = f"load {machine['load_average']:.1f} before, {machine['load_average_after']:.1f} after"
    threads = torch.get_num_threads()
    of = "processor time" if options.processor_time else "wall time"
    print(f"{machine['cpu']}, {machine['cores']} cores, {threads} threads, {of}, {load}")
    print("\n".join(inference_table(timed)))
    if options.json:
        seconds = {name: list(entry.seconds) for name, entry in timed.items()}
        result = {"machine": machine, "vectors": options.vectors, "seconds": seconds}
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
