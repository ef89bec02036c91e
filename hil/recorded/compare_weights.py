"""Which weights a run programmed, as its journal tells."""

from collections.abc import Iterable, Mapping
from typing import Any


def weights_in(events: Iterable[Mapping[str, Any]], core: int) -> frozenset[str]:
    """Return the digests of all weights that a run has programmed into a core.

    None if its journal does not say: that of a replay, or of a run of several processes whose core
    kept its weights.

    Examples
    --------
    >>> sorted(weights_in([{"event": "program", "core": 2, "weights": "sha256:ab"}], 2))
    ['sha256:ab']
    """
    return frozenset(
        event["weights"]
        for event in events
        if event["event"] == "program" and event["core"] == core
    )
