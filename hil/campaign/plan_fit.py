"""Whether steps that were measured fit a plan: in their settings, their ages and their kinds.

A step's name says only its core, read mode, visit number and kind. The same number means another
visit where the sweeps are others.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from hil.campaign.config.load import Campaign, load_stored_campaign
from hil.campaign.config.sections import CampaignConfig
from hil.campaign.replay_resource import REPLAY, ReplayResource
from hil.campaign.visits import visits_of
from hil.core.errors import ConfigError, DatasetError, Problem
from hil.core.legible import cut_short
from hil_datasets.journal import last_beginning
from hil_datasets.recording import Recording
from hil_datasets.run_directory import RunDirectory, open_directory
from hil_datasets.step import StepKey, StepKind
from hil_datasets.visit_terms import VisitTerms


def terms_of(config: CampaignConfig) -> tuple[VisitTerms, ...]:
    """Return what a campaign says of each visit, what it sets in all of them included."""
    always = {
        f"{instrument}.{name}": quantity.value
        for instrument, section in config.instruments.items()
        for name, quantity in section.quantities.items()
        if quantity.value is not None
    }
    return tuple(
        VisitTerms(settings=always | dict(visit.settings), kinds=visit.kinds, due_s=visit.due_s)
        for visit in visits_of(config)
    )


def stored_terms(run: RunDirectory) -> tuple[VisitTerms, ...]:
    """Return what a run has gone on with last: its journal says so, or the file that it keeps.

    Raises
    ------
    DatasetError
        If neither can be read.
    """
    beginning = last_beginning(run.events())
    if "visits" in beginning:
        said: tuple[VisitTerms, ...] = beginning["visits"]
        return said
    return terms_of(load_stored_campaign(run).config)


def misfit(key: StepKey, before: Sequence[VisitTerms], now: Sequence[VisitTerms]) -> str:
    """Say why a step of one plan is not the one of that name in another; nothing if it is."""
    if key.visit >= len(before):
        return ""  # nobody knows what it was
    if key.visit >= len(now):
        return f"was taken in visit {key.visit}, which there is no more"
    was, is_ = before[key.visit], now[key.visit]
    if key.kind not in is_.kinds:
        return f"is a {key.kind} step, and visit {key.visit} has none any more"
    return _differences(was, is_)


def check_finished_fit(
    source: str,
    finished: Collection[StepKey],
    before: Sequence[VisitTerms],
    now: CampaignConfig,
) -> None:
    """See that the finished steps of a run are those of a changed plan.

    Steps of cores and read modes that the campaign names no more stay as they are.

    Parameters
    ----------
    source
        The run.
    finished
        Its finished steps, skipped ones among them.
    before
        The visits of the plan that they were taken by.
    now
        The changed campaign.

    Raises
    ------
    ConfigError
        If one of them is not; each is named, up to a few.
    """
    terms = terms_of(now)
    named = [key for key in sorted(finished) if _is_named(key, now)]
    problems = [
        Problem("", f"{key.name} {message}")
        for key in named
        if (message := misfit(key, before, terms))
    ]
    problems += _late_programmings(named, before, terms)
    if problems:
        hint = "finished steps stay what they are: another sweep, or other steps, need another run"
        raise ConfigError(source, [*_few(problems), Problem("", hint)])


def check_replay_fits(run: RunDirectory, recording: Recording, campaign: CampaignConfig) -> None:
    """See that a campaign says of the visits what a recording was made by.

    Raises
    ------
    ConfigError
        If it does not: with what the recording lacks, or has under other settings.
    """
    before, now = _recorded_terms(run, recording), terms_of(campaign)
    problems = [*_unlike(before, now)]
    for number in range(max(len(before), len(now))):
        recorded = before[number].kinds if number < len(before) else ()
        wanted = now[number].kinds if number < len(now) else ()
        lacks = [kind for kind in wanted if kind not in recorded]
        more = [kind for kind in recorded if kind not in wanted]
        if lacks:
            message = f"the recording lacks {' and '.join(lacks)} steps"
            problems.append(Problem(f"visit {number}", message))
        if more:
            message = f"the recording has {' and '.join(more)} steps, the campaign none"
            problems.append(Problem(f"visit {number}", message))
    _refuse_recording(run, problems)


def check_unchanged(recorded: RunDirectory, campaign: Campaign, measured_with: str) -> None:
    """See that the campaign file of a recording is as it was when the run was made.

    Raises
    ------
    DatasetError
        If it is not.
    """
    beginning = last_beginning(recorded.events())
    pairs = (
        (campaign.sha256, beginning.get("campaign_sha256", measured_with)),
        (campaign.resolved_sha256, beginning.get("resolved_sha256", campaign.resolved_sha256)),
    )
    if any(found != wanted for found, wanted in pairs):
        message = (
            "was changed since the run: its hash differs from the recorded one; to fit "
            "with other options, give a campaign file of your own with --campaign"
        )
        raise DatasetError(str(campaign.path), [Problem("", message)])


def played_recording(campaign: Campaign) -> Recording | None:
    """Return the recording that is the device of a campaign; None if the device is another.

    Steps that no drift watch asks for are told by who plans them, if they were not recorded.

    Raises
    ------
    ConfigError
        If the campaign's settings or ages are not those of the recording: with what it lacks, or
        has under other settings.
    DatasetError
        If it is no run, or one of its steps is damaged.
    """
    run = _played_run(campaign)
    if run is None:
        return None
    recording = Recording(run.read_steps())
    _check_playback_fits(run, recording, campaign.config)
    return recording


def played_skips(campaign: Campaign) -> dict[StepKey, str]:
    """Return why steps of a campaign were skipped in the recording that is its device.

    Raises
    ------
    DatasetError
        If its journal cannot be read.
    """
    run, config = _played_run(campaign), campaign.config
    if run is None:
        return {}
    visits = terms_of(config)
    return {
        key: reason
        for key, reason in run.skipped_steps().items()
        if key.visit < len(visits)
        and key.kind in visits[key.visit].kinds
        and _is_named(key, config)
    }


def _played_run(campaign: Campaign) -> RunDirectory | None:
    resource = campaign.config.device.resource
    if not resource.startswith(REPLAY):
        return None
    return open_directory(campaign.path.parent / ReplayResource.parse(resource).folder)


def _check_playback_fits(run: RunDirectory, recording: Recording, campaign: CampaignConfig) -> None:
    before, now = _recorded_terms(run, recording), terms_of(campaign)
    problems = [*_unlike(before, now)]
    for number, visit in enumerate(now[len(before) :], start=len(before)):
        if visit.due_s is not None:
            message = f"the recording lacks it, at an age of {visit.due_s:g} s"
            problems.append(Problem(f"visit {number}", message))
    _refuse_recording(run, problems)


def _refuse_recording(run: RunDirectory, problems: Sequence[Problem]) -> None:
    if problems:
        hint = "a recording keeps what it was recorded in: give the sweeps and steps of its run"
        raise ConfigError(f"{run.path}: as a recording", [*_few(problems), Problem("", hint)])


def _recorded_terms(run: RunDirectory, recording: Recording) -> tuple[VisitTerms, ...]:
    try:
        return stored_terms(run)
    except DatasetError:  # from before they were stored, and its campaign file was changed
        return _terms_of_steps(recording)


def _terms_of_steps(recording: Recording) -> tuple[VisitTerms, ...]:
    """Return the visits that the steps of a recording tell of; of ages they tell no plan."""
    settings: dict[int, dict[str, float]] = {}
    kinds: dict[int, set[StepKind]] = {}
    for key in recording.keys:
        conditions = recording.record(key).conditions
        kinds.setdefault(key.visit, set()).add(key.kind)
        settings.setdefault(key.visit, {}).update(
            {each.name: each.setpoint for each in conditions if each.setpoint is not None}
        )
    return tuple(
        VisitTerms(
            settings=settings.get(visit, {}),
            kinds=tuple(kind for kind in StepKind if kind in kinds.get(visit, ())),
        )
        for visit in range(max(kinds) + 1)
    )


def _unlike(before: Sequence[VisitTerms], now: Sequence[VisitTerms]) -> Iterator[Problem]:
    """Yield how visits of a campaign differ from those of the same number that were recorded.

    What a campaign says nothing of is played as it was recorded.
    """
    for number, (was, is_) in enumerate(zip(before, now, strict=False)):
        said = {name: value for name, value in was.settings.items() if name in is_.settings}
        message = _differences(
            VisitTerms(settings=said, kinds=was.kinds, due_s=was.due_s), is_, verb="was recorded"
        )
        if message:
            yield Problem(f"visit {number}", message)


def _differences(was: VisitTerms, is_: VisitTerms, *, verb: str = "was taken") -> str:
    if was.settings != is_.settings:
        names = sorted(was.settings.keys() | is_.settings.keys())
        differing = [name for name in names if was.settings.get(name) != is_.settings.get(name)]
        found, wanted = (_shown(each.settings, differing) for each in (was, is_))
        return f"{verb} with {found}: the campaign has {wanted}"
    if was.due_s != is_.due_s:
        return f"{verb} {_shown_age(was.due_s)}: the campaign has it {_shown_age(is_.due_s)}"
    return ""


def _shown(settings: Mapping[str, float], names: Sequence[str]) -> str:
    return cut_short(
        ", ".join(
            f"{name} = {settings[name]:g}" if name in settings else f"no {name}" for name in names
        )
    )


def _shown_age(due_s: float | None) -> str:
    return "at no certain age" if due_s is None else f"at an age of {due_s:g} s"


def _late_programmings(
    finished: Sequence[StepKey], before: Sequence[VisitTerms], now: Sequence[VisitTerms]
) -> Iterator[Problem]:
    """Yield program steps that a plan did not have, of cores of which later steps are finished."""
    last = max((key.visit for key in finished), default=-1)
    for number, visit in enumerate(now[: last + 1]):
        was = before[number].kinds if number < len(before) else visit.kinds
        if StepKind.PROGRAM in visit.kinds and StepKind.PROGRAM not in was:
            message = "has a program step now, and steps that would follow it are finished"
            yield Problem(f"visit {number}", message)


def _is_named(key: StepKey, config: CampaignConfig) -> bool:
    cores = config.campaign.cores
    return key.read_mode in config.campaign.read_modes and (cores is None or key.core in cores)


_MOST_TOLD = 8


def _few(problems: Sequence[Problem]) -> list[Problem]:
    """Return the first of many problems, and how many there are more."""
    more = len(problems) - _MOST_TOLD
    told = list(problems[:_MOST_TOLD])
    return [*told, Problem("", f"and {more} more like these")] if more > 0 else told
