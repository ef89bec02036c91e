"""The campaign file of a converted run: how its steps are calibrated, and nothing of a device."""

from collections.abc import Sequence
from pathlib import Path

from hil.campaign.config.load import Campaign
from hil.campaign.config.resolved import commented_toml, resolved_document
from hil.campaign.config.sections import (
    CampaignConfig,
    CampaignSection,
    DeviceSection,
    VectorsSection,
)
from hil.core.readout import ReadMode
from hil.core.toml_file import parse_toml
from hil.recorded.convert.mapping import Form
from hil.recorded.convert.mapping_check import LoadedMapping
from hil_datasets.step import StepKey

CONVERTED = "converted"
"""Stands for the driver of a chip: there is none."""

_HEAD = """\
# Made by `hil data convert` from {mapping} (kept as mapping.toml).
# No device was involved{synthesised}.
"""


def campaign_of(
    mapping: LoadedMapping, keys: Sequence[StepKey], *, calibration_vectors: int, path: Path
) -> Campaign:
    """Return the campaign that calibrates a conversion's steps.

    Parameters
    ----------
    mapping
        The mapping file.
    keys
        The steps.
    calibration_vectors
        How many vectors a fit sees, in the first of them.
    path
        Where the file will be.
    """
    says = mapping.says
    modes = [mode for mode in ReadMode if any(key.read_mode is mode for key in keys)]
    config = CampaignConfig(
        schema_version=1,
        campaign=CampaignSection(
            title=title_of(mapping),
            cores=sorted({key.core for key in keys}),
            read_modes=modes,
        ),
        device=DeviceSection(driver=CONVERTED, resource=resource_of(mapping), has_nmpu=False),
        vectors=VectorsSection(
            calibration=calibration_vectors,
            verification=says.vectors.verification,
            block=says.vectors.block,
        ),
        nmpu=says.nmpu,
        calibration=says.calibration,
    )
    head = _HEAD.format(
        mapping=_in_a_comment(mapping.path.name),
        synthesised="; its counts are synthesised, not measured" if is_synthesised(mapping) else "",
    )
    document = resolved_document(config)
    document["nmpu"].pop("shift", None)
    content = (head + commented_toml(document, lambda _: "")).encode()
    checked = parse_toml(CampaignConfig, content, source=str(path))
    return Campaign(config=checked, content=content, path=path)


def is_synthesised(mapping: LoadedMapping) -> bool:
    """Tell whether the counts are drawn from lines, not recorded."""
    return mapping.says.form is Form.FITS


def title_of(mapping: LoadedMapping) -> str:
    """Return the title of the run, which says what is synthesised."""
    return mapping.says.title + (" (synthesised counts)" if is_synthesised(mapping) else "")


def resource_of(mapping: LoadedMapping) -> str:
    """Return what stands for the resource string of a device."""
    what = "synthesised from fits" if is_synthesised(mapping) else "converted"
    return f"{what}, mapping {mapping.sha256[:16]}"


def _in_a_comment(name: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in name)
