from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.core.errors import ConfigError
from hil.core.readout import ChipIdentity
from hil_datasets.chip_book.chip_key import ChipKey
from hil_datasets.chip_book.place import books_folder, user_data_folder

ANY_TEXT = st.text(st.characters())  # halves of characters included


def key(serial: str, *, manufacturer: str = "m", model: str = "x") -> ChipKey:
    return ChipKey(manufacturer=manufacturer, model=model, serial=serial)


@given(manufacturer=ANY_TEXT, model=ANY_TEXT, serial=ANY_TEXT)
def test_any_identity_makes_a_safe_file_name(manufacturer: str, model: str, serial: str) -> None:
    name = key(serial, manufacturer=manufacturer, model=model).file_name
    assert set(name) <= set("-.abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
    assert not name.startswith((".", "-"))
    assert name.count(".") == 1
    assert len(name) <= 70


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (key("A7"), key("a7")),
        (key("A 7"), key("A/7")),
        (key("b", model="a"), key("ab", model="")),
        (key("b", manufacturer="a"), key("b", model="a")),
        (key("\udcff"), key("\\udcff")),
        (key("x" * 50), key("x" * 51)),
        (key(""), key("chip")),
    ],
    ids=["case", "separator", "shifted", "field", "half_a_character", "long", "empty"],
)
def test_chips_alike_have_different_files(one: ChipKey, other: ChipKey) -> None:
    assert one.file_name.lower() != other.file_name.lower()


def test_file_name_shows_the_serial_number() -> None:
    # printf '["m", "x", "A7"]' | sha256sum
    assert key("A7").file_name == "A7-da5eeceeedaa4abd.jsonl"


def test_firmware_is_no_part_of_the_chip() -> None:
    old = ChipIdentity(manufacturer="m", model="x", serial="1", firmware="1.0")
    new = ChipIdentity(manufacturer="m", model="x", serial="1", firmware="2.0")
    assert ChipKey.of(old) == ChipKey.of(new) == key("1")


def test_environment_names_the_data_folder() -> None:
    folder = user_data_folder({"AIMC_HIL_DATA": "/bench/data"})
    assert books_folder(folder) == Path("/bench/data/chips")


def test_data_folder_is_that_of_the_system_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert user_data_folder({"AIMC_HIL_DATA": ""}) == tmp_path / "aimc-hil"
    assert list(tmp_path.iterdir()) == []


def test_relative_data_folder_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^AIMC_HIL_DATA: must be an absolute path, got 'data'$"):
        user_data_folder({"AIMC_HIL_DATA": "data"})
