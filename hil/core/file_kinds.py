"""Which command a TOML file is for: told by the table that each such file must have."""

from collections.abc import Mapping
from typing import Any

from hil.core.errors import ConfigError, Problem

CAMPAIGN_TABLE, EVALUATION_TABLE = "campaign", "network"
"""What a campaign file must have, and a file for ``hil evaluate``."""
_COMMANDS = {CAMPAIGN_TABLE: "hil run", EVALUATION_TABLE: "hil evaluate"}


def is_of_kind(document: Mapping[str, Any], table: str) -> bool:
    """Tell whether a document has one kind's table, and no other's."""
    return [each for each in _COMMANDS if each in document] == [table]


def refuse_other_kind(document: Mapping[str, Any], table: str, *, source: str) -> None:
    """Raise `ConfigError` for a file of another command, of whose keys not one would be known.

    Parameters
    ----------
    document
        What the file says.
    table
        Which of the tables the file should have.
    source
        Its name.
    """
    others = [other for other in _COMMANDS if other in document and other != table]
    if table not in document and others:
        message = f"is a file for {_COMMANDS[others[0]]}, not for {_COMMANDS[table]}"
        raise ConfigError(source, [Problem("", message)])
