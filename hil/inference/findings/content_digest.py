"""A hash of all that an HDF5 file holds: names, types, shapes, values and attributes.

It is of what a reader sees, not of bytes: a file that is copied with another layout has the same.
"""

import hashlib
import json
from typing import Any

import h5py
import numpy as np

CONTENT_SHA256 = "content_sha256"
"""The attribute that holds it; it is not of itself."""
_REFERENCES = ("DIMENSION_LIST", "REFERENCE_LIST")
"""Attributes that say where in the file axes are."""


def content_digest(file: h5py.File) -> str:
    """Return the SHA-256 of everything in a file, as hexadecimal digits.

    Of the root, and of every group and dataset sorted by its path: a line with the path, one for
    each attribute sorted by its name, and of a dataset its values. Values are a line with type,
    shape and length in bytes, then their bytes: numbers little-endian, texts as JSON.
    """
    names: list[str] = []
    file.visit(names.append)
    digest = hashlib.sha256(b"hil evaluation content 1\n")
    for name in ("/", *sorted(names)):
        thing = file[name]
        digest.update(f"{name} {type(thing).__name__}\n".encode())
        for key in sorted(thing.attrs):
            if key not in _REFERENCES and (name, key) != ("/", CONTENT_SHA256):
                digest.update(f"{key}\n".encode() + _written(thing.attrs[key]))
        if isinstance(thing, h5py.Dataset):
            is_text = h5py.check_string_dtype(thing.dtype) is not None
            digest.update(_written(thing.asstr()[()] if is_text else thing[()]))
    return digest.hexdigest()


def _written(values: Any) -> bytes:
    if isinstance(values, h5py.Empty):
        return b"empty\n"
    array = np.asarray(values)
    if array.dtype.kind in "OSU":
        kind, content = "text", json.dumps(array.astype(str).tolist()).encode()
    else:
        kind = array.dtype.newbyteorder("<").str
        content = np.ascontiguousarray(array, dtype=kind).tobytes()
    shape = " ".join(map(str, array.shape))
    return f"{kind} ({shape}) {len(content)}\n".encode() + content
