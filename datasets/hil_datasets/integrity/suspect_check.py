"""Whether readouts that a guard has put aside can be read."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hil_datasets.integrity.finding import FindingKind
from hil_datasets.integrity.step_check import problem

MEMBERS = ("counts.npy", "expected.npy", "first_vector.npy", "reason.npy")


def check_suspect(path: Path) -> Iterator[dict[str, Any]]:
    """Yield what is wrong with an archive of suspect readouts; its CRCs say whether it is whole."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(member.filename for member in archive.infolist())
            missing = [name for name in MEMBERS if name not in names]
            if missing:
                message = f"lacks {', '.join(missing)}"
                yield problem(FindingKind.SCHEMA, "", message)
            for member in archive.infolist():
                # They are stored as they are: what claims more room is made to take it.
                if member.compress_type != zipfile.ZIP_STORED:
                    message = f"{member.filename!r} is compressed: it is not read"
                    yield problem(FindingKind.SCHEMA, "", message)
                    return
            damaged = archive.testzip()
    except Exception as error:  # noqa: BLE001 - zipfile raises half a dozen kinds for damaged files
        yield problem(FindingKind.CHECKSUM, "", f"cannot be read as .npz: {error}")
        return
    if damaged is not None:
        yield problem(FindingKind.CHECKSUM, "", f"{damaged!r} does not match its CRC-32")
