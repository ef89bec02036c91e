"""What a step was made with: the whole campaign, the software, the instruments."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What a step was made with; nothing of it differs between two runs of one campaign.

    Raises
    ------
    ValueError
        If the campaign is no JSON object.
    """

    campaign: str
    """The campaign with all that is said anywhere, canonical JSON."""
    commit: str = ""
    """Commit of the software, ``+dirty`` after it where files were changed; empty if it is not
    known."""
    packages: Mapping[str, str] = field(default_factory=dict)
    """Name and version of the packages that it works with."""
    instruments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """``identity`` and ``settings`` of each bench instrument, by its name in the campaign."""

    def __post_init__(self) -> None:
        if not isinstance(json.loads(self.campaign), dict):
            raise ValueError("campaign: must be a JSON object")  # noqa: TRY004 - it is a text

    @property
    def resolved_sha256(self) -> str:
        """Hash of the campaign."""
        return hashlib.sha256(self.campaign.encode()).hexdigest()


def provenance_to_attributes(provenance: Provenance | None) -> dict[str, Any]:
    """Return the attributes of a step file, by their paths; none if nothing is known."""
    if provenance is None:
        return {}
    return {
        "provenance/campaign": provenance.campaign,
        "provenance/resolved_sha256": provenance.resolved_sha256,
        "provenance/commit": provenance.commit,
        "provenance/packages": dict(provenance.packages),
        "provenance/instruments": {
            name: dict(said) for name, said in provenance.instruments.items()
        },
    }


def provenance_from_attributes(attributes: Mapping[str, Any]) -> Provenance | None:
    """Return what `provenance_to_attributes` has stored.

    Raises
    ------
    ValueError
        If it cannot be meant, or the campaign does not match its hash.
    """
    if "provenance/campaign" not in attributes:
        return None
    packages = _objects("packages", attributes)
    if not all(isinstance(version, str) for version in packages.values()):
        raise ValueError("attribute packages: must be an object of texts")
    instruments = _objects("instruments", attributes)
    for name, said in instruments.items():
        _check_instrument(name, said)
    try:
        provenance = Provenance(
            campaign=attributes["provenance/campaign"],
            commit=attributes["provenance/commit"],
            packages=packages,
            instruments=instruments,
        )
    except (ValueError, RecursionError) as error:
        raise ValueError(f"attribute campaign: {error}") from error
    if provenance.resolved_sha256 != attributes["provenance/resolved_sha256"]:
        raise ValueError("attribute resolved_sha256: is not that of the campaign")
    return provenance


def _check_instrument(name: str, said: object) -> None:
    if not isinstance(said, dict):
        raise ValueError("attribute instruments: must be an object of objects")  # noqa: TRY004
    unknown = sorted(said.keys() - {"identity", "settings"})
    if unknown:
        message = f"{name!r} has {unknown[0]!r}: must have identity and settings only"
        raise ValueError(f"attribute instruments: {message}")
    is_text = isinstance(said.get("identity", ""), str)
    if not is_text or not isinstance(said.get("settings", {}), dict):
        message = f"identity of {name!r} must be text, its settings an object"
        raise ValueError(f"attribute instruments: {message}")


def _objects(name: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
    try:
        value = json.loads(attributes[f"provenance/{name}"])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"attribute {name}: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"attribute {name}: must be an object")  # noqa: TRY004 - it is a text
    return value
