from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field

from hil.core.errors import ConfigError, Problem
from hil.core.nmpu_format import NmpuFormat
from hil.core.readout import ReadMode
from hil.core.toml_file import parse_toml, read_toml_bytes


class Vectors(BaseModel):
    model_config = ConfigDict(extra="forbid")

    calibration: int = 512
    zeros: float = Field(default=0.3, ge=0, lt=1)
    is_random: bool = True


class Campaign(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: str
    read_modes: list[ReadMode] = []
    vectors: Vectors = Vectors()
    spare: Vectors | None = None
    stages: list[Vectors] = []
    nmpu: NmpuFormat = NmpuFormat()


def problems_of(text: str | bytes) -> list[str]:
    content = text.encode() if isinstance(text, str) else text
    with pytest.raises(ConfigError) as caught:
        parse_toml(Campaign, content, source="c.toml")
    assert caught.value.source == "c.toml"
    return [str(problem) for problem in caught.value.problems]


def test_a_good_file_becomes_the_model() -> None:
    text = 'title = "x"\nread_modes = ["four_phase"]\n[vectors]\nzeros = 0\n[nmpu]\nin_bits = 12\n'
    campaign = parse_toml(Campaign, text.encode(), source="c.toml")
    assert campaign.read_modes == [ReadMode.FOUR_PHASE]
    assert campaign.vectors.zeros == 0
    assert campaign.nmpu == NmpuFormat(in_bits=12)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            "[vectors]\ncalibratoin = 5",
            "vectors.calibratoin: unknown key; did you mean 'calibration'?",
        ),
        (
            "[vectors]\nqqq = 5",
            "vectors.qqq: unknown key; known keys: calibration, zeros, is_random",
        ),
        ("[spare]\nzeroes = 5", "spare.zeroes: unknown key; did you mean 'zeros'?"),
        ("[[stages]]\nzeroes = 5", "stages[0].zeroes: unknown key; did you mean 'zeros'?"),
        ("[nmpu]\nroundin = 'floor'", "nmpu.roundin: unknown key; did you mean 'rounding'?"),
        (
            "[vector]\nzeros = 0.1",
            "vector: unknown key; did you mean 'vectors'?",
        ),
        (
            "[vectors]\ncalibration = '512'",
            "vectors.calibration: Input should be a valid integer, got '512'",
        ),
        (
            "[vectors]\ncalibration = true",
            "vectors.calibration: Input should be a valid integer, got True",
        ),
        (
            "[vectors]\ncalibration = 512.0",
            "vectors.calibration: Input should be a valid integer, got 512.0",
        ),
        ("[vectors]\nis_random = 1", "vectors.is_random: Input should be a valid boolean, got 1"),
        ("[vectors]\nzeros = '0.5'", "vectors.zeros: Input should be a valid number, got '0.5'"),
        ("[vectors]\nzeros = nan", "vectors.zeros: Input should be less than 1, got nan"),
        ("[vectors]\nzeros = inf", "vectors.zeros: Input should be less than 1, got inf"),
        ("[vectors]\nzeros = 1.0", "vectors.zeros: Input should be less than 1, got 1.0"),
        ("[nmpu]\nin_bits = true", "nmpu.in_bits: Input should be a valid integer, got True"),
        ("[nmpu]\nin_bits = 99", "nmpu: in_bits = 99: must be 1 to 16"),
        (
            "read_modes = ['fast']",
            "read_modes[0]: Input should be 'one_phase' or 'four_phase', got 'fast'",
        ),
    ],
    ids=lambda value: value.replace("\n", " ") if value.startswith(("[", "read")) else "",
)
def test_a_wrong_line_is_named_with_its_place(line: str, problem: str) -> None:
    text = f'title = "x"\n{line}\n'
    assert problems_of(text) == [problem]


def test_a_missing_key_is_named() -> None:
    assert problems_of("[vectors]\nzeros = 0.1\n") == ["title: is missing"]


def test_all_problems_are_named_at_once() -> None:
    text = "[vectors]\ncalibration = '5'\nzeros = 2.0\n[nmpu]\nmerge = 'x'\n"
    places = [problem.partition(":")[0] for problem in problems_of(text)]
    assert places == ["title", "vectors.calibration", "vectors.zeros", "nmpu.merge"]


@pytest.mark.parametrize(
    ("content", "start"),
    [
        (b"title = ", "is no TOML: Invalid value (at end of document)"),
        (b"title = 'a'\ntitle = 'b'", "is no TOML: Cannot overwrite a value"),
        (b"title = '\xff'", "is no TOML: 'utf-8' codec can't decode byte 0xff in position 9"),
        (b"PK\x03\x04", "is no TOML: "),
    ],
    ids=["cut", "twice", "not-utf-8", "binary"],
)
def test_what_is_no_toml_is_called_so(content: bytes, start: str) -> None:
    (problem,) = problems_of(content)
    assert problem.startswith(start)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    with pytest.raises(ConfigError) as caught:
        read_toml_bytes(path)
    assert str(caught.value) == f"{path}: no such file"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_toml_bytes(tmp_path)
    assert caught.value.problems == (Problem("", "Is a directory"),)


def test_file_content_is_returned_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(b"a = 1\r\n")
    assert read_toml_bytes(path) == b"a = 1\r\n"
