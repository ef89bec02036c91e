"""The child of `GuardedReader`: takes questions from stdin, answers on stdout, a line each."""

import json
import os
import resource
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hil_datasets.integrity.index_check import check_index, write_run_index
from hil_datasets.integrity.part_check import check_part
from hil_datasets.integrity.salvage import salvage_readouts
from hil_datasets.integrity.step_check import check_step
from hil_datasets.integrity.suspect_check import check_suspect
from hil_datasets.integrity.tree import walk_file
from hil_datasets.packed.pack_check import check_pack, check_packed_step

_ROOM_BYTES = 96 << 20
"""Memory for everything that does not grow with a file: libraries, buffers, a thread's stack."""

QUESTIONS: Mapping[str, Callable[..., Iterator[dict[str, Any]]]] = {
    "step": check_step,
    "part": check_part,
    "index": check_index,
    "suspect": check_suspect,
    "tree": walk_file,
    "pack": check_pack,
    "packed_step": check_packed_step,
    "salvage": salvage_readouts,
    "write_index": write_run_index,
}
"""What can be asked, and what answers."""


def main() -> None:
    """Say that it has started, then answer until stdin ends."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints is no answer
    answers.write('{"is_end": true}\n')  # of the start
    for line in sys.stdin:
        question = json.loads(line)
        path = Path(question.pop("path"))
        answer = QUESTIONS[question.pop("what")]
        _limit_memory(path, question.pop("other_bytes", 0))
        try:
            for part in answer(path, **question):
                answers.write(json.dumps(part) + "\n")
        except MemoryError:
            answers.write(json.dumps({"out_of_memory": True}) + "\n")
        answers.write('{"is_end": true}\n')


def _limit_memory(path: Path, other_bytes: int) -> None:
    """Leave room for what a file honestly holds, and for no more."""
    try:
        size = path.stat().st_size
        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (OSError, ValueError):  # another system, which may not say or limit it
        return
    # What is read, once more for what is made of it.
    limit = held + 2 * (size + other_bytes) + _ROOM_BYTES
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
