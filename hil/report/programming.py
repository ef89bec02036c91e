"""What a run says of its chip that is no number: steps begun anew, whether there is an NMPU."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from hil_datasets.provenance import Provenance


def steps_begun_anew(events: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return a line for each time that a step had to begin anew: its core was programmed again."""
    return tuple(
        f"{event.get('step', '')} was begun anew, since its core was programmed again: "
        f"{event.get('vectors', 0)} vectors of the former programming are not used "
        f"({event.get('file', '')})"
        for event in events
        if event["event"] == "suspect" and "programming" in event
    )


def has_nmpu(provenance: Provenance | None) -> bool:
    """Tell whether a step's campaign says that the device has an NMPU; True if nothing says it."""
    campaign = {} if provenance is None else json.loads(provenance.campaign)
    device = campaign.get("device", {})
    return not isinstance(device, dict) or device.get("has_nmpu", True) is not False
