"""One or two examples of each main command, for the end of its help."""

from collections.abc import Mapping, Sequence

EXAMPLES: Mapping[str, Sequence[str]] = {
    "init": ("hil init chip.toml",),
    "plan": ("hil plan campaign.toml",),
    "run": (
        "hil run campaign.toml --out runs/first",
        "hil run campaign.toml --set 'campaign.cores=[0, 1]'",
    ),
    "resume": ("hil resume runs/first",),
    "status": ("hil status runs/first --watch",),
    "abort": ("hil abort runs/first",),
    "list": ("hil list runs",),
    "info": ("hil info runs/first", "hil info runs/first --json"),
    "replay": ("hil replay runs/first --out runs/again",),
    "export": (
        "hil export runs/first --format c-header -o coefficients.h",
        "hil export runs/sweep --all -o exported --at chamber.temperature=25",
    ),
    "load": ("hil load coefficients.json TCPIP0::192.168.0.5::5025::SOCKET",),
    "explore": ("hil explore runs/first --axis scale_bits=4,6,8",),
    "evaluate": ("hil evaluate --demo --run runs/first",),
    "devices": ("hil devices",),
    "doctor": ("hil doctor TCPIP0::192.168.0.5::5025::SOCKET", "hil doctor"),
    "data trace": ("hil data trace runs/first --core 3 --column 17",),
    "data verify": ("hil data verify runs/first", "hil data verify runs --quick"),
    "data pack": ("hil data pack runs/first -o first.hil.h5",),
    "data unpack": ("hil data unpack first.hil.h5 --out runs/unpacked",),
    "data repair": ("hil data repair runs/broken --out runs/saved",),
    "data convert": ("hil data convert counts.csv --map mapping.toml --out runs/converted",),
    "calibrate fit": ("hil calibrate fit runs/first --robust --out robust.hil.h5",),
    "calibrate apply": ("hil calibrate apply runs/first -o corrected.h5",),
    "calibrate diff": (
        "hil calibrate diff runs/may runs/june",
        "hil calibrate diff runs/sweep runs/sweep --visit-a 0 --visit-b 4",
    ),
    "calibrate history": ("hil calibrate history A7 --root runs",),
    "calibrate best": ("hil calibrate best campaign.toml --among runs",),
}
"""Words of a command to what may be typed."""
