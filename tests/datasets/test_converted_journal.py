"""What a journal says of a conversion is checked: types, forms of hashes, and the mapping file."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

import example_steps as example
from hil.core.errors import DatasetError
from hil_datasets.integrity.run_check import verify_run
from hil_datasets.journal import parse_event
from hil_datasets.packed.compression import COMPRESSIONS
from hil_datasets.packed.pack import PackOptions, pack_run
from hil_datasets.provenance import provenance_from_attributes, provenance_to_attributes
from hil_datasets.run_directory import RunDirectory

MAPPING = b"schema_version = 1\n"
SHA256 = hashlib.sha256(MAPPING).hexdigest()


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = example.write_run(tmp_path / "run", example.ONE)
    tell(run, mapping_sha256=SHA256, converted_from={"a.csv": SHA256}, synthesised=False)
    (run.path / "mapping.toml").write_bytes(MAPPING)
    return run


def tell(run: RunDirectory, **start: Any) -> None:
    first, *rest = run.journal_path.read_text().splitlines()
    lines = [json.dumps(json.loads(first) | start), *rest]
    run.journal_path.write_text("".join(line + "\n" for line in lines))


def found_in(path: Path) -> list[tuple[str, str]]:
    return [(finding.path, finding.message) for finding in verify_run(path).findings]


def test_mapping_that_fits_its_hash_is_no_problem(run: RunDirectory) -> None:
    assert found_in(run.path) == []


def test_changed_mapping_is_told(run: RunDirectory) -> None:
    (run.path / "mapping.toml").write_bytes(b"other")
    other = hashlib.sha256(b"other").hexdigest()
    message = f"was changed since the run: its SHA-256 is {other}, the journal's {SHA256}"
    assert found_in(run.path) == [("mapping.toml", message)]


def test_missing_mapping_is_told(run: RunDirectory) -> None:
    (run.path / "mapping.toml").unlink()
    assert found_in(run.path) == [("mapping.toml", "no such file")]


def test_run_that_was_fitted_again_tells_of_the_mapping_of_another(run: RunDirectory) -> None:
    (run.path / "mapping.toml").unlink()
    tell(run, refit_of={"core00_one_phase": SHA256})
    assert found_in(run.path) == []


def test_changed_mapping_is_told_of_a_packed_file(run: RunDirectory, tmp_path: Path) -> None:
    (run.path / "mapping.toml").write_bytes(b"other")
    path = tmp_path / "run.hil.h5"
    pack_run(run, path, PackOptions(compression=COMPRESSIONS["gzip"]))
    ((place, message),) = found_in(path)
    assert place == "/entry/files/mapping.toml"
    assert message.startswith("was changed since the run")


@pytest.mark.parametrize(
    ("event", "key", "value", "message"),
    [
        ("start", "converted_from", 5, "is 5: must be an object of SHA-256 hashes"),
        ("start", "converted_from", {"a": "b"}, "is 'b': must be a SHA-256"),
        ("start", "mapping_sha256", "A" * 64, "must be a SHA-256, 64 digits of 0-9 and a-f"),
        ("start", "mapping_sha256", None, "is None: must be a SHA-256"),
        ("resume", "refit_of", {"core00_one_phase": "0" * 63}, "must be a SHA-256"),
        ("start", "synthesised", 1, "is 1: must be true or false"),
        ("step", "synthesised", "yes", "is 'yes': must be true or false"),
    ],
)
def test_key_of_another_type_is_refused(event: str, key: str, value: Any, message: str) -> None:
    content = {"event": event, "utc": "", key: value}
    content |= {"core": 0, "read_mode": "one_phase", "raw_sha256": ""} if event == "step" else {}
    with pytest.raises(DatasetError) as caught:
        parse_event(Path("journal.jsonl"), 1, json.dumps(content).encode())
    assert f"line 1: {event} event: {key}: " in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("instruments", "message"),
    [
        ({"oven": 1}, "must be an object of objects"),
        ({"oven": {"identity": 1}}, "identity of 'oven' must be text, its settings an object"),
        ({"oven": {"settings": "hot"}}, "identity of 'oven' must be text, its settings an object"),
        ({"oven": {"colour": "red"}}, "'oven' has 'colour': must have identity and settings only"),
    ],
)
def test_instrument_of_another_form_is_refused(instruments: dict[str, Any], message: str) -> None:
    attributes = provenance_to_attributes(example.PROVENANCE)
    attributes["provenance/packages"] = json.dumps(attributes["provenance/packages"])
    attributes["provenance/instruments"] = json.dumps(instruments)
    with pytest.raises(ValueError, match="attribute instruments: ") as caught:
        provenance_from_attributes(attributes)
    assert message in str(caught.value)
