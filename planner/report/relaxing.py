"""Relaxations in words: a table of what to change, and the lines around it."""

from __future__ import annotations

from collections.abc import Iterator

from planner.report.text import refusal_lines, table
from planner.report.words import amount, plural, usd_text
from planner.solve.relax.lever import Value
from planner.solve.relax.search import Relaxations, Relaxed
from planner.units import format_percent


def relaxations_text(found: Relaxations, *, wide: bool = False) -> str:
    """Return what to change, what is then placed at which cost, and what is beyond every change.

    ``wide`` adds the whole cost and what is still refused, and cuts no list.
    """
    return "\n\n".join(part for part in _parts(found, wide=wide) if part)


def _parts(found: Relaxations, *, wide: bool) -> Iterator[str]:
    refused = found.wanted - found.placed
    if not refused:
        yield f"all {plural(found.wanted, 'replica')} are placed: nothing has to be relaxed"
        return
    if found.found:
        yield relaxations_table(found, wide=wide)
    yield _summary(found, refused)
    if found.beyond:
        most = len(found.beyond) if wide else 20
        yield "\n".join(["beyond every change that was tried:", *refusal_lines(found.beyond, most=most)])


def _summary(found: Relaxations, refused: int) -> str:
    enough = sum(not item.refused for item in found.found)
    head = f"{found.placed:,} of {plural(found.wanted, 'replica')} placed as it is, {refused:,} refused"
    if enough:
        tail = f"any one of {plural(enough, 'change')} places all" if enough > 1 else "one change places all"
    elif found.found:
        tail = f"at most {found.found[0].placed:,} with a change"
    else:
        tail = "no change that was tried places more"
    stopped = "" if found.complete else ", stopped by the clock: there may be better ones"
    return f"{head}; {tail} ({plural(found.trials, 'trial')}{stopped})"


def relaxations_table(found: Relaxations, *, wide: bool = False) -> str:
    """Return one line a change; changes that belong together stand under each other with a plus."""
    headers = ["change", "from", "to", "placed", "USD/h", "least"]
    rows = [row for item in found.found for row in _rows(item, found.wanted, wide=wide)]
    return table(headers + (["cost", "refused"] if wide else []), rows, right=(1, 2, 3, 4))


def _rows(item: Relaxed, wanted: int, *, wide: bool) -> Iterator[list[str]]:
    changes = [
        (change.field, _value(change.before, change.unit), _value(change.after, change.unit))
        for change in item.changes
    ]
    first, *others = changes or [("none: plan again", "-", "-")]
    machines = f" and {plural(item.unpriced_machines, 'node')}" if item.unpriced_machines else ""
    row = [
        *first,
        f"{item.placed:,}/{wanted:,}",
        f"{_signed(item.more_microusd_per_h)}{machines}",
        "proven" if item.proven else "found" if item.changes else "-",
    ]
    yield row + ([usd_text(item.cost_microusd_per_h), f"{item.refused:,}"] if wide else [])
    for field, before, after in others:
        yield [f"+ {field}", before, after]


def _signed(microusd_per_h: int) -> str:
    text = usd_text(abs(microusd_per_h)).removesuffix(" USD/h")
    return f"{'-' if microusd_per_h < 0 else '+'}{text}"


def _value(value: Value, unit: str) -> str:
    if not isinstance(value, int):
        return value or "-"
    return format_percent(value) if unit == "ppm" else amount(value, unit)


def relaxation_names(found: Relaxations) -> Iterator[str]:
    """Yield the fields to change, the best relaxation's first, as ``field/policy.headroom.gpuMemory``."""
    for item in found.found:
        for change in item.changes:
            yield "field/" + change.field.replace("[]", "").replace("[", ".").replace("]", "")
