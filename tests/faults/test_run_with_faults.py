"""A whole campaign through a bad link ends with the coefficients of one through a good link."""

import csv
from pathlib import Path

from benchmarks.fault_bench import make_chip, served_device
from command_line import campaign_file, hil
from faulty_device import script
from hil_mock_device.faults.fault_script import FaultScript
from hil_mock_device.faults.faulty_device import FaultyDevice

LINK_FAULTS = script(
    "kind=drop,every=29",
    "kind=drop,direction=request,every=41",
    "kind=truncate,every=37",
    "kind=flip,header=READ?,every=5",
    "kind=disconnect,place=block,header=READ?,every=7",
    "kind=double,every=31",
    "kind=stale,every=53",
    seed=3,
)


def coefficients(folder: Path, faults: FaultScript) -> tuple[bytes, int]:
    """Run a small campaign; return the coefficients as exported, and how many faults it met."""
    folder.mkdir()
    device = FaultyDevice(make_chip(5))
    with served_device(device, "tcp") as served:
        path = campaign_file(
            folder,
            resource=served.resource,
            device="timeout_s = 0.1",
            campaign="cores = [0]\nseed = 5",
            vectors="calibration = 64\nverification = 32\nblock = 4",
        )
        served.load(faults)
        ended = hil("run", path)
        assert ended.code == 0, ended.stderr
    exported = folder / "coefficients.csv"
    ended = hil("export", folder / "run", "--format", "csv", "-o", exported)
    assert ended.code == 0, ended.stderr
    return without_circumstance(exported), device.injector.counts.total()


def without_circumstance(exported: Path) -> bytes:
    """Return an exported file without its last fields: when, how old, and how warm it was."""
    with exported.open(newline="") as file:
        rows = list(csv.reader(file))
    kept = rows[0].index("visit")
    return "\n".join(",".join(row[:kept]) for row in rows).encode()


def test_coefficients_are_the_same_to_the_byte(tmp_path: Path) -> None:
    quiet, none = coefficients(tmp_path / "quiet", FaultScript())
    faulty, met = coefficients(tmp_path / "faulty", LINK_FAULTS)
    assert none == 0
    assert met >= 20
    assert faulty == quiet
