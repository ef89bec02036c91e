"""The journal of a run that was fitted again: what was measured, with what was concluded now.

Times are those of the measurement: the same readouts, fitted the same way by the same software,
give the same bytes.
"""

from collections.abc import Collection, Mapping
from typing import Any

from hil.campaign.config.resolved import resolved_sha256
from hil.recorded.refit import RefitRun
from hil.recorded.refit_step import StepResult
from hil_datasets.journal import BEGINNINGS, event_line, last_beginning
from hil_datasets.journal_plan import key_of
from hil_datasets.step import StepKey
from hil_datasets.step_files.told_facts import facts_sha256
from hil_datasets.visit_terms import terms_to_json


def refit_journal(refit: RefitRun) -> bytes:
    """Return the lines of the journal.

    The beginnings are those of the run, with ``refit_of``: name of each step to the id of the
    register codes that it had, and ``options``: what was different. Programmings are those
    of its cores; steps, and skipped ones, those that were fitted again; a step that was refused is
    a ``failure``.
    """
    events = refit.source.events()
    cores = {result.key.core for result in refit.results}
    results = {result.key: result for result in refit.results}
    last, lines, utc = last_beginning(events), [], ""
    for event in events:
        utc = str(event.get("utc", utc))
        if event["event"] in BEGINNINGS:
            lines.append(_line(_beginning(event, refit, is_last=event is last)))
        elif _is_kept(event, refit.ids_before, cores):
            lines.append(_line(event))
        elif event["event"] == "step" and key_of(event) in results:
            lines.append(_line(_step(event, refit, results.pop(key_of(event)))))
    failed = [f"{result.key.name}: {result.refusal}" for result in refit.refused]
    status = "incomplete" if failed else "complete"
    stop = {"event": "stop", "utc": utc, "status": status} | ({"failed": failed} if failed else {})
    return b"".join([*lines, _line(stop)])


def _is_kept(
    event: Mapping[str, Any], fitted: Mapping[StepKey, Any], cores: Collection[int]
) -> bool:
    """Tell whether an event is as true of what was fitted again."""
    if event["event"] == "program":
        return event.get("core") in cores
    return bool(event["event"] == "skip") and _is_tile_of(fitted, key_of(event))


def _beginning(event: Mapping[str, Any], refit: RefitRun, *, is_last: bool) -> dict[str, Any]:
    names = {result.key.name for result in refit.results}
    before = {key.name: ids.coefficients for key, ids in refit.ids_before.items()}
    found = dict(event) | {"refit_of": before, "options": refit.options.to_dict()}
    if is_last:
        found["resolved_sha256"] = resolved_sha256(refit.config)
    if "planned" in event:
        skipped = {
            key.name for key in refit.source.skipped_steps() if _is_tile_of(refit.ids_before, key)
        }
        found["planned"] = [name for name in event["planned"] if name in names | skipped]
    if "visits" in event:
        found["visits"] = terms_to_json(event["visits"])
    return found


def _step(event: Mapping[str, Any], refit: RefitRun, result: StepResult) -> dict[str, Any]:
    if result.conclusion is None:
        return {
            "event": "failure",
            "utc": event.get("utc", ""),
            "step": result.key.name,
            "reason": result.refusal,
        }
    facts = refit.facts(result)
    return dict(event) | {
        "concluded_sha256": result.concluded_sha256,
        "facts_sha256": facts_sha256(facts.key, facts.origin, facts.conditions),
        "errors": result.conclusion.errors,
    }


def _is_tile_of(results: Mapping[StepKey, Any], key: StepKey) -> bool:
    return any((other.core, other.read_mode) == (key.core, key.read_mode) for other in results)


def _line(event: Mapping[str, Any]) -> bytes:
    details = dict(event)
    return event_line(details.pop("event"), utc=details.pop("utc", ""), **details)
