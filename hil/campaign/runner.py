"""From a campaign to a run: on its device, again from a recording, or from where it was left."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hil.campaign.bench import OpenDevice, open_recording
from hil.campaign.config.load import Campaign
from hil.campaign.config.resolved import store_resolved
from hil.campaign.config.sections import START_PLACEHOLDER
from hil.campaign.instruments import BenchInstruments
from hil.campaign.plan import PlannedStep, plan_replay
from hil.campaign.plan_fit import (
    check_finished_fit,
    check_replay_fits,
    check_unchanged,
    played_recording,
    played_skips,
    terms_of,
)
from hil.campaign.resume import (
    RunHistory,
    changed_settings,
    changed_work,
    check_same_chip,
    config_in_use,
    refuse_unaccepted,
    tidy_up,
)
from hil.campaign.run_desk import (
    RunDesk,
    begin_book,
    check_wear_limits,
    named_instruments,
    open_bench,
    open_desk,
    plan_steps,
    plays_recording,
)
from hil.campaign.run_events import RunWatcher
from hil.campaign.run_job import RunJob, RunOutcome
from hil.campaign.run_loop import take_steps, work_hashes
from hil.campaign.software import software_versions
from hil.campaign.step_remains import forget_unfit
from hil_datasets.chip_book.campaign_book import BookKeeper, UnwrittenBook
from hil_datasets.recording import Recording
from hil_datasets.run_directory import RunDirectory, create_run, make_run_folder, open_directory
from hil_drivers.chip import Chip

__all__ = ["RunOutcome", "replay_run", "resume_run", "run_campaign", "utc_now"]


def run_campaign(
    campaign: Campaign,
    *,
    out: Path | None,
    observer: RunWatcher,
    now: Callable[[], datetime],
    monotonic: Callable[[], float] = time.monotonic,
) -> RunOutcome:
    """Run a campaign on its device, under the conditions that its instruments are to bring about.

    Parameters
    ----------
    campaign
        The checked campaign file.
    out
        Output folder; the campaign's own where None.
    observer
        Who is told how it goes, besides the files of the run and whom the campaign notifies.
    now
        The time, UTC.
    monotonic
        Seconds that never go back.

    Raises
    ------
    ConfigError
        If the campaign does not fit the chip, or the folder cannot be used.
    TransportError, FrameError, DeviceError
        If the device is absent, lost, refuses or answers nonsense. Finished steps stay.
    SafetyLimitError, InstrumentError
        If the conditions are beyond a limit, or do not come about; likewise.
    DatasetError
        If the device is a recording that cannot be read, or something cannot be written.
    RunInterruptedError
        If somebody stops the run.
    """
    with open_desk(campaign, observer, now=now, monotonic=monotonic) as desk:
        recording = played_recording(campaign)
        with open_bench(campaign, desk, recording, run=out) as (device, instruments):
            out = out or Path(
                campaign.config.campaign.out.replace(START_PLACEHOLDER, _stamp(now()))
            )
            plan = plan_steps(campaign, device.chip, recording, folder=out)
            if not plays_recording(device.chip):
                check_wear_limits(campaign, device.chip.identify(), plan)
            desk.lock(make_run_folder(out))
            run = create_run(out, campaign.content)
            store_resolved(run, campaign.config)
            job = _job_on_device(
                campaign,
                desk,
                run,
                plan,
                device=device,
                instruments=instruments,
                recording=recording,
                book=begin_book(campaign, desk, device.chip, run, plan),
                beginning=named_instruments(instruments),
            )
            return take_steps(job)


def resume_run(
    path: Path,
    given: Campaign | None,
    *,
    accepts_changes: bool,
    breaks_lock: bool,
    observer: RunWatcher,
    now: Callable[[], datetime],
    monotonic: Callable[[], float] = time.monotonic,
) -> RunOutcome:
    """Go on with a run where it ended: what is finished stays, what is not is taken.

    Parameters
    ----------
    path
        The run.
    given
        Its campaign file, read again; what the run keeps of it where None.
    accepts_changes
        Whether the run goes on although its configuration, the chip's firmware, or the weights and
        vectors of a step have changed; the journal then says what.
    breaks_lock
        Whether the lock of another machine is taken.
    observer, now, monotonic
        As in `run_campaign`.

    Raises
    ------
    ConfigError
        If the chip is another one, something has changed and that is not accepted, or another
        process writes the run.
    DatasetError
        If the run is damaged, is a replay, or cannot be written.
    HilError
        Whatever else `run_campaign` raises.
    """
    run = open_directory(path)
    history = RunHistory.of(run)
    if history.is_complete and given is None:
        return RunOutcome(run=run, failed=())
    campaign = stored = history.stored_campaign()
    settings = [] if given is None else changed_settings(stored, given)
    history.check_skipped()
    if given is not None and settings:
        check_finished_fit(str(run.path), history.finished, history.visits(), given.config)
        refuse_unaccepted(history, settings, accepts=accepts_changes)
        campaign = given
    with open_desk(campaign, observer, now=now, monotonic=monotonic) as desk:
        desk.lock(run, breaks_lock=breaks_lock)
        history = RunHistory.of(run)  # it was another's until now
        desk.clock.go_on(str(history.start.get("utc", "")))
        tidy_up(run)
        return _go_on(campaign, history, desk, settings=settings, accepts_changes=accepts_changes)


def _go_on(
    campaign: Campaign,
    history: RunHistory,
    desk: RunDesk,
    *,
    settings: list[str],
    accepts_changes: bool,
) -> RunOutcome:
    """Take what is left of a run; `settings` are the keys that have changed, which is accepted."""
    recording = played_recording(campaign)
    with open_bench(campaign, desk, recording, run=history.run.path) as (device, instruments):
        plan, left, changes = _what_is_left(
            campaign, history, device.chip, recording, compares_work=not settings
        )
        refuse_unaccepted(history, changes, accepts=accepts_changes)
        if settings:
            forget_unfit(history.run, left, history.visits(), terms_of(campaign.config))
        if not plays_recording(device.chip):
            check_wear_limits(campaign, device.chip.identify(), left)
        job = _job_on_device(
            campaign,
            desk,
            history.run,
            plan,
            device=device,
            instruments=instruments,
            recording=recording,
            beginning={
                "event": "resume",
                "accepted": settings + changes,
                **named_instruments(instruments),
                **config_in_use(history, campaign if settings else None),
            },
            book=begin_book(campaign, desk, device.chip, history.run, left, is_resumed=True),
            history=history,
        )
        return take_steps(job)


def _what_is_left(
    campaign: Campaign,
    history: RunHistory,
    chip: Chip,
    recording: Recording | None,
    *,
    compares_work: bool,
) -> tuple[list[PlannedStep], list[PlannedStep], list[str]]:
    """Return all steps of a run, those that are left, and what has changed of chip and work."""
    changes = check_same_chip(history, chip.identify(), chip.geometry())
    plan = plan_steps(campaign, chip, recording, folder=history.run.path, finished=history.finished)
    if compares_work:
        changes += changed_work(history, work_hashes(plan))
    return plan, [step for step in plan if step.key not in history.finished], changes


def replay_run(
    source: Path,
    campaign: Campaign,
    *,
    is_own: bool,
    out: Path | None,
    observer: RunWatcher,
    now: Callable[[], datetime],
) -> RunOutcome:
    """Calibrate again from the stored readouts of a run; no device is involved.

    The recording stands in for the device behind the real driver, so every line of the way is the
    one that a measurement takes.

    Parameters
    ----------
    source
        The run to replay.
    campaign
        Its campaign file, or another one, of which the NMPU's format and the calibration's options
        are taken.
    is_own
        Whether it is the run's own, and must be as it was when the run was made.
    out
        Output folder; ``SOURCE-replay-TIME`` where None.
    observer, now
        As in `run_campaign`.

    Raises
    ------
    DatasetError
        If the run or one of its steps is damaged.
    ConfigError
        If the output folder cannot be used.
    RunInterruptedError
        If somebody stops the run.
    """
    source = source.resolve()  # "." has no name to make another one from
    recorded = open_directory(source)
    recording = Recording(recorded.read_steps())
    first = recording.record(recording.keys[0])
    if is_own:
        check_unchanged(recorded, campaign, first.origin.campaign_sha256)
    else:
        check_replay_fits(recorded, recording, campaign.config)
    with (
        open_desk(campaign, observer, now=now, monotonic=time.monotonic) as desk,
        open_recording(recording) as chip,
    ):
        out = out or source.with_name(f"{source.name}-replay-{_stamp(now())}")
        desk.lock(make_run_folder(out))
        run = create_run(out, campaign.content)
        store_resolved(run, campaign.config)
        replayed = {record.name: recording.record(record).raw_sha256 for record in recording.keys}
        job = RunJob(
            campaign=campaign,
            plan=plan_replay(recording),
            run=run,
            chip=chip,
            identity=chip.identify(),
            resource=first.origin.resource,
            software=software_versions(),
            events=desk.events,
            clock=desk.clock,
            instruments=BenchInstruments({}, {}),
            switch=desk.switch,
            book=UnwrittenBook(),
            beginning={"replay_of": replayed, "replayed_run": str(source)},
            plays_recording=True,
            play=recording.play,
            recorded_skips=recorded.skipped_steps(),
        )
        return take_steps(job)


def _job_on_device(
    campaign: Campaign,
    desk: RunDesk,
    run: RunDirectory,
    plan: Sequence[PlannedStep],
    *,
    device: OpenDevice,
    instruments: BenchInstruments,
    recording: Recording | None,
    book: BookKeeper,
    beginning: Mapping[str, Any],
    history: RunHistory | None = None,
) -> RunJob:
    """Return a run that begins, or goes on where a history ends."""
    return RunJob(
        campaign=campaign,
        plan=plan,
        run=run,
        chip=device.chip,
        identity=device.chip.identify(),
        resource=campaign.config.device.resource,
        software=software_versions(),
        events=desk.events,
        clock=desk.clock,
        instruments=instruments,
        switch=desk.switch,
        book=book,
        beginning=beginning,
        finished=frozenset() if history is None else history.finished,
        skipped=set() if history is None else set(history.skipped),
        programmed={} if history is None else history.programmed,
        begun={} if history is None else history.begun,
        attempts={} if history is None else history.attempts,
        recorded_skips=played_skips(campaign),
        time=device.time,
        waits=device.waits,
        plays_recording=plays_recording(device.chip),
        play=(lambda _: None) if recording is None else recording.play,
    )


def utc_now() -> datetime:
    """Return the time: the one place where the program asks for it."""
    return datetime.now(UTC)


def _stamp(time: datetime) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ")
