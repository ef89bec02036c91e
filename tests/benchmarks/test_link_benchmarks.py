"""The benchmarks of the link run, and every contender receives all that was sent."""

import re

from benchmarks.streaming_link import RATIOS, link_contenders, link_table
from benchmarks.timing import time_in_turns


def test_every_way_to_receive_is_compared() -> None:
    with link_contenders(3) as contenders:
        timed = time_in_turns(contenders, 1)
    # Three frames of 1023 vectors of 256 columns, 32 + 4 bytes around the counts, text around that.
    assert 3 * (1024 * 1023 + 36) < timed["sendall to our stream"].work < 3 * (1 << 20)
    lines = link_table(timed)
    for kernel, rival in RATIOS:
        (line,) = [line for line in lines if line.startswith(f"{kernel} against {rival}: ")]
        assert re.search(r"\d\.\d\d x", line)
