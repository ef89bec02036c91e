"""A network on a mock chip behind a real TCP server, and the same chip in this process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.fault_bench import served_device
from faulty_device import script
from hil.core.errors import ConfigError, TransportError
from hil.core.nmpu_format import NmpuFormat
from hil.core.readout import ReadMode
from hil.inference.computing.execution import Execution
from hil.inference.computing.multiplying import ChipLayers
from hil.inference.computing.readings import CoreReadings
from hil.inference.corrections.calibrating import (
    CalibrationTerms,
    calibrate_tiles,
    sample_inputs,
    vectors_used,
)
from hil.inference.networks.network import trace_network
from hil.inference.placing.folding import fold_layers, folded_layers
from hil.inference.placing.mapping import map_layers
from hil.inference.placing.quantised import program_tiles, quantise_layers
from hil.inference.placing.ranges import measure_ranges
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.faults.faulty_device import FaultyDevice
from hil_mock_device.launch import MockProcess
from hil_mock_device.profile import MockProfile, load_profile

torch = pytest.importorskip(
    "torch", reason="torch is not installed: pip install 'aimc-hil[inference]'"
)
torch.set_num_threads(1)

from hil.inference.computing.backends.device import open_readings  # noqa: E402 - torch may be absent
from hil.inference.computing.backends.profile import ProfileReadings  # noqa: E402
from hil.inference.corrections.calibrated import CalibratedCores  # noqa: E402
from hil.inference.corrections.kinds import CorrectionKind  # noqa: E402
from hil.inference.corrections.making import load_corrections, make_corrections  # noqa: E402

CPU = torch.device("cpu")
PROFILE = """schema_version = 1
name = "noisy"
seed = 6
[array]
cores = 10
rows = 40
columns = 8
polarity_asymmetry = 0.02
dead_column_chance = 0.0
[counter]
full_scale_products = 60000.0
inl_counts = 0.5
read_noise_counts = {noise}
[read_noise]
factor = 1.0
"""


@pytest.fixture(scope="module", params=["0.0", "0.7"], ids=["without noise", "with noise"])
def profile(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("chip") / "noisy.toml"
    path.write_text(PROFILE.format(noise=request.param))
    return path


@pytest.fixture(scope="module")
def served(profile: Path) -> Iterator[str]:
    with MockProcess(["--profile", str(profile), "--tcp", "127.0.0.1:0"]) as process:
        yield process.resource


class _Network:
    """Two convolutions with normalisation and ReLU, and a linear layer, in codes."""

    def __init__(self) -> None:
        torch.manual_seed(3)
        module = torch.nn.Sequential(
            torch.nn.Conv2d(2, 6, 3, padding=1),
            torch.nn.BatchNorm2d(6),
            torch.nn.ReLU(),
            torch.nn.Conv2d(6, 5, 3, bias=False),  # 54 rows: two cores
            torch.nn.BatchNorm2d(5),
            torch.nn.ReLU(),
            torch.nn.Flatten(),
            torch.nn.Linear(180, 3),  # five cores
        )
        self.network = trace_network(module, image_shape=(2, 8, 8), source="two blocks")
        self.images = torch.randn(12, 2, 8, 8, generator=torch.Generator().manual_seed(1))
        self.ranges = measure_ranges(self.network, self.images)
        self.quantised = quantise_layers(self.network.layers, self.ranges.inputs(self.network))
        self.samples = sample_inputs(
            self.network, self.quantised, self.ranges, self.images, vectors=400, seed=1
        )
        self.tiles = map_layers(self.network.layers, rows=40, columns=8, cores=10)

    def logits(self, readings: CoreReadings, kind: CorrectionKind) -> tuple[Any, Any]:
        """Program, calibrate, load, and predict; return logits and calibrations."""
        readings.program(program_tiles(self.quantised, self.tiles))
        fmt = NmpuFormat()
        calibrations = calibrate_tiles(
            self.quantised, self.tiles, readings, self.samples, CalibrationTerms(fmt=fmt)
        )
        foldings = fold_layers(
            self.quantised, self.tiles, calibrations, self.ranges, fmt=fmt, headroom=1.0
        )
        if kind not in {CorrectionKind.FP16, CorrectionKind.NMPU}:
            foldings = ()
        cores = CalibratedCores(
            calibrations=calibrations, foldings=foldings, nominal_gain=readings.facts.nominal_gain
        )
        corrections = make_corrections(kind, cores, device=CPU)
        load_corrections(readings, corrections)
        chip = ChipLayers(
            self.quantised,
            self.tiles,
            readings,
            corrections,
            folded=folded_layers(foldings),
            vectors_before=vectors_used(self.tiles, self.samples),
        )
        run = Execution(self.network, self.quantised, self.ranges, chip, device=CPU)
        return run.run(self.images), calibrations


@pytest.fixture(scope="module")
def network() -> _Network:
    return _Network()


def _profile_of(path: Path) -> MockProfile:
    return load_profile(path.name, base=path.parent)


@pytest.mark.parametrize("kind", [CorrectionKind.FLOAT, CorrectionKind.NMPU])
@pytest.mark.parametrize("read_mode", list(ReadMode))
def test_device_over_tcp_gives_the_same_bits_as_the_model(
    network: _Network, profile: Path, served: str, read_mode: ReadMode, kind: CorrectionKind
) -> None:
    model = ProfileReadings(_profile_of(profile), read_mode=read_mode)
    expected, _ = network.logits(model, kind)
    with open_readings(
        served, read_mode=read_mode, base=profile.parent, on_unsafe=pytest.fail
    ) as chip:
        found, _ = network.logits(chip, kind)
    assert found.equal(expected)
    assert len(set(expected.ravel().tolist())) > 20  # not all 0


def test_chips_own_nmpu_gives_the_codes_that_are_computed_here(
    network: _Network, profile: Path, served: str
) -> None:
    """With ReLU and normalisation folded in; more vectors than the chip takes at once."""
    mode = ReadMode.FOUR_PHASE
    with open_readings(served, read_mode=mode, base=profile.parent, on_unsafe=pytest.fail) as chip:
        _, calibrations = network.logits(chip, CorrectionKind.NMPU)
        cores = CalibratedCores(calibrations=calibrations)
        made = make_corrections(CorrectionKind.NMPU, cores, device=CPU)
        load_corrections(chip, made)
        inputs = torch.randint(-127, 128, (5000, 18), dtype=torch.int8)
        codes = chip.corrected(0, inputs, first=0)
        assert codes is not None
        counts = chip.counts(0, inputs, first=0)
        assert made[0].outputs(counts).equal(made[0].of_codes(codes))
        assert codes.shape == (5000, 6)
        assert len(set(codes.ravel().tolist())) > 50


@pytest.mark.parametrize("profile", ["0.7"], indirect=True)
def test_faults_of_the_link_change_no_bit(network: _Network, profile: Path) -> None:
    mode = ReadMode.FOUR_PHASE
    model = ProfileReadings(_profile_of(profile), read_mode=mode)
    expected, _ = network.logits(model, CorrectionKind.NMPU)
    device = FaultyDevice(
        ChipModel(_profile_of(profile)),
        script("kind=drop,every=29", "kind=flip,header=READ?,every=5", "kind=truncate,every=37"),
    )
    heard: list[Any] = []
    with (
        served_device(device, "tcp") as server,
        open_readings(
            server.resource,
            read_mode=mode,
            base=profile.parent,
            timeout_s=0.1,
            on_unsafe=pytest.fail,
            on_fault=heard.append,
        ) as chip,
    ):
        found, _ = network.logits(chip, CorrectionKind.NMPU)
    assert len(heard) >= 3
    assert found.equal(expected)


def test_recording_is_refused_before_anything_is_opened(tmp_path: Path) -> None:
    opened = open_readings(
        "replay://run", read_mode=ReadMode.FOUR_PHASE, base=tmp_path, on_unsafe=pytest.fail
    )
    with pytest.raises(ConfigError, match="cannot multiply other vectors"):
        opened.__enter__()


def test_absent_device_is_an_error_that_names_it(tmp_path: Path) -> None:
    opened = open_readings(
        "TCPIP0::127.0.0.1::1::SOCKET",
        read_mode=ReadMode.FOUR_PHASE,
        base=tmp_path,
        timeout_s=2.0,
        on_unsafe=pytest.fail,
    )
    with pytest.raises(TransportError, match=r"127\.0\.0\.1"):
        opened.__enter__()
