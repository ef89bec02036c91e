"""Stored counts to outputs: by hand, as the device made them, and in files that others open."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from hil.core.nmpu_format import NmpuFormat
from hil.recorded import apply as apply_module
from hil.recorded.apply import apply_to_run
from hil.recorded.apply_file import write_corrected_hdf5, write_corrected_npz
from hil.recorded.apply_source import selected_steps
from hil_datasets.opened import open_source
from nmpu_oracle import OneColumn, oracle_output
from recorded_runs import CALIBRATIONS, command


@pytest.fixture(scope="module")
def other(run: Path) -> Path:
    """Return the run's calibrations with other registers."""
    path = run.parent / "other.hil.h5"
    done = command("calibrate", "fit", run, "--out", path, "--set", "nmpu.scale_frac=5")
    assert done.code == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def corrected(run: Path) -> Path:
    return applied(run, run.parent / "corrected.h5")


def applied(run: Path, path: Path, *options: object) -> Path:
    done = command("calibrate", "apply", run, "-o", path, *options)
    assert done.code == 0, done.stderr
    return path


def step_file(run: Path, name: str) -> h5py.File:
    return h5py.File(run / "steps" / f"{name}.h5", "r")


@pytest.mark.parametrize("name", [*CALIBRATIONS, *(f"{name}_verify" for name in CALIBRATIONS)])
def test_codes_are_those_that_the_devices_own_nmpu_has_made(
    run: Path, corrected: Path, name: str
) -> None:
    with h5py.File(corrected, "r") as file, step_file(run, name) as measured:
        outputs = measured["verification/outputs"][...]
        held_out = file[name]["held_out"][...].astype(bool)
        assert held_out.sum() == len(outputs) == 64
        np.testing.assert_array_equal(file[name]["nmpu"][held_out], outputs)


def test_products_are_the_affine_correction_of_each_count(run: Path, corrected: Path) -> None:
    with h5py.File(corrected, "r") as file:
        assert len(file) == 9
        for name, group in file.items():
            with step_file(run, name) as measured:
                counts = measured["raw"][...].astype(float)
                a_p, a_n, b = (measured[f"correction/{part}"][...] for part in ("a_p", "a_n", "b"))
                codes = a_p * counts[:, 0] - a_n * counts[:, 1] + b
                products = codes * measured["correction"].attrs["output_lsb"]
                np.testing.assert_array_equal(group["expected"][...], measured["expected"][...])
            np.testing.assert_allclose(group["float"][...], products, rtol=1e-12, atol=1e-9)
            # What is not clipped is rounded once in FP16: within a code of the real number.
            inside = np.abs(codes) < 126
            assert inside.any()
            assert np.abs(group["fp16"][...] - codes)[inside].max() < 0.75


def test_xarray_opens_a_step_with_named_axes_units_and_ids(run: Path, corrected: Path) -> None:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    with xarray.open_dataset(corrected, engine="h5netcdf", group="core00_one_phase") as opened:
        assert opened["nmpu"].dims == ("vector", "column")
        assert dict(opened.sizes) == {"vector": 192, "column": 12}
        assert opened["vector"].values.tolist() == list(range(192))
        assert opened["nmpu"].attrs["units"] == "1"
        assert opened["nmpu"].dtype == np.int8
        with step_file(run, "core00_one_phase") as measured:
            assert opened.attrs["raw_id"] == measured.attrs["raw_sha256"]
            for part in ("correction", "coefficients"):
                assert opened.attrs[f"{part}_id"] == measured[part].attrs["id"]
        error = opened["nmpu"] * opened.attrs["output_lsb"] - opened["expected"]
        assert 0 < float(np.abs(error).mean()) < float(np.abs(opened["expected"]).mean())


def test_npz_holds_what_the_hdf5_file_holds(run: Path, corrected: Path) -> None:
    path = applied(run, run.parent / "corrected.npz")
    with np.load(path) as arrays, h5py.File(corrected, "r") as file:
        for name, group in file.items():
            for table in ("nmpu", "float", "fp16", "expected", "held_out", "flags"):
                np.testing.assert_array_equal(arrays[f"{name}/{table}"], group[table][...])
                assert arrays[f"{name}/{table}"].dtype.kind in {group[table].dtype.kind, "b"}
            attributes = json.loads(str(arrays[f"{name}/attributes"]))
            assert attributes == {key: group.attrs[key] for key in group.attrs}


@pytest.mark.parametrize("suffix", ["h5", "npz"])
def test_bytes_do_not_depend_on_the_blocks(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    source = open_source(run)
    keys = selected_steps(source, cores=(), read_modes=())
    write = {"h5": write_corrected_hdf5, "npz": write_corrected_npz}[suffix]
    write(tmp_path / f"whole.{suffix}", apply_to_run(source, keys))
    monkeypatch.setattr(apply_module, "BLOCK_VECTORS", 7)
    write(tmp_path / f"blocks.{suffix}", apply_to_run(source, keys))
    one, two = ((tmp_path / f"{name}.{suffix}").read_bytes() for name in ("whole", "blocks"))
    assert one == two


@pytest.mark.parametrize("form", ["json", "npz", "hdf5"])
def test_exported_file_gives_the_codes_of_the_run_that_it_is_of(
    run: Path, corrected: Path, tmp_path: Path, form: str
) -> None:
    export = tmp_path / f"coefficients.{form}"
    assert command("export", run, "--format", form, "-o", export).code == 0
    path = applied(run, tmp_path / "by_export.h5", "--correction", export)
    with h5py.File(path, "r") as file, h5py.File(corrected, "r") as own:
        for name in CALIBRATIONS:
            assert "float" not in file[name]
            np.testing.assert_array_equal(file[name]["nmpu"][...], own[name]["nmpu"][...])
            assert file[name].attrs["coefficients_id"] == own[name].attrs["coefficients_id"]


def test_calibration_of_another_file_is_applied_to_these_readouts(
    run: Path, other: Path, tmp_path: Path
) -> None:
    path = applied(run, tmp_path / "by_other.h5", "--correction", other, "--what", "nmpu")
    name = "core00_four_phase"
    with (
        h5py.File(path, "r") as file,
        h5py.File(other, "r") as packed,
        step_file(run, name) as measured,
    ):
        stored = packed[f"entry/steps/{name}/coefficients"]
        assert file[name].attrs["coefficients_id"] == stored.attrs["id"]
        assert file[name].attrs["correction_raw_id"] == measured.attrs["raw_sha256"]
        fmt = NmpuFormat(**json.loads(stored.attrs["nmpu"]))
        assert fmt.scale_frac == 5
        for column in range(12):
            codes = OneColumn(
                scale_p=int(stored["scale_p"][column]),
                scale_n=int(stored["scale_n"][column]),
                offset=int(stored["offset"][column]),
                swap=bool(stored["swap"][column]),
            )
            for vector in (0, 100, 191):
                p_count, n_count = map(int, measured["raw"][vector, :, column])
                wanted = oracle_output(p_count, n_count, codes, fmt)
                assert file[name]["nmpu"][vector, column] == wanted


def test_step_without_a_correction_elsewhere_is_left_out_and_told(
    run: Path, tmp_path: Path
) -> None:
    one = tmp_path / "one.hil.h5"
    assert command("calibrate", "fit", run, "--out", one, "--read-mode", "one_phase").code == 0
    done = command("calibrate", "apply", run, "-o", tmp_path / "x.h5", "--correction", one)
    assert done.code == 0
    assert "core00_four_phase: left out, there is no correction for it" in done.stderr
    with h5py.File(tmp_path / "x.h5", "r") as file:
        assert {group.attrs["read_mode"] for group in file.values()} == {"one_phase"}
    none = command("calibrate", "apply", run, "-o", tmp_path / "y.h5", "--correction", one,
               "--read-mode", "four_phase")  # fmt: skip
    assert none.code == 3
    assert "for none of these steps; it has core 0 one_phase" in none.stderr
    assert not (tmp_path / "y.h5").exists()


def test_what_cannot_be_applied_is_refused_with_the_reason(
    run: Path, other: Path, corrected: Path, tmp_path: Path
) -> None:
    export = tmp_path / "c.json"
    assert command("export", run, "--format", "json", "-o", export).code == 0
    (tmp_path / "noise").write_bytes(b"noise")
    (tmp_path / "empty.json").write_text("{}")
    out = tmp_path / "x.h5"
    cases: list[tuple[tuple[object, ...], int, str]] = [
        ((run, "-o", out, "--correction", export, "--what", "float"), 3, "register codes alone"),
        ((run, "-o", out, "--correction", tmp_path / "noise"), 5, "is no run, no packed file, and"),
        ((run, "-o", out, "--correction", tmp_path / "empty.json"), 5, "no coefficients as JSON"),
        ((run, "-o", out, "--correction", tmp_path / "absent"), 5, "absent: no such folder"),
        ((run, "-o", out, "--correction", other, "--visit", 3), 3, "no calibration of visit 3"),
        ((run, "-o", out, "--correction", export, "--visit", 0), 3, "is no run: leave --visit out"),
        ((run, "-o", out, "--core", 5), 3, "there are steps of: core 0 four_phase"),
        ((run, "-o", out, "--what", "nmpu,bf16"), 2, "'bf16' must be one of nmpu, float, fp16"),
        ((other, "-o", out), 5, "was packed without its readouts"),
        ((run, "-o", corrected), 3, "exists; use --force to replace it"),
        ((run, "-o", run / "x.h5"), 3, "lies inside the run"),
        ((run, "-o", tmp_path / "q.csv"), 3, "q.csv: its name must end in .h5, .hdf5, .npz"),
        ((run, "-o", tmp_path / "q"), 3, "or say with --format hdf5 or npz what it is to be"),
    ]  # fmt: skip
    for arguments, code, message in cases:
        done = command("calibrate", "apply", *arguments)
        assert (done.code, done.stdout) == (code, ""), arguments
        assert message in done.stderr, done.stderr
        assert not out.exists()
