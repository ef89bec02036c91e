"""What commands make of a run: refused where the name is taken, and gone where the disk is full."""

from pathlib import Path

import pytest

import example_steps as example
from command_line import campaign_file, hil, hil_here
from small_disk import small_disk

PROFILE = """\
schema_version = 1
name = "small"
seed = 3
[array]
cores = 1
rows = 64
columns = 64
[counter]
full_scale_products = 70000.0
"""


@pytest.mark.parametrize("verb", ["pack", "unpack", "split", "merge"])
@pytest.mark.parametrize("kind", ["a symbolic link", "a file", "a folder"])
def test_name_in_use_is_refused_and_left_as_it_is(tmp_path: Path, verb: str, kind: str) -> None:
    run = example.write_run(tmp_path / "run", example.ONE, example.OTHER_CORE).path
    out = tmp_path / "out"
    if kind == "a symbolic link":
        out.symlink_to(tmp_path / "nowhere")
    elif kind == "a file":
        out.write_text("mine")
    else:
        (out / "mine").mkdir(parents=True)
    words: dict[str, tuple[object, ...]] = {
        "pack": (run, "-o", out),
        "unpack": (tmp_path / "run.hil.h5", "--out", out),
        "split": (run, "--by", "core", "--out", out),
        "merge": (run, run, "--out", out),
    }
    if verb == "unpack":
        assert hil_here("data", "pack", run, "-o", tmp_path / "run.hil.h5").code == 0
    before = sorted(tmp_path.rglob("*"))
    ended = hil_here("data", verb, *words[verb])
    assert ended.code == 3
    if verb == "pack":
        told = (
            "exists; use --force to replace it"
            if kind == "a file"
            else (f"is {kind}; choose another name (nothing was changed)")
        )
    else:
        what = "is not empty" if kind == "a folder" else f"is {kind}"
        told = f"{what}; choose another folder with --out (nothing was changed)"
    assert ended.stderr == f"error: {out}: {told}\n"
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("verb", ["merge", "split"])
def test_packed_file_is_refused_with_the_command_that_helps(tmp_path: Path, verb: str) -> None:
    run = example.write_run(tmp_path / "run", example.ONE).path
    packed = tmp_path / "run.hil.h5"
    assert hil_here("data", "pack", run, "-o", packed).code == 0
    words = (packed, run) if verb == "merge" else (packed, "--by", "core")
    ended = hil_here("data", verb, *words, "--out", tmp_path / "out")
    assert ended.code == 5
    assert f"hil data unpack {packed} --out FOLDER makes one of it" in ended.stderr
    assert not (tmp_path / "out").exists()


def test_full_disk_is_named_and_keeps_nothing_of_a_result(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(PROFILE)
    vectors = "calibration = 2000\nverification = 250"
    campaign = campaign_file(tmp_path, resource="mock://small.toml", vectors=vectors)
    run = tmp_path / "run"
    assert hil("run", campaign, "--out", run).code == 0
    packed = tmp_path / "run.hil.h5"
    assert hil("data", "pack", run, "-o", packed, "--compress", "none").code == 0
    with small_disk(tmp_path / "disk", mib=1) as disk:
        for words in (
            ("data", "pack", run, "-o", disk.folder / "out.hil.h5", "--compress", "gzip"),
            ("data", "unpack", packed, "--out", disk.folder / "out"),
            ("data", "split", run, "--by", "mode", "--out", disk.folder / "out"),
            ("calibrate", "apply", run, "-o", disk.folder / "out.h5"),
        ):
            ended = hil(*words)
            assert ended.code == 5, words
            assert f"{disk.folder}/out" in ended.stderr
            assert ended.stderr.endswith("cannot be written: No space left on device\n")
            assert list(disk.folder.iterdir()) == []
