"""Which command a TOML file is for: told by the key that each such file must have."""

from collections.abc import Mapping
from typing import Any

from hil.core.errors import ConfigError, Problem

CAMPAIGN_TABLE, EVALUATION_TABLE, MAPPING_KEY = "campaign", "network", "form"
"""What a campaign file must have, a file for ``hil evaluate``, and a mapping file."""
_COMMANDS = {
    CAMPAIGN_TABLE: "hil run",
    EVALUATION_TABLE: "hil evaluate",
    MAPPING_KEY: "hil data convert",
}


def is_of_kind(document: Mapping[str, Any], key: str) -> bool:
    """Tell whether a document has the key of one kind, and that of no other."""
    return [each for each in _COMMANDS if each in document] == [key]


def refuse_other_kind(document: Mapping[str, Any], key: str, *, source: str) -> None:
    """Raise `ConfigError` for a file of another command, of whose keys not one would be known.

    Parameters
    ----------
    document
        What the file says.
    key
        Which of the keys the file should have.
    source
        Its name.
    """
    others = [other for other in _COMMANDS if other in document and other != key]
    if key not in document and others:
        message = f"is a file for {_COMMANDS[others[0]]}, not for {_COMMANDS[key]}"
        raise ConfigError(source, [Problem("", message)])
