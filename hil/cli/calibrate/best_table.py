"""What ``hil calibrate best`` prints: tables and JSON."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from hil.cli.calibrate.tables import age, empty_table, percent, print_parts, without_nan
from hil.recorded.best import rank_visits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.table import Table

    from hil.recorded.best import NotApplicable, RankedVisit, Scored, TileRanking

_MOST_LISTED = 12
"""Calibrations shown of each core; all of them are in ``--json``."""


def print_rankings(rankings: Sequence[TileRanking], unprobed: Sequence[NotApplicable]) -> None:
    """Print the calibrations of each core, the best first, and which one fits all cores best."""
    print_parts(_parts(rankings, unprobed))


def _parts(
    rankings: Sequence[TileRanking], unprobed: Sequence[NotApplicable]
) -> Iterator[Table | str]:
    for ranking in rankings:
        yield from _tile_parts(ranking)
    if len(rankings) > 1:
        yield from _visit_parts(rank_visits(rankings))
    refused = [each for ranking in rankings for each in ranking.refused]
    for one in [*refused, *unprobed][:_MOST_LISTED]:
        yield f"does not apply: {one.candidate.name}: {one.reason}"
    rest = Counter(one.reason for one in [*refused, *unprobed][_MOST_LISTED:])
    for reason, count in rest.items():
        yield f"{count} more do not apply: {reason}"


def _tile_parts(ranking: TileRanking) -> Iterator[Table | str]:
    probe, (core, read_mode) = ranking.probe, ranking.probe.tile
    title = (
        f"core {core} {read_mode}: {len(probe.counts)} vectors of {probe.chip}, "
        f"{probe.temperature_c:.1f} C{_probe_age(probe.age_s)}"
    )
    if not ranking.ranked:
        yield f"{title}: no stored calibration applies"
        return
    table = empty_table(
        ">", ">error", ">+-", ">worse by", ">+-", "", ">made at", ">age then", "made", "step",
        "run", title=title,
    )  # fmt: skip
    for place, scored in enumerate(ranking.ranked[:_MOST_LISTED], start=1):
        origin = scored.candidate.facts.origin
        table.add_row(
            str(place),
            percent(scored.error),
            percent(scored.error_se),
            percent(scored.worse_by),
            percent(scored.worse_by_error),
            _judgement(place, scored),
            f"{origin.temperature_c:.1f} C",
            age(origin.circumstance.age_s),
            origin.measured_utc[:19].replace("T", " "),
            scored.candidate.facts.key.name,
            str(scored.candidate.run),
        )
    yield table
    more = len(ranking.ranked) - _MOST_LISTED
    if more > 0:
        yield f"and {more} more: --json"
    yield _conclusion(ranking.ranked)


def _probe_age(age_s: float) -> str:
    return "" if math.isnan(age_s) else f", {age(age_s)} after programming"


def _judgement(place: int, scored: Scored) -> str:
    words = "best" if place == 1 else "as good" if scored.is_as_good else "worse"
    return f"{words}, own readouts" if scored.has_seen_probe else words


def _conclusion(ranked: Sequence[Scored]) -> str:
    best = ranked[0].candidate
    alike = [scored for scored in ranked[1:] if scored.is_as_good]
    if alike:
        return (
            f"best: {best.name}; the probe cannot tell {len(alike)} other"
            f"{'s' * (len(alike) > 1)} apart from it"
        )
    return f"best: {best.name}"


def _visit_parts(visits: Sequence[RankedVisit]) -> Iterator[Table | str]:
    if not visits:
        yield "no run has calibrations of every core that was probed"
        return
    table = empty_table(
        ">", ">error", ">+-", ">worse by", ">+-", "", ">visit", "run",
        title="all cores: mean of their errors",
    )  # fmt: skip
    for place, one in enumerate(visits[:_MOST_LISTED], start=1):
        table.add_row(
            str(place), percent(one.error), percent(one.error_se), percent(one.worse_by),
            percent(one.worse_by_error),
            "best" if place == 1 else "as good" if one.is_as_good else "worse",
            str(one.visit), str(one.run),
        )  # fmt: skip
    yield table


def rankings_document(
    rankings: Sequence[TileRanking], unprobed: Sequence[NotApplicable], *, method: str
) -> dict[str, Any]:
    """Return the rankings as JSON holds them."""
    document = {
        "method": method,
        "cores": [_tile_document(ranking) for ranking in rankings],
        "runs": [
            {
                "run": str(one.run),
                "visit": one.visit,
                "error": one.error,
                "error_se": one.error_se,
                "worse_by": one.worse_by,
                "worse_by_error": one.worse_by_error,
                "is_as_good_as_best": one.is_as_good,
            }
            for one in rank_visits(rankings)
        ],
        "not_probed": [_refused_document(one) for one in unprobed],
    }
    return without_nan(document)  # type: ignore[no-any-return]


def _tile_document(ranking: TileRanking) -> dict[str, Any]:
    probe = ranking.probe
    return {
        "core": probe.tile[0],
        "read_mode": str(probe.tile[1]),
        "chip": str(probe.chip),
        "vectors": len(probe.counts),
        "temperature_c": probe.temperature_c,
        "age_s": probe.age_s,
        "raw_sha256": probe.raw_sha256 or None,
        "ranked": [_scored_document(scored) for scored in ranking.ranked],
        "not_applicable": [_refused_document(one) for one in ranking.refused],
    }


def _scored_document(scored: Scored) -> dict[str, Any]:
    facts = scored.candidate.facts
    return {
        "run": str(scored.candidate.run),
        "step": facts.key.name,
        "error": scored.error,
        "error_se": scored.error_se,
        "worse_by": scored.worse_by,
        "worse_by_error": scored.worse_by_error,
        "is_as_good_as_best": scored.is_as_good,
        "probe_is_its_own": scored.has_seen_probe,
        "measured_utc": facts.origin.measured_utc,
        "temperature_c": facts.origin.temperature_c,
        "age_s": facts.origin.circumstance.age_s,
        "coefficients_id": facts.ids.coefficients,
    }


def _refused_document(one: NotApplicable) -> dict[str, str]:
    return {
        "run": str(one.candidate.run),
        "step": one.candidate.facts.key.name,
        "reason": one.reason,
    }
