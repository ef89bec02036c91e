"""What a step file says besides its numbers: axes, NeXus tree, ids, blocks, provenance."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import google_crc32c
import h5py
import numpy as np
import pytest

import example_steps as example
from hil.core.errors import DatasetError
from hil.core.readout import ReadMode
from hil_datasets.integrity.run_check import verify_run
from hil_datasets.integrity.step_check import check_step
from hil_datasets.packed.compression import COMPRESSIONS
from hil_datasets.packed.pack import PackOptions, pack_run
from hil_datasets.run_directory import RunDirectory
from hil_datasets.seal import seal_file
from hil_datasets.step import StepKey, StepKind
from hil_datasets.step_files.reader import read_facts, read_group, read_group_facts, read_step
from hil_datasets.step_files.schema import STEP_DATASETS
from hil_datasets.step_files.tree import describe_tree

NAMES = "correction_name"
PROBE = StepKey(0, ReadMode.ONE_PHASE, kind=StepKind.PROBE)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    example.write_step(tmp_path / "step.h5")
    return tmp_path / "step.h5"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    folder = tmp_path_factory.mktemp("format_2") / "run"
    return example.write_run(folder, example.ONE, example.FOUR, example.OTHER_CORE)


def edited(path: Path, change: Callable[[h5py.File], object]) -> None:
    """Change a file as somebody does who can seal it."""
    with h5py.File(path, "r+") as file:
        change(file)
    seal_file(path)


def problems(path: Path) -> list[tuple[str, str, str]]:
    return [tuple(answer["problem"]) for answer in check_step(path) if "problem" in answer]


class TestXarray:
    xarray = pytest.importorskip("xarray", reason="the extra xarray is not installed")
    pytest.importorskip("h5netcdf", reason="the extra xarray is not installed")

    def opened(self, path: Path, group: str | None = None) -> Any:
        with self.xarray.open_dataset(path, engine="h5netcdf", group=group) as dataset:
            return dataset.load()

    def test_readouts_have_named_dimensions_and_units(self, path: Path) -> None:
        step = self.opened(path)
        assert step.raw.dims == ("vector", "polarity", "column")
        assert step.weights.dims == ("row", "column")
        assert step.raw.attrs["units"] == "count"
        assert step.raw.sel(vector=5, polarity="N").values.tolist() == [50, 51, 0]

    def test_correction_has_its_errors_beside_it(self, path: Path) -> None:
        correction = self.opened(path, "correction")
        assert correction.a_p.dims == correction.a_p_errors.dims == ("column",)
        assert correction.a_p_errors.values.tolist() == [0.01, 0.02, 0.0]

    def test_errors_are_chosen_by_the_name_of_the_correction(self, path: Path) -> None:
        verification = self.opened(path, "verification")
        nmpu = verification.column_rms.sel(correction_name="nmpu")
        assert nmpu.values.tolist() == [1.75, 2.75, 3.75]
        assert verification.verification_vector.values.tolist() == [4, 5]

    @pytest.mark.parametrize("what", ["step", "index", "packed"])
    def test_whole_file_opens_as_a_tree(self, run: RunDirectory, tmp_path: Path, what: str) -> None:
        above = ""
        path = {"step": run.step_path(example.ONE), "index": run.index_path}.get(what)
        if path is None:
            path, above = tmp_path / "run.hil.h5", f"/entry/steps/{example.ONE.name}"
            pack_run(run, path, PackOptions(compression=COMPRESSIONS["gzip"]))
        options = {"phony_dims": "sort"} if what == "packed" else {}
        with self.xarray.open_datatree(path, engine="h5netcdf", **options) as tree:
            tree.load()
            if what == "index":
                assert tree["correction"].a_p.dims == ("core", "read_mode", "column")
                return
            rms = tree[f"{above}/verification"].column_rms
            assert rms.sel(correction_name="nmpu", column=2).item() == 3.75
            assert tree[f"{above}/"].raw.dims == ("vector", "polarity", "column")

    def test_times_stay_seconds(self, path: Path) -> None:
        timing = self.opened(path, "timing")
        assert timing.ended_s.attrs["units"] == "s"
        assert timing.ended_s.values.tolist() == [1.0, 4.5]

    def test_conditions_are_chosen_by_the_name_of_the_quantity(self, path: Path) -> None:
        conditions = self.opened(path, "conditions")
        assert float(conditions.at_end.sel(quantity="chamber.temperature")) == 45.25

    def test_index_gives_readouts_and_tables(self, run: RunDirectory) -> None:
        step = self.opened(run.index_path, "cores/02/one_phase")
        assert step.raw.dims == ("vector", "polarity", "column")
        assert step.raw[5].values.tolist() == [[150, 151, 4095], [50, 51, 0]]
        table = self.opened(run.index_path, "correction")
        assert table.a_p.dims == ("core", "read_mode", "column")
        assert self.opened(run.index_path).core.values.tolist() == [0, 2]


def formerly(file: h5py.File) -> None:
    """Name the axis as files did that were written before."""
    del file["verification/correction_name"]
    file.move(NAMES, "verification/correction")


def test_axis_under_its_former_name_is_read(path: Path) -> None:
    edited(path, formerly)
    assert problems(path) == []
    assert read_step(path).conclusion.column_rms[3].tolist() == [1.75, 2.75, 3.75]


def test_axis_under_its_former_name_is_compared_too(path: Path) -> None:
    def change(file: h5py.File) -> None:
        formerly(file)
        file["verification/correction"][0] = "raw"

    edited(path, change)
    ((kind, where, message),) = problems(path)
    assert (kind, where) == ("schema", "/verification/correction")
    assert message == "must be uncorrected, float, fp16, nmpu"


class TestNexus:
    nexus = pytest.importorskip("nexusformat.nexus", reason="nexusformat is not installed")

    def test_default_plot_of_a_step_is_the_gain_with_its_errors(self, path: Path) -> None:
        root = self.nexus.nxload(str(path))
        plot = root.plottable_data
        assert plot.nxpath == "/entry/gain"
        assert plot.nxsignal.nxdata.tolist() == [0.5, 0.25, 0.0]
        assert plot.nxerrors.nxdata.tolist() == [0.01, 0.02, 0.0]
        assert [axis.nxdata.tolist() for axis in plot.nxaxes] == [[0, 1, 2]]

    def test_default_plot_of_an_index_is_the_gain_of_all_cores(self, run: RunDirectory) -> None:
        plot = self.nexus.nxload(str(run.index_path)).plottable_data
        assert plot.nxsignal.shape == (2, 2, 3)

    def test_every_group_has_a_class(self, path: Path) -> None:
        classes: dict[str, str] = {}
        with h5py.File(path) as file:
            file.visititems(
                lambda name, item: (
                    classes.update({name: item.attrs.get("NX_class", "")})
                    if isinstance(item, h5py.Group)
                    else None
                )
            )
        assert "" not in classes.values()
        assert classes["entry"] == "NXentry"
        assert classes["entry/readouts"] == "NXdata"
        assert classes["entry/correction"] == "NXprocess"


def test_tree_stores_nothing_twice(path: Path) -> None:
    with h5py.File(path) as file:
        assert file["entry/readouts/raw"] == file["raw"]
        assert file["entry/instrument/chip/data"] == file["raw"]
        assert file["entry/gain/a_p_errors"] == file["correction/a_p_errors"]
        assert file["raw"].attrs["target"] == "/raw"


def test_entry_says_when_and_which(path: Path) -> None:
    with h5py.File(path) as file:
        texts = {
            name: file[f"entry/{name}"].asstr()[()]
            for name in ("start_time", "end_time", "title", "entry_identifier")
        }
        assert texts == {
            "start_time": "2026-01-02T03:04:05.250000+00:00",
            "end_time": "2026-01-02T03:04:09.750000+00:00",
            "title": "Tiny µ-run",
            "entry_identifier": file.attrs["raw_sha256"],
        }


def test_bit_fields_say_what_their_bits_mean(path: Path) -> None:
    with h5py.File(path) as file:
        quality, flags = file["timing/quality"].attrs, file["coefficients/flags"].attrs
        assert quality["flag_masks"].tolist() == [1, 2, 4, 8]
        assert quality["flag_meanings"] == "link_fault measured_again overflow restored"
        assert flags["flag_meanings"].split()[:3] == ["unused", "dead", "saturated"]


def test_blocks_carry_check_sum_number_and_quality(path: Path) -> None:
    with h5py.File(path) as file:
        sums = [google_crc32c.value(example.RAW[part].tobytes()) for part in (np.s_[:4], np.s_[4:])]
        assert file["timing/crc32c"][...].tolist() == sums
        assert file["timing/sequence"][...].tolist() == [0, 1]
        # Two faults fell into the second block, which holds 4095 of 12 bits.
        assert file["timing/quality"][...].tolist() == [0, 5]


def test_ids_name_their_parents(path: Path) -> None:
    with h5py.File(path) as file:
        correction, coefficients = file["correction"].attrs, file["coefficients"].attrs
        assert json.loads(correction["parents"]) == [file.attrs["raw_sha256"]]
        assert json.loads(coefficients["parents"]) == [correction["id"]]
        assert len(correction["id"]) == len(coefficients["id"]) == 64
        ids = read_step(path), read_facts(path).ids
        assert (ids[1].correction, ids[1].coefficients) == (correction["id"], coefficients["id"])


def test_judged_step_carries_the_ids_of_the_calibration(path: Path) -> None:
    with h5py.File(path) as file:
        calibration, raw_sha256 = dict(file["coefficients"].attrs), file.attrs["raw_sha256"]
    source = example.circumstance_of(raw_sha256)
    other = path.with_name("probe.h5")
    example.write_step(other, PROBE, origin=replace(example.ORIGIN, circumstance=source))
    with h5py.File(other) as file:
        assert file["coefficients"].attrs["id"] == calibration["id"]
        assert json.loads(file["correction"].attrs["parents"]) == [raw_sha256]


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("correction", "id"),
        ("correction", "parents"),
        ("coefficients", "id"),
        ("coefficients", "parents"),
    ],
)
def test_id_that_is_not_of_the_content_is_refused(path: Path, name: str, attribute: str) -> None:
    value = "0" * 64 if attribute == "id" else json.dumps(["0" * 64])
    edited(path, lambda file: file[name].attrs.__setitem__(attribute, value))
    with pytest.raises(DatasetError, match=f"/{name}: attribute {attribute}: is .*: its content"):
        read_step(path)
    with pytest.raises(DatasetError, match="its content has"):
        read_facts(path)
    assert [(kind, where) for kind, where, _ in problems(path)] == [("hash", f"/{name}")]


def test_changed_gain_does_not_match_its_id(path: Path) -> None:
    edited(path, lambda file: file["correction/a_p"].__setitem__(0, 0.75))
    with pytest.raises(DatasetError, match="/correction: attribute id"):
        read_step(path)


def test_facts_of_a_step_do_without_its_readouts(path: Path) -> None:
    edited(path, lambda file: file["raw"].__setitem__(0, 7))
    facts = read_facts(path)
    assert facts.conclusion.registers.offset.tolist() == [-3, 5, 0]
    assert facts.origin == example.ORIGIN
    with pytest.raises(DatasetError, match="do not match raw_sha256"):
        read_step(path)


def test_damaged_block_is_named_with_its_vectors(path: Path) -> None:
    edited(path, lambda file: file["raw"].__setitem__((5, 1, 0), 51))
    assert problems(path) == [
        ("hash", "/raw", "weights, inputs and counts do not match raw_sha256"),
        ("checksum", "/raw", "vectors 4 to 5, block 1, do not match their CRC-32C"),
    ]


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("sequence", [3, 3], "vectors 4 to 5, block 1: are readout 3, after readout 3"),
        ("sequence", [0, 3], "vectors 4 to 5, block 1: are readout 3, 2 before it are missing"),
        ("quality", [0, 4], "of block 1 has no link_fault: a fault of the link fell into it"),
        ("quality", [4, 5], "of block 0: overflow is True, its counts say otherwise"),
        ("quality", [0, 1], "of block 1: overflow is False, its counts say otherwise"),
    ],
)
def test_what_blocks_say_is_held_to_the_rest(
    path: Path, name: str, values: list[int], message: str
) -> None:
    edited(path, lambda file: file[f"timing/{name}"].__setitem__(slice(None), values))
    ((kind, where, found),) = problems(path)
    assert (where, found) == (f"/timing/{name}", message)
    assert kind == ("sequence" if name == "sequence" else "schema")


def test_gap_before_a_block_that_was_measured_again_is_none(path: Path) -> None:
    def change(file: h5py.File) -> None:
        file["timing/sequence"][...] = [0, 3]
        file["timing/quality"][...] = [0, 7]

    edited(path, change)
    assert problems(path) == []


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda file: file["column"].__setitem__(0, 9), "/column"),
        (lambda file: file["correction_name"].__setitem__(0, "raw"), "/correction_name"),
        (lambda file: file.__delitem__("vector"), "/vector"),
        (lambda file: file["raw"].dims[0].detach_scale(file["vector"]), "/raw"),
        (lambda file: file.__delitem__("entry/readouts/raw"), "/entry/readouts/raw"),
        (lambda file: file.move("weights", "entry/readouts/other"), "/weights"),
    ],
    ids=["value", "text", "missing", "detached", "unlinked", "moved"],
)
def test_axis_or_link_that_says_what_is_not_so_is_found(
    path: Path, change: Callable[[h5py.File], object], where: str
) -> None:
    edited(path, change)
    assert [found for _, found, _ in problems(path) if found.startswith(where)]


def test_link_out_of_the_file_is_not_followed(path: Path) -> None:
    def change(file: h5py.File) -> None:
        del file["entry/gain/a_p"]
        file["entry/gain/a_p"] = h5py.ExternalLink("/dev/zero", "/a_p")

    edited(path, change)
    assert problems(path) == [("schema", "/entry/gain/a_p", "is not correction/a_p")]


def test_provenance_is_read_back(path: Path) -> None:
    assert read_step(path).origin.provenance == example.PROVENANCE


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("campaign", '{"campaign":{}}', "attribute resolved_sha256: is not that of the campaign"),
        ("campaign", "[", "attribute campaign: Expecting value"),
        ("packages", '{"numpy": 2}', "attribute packages: must be an object of texts"),
        ("instruments", '{"chamber": 1}', "attribute instruments: must be an object of objects"),
    ],
)
def test_provenance_that_cannot_be_is_refused(
    path: Path, name: str, value: str, reason: str
) -> None:
    edited(path, lambda file: file["provenance"].attrs.__setitem__(name, value))
    with pytest.raises(DatasetError, match=f"/provenance: {reason}"):
        read_step(path)


def copied(path: Path, into: Path, *, chunks: bool = False, filtered: str | None = None) -> None:
    """Copy a step's datasets and attributes into a group of another file, as a packer does."""
    with h5py.File(path) as file, h5py.File(into, "w") as packed:
        group = packed.create_group("entry/steps/one")
        for owner in ("", "correction", "coefficients", "verification", "timing", "conditions",
                      "circumstance", "provenance"):  # fmt: skip
            target = group.require_group(owner) if owner else group
            for name, value in file[f"/{owner}"].attrs.items():
                if name not in {"NX_class", "default"}:
                    target.attrs[name] = value
        for spec in STEP_DATASETS:
            options = {"chunks": (2, 2, 3), "compression": filtered, "shuffle": filtered == "gzip"}
            if spec.path == "raw" and chunks:
                group.create_dataset(spec.path, data=file[spec.path][...], **options)
            else:
                group[spec.path] = file[spec.path][...]
        describe_tree(group)


def test_packed_step_is_read_from_its_group(path: Path, tmp_path: Path) -> None:
    copied(path, tmp_path / "packed.h5", chunks=True, filtered="gzip")
    with h5py.File(tmp_path / "packed.h5") as file:
        group = file["entry/steps/one"]
        step = read_group(group, source="packed.h5", most_bytes=100_000, is_packed=True)
        assert step.raw.tolist() == example.RAW.tolist()
        assert step.raw_sha256 == read_step(path).raw_sha256
        assert group["entry"].attrs["NX_class"] == "NXsubentry"
        assert group["raw"].attrs["target"] == "/entry/steps/one/raw"
        with pytest.raises(DatasetError, match="/entry/steps/one/raw: claims 72 bytes and stores"):
            read_group(group, source="packed.h5", most_bytes=100_000)
        with pytest.raises(DatasetError, match="/entry/steps/one: its datasets claim"):
            read_group(group, source="packed.h5", most_bytes=500, is_packed=True)


def test_packed_step_through_an_unknown_filter_is_refused(path: Path, tmp_path: Path) -> None:
    copied(path, tmp_path / "packed.h5", chunks=True, filtered="lzf")
    with h5py.File(tmp_path / "packed.h5") as file:
        group = file["entry/steps/one"]
        with pytest.raises(DatasetError, match="goes through the filter 32000: it is not read"):
            read_group_facts(group, source="packed.h5", most_bytes=100_000, is_packed=True)


def test_packed_step_without_readouts_has_its_facts(path: Path, tmp_path: Path) -> None:
    copied(path, tmp_path / "packed.h5")
    with h5py.File(tmp_path / "packed.h5", "r+") as file:
        group = file["entry/steps/one"]
        for name in ("weights", "inputs", "raw", "expected"):
            del group[name]
        facts = read_group_facts(group, source="packed.h5", most_bytes=100_000, is_packed=True)
        assert facts.origin == example.ORIGIN
        with pytest.raises(DatasetError, match="/entry/steps/one/raw: missing"):
            read_group(group, source="packed.h5", most_bytes=100_000, is_packed=True)


def test_index_with_another_axis_is_found(run: RunDirectory, tmp_path: Path) -> None:
    again = example.write_run(tmp_path / "run", example.ONE)
    with h5py.File(again.index_path, "r+") as index:
        index["correction/a_p"].dims[0].detach_scale(index["core"])
    found = {(finding.path, finding.where) for finding in verify_run(again.path).findings}
    assert ("campaign.h5", "/correction/a_p") in found


def test_commit_is_that_of_the_checkout() -> None:
    code = "from hil.campaign.software import source_commit; print(source_commit())"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/"
    ).stdout.strip()
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"],  # noqa: S607 - whichever is there
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    ).stdout.strip()
    assert said.removesuffix("+dirty") == head
