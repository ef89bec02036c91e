"""``python -m hil_drivers.discovery.visa_listing BACKEND``: what one VISA library lists, as JSON.

A process of its own: a vendor's library may hang or crash, and some print as they like.
"""

import json
import sys
import warnings
from typing import Any


def main() -> None:
    """Print the resources of a backend, or why there are none."""
    warnings.simplefilter("ignore")  # what cannot be looked for is told by `cannot`
    backend = sys.argv[1]
    document: dict[str, Any]
    try:
        document = _listing(backend)
    except Exception as error:  # noqa: BLE001 - a vendor's library raises what it likes
        document = {"error": f"{type(error).__name__}: {error}"}
    sys.__stdout__.write("\n" + json.dumps(document) + "\n")  # type: ignore[union-attr]


def _listing(backend: str) -> dict[str, Any]:
    import pyvisa  # noqa: PLC0415 - 250 ms, and it may be what fails

    manager = pyvisa.ResourceManager(backend)
    names = manager.list_resources("?*")
    known = manager.visalib.get_debug_info() if backend == "@py" else {}
    if isinstance(known, list):
        known = {}
    cannot = {kind: " ".join(words) for kind, words in known.items() if isinstance(words, list)}
    return {"resources": sorted(map(str, names)), "cannot": cannot}


if __name__ == "__main__":
    main()
