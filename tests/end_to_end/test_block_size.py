"""A calibration depends on what was measured, not on how many vectors were read at a time."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from command_line import campaign_file, hil

VECTORS = "calibration = 700\nverification = 120\nblock = {block}"
CHIP = """schema_version = 1
name = "small"
[array]
cores = 2
rows = 32
columns = 16
[counter]
full_scale_products = 100000.0
"""
CONCLUDED = ("correction", "coefficients", "quality", "verification")


def concluded(step: h5py.File) -> dict[str, bytes]:
    """Return the bytes of everything that was concluded."""
    values: dict[str, bytes] = {}
    for group in CONCLUDED:
        for name, dataset in step[group].items():
            if name == "correction_name":
                continue  # the names along an axis
            values[f"{group}/{name}"] = dataset[...].tobytes()
        for name, value in step[group].attrs.items():
            if name in {"NX_class", "default", "signal", "axes"}:
                continue
            values[f"{group}@{name}"] = np.asarray(value).astype(str).tobytes()
    return values


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("blocks")
    (folder / "small.toml").write_text(CHIP)
    path = campaign_file(folder, resource="mock://small.toml", vectors=VECTORS.format(block=32))
    ended = hil("run", path)
    assert ended.code == 0, ended.stderr
    return folder


@pytest.mark.parametrize("block", [100, 512, 4096])
def test_no_bit_depends_on_the_block(folder: Path, block: int) -> None:
    # A replay: a chip's noise is another in each measurement.
    other = folder / f"{block}"
    other.mkdir(exist_ok=True)
    path = campaign_file(other, vectors=VECTORS.format(block=block))
    ended = hil("replay", folder / "run", "--campaign", path, "--out", other / "run")
    assert ended.code == 0, ended.stderr
    for step in sorted((folder / "run/steps").iterdir()):
        with h5py.File(step) as one, h5py.File(other / "run/steps" / step.name) as two:
            assert concluded(one) == concluded(two)


def test_random_vectors_do_not_repeat_so_the_noise_is_not_known(folder: Path) -> None:
    with h5py.File(folder / "run/steps/core00_four_phase.h5") as step:
        assert np.isnan(step["quality/noise_rms"][...]).all()


def test_quality_is_that_of_the_held_out_readouts(folder: Path) -> None:
    with h5py.File(folder / "run/steps/core00_four_phase.h5") as step:
        held_out = slice(700, None)
        p, n = step["raw"][held_out].astype(float).transpose(1, 0, 2)
        a_p, a_n, b = (step[f"correction/{name}"][...] for name in ("a_p", "a_n", "b"))
        expected = step["expected"][held_out] / step["correction"].attrs["output_lsb"]
        rms = np.sqrt(np.mean((a_p * p - a_n * n + b - expected) ** 2, axis=0))
        bits = np.log2(np.ptp(expected, axis=0) / (rms * 12**0.5)).clip(0)
        np.testing.assert_allclose(step["quality/residual_rms"], rms, rtol=1e-12)
        np.testing.assert_allclose(step["quality/effective_bits"], bits, rtol=1e-12)
        # The float correction's column error is the same number, stored by the verification.
        np.testing.assert_allclose(rms, step["verification/column_rms"][1], rtol=1e-12)
        assert step["quality/inl_curve"].shape == (16, 2, 16)


def test_workload_that_repeats_vectors_shows_the_noise(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    weights = rng.integers(-127, 128, (32, 16), dtype=np.int8)
    inputs = rng.integers(-127, 128, (400, 32), dtype=np.int8).repeat(2, axis=0)
    np.savez(tmp_path / "layer.npz", weights=weights, inputs=inputs)
    quiet = CHIP + "read_noise_counts = {noise}\n"
    found = []
    for noise in (0.5, 4.0):
        folder = tmp_path / f"{noise}"
        folder.mkdir()
        (folder / "small.toml").write_text(quiet.format(noise=noise))
        path = campaign_file(
            folder,
            resource="mock://small.toml",
            campaign='workload = "../layer.npz"\ncores = [0]\nread_modes = ["four_phase"]',
            vectors="calibration = 512\nverification = 288",
        )
        ended = hil("run", path)
        assert ended.code == 0, ended.stderr
        with h5py.File(folder / "run/steps/core00_four_phase.h5") as step:
            # In four phases each counter sums two conversions' noise: counts from output LSB
            gain = np.hypot(step["correction/a_p"][...], step["correction/a_n"][...])
            found.append(float(np.nanmedian(step["quality/noise_rms"][...] / gain)))
    assert found[1] > 3 * found[0] > 0
