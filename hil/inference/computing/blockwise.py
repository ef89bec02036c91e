"""Work on many vectors in blocks that stay in the cache, by as many threads as torch may use.

torch would share each operation among its threads, and wait for all of them each time; on a busy
machine that costs many times the operation. Blocks below its grain size are one thread's affair.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

BLOCK_VALUES = 1 << 15
"""Values of one block: torch's grain size, 128 KiB of float32."""
_BLOCKS_AT_ONCE = 16
"""Blocks that a thread takes at a time, so that few turns are needed."""


def for_each_block(
    work: Callable[[int, int], None], vectors: int, *, values: int, device: "torch.device"
) -> None:
    """Call ``work(first, stop)`` for blocks of vectors; once for all where there is no cache.

    Parameters
    ----------
    work
        Works on the vectors from `first` to before `stop`; several threads may call it.
    vectors
        Number of vectors.
    values
        Values of one vector.
    device
        Where the work is done.
    """
    import torch  # noqa: PLC0415 - the extra `inference`

    if device.type != "cpu":
        work(0, vectors)
        return
    size = max(1, BLOCK_VALUES // max(values, 1))
    spans = iter(range(0, vectors, size * _BLOCKS_AT_ONCE))
    is_inference = torch.is_inference_mode_enabled()  # each thread has a mode of its own

    def share() -> None:
        with torch.inference_mode(is_inference):
            for start in spans:
                stop = min(start + size * _BLOCKS_AT_ONCE, vectors)
                for first in range(start, stop, size):
                    work(first, min(first + size, stop))

    turns = -(-vectors // (size * _BLOCKS_AT_ONCE))
    helpers = min(torch.get_num_threads(), turns) - 1
    futures = [_pool(torch.get_num_threads()).submit(share) for _ in range(helpers)]
    share()
    for future in futures:
        future.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="blocks")
