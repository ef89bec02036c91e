"""Planning a campaign with a look at its device, or with what files tell alone."""

import time
from dataclasses import replace
from pathlib import Path

from hil.campaign.bench import open_device
from hil.campaign.config.load import Campaign
from hil.campaign.estimate.campaign_plan import CampaignPlan, outline_plan
from hil.campaign.estimate.duration import UNKNOWN, TimeEstimate, estimate_time, scaled
from hil.campaign.estimate.history import RecordedPace, pace_of, read_pace
from hil.campaign.estimate.host import measure_host
from hil.campaign.estimate.probe import ProbedDevice, probe_device
from hil.campaign.mock_resource import MockResource
from hil.campaign.plan_fit import played_recording
from hil.campaign.replay_resource import REPLAY, ReplayResource
from hil.core.readout import ChipGeometry, ChipIdentity
from hil_datasets.chip_book.chip_key import ChipKey
from hil_datasets.chip_book.content import BookContent
from hil_datasets.chip_book.library import book_of
from hil_datasets.chip_book.place import books_folder
from hil_datasets.recording import Recording
from hil_drivers.chip_driver import DEFAULT_DRIVER
from hil_mock_device.chip_model import largest_request
from hil_mock_device.profile import load_profile

_MOCK = "mock://"


def plan_with_device(
    campaign: Campaign, *, folder: Path, data_folder: Path, start_s: float = 0.0
) -> CampaignPlan:
    """Plan a campaign and look at its device, which is not programmed.

    Parameters
    ----------
    campaign
        The campaign.
    folder
        The output folder; runs that lie beside it are looked at.
    data_folder
        The user's data folder, with the books of the chips.
    start_s
        How long a program like this takes to start.

    Raises
    ------
    TransportError, FrameError, DeviceError
        If the device is absent, lost, answers nonsense or refuses.
    DatasetError
        If a recording, or the chip's book, cannot be read.
    """
    config, base = campaign.config, campaign.path.parent
    recording = played_recording(campaign)
    unsafe: list[str] = []
    began_s = time.perf_counter()
    with open_device(
        _without_truth(config.device.resource),
        base=base,
        seed=config.campaign.seed,
        timeout_s=config.device.timeout_s,
        choice=config.device.transport,
        recovery_s=config.device.recovery_s,
        driver=config.device.driver,
        on_unsafe=unsafe.append,
        recording=recording,
    ) as device:
        connect_s = time.perf_counter() - began_s
        chip, geometry = device.chip.identify(), device.chip.geometry()
        book = None if recording is not None else _book(chip, data_folder)
        plan = outline_plan(
            campaign,
            geometry=geometry,
            folder=folder,
            recording=recording,
            chip=chip,
            book=book,
        )
        probed = None
        if recording is None and not plan.misfits:
            probed = probe_device(
                device.chip,
                config,
                plan.steps,
                connect_s=start_s + connect_s,
                may_program=_is_private_mock(campaign),
            )
    recorded = _recorded_pace(campaign, folder, chip, recording)
    plan = _with_time(plan, campaign, probed, recorded, folder)
    return replace(plan, unknowns=(*plan.unknowns, *unsafe))


def plan_without_device(campaign: Campaign, *, folder: Path) -> CampaignPlan:
    """Plan a campaign from its file, its profile or recording and earlier runs alone.

    Parameters
    ----------
    campaign
        The campaign.
    folder
        The output folder; runs that lie beside it are looked at.

    Raises
    ------
    ConfigError
        If the mock chip's profile cannot be read.
    DatasetError
        If a recording cannot be read.
    """
    recording = played_recording(campaign)
    geometry = _known_geometry(campaign, recording)
    plan = outline_plan(campaign, geometry=geometry, folder=folder, recording=recording)
    unknowns = [] if recording is not None else ["wear so far: no chip was asked for its name"]
    if geometry is None:
        unknowns += ["size of the chip: only the device tells it; so no bytes and no time"]
        if not plan.steps:
            unknowns += ["steps: campaign.cores is left out, so they are as many as the chip has"]
    plan = replace(plan, unknowns=tuple(unknowns))
    recorded = _recorded_pace(campaign, folder, None, recording)
    return _with_time(plan, campaign, None, recorded, folder)


def _with_time(
    plan: CampaignPlan,
    campaign: Campaign,
    probed: ProbedDevice | None,
    recorded: RecordedPace,
    folder: Path,
) -> CampaignPlan:
    if plan.geometry is None or plan.storage is None or not plan.steps or plan.misfits:
        return plan
    estimate = estimate_time(
        plan.steps,
        plan.geometry,
        campaign.config,
        visits=() if _waits_for_nothing(campaign.config.device.resource) else plan.visits,
        probed=probed,
        recorded=recorded,
        host=measure_host(campaign.config, plan.geometry, folder=folder),
        bytes_of_steps=plan.storage.step_bytes,
    )
    return replace(
        plan, time=estimate, unknowns=(*plan.unknowns, *_unknown_times(estimate, probed))
    )


def _waits_for_nothing(resource: str) -> bool:
    """Tell whether the time on the bench of a resource is no time that anybody waits for."""
    if resource.startswith(REPLAY):
        return True
    return resource.startswith(_MOCK) and MockResource.parse(resource).has_virtual_time


def _unknown_times(estimate: TimeEstimate, probed: ProbedDevice | None) -> list[str]:
    unknowns = []
    if estimate.reading_is == UNKNOWN:
        why = "no device was asked" if probed is None else probed.why_unread
        unknowns.append(f"rate of reading: {why}, and no earlier run of this chip lies beside")
    if estimate.programming_is == UNKNOWN:
        unknowns.append("time of programming: nothing is programmed to find out")
    return unknowns


def _recorded_pace(
    campaign: Campaign, folder: Path, chip: ChipIdentity | None, recording: Recording | None
) -> RecordedPace:
    resource = campaign.config.device.resource
    if recording is None:
        return read_pace(folder.absolute().parent, chip=chip, resource=resource)
    records = [recording.record(key) for key in recording.keys]
    tempo = ReplayResource.parse(resource).tempo
    return scaled(pace_of((None, each) for each in records if each.timing), tempo.speed)


def _known_geometry(campaign: Campaign, recording: Recording | None) -> ChipGeometry | None:
    config = campaign.config
    if recording is not None:
        record = recording.record(recording.keys[0])
        rows, columns = record.weights.shape
        cores, counter_bits = max(recording.keys).core + 1, record.origin.counter_bits
    elif _is_private_mock(campaign):
        mock = MockResource.parse(config.device.resource)
        profile = load_profile(mock.profile, base=campaign.path.parent)
        cores, rows, columns = profile.array.cores, profile.array.rows, profile.array.columns
        counter_bits = profile.counter.bits
    else:
        return None
    return ChipGeometry(
        cores=cores,
        rows=rows,
        columns=columns,
        counter_bits=counter_bits,
        max_vectors=largest_request(columns),
    )


def _is_private_mock(campaign: Campaign) -> bool:
    device = campaign.config.device
    return device.driver == DEFAULT_DRIVER and device.resource.startswith(_MOCK)


def _without_truth(resource: str) -> str:
    """Return a resource string whose mock writes no file: that is for the run."""
    if not resource.startswith(_MOCK):
        return resource
    address, _, query = resource.partition("?")
    kept = [option for option in query.split("&") if option and not option.startswith("truth=")]
    return f"{address}?{'&'.join(kept)}" if kept else address


def _book(chip: ChipIdentity, data_folder: Path) -> BookContent:
    return book_of(ChipKey.of(chip), books_folder(data_folder)).read()
