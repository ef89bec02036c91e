"""Which chip a book is of."""

import hashlib
import json
import re
from dataclasses import dataclass

from hil.core.legible import printable
from hil.core.readout import ChipIdentity

SUFFIX = ".jsonl"
"""Ending of a book's file."""

_LONGEST_SERIAL = 40
"""Characters of the serial number in a file name: enough to recognise the chip."""


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class ChipKey:
    """What tells a chip from every other one. Its firmware does not: that can be replaced."""

    manufacturer: str
    """First field of ``*IDN?``."""
    model: str
    """Second field."""
    serial: str
    """Third field."""

    @classmethod
    def of(cls, identity: ChipIdentity) -> "ChipKey":
        """Return the key of the chip that a device says it is."""
        return cls(manufacturer=identity.manufacturer, model=identity.model, serial=identity.serial)

    @property
    def file_name(self) -> str:
        """Name of the book's file: safe whatever a device calls itself, another for each chip.

        The readable part is for people; the hash of all three fields tells chips apart.

        Examples
        --------
        >>> ChipKey(manufacturer="a", model="b", serial="../7 ").file_name
        '7-12b9d182bfa1e3a3.jsonl'
        """
        readable = re.sub(r"[^A-Za-z0-9]+", "-", self.serial[:_LONGEST_SERIAL]).strip("-")
        # JSON in ASCII is another text for each three fields, halves of characters included.
        fields = json.dumps([self.manufacturer, self.model, self.serial])
        digest = hashlib.sha256(fields.encode("ascii")).hexdigest()[:16]
        return f"{readable or 'chip'}-{digest}{SUFFIX}"

    def __str__(self) -> str:
        return printable(f"{self.manufacturer} {self.model}, serial {self.serial}")
