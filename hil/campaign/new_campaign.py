"""A first campaign file out of a few answers."""

from dataclasses import dataclass, field

import tomlkit

from hil.campaign.config.sections import CampaignConfig
from hil.core.readout import ReadMode
from hil.core.toml_file import parse_toml


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What only the person at the bench knows."""

    resource: str = "mock://quickstart"
    """Where the device is."""
    title: str = "My calibration"
    """For people and for the files."""
    read_modes: tuple[str, ...] = field(default=tuple(map(str, ReadMode)))
    """Read modes."""
    cores: tuple[int, ...] = ()
    """Core numbers; every core where empty."""
    out: str = "runs/{start}"
    """Output folder."""

    def to_toml(self) -> str:
        """Return a commented campaign file that says so.

        Raises
        ------
        ConfigError
            If an answer is none that a campaign file may have.
        """
        text = _TEMPLATE.format(
            title=_toml(self.title),
            out=_toml(self.out),
            cores=f"cores = {list(self.cores)}" if self.cores else "# cores = [0, 1]",
            read_modes=_toml(list(self.read_modes)),
            resource=_toml(self.resource),
        )
        parse_toml(CampaignConfig, text.encode(), source="answer")
        return text


def _toml(value: str | list[str]) -> str:
    return tomlkit.item(value).as_string()


_TEMPLATE = """\
# A calibration campaign. Check it with `hil config check`, run it with `hil run`.
# What a # stands before is the default, or an example: take the # away to use or change it.
schema_version = 1

# Device, instruments and their limits can be in a file of their own, one for each bench:
# include = ["bench.toml"]

[campaign]
title = {title}
seed = 0                        # decides the weights and vectors that are not yours
out = {out}            # {{start}} becomes the UTC time
{cores}                # which cores; all where left out
read_modes = {read_modes}
# workload = "layer.npz"        # real weights and inputs instead of random ones

[device]
resource = {resource}           # mock://PROFILE is a simulated chip
# timeout_s = 10.0              # how long one answer may take
# transport = "auto"            # or "tcp", "visa"
# has_nmpu = true               # whether it can load registers and correct by itself

[vectors]
calibration = 512               # vectors that the fit sees, for each step
verification = 256              # vectors held out
# zeros = 0.3                   # share of zeros among the campaign's own vectors
# amplitudes = "full"           # or "spread": each vector has an amplitude of its own
# block = 128                   # vectors sent, read and stored at a time

[nmpu]                          # widths and roundings; left out, a parameter is the paper's
# in_bits = 10
# rounding = "half_up"

[calibration]
# headroom = 1.5                # factor left free in the scale registers, for drift

# Several chips at the same time: a table for each, on top of [device], instead of its resource.
# [devices.left]
# resource = "TCPIP0::192.0.2.1::5025::SOCKET"
# [devices.right]
# resource = "TCPIP0::192.0.2.2::5025::SOCKET"

# What surrounds the chip: chambers, supplies, meters, by their SCPI commands.
# [instruments.chamber]
# resource = "TCPIP0::192.0.2.3::5025::SOCKET"
# [instruments.chamber.quantities.temperature]
# set = "TEMP:SETP {{value}}"
# query = "TEMP?"
# unit = "degC"
# lower = -20                   # hard limits: nothing beyond them is ever sent
# upper = 85
# settle = {{ tolerance = 0.5, stable_s = 60, timeout_s = 3600 }}
# safe = 25                     # at the end, and on every error

# One visit of every core for each value of a quantity; several sweeps are combined.
# [[sweep]]
# quantity = "chamber.temperature"
# values = [25, 40]

# What is done in a visit; without [steps] each core is calibrated.
# [steps.calibrate]
# at = {{ "chamber.temperature" = 25 }}
# [steps.probe]
# vectors = 64
# [steps.drift-watch]
# until = "3d"                  # probe up to this age, calibrate again where needed
# error_limit = 0.15

# What pauses the campaign until it has cleared.
# [guards]
# chip_temperature_c = {{ highest = 70 }}
# disk_free_mib = 500
# [guards.readings."chamber.temperature"]
# highest = 60
# [guards.known_answer]
# every_vectors = 1024

# Who is told how it goes.
# [notify]
# url = "https://example.org/hook"   # gets JSON by POST; or a command
"""
