import os
import time
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator

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
        (
            "read_modes = ['Four-Phase']",
            (
                "read_modes[0]: Input should be 'one_phase' or 'four_phase', got 'Four-Phase'; "
                "did you mean 'four_phase'?"
            ),
        ),
    ],
    ids=lambda value: value.replace("\n", " ") if value.startswith(("[", "read")) else "",
)
def test_a_wrong_line_is_named_with_its_place(line: str, problem: str) -> None:
    text = f'title = "x"\n{line}\n'
    assert problems_of(text) == [problem]


def test_a_missing_key_is_named() -> None:
    assert problems_of("[vectors]\nzeros = 0.1\n") == ["title: is missing"]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("[vectors]\n\nzeros = 2\n", {"title": None, "vectors.zeros": 3}),
        ('title = "x"\nread_modes = [\n  "one_phase",\n  "x",\n]\n', {"read_modes[1]": 4}),
        ('title = "x"\n[[stages]]\n[[stages]]\nzero = 1\n', {"stages[1].zero": 4}),
        ('title = "x"\nvectors = { zeros = 2 }\n', {"vectors.zeros": 2}),
        ('title = "x"\nvectors.zeros = 2\n', {"vectors.zeros": 2}),
        ('title = "x"\n[nmpu]\nin_bits = 4\noff_bits = 3\n', {"nmpu": 4}),
        ('title = """\n[vectors]\nzeros = 2"""\nx = 1\n', {"x": 4}),
        ('title = "x"\r\n[vectors]\r\nzeros = 2\r\n', {"vectors.zeros": 3}),
        ("title = 1979-05-27 07:32:00\n[vectors]\nzeros = 2\n", {"title": 1, "vectors.zeros": 3}),
    ],
    ids=["table", "list", "array", "inline", "dotted", "together", "long-text", "crlf", "kinds"],
)
def test_problem_has_the_line_of_its_key(text: str, lines: dict[str, int | None]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_toml(Campaign, text.encode(), source="c.toml")
    assert {problem.where: problem.line for problem in caught.value.problems} == lines


def test_line_stands_behind_the_file_as_editors_open_it() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_toml(Campaign, b"title = 1", source="c.toml")
    assert str(caught.value) == "c.toml:1: title: Input should be a valid string, got 1"


def test_key_that_is_set_twice_is_named_with_both_lines() -> None:
    text = "title = 'a'\n[vectors]\nzeros = 0\ntitle = 1\nzeros = 1\n[vectors]\n"
    with pytest.raises(ConfigError) as caught:
        parse_toml(Campaign, text.encode(), source="c.toml")
    assert str(caught.value) == (
        "c.toml: 2 problems:\n"
        "  c.toml:5: vectors.zeros: is set twice, here and in line 3\n"
        "  c.toml:6: vectors: is set twice, here and in line 2"
    )


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b"a = 1\nb = \n", 2, "is no TOML: Invalid value (column 5)"),
        (b"a = 1\nb = '\xff'", 2, "is no TOML: 'utf-8' codec can't decode byte 0xff in position"),
        (b"\xef\xbb\xbfa = 1", 1, "is no TOML: begins with a byte-order mark: save it as UTF-8"),
    ],
    ids=["value", "not-utf-8", "mark"],
)
def test_what_is_no_toml_is_found_at_its_line(content: bytes, line: int, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_toml(Campaign, content, source="c.toml")
    (problem,) = caught.value.problems
    assert problem.line == line
    assert problem.message.startswith(message)


def test_all_problems_are_named_at_once() -> None:
    text = "[vectors]\ncalibration = '5'\nzeros = 2.0\n[nmpu]\nmerge = 'x'\n"
    places = [problem.partition(":")[0] for problem in problems_of(text)]
    assert places == ["title", "vectors.calibration", "vectors.zeros", "nmpu.merge"]


@pytest.mark.parametrize(
    ("content", "start"),
    [
        (b"title = ", "is no TOML: Invalid value (at end of document)"),
        (b"title = '\xff'", "is no TOML: 'utf-8' codec can't decode byte 0xff in position 9"),
        (b"PK\x03\x04", "is no TOML: "),
    ],
    ids=["cut", "not-utf-8", "binary"],
)
def test_what_is_no_toml_is_called_so(content: bytes, start: str) -> None:
    (problem,) = problems_of(content)
    assert problem.startswith(start)


@pytest.mark.parametrize(
    "text",
    [
        "seed = " + "9" * 5000,
        "a = " + "[" * 3000 + "]" * 3000,
        "a = " + "{a = " * 3000 + "1" + "}" * 3000,
    ],
    ids=["5000-digits", "nested-lists", "nested-tables"],
)
def test_what_python_cannot_parse_is_called_no_toml(text: str) -> None:
    (problem,) = problems_of(text)
    assert problem.startswith("is no TOML: ")


@pytest.mark.parametrize(
    "text",
    [
        ".".join("a" * 3000) + " = 1",
        "[" + ".".join("a" * 3000) + "]",
        "a = " + "[" * 100 + "]" * 100,
    ],
    ids=["dotted-key", "dotted-table", "lists"],
)
def test_deep_nesting_is_refused_with_the_start_of_its_key(text: str) -> None:
    (problem,) = problems_of(f"title = 'x'\n{text}")
    assert problem.startswith("a")
    assert problem.endswith(": is nested too deep: must be at most 32 levels")
    assert len(problem) < 300


@pytest.mark.parametrize(
    "number",
    ["9223372036854775808", "-9223372036854775809", "0x" + "f" * 5000],
    ids=["2^63", "-2^63-1", "5000-hex-digits"],
)
def test_integer_beyond_64_bits_is_refused_at_its_key(number: str) -> None:
    (problem,) = problems_of(f"title = 'x'\n[vectors]\ncalibration = {number}\n")
    assert problem == (
        "vectors.calibration: is an integer beyond 64 bits: must be -2^63 to 2^63 - 1"
    )


def test_largest_integers_of_64_bits_are_taken() -> None:
    for number in (2**63 - 1, -(2**63)):
        text = f"title = 'x'\n[vectors]\ncalibration = {number}\n"
        assert parse_toml(Campaign, text.encode(), source="").vectors.calibration == number


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("2024-01-31", "date"),
        ("2024-01-31T23:59:59Z", "date"),
        ("2024-01-31T23:59:59", "date"),
        ("23:59:59", "time"),
    ],
    ids=["date", "offset", "local", "time"],
)
def test_date_is_not_taken_for_text(value: str, kind: str) -> None:
    assert problems_of(f"title = {value}") == [
        f"title: is a {kind}: must be text in quotes, a number, true or false"
    ]


def test_every_date_is_named_with_its_key_path() -> None:
    text = "title = 2024-01-31\nread_modes = ['one_phase', 23:59:59]\n[vectors]\nzeros = 2024-01-31"
    places = [problem.partition(":")[0] for problem in problems_of(text)]
    assert places == ["title", "read_modes[1]", "vectors.zeros"]


LONG = "x" * 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        f"title = 'x'\nread_modes = ['{LONG}']",
        f"title = 'x'\n[vectors]\ncalibration = '{LONG}'",
        f"title = 'x'\n{LONG} = 1",
        f"title = 'x'\n[nmpu]\nrounding = '{LONG}'",
        f"{LONG} = 1\n{LONG} = 1",
        f"[{LONG}]\n[{LONG}]",
    ],
    ids=["enumeration", "integer", "key", "section", "key-twice", "table-twice"],
)
def test_value_of_a_megabyte_is_not_printed_whole(text: str) -> None:
    assert all(len(problem) < 400 for problem in problems_of(text))


def test_value_of_a_megabyte_that_a_validator_quotes_is_cut() -> None:
    class Picky(BaseModel):
        name: str

        @field_validator("name")
        @classmethod
        def _refuse(cls, name: str) -> str:
            raise ValueError(f"no such name: {name!r}")

    with pytest.raises(ConfigError) as caught:
        parse_toml(Picky, f"name = '{LONG}'".encode(), source="c.toml")
    assert len(str(caught.value)) < 120
    assert str(caught.value).startswith("c.toml:1: name: no such name: 'xxx")


def test_control_characters_of_a_key_are_not_printed() -> None:
    (problem,) = problems_of('title = "x"\n"a\\u001b[2J" = 1')
    assert problem.startswith("a?[2J: unknown key")


def test_fifo_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "c.toml")
    with pytest.raises(ConfigError, match=r"c\.toml: is no regular file"):
        read_toml_bytes(tmp_path / "c.toml")


def test_path_with_a_nul_is_refused() -> None:
    with pytest.raises(ConfigError, match="null byte"):
        read_toml_bytes(Path("a\0b.toml"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    with pytest.raises(ConfigError) as caught:
        read_toml_bytes(path)
    assert str(caught.value) == f"{path}: no such file"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_toml_bytes(tmp_path)
    assert caught.value.problems == (Problem("", "is a folder"),)


def test_file_content_is_returned_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(b"a = 1\r\n")
    assert read_toml_bytes(path) == b"a = 1\r\n"


def test_file_of_more_than_a_mebibyte_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "big.toml"
    with path.open("wb") as file:
        file.truncate(20 << 30)  # sparse: it takes no room
    with pytest.raises(ConfigError) as caught:
        read_toml_bytes(path)
    assert str(caught.value) == f"{path}: has 21474836480 bytes or more: must be at most 1048576"


def test_text_of_more_than_a_mebibyte_is_not_parsed() -> None:
    assert problems_of(b"#" * (1 << 20)) == ["title: is missing"]
    assert problems_of(b"#" * ((1 << 20) + 1)) == [
        "has 1048577 bytes or more: must be at most 1048576"
    ]


@pytest.mark.parametrize("table", ["", "["], ids=["key", "table"])
def test_endless_dotted_key_is_refused_at_once(table: str) -> None:
    text = table + ".".join(["a"] * 60_000) + ("]" if table else " = 1")
    began_s = time.monotonic()
    (problem,) = problems_of(f"x = 'a.b'\n{text}\n")
    assert time.monotonic() - began_s < 2
    assert problem.endswith(": is nested too deep: must be at most 32 levels")


def test_dots_in_quotes_are_no_key() -> None:
    text = "title = '" + ".".join("a" * 100) + "'  # " + ".".join("b" * 100)
    assert parse_toml(Campaign, text.encode(), source="c.toml").title == ".".join("a" * 100)


def test_of_very_many_problems_the_first_hundred_are_listed_and_the_rest_counted() -> None:
    began_s = time.monotonic()
    wrong = problems_of("title = 'x'\n" + "[[stages]]\nzeros = 2\n" * 5000)
    assert time.monotonic() - began_s < 5
    assert len(wrong) == 101
    assert wrong[99].startswith("stages[99].zeros: Input should be less than 1")
    assert wrong[100] == "and 4900 more problems"
