"""``hil doctor``: what is wrong with a link, or with the installation."""

import json
from collections.abc import Iterator
from pathlib import Path

import click

from hil.cli.departed_reader import gives_verdict
from hil.cli.errors import ExitCode, reports_errors
from hil.core.errors import ConfigError, Problem
from hil.diagnosis.finding import Finding, Part, Report, Verdict

_STDOUT = "-"
_INDENT = " " * 8


@click.command()
@click.argument("resource", required=False)
@click.option(
    "--json",
    "json_path",
    metavar="[FILE]",
    is_flag=False,
    flag_value=_STDOUT,
    help="Write a JSON report to FILE; to stdout if FILE is left out, or -.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.5, max=3600),
    default=10.0,
    show_default=True,
    help="How long to measure.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0.05, max=600),
    default=5.0,
    show_default=True,
    help="Seconds that an answer may take.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder for runs, whose disk is tested.",
)
@reports_errors
@gives_verdict
def command(
    *, resource: str | None, json_path: str | None, seconds: float, timeout_s: float, out: Path
) -> None:
    """Test the link to RESOURCE and the installation, and say what to fix.

    Without RESOURCE only the installation is tested. Nothing is programmed; the device is left as
    it was, and safe.
    """
    from hil.diagnosis.doctor import diagnose_link
    from hil.diagnosis.installation import diagnose_installation
    from hil.diagnosis.opening import opened
    from hil.diagnosis.storage import check_folder, check_hdf5

    if json_path is not None and json_path != _STDOUT and Path(json_path).exists():
        raise ConfigError("--json", [Problem("", f"{json_path} is there already")])
    is_quiet = json_path == _STDOUT
    findings: list[Finding] = []

    def tell(finding: Finding) -> None:
        findings.append(finding)
        if not is_quiet:
            click.echo("\n".join(_lines(finding)))

    if resource is None:
        for finding in diagnose_installation(out):
            tell(finding)
    else:
        with opened(resource) as address:
            diagnose_link(address, seconds=seconds, timeout_s=timeout_s, tell=tell)
        for finding in (check_hdf5(), *check_folder(out)):
            tell(finding)
    report = Report(resource=resource, findings=tuple(findings))
    _end(report, json_path)


def _end(report: Report, json_path: str | None) -> None:
    text = json.dumps(report.to_dict(), indent=1)
    if json_path == _STDOUT:
        click.echo(text)
    else:
        counts = ", ".join(f"{report.count(verdict)} {verdict}" for verdict in Verdict)
        click.echo(f"\n{report.resource or 'installation'}: {counts}")
        if json_path is not None:
            Path(json_path).write_text(text + "\n", "utf-8")
    if report.has_failed(Part.LINK):
        raise SystemExit(ExitCode.DEVICE)
    if report.has_failed(Part.HOST):
        raise SystemExit(ExitCode.SOME_FAILED)


def _lines(finding: Finding) -> Iterator[str]:
    from hil.diagnosis.latencies import histogram_lines

    yield f"{finding.verdict:<8}{finding.check}: {finding.evidence}"
    edges_s = finding.figures.get("histogram_edges_s")
    if edges_s is not None:
        for line in histogram_lines(edges_s, finding.figures["histogram_counts"]):
            yield f"{_INDENT}{line}"
    if finding.verdict in (Verdict.WARN, Verdict.FAIL):
        yield f"{_INDENT}should be: {finding.claim}"
    if finding.advice:
        word = "to do" if finding.verdict in (Verdict.WARN, Verdict.FAIL) else "note"
        yield f"{_INDENT}{word}: {finding.advice}"
