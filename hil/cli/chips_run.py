"""``hil run`` and ``hil resume`` of several chips: a process for each, and one table at the end."""

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from hil.campaign.chips.campaigns import load_chips
from hil.campaign.chips.chips_folder import ChipsFolder, make_chips_folder, read_chips_folder
from hil.campaign.chips.chips_status import ChipStatus, read_chips_status, worst_nmpu_error
from hil.campaign.chips.processes import ChipEnd, drive_chips
from hil.campaign.config.sections import START_PLACEHOLDER
from hil.campaign.process_identity import ProcessTable
from hil.campaign.run_events import RunState
from hil.campaign.run_status import RunStatus
from hil.campaign.runner import utc_now
from hil.cli.chips_progress import ChipsProgress
from hil.cli.errors import ExitCode
from hil.cli.output import LegibleConsole
from hil.cli.progress_words import percent, steps_words
from hil.core.errors import ConfigError, Problem
from hil.core.legible import printable
from hil.core.toml_file import read_toml_bytes

_HIL = (sys.executable, "-P", "-m", "hil")
_NARROWEST_PIPE = 100
_SEVERITY = (
    ExitCode.DONE,
    ExitCode.SOME_FAILED,
    ExitCode.INTERRUPTED,
    ExitCode.USAGE,
    ExitCode.CONFIG,
    ExitCode.DATA,
    ExitCode.DEVICE,
    ExitCode.SAFETY,
)
"""From the mildest to the worst: the worst of the chips is that of the whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeOptions:
    """How several runs go on; as ``hil resume`` says."""

    campaign: Path | None
    """The campaign file, read again."""
    assignments: tuple[str, ...]
    """What ``--set`` says."""
    flags: tuple[str, ...]
    """Flags that every ``hil resume`` is given."""


def run_chips(
    campaign: Path,
    *,
    out: Path | None,
    assignments: tuple[str, ...],
    is_quiet: bool,
    as_json: bool,
) -> None:
    """Run the campaign of every chip of a file at the same time; print a table of all.

    Raises
    ------
    ConfigError
        If the file is wrong, chips share what they must not, or the folder cannot be used.
    """
    campaigns = load_chips(campaign, assignments=assignments)
    first = next(iter(campaigns.values()))
    stamp = utc_now().strftime("%Y%m%dT%H%M%SZ")
    folder = ChipsFolder(
        path=out or Path(first.config.campaign.out.replace(START_PLACEHOLDER, stamp)),
        title=first.config.campaign.title,
        campaign=str(campaign.absolute()),
        campaign_sha256=first.sha256,
        assignments=assignments,
        chips=tuple(campaigns),
    )
    make_chips_folder(folder)
    commands = {
        chip: _run_command(folder, chip, str(campaign), assignments) for chip in folder.chips
    }
    _drive(folder, commands, is_quiet=is_quiet, as_json=as_json)


def resume_chips(path: Path, options: ResumeOptions, *, is_quiet: bool, as_json: bool) -> None:
    """Go on with the runs of several chips at the same time; those that are complete stay.

    Raises
    ------
    DatasetError
        If ``chips.json`` is damaged.
    ConfigError
        If a chip's run has not begun, and the campaign file is another by now.
    """
    folder = read_chips_folder(path)
    if options.campaign is not None:
        load_chips(options.campaign, assignments=options.assignments)
    statuses = read_chips_status(folder, now=utc_now(), table=ProcessTable())
    commands = {}
    for each in statuses:
        is_complete = each.status is not None and each.status.state is RunState.COMPLETE
        if folder.has_begun(each.chip):
            if not is_complete or options.campaign is not None:
                commands[each.chip] = _resume_command(folder, each.chip, options)
        elif options.campaign is not None:
            file = str(options.campaign)
            commands[each.chip] = _run_command(folder, each.chip, file, options.assignments)
        else:
            _check_unchanged(folder, each.chip)
            commands[each.chip] = _run_command(
                folder, each.chip, folder.campaign, folder.assignments
            )
    _drive(folder, commands, is_quiet=is_quiet, as_json=as_json)


def _check_unchanged(folder: ChipsFolder, chip: str) -> None:
    file = Path(folder.campaign)
    if hashlib.sha256(read_toml_bytes(file)).hexdigest() != folder.campaign_sha256:
        message = (
            f"was changed since {folder.path} began, and the run of {chip} has none of its own "
            "yet: name the file by --campaign"
        )
        raise ConfigError(folder.campaign, [Problem("", message)])


def _run_command(
    folder: ChipsFolder, chip: str, campaign: str, assignments: Sequence[str]
) -> list[str]:
    out = str(folder.run(chip).path)
    return [
        *(*_HIL, "run", "--chip", chip, "--out", out, *_settings(assignments)),
        *("--", campaign),
    ]


def _resume_command(folder: ChipsFolder, chip: str, options: ResumeOptions) -> list[str]:
    given: list[str] = []
    if options.campaign is not None:
        given = ["--campaign", str(options.campaign), "--chip", chip]
    return [
        *(*_HIL, "resume", *given, *_settings(options.assignments), *options.flags),
        *("--", str(folder.run(chip).path)),
    ]


def _settings(assignments: Sequence[str]) -> list[str]:
    return [f"--set={assignment}" for assignment in assignments]


def _drive(
    folder: ChipsFolder,
    commands: Mapping[str, Sequence[str]],
    *,
    is_quiet: bool,
    as_json: bool,
) -> None:
    """Run a process for each chip; print how all stand; exit with the worst of their codes."""
    with ChipsProgress(folder, is_quiet=is_quiet) as progress:
        for chip in commands:
            progress.begin(chip)
        ends = drive_chips(commands, folder.words, watcher=progress)
    statuses = read_chips_status(folder, now=utc_now(), table=ProcessTable())
    by_chip = {end.chip: end for end in ends}
    if as_json:
        document = {
            "title": folder.title,
            "folder": str(folder.path),
            "chips": [_document(folder, each, by_chip.get(each.chip)) for each in statuses],
        }
        click.echo(json.dumps(document, indent=1, allow_nan=False))
    else:
        _print_table(folder, statuses)
    code = max((_exit_code(end) for end in ends), key=_SEVERITY.index, default=ExitCode.DONE)
    if code is not ExitCode.DONE:
        running = [each.chip for each in statuses if not each.is_over]
        if running:
            click.echo(
                f"still at work, each in a process of its own: {', '.join(running)}; hil status "
                f"{folder.path} shows how far, hil abort {folder.path} stops",
                err=True,
            )
        # What has failed for good is told by the runs; all else can be tried again.
        elif any(_exit_code(end) not in {ExitCode.DONE, ExitCode.SOME_FAILED} for end in ends):
            click.echo(f"stopped early: hil resume {folder.path} goes on from there", err=True)
        raise SystemExit(code)


def _exit_code(end: ChipEnd) -> ExitCode:
    """Return a chip's code; nobody knows whether the chip of a killed process is safe."""
    try:
        return ExitCode(end.code)
    except ValueError:
        return ExitCode.DEVICE


def _document(folder: ChipsFolder, each: ChipStatus, end: ChipEnd | None) -> dict[str, Any]:
    status = each.status
    return {
        "chip": each.chip,
        "folder": each.folder,
        "device": "" if status is None else status.chip,
        "state": None if status is None else str(status.state),
        "steps_done": 0 if status is None else status.steps_done,
        "steps_skipped": 0 if status is None else status.steps_skipped,
        "steps": 0 if status is None else status.steps,
        "worst_nmpu_error": _worst_error(folder, each),
        "exit_code": None if end is None else _exit_code(end),
        "reason": each.problem if end is None else end.words,
    }


def _worst_error(folder: ChipsFolder, each: ChipStatus) -> float | None:
    """Return the largest error of a run; None where it cannot be read, as its status says."""
    return None if each.status is None else worst_nmpu_error(folder.run(each.chip))


def _print_table(folder: ChipsFolder, statuses: Sequence[ChipStatus]) -> None:
    console = LegibleConsole()
    if not console.is_terminal:
        console = LegibleConsole(width=max(console.width, _NARROWEST_PIPE))
    with console.capture() as captured:
        console.print(Text(folder.title, style="bold"))
        console.print(chips_table(folder, statuses))
    click.echo(captured.get(), nl=False)
    click.echo(f"one run each: hil info {folder.path / folder.chips[0]} shows one as a whole")


def _steps(status: RunStatus) -> str:
    words = steps_words(status.steps_done, status.steps_skipped, status.steps)
    return words.replace(" steps", "")  # the heading says it


def _percent(error: float | None) -> str:
    return "" if error is None else percent(error)


def chips_table(folder: ChipsFolder, statuses: Sequence[ChipStatus]) -> Table:
    """Return how the runs of several chips stand, a row each."""
    table = Table(box=SIMPLE_HEAD, padding=0, show_edge=False)
    for heading in ("chip", "serial", "state"):
        table.add_column(heading)
    for heading in ("steps", "worst NMPU error"):
        table.add_column(heading, justify="right")
    table.add_column("folder", overflow="fold")
    cell: Callable[[str], Text] = lambda words: Text(printable(words))  # noqa: E731 - no markup
    for each in statuses:
        status = each.status
        table.add_row(
            cell(each.chip),
            cell("" if status is None else status.serial),
            cell(each.problem if status is None else str(status.state)),
            cell("" if status is None else _steps(status)),
            _percent(_worst_error(folder, each)),
            cell(each.folder),
        )
    return table
