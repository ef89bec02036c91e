"""The check sums of a seal's parts are checked as well, though no other covers them."""

from pathlib import Path

import pytest

import example_steps as example
from hil_datasets.integrity.run_check import verify_run
from hil_datasets.seal import SEAL_BYTES, check_seal


def change_line(path: Path, begin: bytes, word: int) -> None:
    """Change the last character of a word in the line of a seal."""
    content = path.read_bytes()
    seal, rest = content[:SEAL_BYTES], content[SEAL_BYTES:]
    (line,) = (line for line in seal.split(b"\n") if line.startswith(begin))
    words = line.split(b" ")
    words[word] = words[word][:-1] + (b"1" if words[word].endswith(b"0") else b"0")
    path.write_bytes(seal.replace(line, b" ".join(words)) + rest)


@pytest.mark.parametrize("begin", [b"part inputs", b"part raw", b"part expected", b"rest"])
def test_changed_check_sum_of_a_part_is_found(tmp_path: Path, begin: bytes) -> None:
    run = example.write_run(tmp_path / "run", example.ONE)
    change_line(run.step_path(example.ONE), begin, -1)
    found = verify_run(run.path).findings
    assert [(str(one.kind), one.path) for one in found] == [
        ("checksum", "steps/core00_one_phase.h5")
    ]


def test_part_that_lies_behind_the_end_of_the_file_is_refused(tmp_path: Path) -> None:
    run = example.write_run(tmp_path / "run", example.ONE)
    path = run.step_path(example.ONE)
    seal = path.read_bytes()[:SEAL_BYTES]
    offset = next(line for line in seal.split(b"\n") if line.startswith(b"part raw")).split()[2]
    content = path.read_bytes().replace(b"raw " + offset, b"raw 9" + offset[1:], 1)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"do not match their (seal|CRC-32C)"):
        check_seal(path)
