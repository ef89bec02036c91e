"""A trace as lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hil_datasets.trace.links import ColumnTrace, TraceLink

_MOST_BLOCKS = 16
_MOST_EVENTS = 20
_WIDTH = 20


def chains_lines(chains: Sequence[Sequence[ColumnTrace]]) -> Iterator[str]:
    """Yield the lines of one or more ways back, and at the end what is broken in all of them."""
    broken: list[str] = []
    for number, traces in enumerate(chains):
        if number:
            yield ""
        yield from _chain_lines(traces)
        of_mode = f" of {traces[0].key.read_mode}" if len(chains) > 1 else ""
        broken += [
            f"{_broken_words(link)}{of_mode}"
            for found in traces
            for link in found.links
            if _is_broken(link)
        ]
    yield f"broken: {', '.join(broken)}" if broken else "every link that can be checked holds"


def _chain_lines(traces: Sequence[ColumnTrace]) -> Iterator[str]:
    """Yield the lines of a way back through several runs."""
    for number, found in enumerate(traces):
        if number:
            yield ""
            yield f"made from the readouts of {found.run}{_others(traces[number - 1], found)}"
        yield from _trace_lines(found)
    yield from _sought_lines(traces[-1])


def _others(made: ColumnTrace, parent: ColumnTrace) -> str:
    """Say where a run has the readouts that were fitted again, but not what they had come to."""
    wanted = "" if made.sought is None else made.sought.coefficients_id
    ids = {link.content_id for link in parent.links if link.name == "coefficients"}
    return "" if not wanted or wanted in ids else f", whose coefficients are not {wanted}"


def _is_broken(link: TraceLink) -> bool:
    return link.state == "broken"


def _broken_words(link: TraceLink) -> str:
    if link.name == "file" and link.facts:
        return f"file {link.facts['file']}"
    return link.name


def _sought_lines(last: ColumnTrace) -> Iterator[str]:
    sought = last.sought
    if sought is None:
        return
    where = f", then at {sought.run}" if sought.run else ""
    yield f"the way goes on in a run with the readouts {sought.raw_sha256}{where}"
    yield "  which is none of those given: say with --among FOLDER where to look for it"


def _trace_lines(found: ColumnTrace) -> Iterator[str]:
    """Yield the lines of a trace: the column's values, then each link with what is told there."""
    key = found.key
    yield f"core {key.core} {key.read_mode} column {found.column}: step {key.name} of {found.run}"
    if found.values is not None:
        yield from _value_lines(found.values)
    for link in found.links:
        yield from _link_lines(link)


def _value_lines(values: Mapping[str, Any]) -> Iterator[str]:
    codes, held, fitted = values["codes"], values["held"], values["fitted"]
    errors = values["standard_errors"]
    swap = ", P and N change places" if codes["swap"] else ""
    yield (
        f"  registers  scale_p {codes['scale_p']}, scale_n {codes['scale_n']}, "
        f"offset {codes['offset']}, swap {codes['swap']}, shift {codes['shift']}{swap}"
    )
    for name, per in (("a_p", "/count"), ("a_n", "/count"), ("b", "")):
        product = values["product"][name]
        yield (
            f"  {name:4} held {_shown(held[name])}, fitted {_shown(fitted[name])} "
            f"+- {_shown(errors[name])} LSB{per}; held in products: {_shown(product)} products{per}"
        )
    yield (
        f"  LSB: one output code, {_shown(values['output_lsb'])} products "
        "(input code * weight code)"
    )
    yield f"  flags {', '.join(values['flags']) or 'none'}"
    told = ", ".join(f"{name} {_shown(value)}" for name, value in values["errors"].items())
    yield f"  error on held-out vectors, LSB: {told}"
    yield (
        f"  fit: residual {_shown(values['residual_rms'])} LSB, "
        f"R2 {_shown(values['r_squared'])}, {values['saturated_counts']} clipped counts"
    )
    if values["quality"] is not None:
        told = ", ".join(f"{name} {_shown(value)}" for name, value in values["quality"].items())
        yield f"  quality: {told}"


def _link_lines(link: TraceLink) -> Iterator[str]:
    state = {"ok": "ok", "broken": "BROKEN", "unchecked": "-"}[link.state]
    yield f"{state:7} {link.name:{_WIDTH}} {link.content_id}".rstrip()
    yield f"        {link.reason}"
    for line in _fact_lines(link.facts or {}):
        yield f"        {line}"


def _fact_lines(facts: Mapping[str, Any]) -> Iterator[str]:
    for name, value in facts.items():
        if name == "blocks":
            yield from _block_lines(value)
        elif name == "instruments":
            yield from map(_instrument_line, value)
        elif name == "events":
            yield from _event_lines(value)
        elif isinstance(value, dict):
            yield f"{name}: {', '.join(f'{key} {_shown(each)}' for key, each in value.items())}"
        elif isinstance(value, list):
            yield f"{name}: {', '.join(map(_shown, value))}"
        else:
            yield f"{name}: {_shown(value)}"


def _block_lines(blocks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for block in blocks[:_MOST_BLOCKS]:
        words = [
            f"vectors {block['first_vector']} to {block['last_vector']}",
            f"{block['began_s']:.3f} s to {block['ended_s']:.3f} s",
        ]
        if "counts_p" in block:
            words += [
                f"{polarity} {'...'.join(map(str, block[f'counts_{polarity.lower()}']))}"
                for polarity in "PN"
            ]
        if "crc32c" in block:
            words += [f"CRC-32C {block['crc32c']}", f"readout {block['sequence']}"]
        words += block.get("quality", [])
        words += [f"{fault['kind']} at {fault['noticed_s']:.3f} s" for fault in block["faults"]]
        yield ", ".join(words)
    if len(blocks) > _MOST_BLOCKS:
        yield f"... {len(blocks) - _MOST_BLOCKS} more blocks: --json prints all of them"


def _instrument_line(condition: Mapping[str, Any]) -> str:
    unit = f" {condition['unit']}" if condition["unit"] else ""
    setpoint = condition["setpoint"]
    told = "" if setpoint is None else f", set to {_shown(setpoint)}{unit}"
    return (
        f"{condition['instrument']}.{condition['quantity']}: {_shown(condition['at_start'])}{unit} "
        f"before, {_shown(condition['at_end'])}{unit} after{told}"
    )


def _event_lines(events: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    hidden = {"event", "utc", "errors", "core", "read_mode", "step"}
    for event in events[:_MOST_EVENTS]:
        told = ", ".join(
            f"{name} {_shown(value)}" for name, value in event.items() if name not in hidden
        )
        yield f"{event.get('utc', '')} {event['event']}{': ' + told if told else ''}"
    if len(events) > _MOST_EVENTS:
        yield f"... {len(events) - _MOST_EVENTS} more events: --json prints all of them"


def _shown(value: Any) -> str:
    if value is None:
        return "not known"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
