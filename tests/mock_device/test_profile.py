"""Profiles: what ships is what the model says, and what is wrong in a file is named."""

import io
import os
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hil.core.errors import ConfigError
from hil_mock_device.chip_model import ChipModel
from hil_mock_device.choices import BUILT_IN, built_in_text
from hil_mock_device.profile import MockProfile, load_profile
from small_profiles import ideal_profile


def leaves(document: dict[str, Any], path: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, dict):
            found |= leaves(value, f"{path}{key}.")
        else:
            found[path + key] = value
    return found


def test_quickstart_file_spells_out_every_default_of_the_model() -> None:
    in_file = leaves(tomllib.loads(built_in_text("quickstart")))
    in_model = leaves(MockProfile().model_dump())
    assert in_model.pop("measured") is None
    assert in_file == in_model


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_profile_loads_by_its_name_from_anywhere(name: str, tmp_path: Path) -> None:
    assert load_profile(name, base=tmp_path / "nowhere").name == name


def test_profile_file_replaces_what_it_names_and_keeps_the_rest(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text('name = "mine"\n[array]\nrows = 16\n')
    profile = load_profile("my.toml", base=tmp_path)
    assert (profile.name, profile.array.rows, profile.array.columns) == ("mine", 16, 256)


def test_measured_path_starts_at_the_profile_file(tmp_path: Path) -> None:
    folder = tmp_path / "chips"
    folder.mkdir()
    (folder / "my.toml").write_text('measured = "chip.npz"\n')
    assert load_profile("chips/my.toml", base=tmp_path).measured == folder / "chip.npz"


def problems_of(text: str, folder: Path) -> dict[str, str]:
    path = folder / "wrong.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_profile("wrong.toml", base=folder)
    assert str(path) in str(caught.value)
    return {problem.where: problem.message for problem in caught.value.problems}


def test_misspelt_key_is_told_the_right_one(tmp_path: Path) -> None:
    problems = problems_of("[counter]\ngain_sigmas = 0.1\n", tmp_path)
    assert problems == {"counter.gain_sigmas": "unknown key; did you mean 'gain_sigma'?"}


def test_every_problem_of_a_file_is_named_at_once(tmp_path: Path) -> None:
    problems = problems_of("seed = -1\n[array]\nrows = 0\n[counter]\nbits = 17\n", tmp_path)
    assert set(problems) == {"seed", "array.rows", "counter.bits"}


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("schema_version = 2", "schema_version"),
        ("[array]\ncores = 1025", "array.cores"),
        ("[array]\nrows = 4097", "array.rows"),
        ("[array]\nrows = 16.0", "array.rows"),
        ("[array]\ndevices_per_cell = 3", "array.devices_per_cell"),
        ("[array]\nprogramming_noise = 101", "array.programming_noise"),
        ("[array]\nstuck_share = 1.01", "array.stuck_share"),
        ("[counter]\ncounts_at_full_scale = 0", "counter.counts_at_full_scale"),
        ("[counter]\nfull_scale_products = 0.5", "counter.full_scale_products"),
        ("[counter]\nfull_scale_products = inf", "counter.full_scale_products"),
        ("[counter]\noffset_mean_counts = nan", "counter.offset_mean_counts"),
        ("[counter]\noffset_sigma_counts = -1", "counter.offset_sigma_counts"),
        ("[counter]\nread_noise_counts = inf", "counter.read_noise_counts"),
        ("[counter]\ngain_sigma = nan", "counter.gain_sigma"),
        ('[identity]\nmodel = "a,b"', "identity.model"),
        ('[identity]\nserial = "Gerät"', "identity.serial"),
        ('name = "two\\nlines"', "name"),
        ('name = "@7"', "name"),
        ('[identity]\nmanufacturer = "#15"', "identity.manufacturer"),
        ('[identity]\nmanufacturer = "!-1"', "identity.manufacturer"),
        ('[identity]\nmanufacturer = " #15"', "identity.manufacturer"),
        ("[identity]\nmodel = '\"a'", "identity.model"),
        ('[identity]\nfirmware = "\'a"', "identity.firmware"),
        ('measured = "chip\\u0000.npz"', "measured"),
        ("temperature_c = nan", "temperature_c"),
        ("[array]\nprogramming_noise = inf", "array.programming_noise"),
    ],
)
def test_value_that_cannot_be_is_refused_at_its_key(text: str, where: str, tmp_path: Path) -> None:
    assert set(problems_of(text, tmp_path)) == {where}


def test_file_that_is_no_toml_is_refused_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text('name = "a"\nseed == 3\n')
    with pytest.raises(ConfigError, match=r"wrong\.toml:2: is no TOML: "):
        load_profile(path.name, base=tmp_path)


def test_missing_profile_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml: no such file"):
        load_profile("gone.toml", base=tmp_path)


def test_unknown_profile_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'quickstrat': no such profile: use quickstart"):
        load_profile("quickstrat", base=tmp_path)


def measured_arrays() -> dict[str, Any]:
    """Return the four required arrays for the ideal profile: 2 cores of 2 columns."""
    return {name: np.ones((2, 2)) for name in ("gain_p", "gain_n", "offset_p", "offset_n")}


def chip_of(path: Path) -> ChipModel:
    return ChipModel(ideal_profile().model_copy(update={"measured": path}))


def refusal_of(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        chip_of(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gain_n": None}, "gain_n: is missing: must be an array (core, column) (2, 2)"),
        ({"offset_p": np.ones((2, 3))}, "offset_p: is float64 (2, 3): must be numbers"),
        ({"gain_p": np.ones((2, 2), complex)}, "gain_p: is complex128"),
        ({"offset_n": np.array([[1, np.nan], [1, 1]])}, "offset_n: holds a value that is not fini"),
        ({"curvature_p": np.full((2, 2), np.inf)}, "curvature_p: holds a value that is not finite"),
        ({"gain_p": np.full((2, 2), 1e300)}, "gain_p: holds a value beyond +-65535"),
    ],
    ids=["missing", "shape", "complex", "nan", "inf", "huge"],
)
def test_measured_array_that_cannot_be_is_named(
    change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    arrays = {name: a for name, a in (measured_arrays() | change).items() if a is not None}
    np.savez(tmp_path / "chip.npz", **arrays)
    assert words in refusal_of(tmp_path / "chip.npz")


def test_every_wrong_measured_array_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "chip.npz", gain_p=np.ones(2))
    refusal = refusal_of(tmp_path / "chip.npz")
    assert all(f"{name}: " in refusal for name in measured_arrays())


def test_measured_file_with_pickled_objects_is_refused(tmp_path: Path) -> None:
    arrays = measured_arrays() | {"gain_p": np.array([[{}, {}], [{}, {}]], dtype=object)}
    np.savez(tmp_path / "chip.npz", **arrays)
    assert "cannot be read as .npz" in refusal_of(tmp_path / "chip.npz")


def whole_npz() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **measured_arrays())
    return buffer.getvalue()


def single_npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ones((2, 2)))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"gain 1.0",
        whole_npz()[:-30],
        whole_npz()[:200],
        whole_npz()[:45] + b"\xff" * 20 + whole_npz()[65:],
        single_npy(),
    ],
    ids=["empty", "text", "no end", "truncated", "damaged inside", "npy"],
)
def test_damaged_measured_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "chip.npz").write_bytes(content)
    assert "chip.npz: cannot be read as .npz" in refusal_of(tmp_path / "chip.npz")


def test_measured_member_that_is_no_array_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "chip.npz", "w") as archive:
        archive.writestr("gain_p", b"1 1 1 1")
    assert "chip.npz: gain_p: is no array" in refusal_of(tmp_path / "chip.npz")


def test_measured_fifo_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "chip.npz")
    assert "chip.npz: is no regular file" in refusal_of(tmp_path / "chip.npz")


def test_missing_measured_file_is_named(tmp_path: Path) -> None:
    assert "gone.npz: no such file" in refusal_of(tmp_path / "gone.npz")


def test_measured_integers_are_taken(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {name: np.ones((2, 2), np.int32) for name in measured_arrays()}
    np.savez(tmp_path / "chip.npz", **arrays)
    chip_of(tmp_path / "chip.npz").write_truth(tmp_path / "truth.npz")
    with np.load(tmp_path / "truth.npz") as truth:
        assert truth["gain_p"].tolist() == truth["offset_n"].tolist() == [[1.0, 1.0], [1.0, 1.0]]
