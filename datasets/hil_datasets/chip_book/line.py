"""One entry of a book as one line of text.

A line is a JSON object. Its first key is the number of the entry, which is the number of the line;
its last key is the CRC-32C of everything before it. A line that was damaged, edited or lost is thus
found out.
"""

import re

import google_crc32c
from pydantic import ValidationError

from hil_datasets.chip_book.entry import ENTRY_FORM, BookEntry

_LINE = re.compile(rb'(\{"entry":([1-9][0-9]{0,14}),(.*)),"crc32c":"([0-9a-f]{8})"\}', re.DOTALL)


def encode_line(number: int, entry: BookEntry) -> bytes:
    """Return an entry as a line, newline included."""
    content = entry.model_dump_json().encode()
    checked = b'{"entry":%d,%b' % (number, content[1:-1])
    return b'%b,"crc32c":"%08x"}\n' % (checked, google_crc32c.value(checked))


def decode_line(line: bytes) -> tuple[int, BookEntry]:
    """Return the number and the entry of a line without its newline.

    Raises
    ------
    ValueError
        If it is not as it was written, or tells of an event that this version does not know.
    """
    found = _LINE.fullmatch(line)
    if found is None:
        raise ValueError("is no entry: it was damaged or edited")
    checked, number, content, said = found.groups()
    computed = b"%08x" % google_crc32c.value(checked)
    if computed != said:
        raise ValueError(
            f"its crc32c is {computed.decode()}, it says {said.decode()}: it was damaged or edited"
        )
    try:
        return int(number), ENTRY_FORM.validate_json(b"{" + content + b"}")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"is no entry that this version knows: {where}: {first['msg']}") from error
