"""The protocol's commands, and what repeating each one does.

A host that gets no answer does not know whether its request was carried out. Whether it may send
it again is part of each command's definition; ``docs/reference/protocol.md`` has the same in its
column "again".
"""

from dataclasses import dataclass
from enum import Enum

from hil_drivers.scpi import spellings


class Repeat(Enum):
    """What a command does when it is sent a second time."""

    SAFE = "same"
    """It changes nothing."""
    MEASURES = "a new measurement"
    """It measures again, and what it answers is another measurement's result."""
    TAKES = "the next one"
    """It removes what it answers, and answers with what comes after."""
    WEARS = "wears the devices"
    """It shortens the chip's life."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command of the protocol."""

    pattern: str
    """Header in its long form, with the short form in upper case."""
    repeat: Repeat
    """What the second time does."""


COMMANDS = (
    Command("*IDN?", Repeat.SAFE),
    Command("*RST", Repeat.SAFE),
    Command("*CLS", Repeat.SAFE),
    Command("*ESE", Repeat.SAFE),
    Command("*ESE?", Repeat.SAFE),
    Command("*ESR?", Repeat.TAKES),
    Command("*OPC", Repeat.SAFE),
    Command("*OPC?", Repeat.SAFE),
    Command("*SRE", Repeat.SAFE),
    Command("*SRE?", Repeat.SAFE),
    Command("*STB?", Repeat.SAFE),
    Command("*WAI", Repeat.SAFE),
    Command("*TST?", Repeat.SAFE),
    Command("SYSTem:ERRor[:NEXT]?", Repeat.TAKES),
    Command("SYSTem:VERSion?", Repeat.SAFE),
    Command("SYSTem:BOOT?", Repeat.SAFE),
    Command("SYSTem:LOCK:REQuest?", Repeat.SAFE),
    Command("SYSTem:LOCK:RELease", Repeat.SAFE),
    Command("SYSTem:LOCK:OWNer?", Repeat.SAFE),
    Command("CHIP:PROTocol?", Repeat.SAFE),
    Command("CHIP:GEOMetry?", Repeat.SAFE),
    Command("CHIP:SOURce?", Repeat.SAFE),
    Command("CORE:SELect", Repeat.SAFE),
    Command("CORE:SELect?", Repeat.SAFE),
    Command("CORE:PROGram", Repeat.WEARS),
    Command("CORE:PROGram?", Repeat.SAFE),
    Command("TEMPerature?", Repeat.MEASURES),
    Command("SAFE", Repeat.SAFE),
    Command("READ:MODE", Repeat.SAFE),
    Command("READ:MODE?", Repeat.SAFE),
    Command("INPut:DATA", Repeat.SAFE),
    Command("READ?", Repeat.MEASURES),
    Command("READ:LATChed?", Repeat.SAFE),
    Command("FETCh:COUNts?", Repeat.SAFE),
    Command("FETCh:OUTPuts?", Repeat.SAFE),
    Command("SIMulation:VECTor", Repeat.SAFE),
    Command("STReam:STARt", Repeat.MEASURES),
    Command("STReam:ACKNowledge", Repeat.SAFE),
    Command("STReam:FETCh?", Repeat.SAFE),
    Command("STReam:STATe?", Repeat.SAFE),
    Command("STReam:STOP", Repeat.SAFE),
    Command("NMPU:STATe", Repeat.SAFE),
    Command("NMPU:STATe?", Repeat.SAFE),
    Command("NMPU:FORMat", Repeat.SAFE),
    Command("NMPU:FORMat?", Repeat.SAFE),
    Command("NMPU:REGisters", Repeat.SAFE),
    Command("NMPU:REGisters?", Repeat.SAFE),
)
"""Every command that a host of this project may send."""

_BY_SPELLING = {
    spelling: command.repeat for command in COMMANDS for spelling in spellings(command.pattern)
}


def repeat_of(request: str) -> Repeat:
    """Return what sending a request again would do; an unknown command is taken to wear the chip.

    Examples
    --------
    >>> repeat_of("CORE:SEL 3")
    <Repeat.SAFE: 'same'>
    >>> repeat_of("FROB:NICATE")
    <Repeat.WEARS: 'wears the devices'>
    """
    header = request.split(maxsplit=1)[0] if request.strip() else ""
    return _BY_SPELLING.get(header.upper().removeprefix(":"), Repeat.WEARS)
