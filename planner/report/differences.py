"""The difference between two plans in lines, as ``diff`` prints it."""

from __future__ import annotations

from collections.abc import Iterator

from planner.domain.difference import PlanDiff
from planner.domain.placement import Placed, Shard
from planner.report.words import refusal_sentence, usd_text


def difference_text(difference: PlanDiff) -> str:
    """Return a line a change, marked ``+`` (only later), ``-`` (only earlier) or ``~`` (elsewhere)."""
    if difference.is_empty:
        return "the plans place and refuse alike"
    return "\n".join(_lines(difference))


def _lines(difference: PlanDiff) -> Iterator[str]:
    for sign, shards in (("-", difference.closed), ("+", difference.opened)):
        for shard in shards:
            yield f"{sign} shard {shard.name} ({_kind(shard)})"
    for placed in difference.removed:
        yield f"- model {_replica(placed)} on {_at(placed)}"
    for placed in difference.added:
        yield f"+ model {_replica(placed)} on {_at(placed)}"
    for item in difference.moved:
        way = f"from {_at(item.before)} to {_at(item.after)}"
        yield f"~ model {_replica(item.before)} {way}{_option(item.before, item.after)}"
    for refusal in difference.accepted:
        yield f"- refusal {refusal_sentence(refusal)}"
    for refusal in difference.refused:
        yield f"+ refusal {refusal_sentence(refusal)}"
    yield _cost_line(difference)


def _kind(shard: Shard) -> str:
    return shard.shard_type + (f" on {shard.node}" if shard.node else "")


def _replica(placed: Placed) -> str:
    return f"{placed.model}#{placed.replica}"


def _at(placed: Placed) -> str:
    return ", ".join(f"{placed.shard}/{index}" for index in placed.devices)


def _option(before: Placed, after: Placed) -> str:
    if before.option == after.option:
        return ""
    return f", footprint option {before.option} to {after.option}"


def _cost_line(difference: PlanDiff) -> str:
    before, after = difference.cost_before_microusd_per_h, difference.cost_after_microusd_per_h
    if before == after:
        return f"cost stays {usd_text(after)}"
    change = usd_text(after - before) if after < before else f"+{usd_text(after - before)}"
    return f"cost {usd_text(before)} to {usd_text(after)} ({change})"
