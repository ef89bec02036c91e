"""Which run of a campaign of several chips has which chip, by what the chip says it is.

Addresses in other words, or two ways to one device, can lead two runs to one chip. Whoever opens a
chip first claims it in the folder of all runs, by the operating system's lock (flock) on
``OUT/claim-SERIAL-HASH``, which ends with the process however that ends; the file names the run.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hil.campaign.chips.campaigns import problem_at
from hil.campaign.chips.chips_folder import is_chips_folder
from hil.campaign.config.instruments import MOCK
from hil.campaign.config.load import Campaign
from hil.core.errors import ConfigError, Problem
from hil.core.legible import quoted
from hil.core.readout import ChipIdentity
from hil_datasets.chip_book.chip_key import SUFFIX, ChipKey

_NO_SERIALS = frozenset({"", "0"})
"""Serial numbers that tell nothing: IEEE 488.2-1992, 10.14.3, has 0 for a device without one."""
_LONGEST_NAME = 100


@contextmanager
def claimed_chip(identity: ChipIdentity, run: Path, campaign: Campaign) -> Iterator[None]:
    """Claim a chip for the length of a ``with`` block, where a run is one of several.

    Parameters
    ----------
    identity
        Who the chip says it is; one without a serial number is not claimed.
    run
        Folder of the run, which need not be there yet.
    campaign
        What is run on it; a private mock belongs to nobody else, and is not claimed.

    Raises
    ------
    ConfigError
        If another run of the folder has it.
    """
    folder = run.absolute().parent
    resource = campaign.config.device.resource
    has_name = identity.serial.strip() not in _NO_SERIALS
    if not has_name or resource.startswith(MOCK) or not is_chips_folder(folder):
        yield
        return
    key = ChipKey.of(identity)
    path = folder / f"claim-{key.file_name.removesuffix(SUFFIX)}"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise ConfigError(str(path), [Problem("", error.strerror or str(error))]) from error
    try:
        if not _lock(descriptor):
            other = os.pread(descriptor, _LONGEST_NAME, 0).decode(errors="replace").strip()
            message = (
                f"{quoted(resource)} leads to {key}, which {other or 'another run'} of this "
                "campaign measures at this moment: two campaigns at one chip would program and "
                "read each other's weights; give each chip the address of its own"
            )
            problem = problem_at(campaign, ("device", "resource"), message)
            raise ConfigError(str(campaign.path), [problem])
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, run.name.encode()[:_LONGEST_NAME], 0)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without such locks: the device's own lock has to do
    return True
