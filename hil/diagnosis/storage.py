"""Whether the folder for runs has room, how fast it is, and what HDF5 can do."""

import io
import os
import shutil
import tempfile
import time
from pathlib import Path

from hil.diagnosis.finding import Finding, Part, Verdict
from hil.diagnosis.latencies import shown_rate, shown_time, three_digits

_PIECE = 1 << 20
_MOST_PIECES = 64
_LONGEST_S = 1.0
_ROOM_TO_WORK, _ROOM_AT_ALL = 1 << 30, 64 << 20
_SLOW = 10e6
"""Bytes per second; a TCP link at 100 Mbit/s brings this much."""
_SLOW_SYNC_S = 0.5


def check_folder(folder: Path) -> list[Finding]:
    """Look at the room and the speed of the nearest folder that is there.

    Parameters
    ----------
    folder
        Where runs are to be written; it need not be there yet.
    """
    there = folder.absolute()
    while not there.is_dir() and there != there.parent:
        there = there.parent
    return [_room(there), _speed(there)]


def _room(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    verdict, advice = Verdict.OK, ""
    if free < _ROOM_AT_ALL:
        verdict, advice = Verdict.FAIL, "free some room, or choose another folder for runs"
    elif free < _ROOM_TO_WORK:
        verdict, advice = Verdict.WARN, "a long campaign may need more; see hil info for sizes"
    return Finding(
        check="disk room",
        claim="there is room for runs",
        verdict=verdict,
        evidence=f"{three_digits(free / 1e9)} GB free in {folder}",
        advice=advice,
        part=Part.HOST,
        figures={"free_bytes": free, "folder": str(folder)},
    )


def _speed(folder: Path) -> Finding:
    claim = "runs can be written, and as fast as they come"
    try:
        written, write_s, sync_s = _write(folder)
    except OSError as error:
        return Finding(
            check="disk speed",
            claim=claim,
            verdict=Verdict.FAIL,
            evidence=f"nothing can be written to {folder}: {error.strerror or error}",
            advice="choose a folder that you may write to",
            part=Part.HOST,
        )
    rate = written / write_s
    is_slow = rate < _SLOW or sync_s > _SLOW_SYNC_S
    return Finding(
        check="disk speed",
        claim=claim,
        verdict=Verdict.WARN if is_slow else Verdict.OK,
        evidence=f"{shown_rate(rate)} to the disk, one fsync {shown_time(sync_s)}",
        advice="every step of a run ends with an fsync: choose a local disk" if is_slow else "",
        part=Part.HOST,
        figures={"bytes_per_s": rate, "fsync_s": sync_s},
    )


def _write(folder: Path) -> tuple[int, float, float]:
    """Return bytes written, seconds until they were on the disk, seconds of a small fsync."""
    piece = os.urandom(_PIECE)
    with tempfile.TemporaryFile(dir=folder) as file:
        start = time.perf_counter()
        pieces = 0
        while pieces < _MOST_PIECES and time.perf_counter() - start < _LONGEST_S:
            file.write(piece)
            pieces += 1
        file.flush()
        os.fsync(file.fileno())
        write_s = time.perf_counter() - start
        file.write(b"a step ends")
        file.flush()
        start = time.perf_counter()
        os.fsync(file.fileno())
        return pieces * _PIECE, write_s, time.perf_counter() - start


def check_hdf5() -> Finding:
    """Write and read a compressed data set in memory, and list the filters."""
    claim = "HDF5 files can be written and read"
    try:
        import h5py  # noqa: PLC0415 - a broken installation is a finding, not a traceback
        import numpy as np  # noqa: PLC0415

        numbers = np.arange(1000, dtype=np.uint16)
        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            file.create_dataset("n", data=numbers, compression="gzip", shuffle=True)
            file.create_dataset("m", data=numbers, fletcher32=True)
        with h5py.File(buffer, "r") as file:
            is_equal = all(np.array_equal(file[name][:], numbers) for name in "nm")
        filters = {name: bool(h5py.h5z.filter_avail(number)) for name, number in _FILTERS.items()}
    except Exception as error:  # noqa: BLE001 - a library that does not load raises anything
        return Finding(
            check="HDF5",
            claim=claim,
            verdict=Verdict.FAIL,
            evidence=f"{type(error).__name__}: {error}",
            advice="install h5py again: pip install --force-reinstall h5py",
            part=Part.HOST,
        )
    has = ", ".join(name for name, is_there in filters.items() if is_there)
    lacks = ", ".join(name for name, is_there in filters.items() if not is_there)
    return Finding(
        check="HDF5",
        claim=claim,
        verdict=Verdict.OK if is_equal else Verdict.FAIL,
        evidence=f"HDF5 {h5py.version.hdf5_version}, h5py {h5py.version.version}; filters: {has}"
        + (f"; without {lacks}" if lacks else ""),
        part=Part.HOST,
        figures={"filters": filters},
    )


_FILTERS = {
    "gzip": 1,
    "shuffle": 2,
    "fletcher32": 3,
    "szip": 4,
    "lzf": 32000,
    "blosc": 32001,
    "lz4": 32004,
    "zstd": 32015,
}
"""Numbers that the HDF Group has registered."""
