"""`hil nmpu` as a user types it: worked numbers, a stored run, and what can be mistyped."""

import shutil
from pathlib import Path

import h5py
import pytest

from command_line import Ended, campaign_file, hil
from hil_datasets.seal import seal_file
from hil_datasets.step_files.concluded import concluded_sha256
from hil_datasets.step_files.reader import read_step

BY_HAND = ("nmpu", "trace", "--p", "100", "--n", "7", "--scale-p", "128", "--scale-n", "64")
OF_STEP = ("--core", "0", "--read-mode", "one_phase")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished run."""
    folder = tmp_path_factory.mktemp("traced")
    ended = hil("run", campaign_file(folder, campaign='cores = [0]\nread_modes = ["one_phase"]'))
    assert ended.code == 0, ended.stderr
    return folder / "run"


def assert_refused(ended: Ended, code: int, *words: str) -> None:
    assert ended.code == code, ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
    for word in words:
        assert word in ended.stderr


def last_codes(ended: Ended) -> list[int]:
    assert ended.code == 0, ended.stderr
    codes: list[int] = ended.json["columns"][0]["stages"][-1]["codes"]
    return codes


def test_numbers_by_hand_are_traced_to_the_worked_output() -> None:
    ended = hil(*BY_HAND, "--offset", "-3")
    assert ended.code == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "output             s8     0          95"


def test_format_and_preset_change_what_is_computed() -> None:
    # 1.0 * 3000 - 0.5 * 7, shifted by 5: 93.6 with 12-bit inputs; 10-bit ones clip at 1023: 31.9
    numbers = ("--p", "3000", "--n", "7", "--scale-p", "128", "--scale-n", "64")
    plain = hil("nmpu", "trace", *numbers, "--format", "shift=5", "--json")
    wide = hil("nmpu", "trace", *numbers, "--format", "shift=5", "--preset", "inputs12", "--json")
    assert (last_codes(plain), last_codes(wide)) == ([32], [94])


def test_repeated_counts_swap_and_relu_are_traced() -> None:
    ended = hil(*BY_HAND, "--p", "5", "--n", "60", "--swap", "--relu", "--json")
    # 7 - 50 = -43, with ReLU 0; 60 - 2.5 = 57.5, a tie that rounds up
    assert last_codes(ended) == [0, 58]


def test_a_stored_column_is_traced_to_what_the_device_computed(run: Path) -> None:
    # Vectors 64 to 95 of this campaign are held out; the device's own outputs are stored.
    ended = hil(
        "nmpu", "trace", run, *OF_STEP, "--column", 17, "--first", 64, "--vectors", 32, "--json"
    )
    with h5py.File(run / "steps" / "core00_one_phase.h5") as step:
        assert last_codes(ended) == step["verification/outputs"][:, 17].tolist()
        stages = ended.json["columns"][0]["stages"]
        assert stages[0]["codes"] == step["raw"][64:, 0, 17].tolist()
    assert ended.json["vectors"] == list(range(64, 96))
    assert ended.json["columns"][0]["column"] == 17
    assert ended.json["saturation"]["vectors"] == 96
    assert ended.json["saturation"]["input_p"] == 0


def test_a_stored_column_is_printed_with_its_saturation(run: Path) -> None:
    ended = hil("nmpu", "trace", run, *OF_STEP, "--column", 3)
    assert ended.code == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[2].startswith("column 3: scale_p=")
    assert "vector 0     vector 1     vector 2     vector 3" in lines[3]
    assert lines[-1].startswith("clipped or wrapped in the whole step: vectors 96, input_p 0,")


def test_codes_of_the_device_stand_below_those_of_the_model(run: Path) -> None:
    # Vectors 62 and 63 are for calibration: the device corrected none of these.
    ended = hil("nmpu", "trace", run, *OF_STEP, "--column", 17, "--first", 62)
    assert (ended.code, ended.stderr) == (0, "")
    (output,) = (line for line in ended.stdout.splitlines() if line.startswith("output "))
    (device,) = (line for line in ended.stdout.splitlines() if line.startswith("device "))
    assert device.split()[:5] == ["device", "s8", "0", "-", "-"]
    assert device.split()[5:] == output.split()[5:]


def test_vectors_that_the_device_did_not_correct_are_not_compared(run: Path) -> None:
    ended = hil("nmpu", "trace", run, *OF_STEP, "--column", 17, "--json")
    assert ended.code == 0
    assert ended.json["columns"][0]["device"] == {"codes": [None] * 4, "differs": [False] * 4}


@pytest.fixture(scope="module")
def lying_run(run: Path) -> Path:
    """The same run, had the device's NMPU found one more in vector 65 of column 17."""
    copy = run.with_name("lying")
    shutil.copytree(run, copy)
    path = copy / "steps" / "core00_one_phase.h5"
    was = concluded_sha256(read_step(path).conclusion)
    with h5py.File(path, "r+") as step:
        step["verification/outputs"][1, 17] += 1
    seal_file(path)
    journal = copy / "journal.jsonl"
    text = journal.read_text()
    assert text.count(was) == 1
    journal.write_text(text.replace(was, concluded_sha256(read_step(path).conclusion)))
    return copy


def test_codes_of_the_device_that_differ_are_marked_and_end_with_1(lying_run: Path) -> None:
    ended = hil("nmpu", "trace", lying_run, *OF_STEP, "--column", 17, "--first", 64)
    assert ended.code == 1
    (device,) = (line for line in ended.stdout.splitlines() if line.startswith("device "))
    assert [code.endswith("!") for code in device.split()[3:]] == [False, True, False, False]
    assert ended.stderr.startswith("1 of the device's outputs above differ from the integer model")


def test_a_difference_is_found_before_relu_and_in_json(lying_run: Path) -> None:
    ended = hil(
        "nmpu", "trace", lying_run, *OF_STEP, "--column", 17, "--first", 64, "--relu", "--json"
    )
    assert ended.code == 1
    assert ended.json["columns"][0]["device"]["differs"] == [False, True, False, False]


@pytest.mark.parametrize("arguments", [("--column", 17, "--first", 66), ("--column", 16)])
def test_differences_elsewhere_do_not_count(lying_run: Path, arguments: tuple[object, ...]) -> None:
    assert hil("nmpu", "trace", lying_run, *OF_STEP, *arguments).code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--core", 9, "--read-mode", "one_phase", "--column", 0), 3,
         ["has no finished step core09_one_phase; there are: core00_one_phase"]),
        ((*OF_STEP, "--column", 256), 3, ["--column: 256: must be 0 to 255"]),
        ((*OF_STEP, "--column", 0, "--first", 96), 3, ["--first: 96: must be 0 to 95"]),
        (OF_STEP, 2, ["a folder RUN needs --column as well"]),
        ((*OF_STEP, "--column", 0, "--n", 0), 2, ["--n has no place beside a folder RUN"]),
    ],
    ids=["core", "column", "first", "missing", "by-hand"],
)  # fmt: skip
def test_what_a_run_does_not_hold_is_refused(
    run: Path, arguments: tuple[object, ...], code: int, words: list[str]
) -> None:
    assert_refused(hil("nmpu", "trace", run, *arguments), code, *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nmpu", "trace"), ["needs a folder RUN, or numbers by hand: --p, --n, --scale-p"]),
        ((*BY_HAND, "--p", 1), ["--p is there 2 times, --n 1 times"]),
        ((*BY_HAND, "--core", 0), ["--core needs a folder RUN"]),
        ((*BY_HAND, "--format", "shift=x"), ["shift = 'x': must be a whole number"]),
        ((*BY_HAND, "--format", "scale_int=0"), ["scale_p of column 0 is 128: must be 0 to 127"]),
        ((*BY_HAND, "--preset", "none"), ["'none' is not one of"]),
    ],
    ids=["nothing", "pairs", "core", "format", "codes", "preset"],
)
def test_what_is_mistyped_is_a_usage_error(arguments: tuple[object, ...], words: list[str]) -> None:
    assert_refused(hil(*arguments), 2, *words)


def test_a_folder_that_holds_no_run_is_refused(tmp_path: Path) -> None:
    ended = hil("nmpu", "trace", tmp_path / "none", *OF_STEP, "--column", 0)
    assert_refused(ended, 5, "no such folder")


def test_presets_are_listed_with_what_differs() -> None:
    lines = hil("nmpu", "presets").stdout.splitlines()
    assert lines[0].startswith("paper       in_bits=10,scale_int=1,")
    assert lines[1:] == [
        "offset9     off_bits=9",
        "inputs12    in_bits=12",
        "truncating  rounding=floor",
    ]


def test_presets_are_whole_formats_as_json() -> None:
    content = hil("nmpu", "presets", "--json").json
    assert list(content) == ["paper", "offset9", "inputs12", "truncating"]
    assert content["offset9"]["off_bits"] == 9
    assert len(content["paper"]) == 16
