"""The difference between two plans in lines and in tables, as ``diff`` prints it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from planner.domain.difference import PlanDiff
from planner.domain.placement import Placed, Shard
from planner.domain.plan import Refusal
from planner.domain.services import Service
from planner.report.text import table
from planner.report.words import amount, plural, refusal_sentence, usd_text


def difference_text(difference: PlanDiff) -> str:
    """Return a line a change, marked ``+`` (only later), ``-`` (only earlier) or ``~`` (elsewhere)."""
    if difference.is_empty:
        same = difference.cost_before_microusd_per_h == difference.cost_after_microusd_per_h
        return "the plans place and refuse alike" + ("" if same else f"; {_cost_line(difference)}")
    return "\n".join(_lines(difference))


def _lines(difference: PlanDiff) -> Iterator[str]:
    for sign, shards in (("-", difference.closed), ("+", difference.opened)):
        for shard in shards:
            yield f"{sign} shard {shard.name} ({_kind(shard)})"
    for sign, services in (("-", difference.services_closed), ("+", difference.services_opened)):
        for service in services:
            yield f"{sign} transformer {service.name} ({_where(service)})"
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


def _where(service: Service) -> str:
    return f"on {', '.join(service.nodes)}" if service.nodes else "of its own"


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


# ---------------------------------------------------------------------------------------------- wide


def difference_tables(difference: PlanDiff, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return a line a change with its devices, and a line a shard that is filled differently.

    Parameters
    ----------
    before, after
        The documents of the plans' files: they know the devices of a shard and what is used of them.
    """
    if difference.is_empty:
        return difference_text(difference)
    old, new = ({row["name"]: row for row in item["shards"]} for item in (before, after))
    headers = ("", "kind", "name", "from", "device", "to", "device", "option")
    parts = [table(headers, _change_rows(difference, old, new)), "", *_sizes(old, new)]
    return "\n".join([*parts, _cost_line(difference)])


_ShardRows = Mapping[str, Mapping[str, Any]]


def _change_rows(difference: PlanDiff, old: _ShardRows, new: _ShardRows) -> Iterator[tuple[str, ...]]:
    for shard in difference.closed:
        yield "-", "shard", shard.name, _kind(shard), _devices(old, shard.name), "-", "-", "-"
    for shard in difference.opened:
        yield "+", "shard", shard.name, "-", "-", _kind(shard), _devices(new, shard.name), "-"
    for service in difference.services_closed:
        yield "-", "transformer", service.name, _where(service), "-", "-", "-", "-"
    for service in difference.services_opened:
        yield "+", "transformer", service.name, "-", "-", _where(service), "-", "-"
    for placed in difference.removed:
        yield "-", "model", _replica(placed), *_place(placed, old), "-", "-", str(placed.option)
    for placed in difference.added:
        yield "+", "model", _replica(placed), "-", "-", *_place(placed, new), str(placed.option)
    for item in difference.moved:
        one, other = item.before, item.after
        option = str(one.option) if one.option == other.option else f"{one.option} to {other.option}"
        yield "~", "model", _replica(one), *_place(one, old), *_place(other, new), option
    for refusal in difference.accepted:
        yield "-", "refusal", refusal.model, _refused(refusal), "-", "-", "-", "-"
    for refusal in difference.refused:
        yield "+", "refusal", refusal.model, "-", "-", _refused(refusal), "-", "-"


def _place(placed: Placed, shards: _ShardRows) -> tuple[str, str]:
    return _at(placed), _devices(shards, placed.shard, placed.devices)


def _devices(shards: _ShardRows, name: str, wanted: tuple[int, ...] | None = None) -> str:
    """Return the GPUs of a shard with their class and UUID; a CPU shard has none."""
    devices = shards[name]["devices"] if name in shards else ()
    rows = [row for row in devices if wanted is None or row["index"] in wanted]
    return ", ".join(" ".join(filter(None, (row["class"], row["uuid"]))) for row in rows) or "-"


def _refused(refusal: Refusal) -> str:
    return f"{plural(refusal.replicas, 'replica')} [{refusal.rule.value}]"


def _sizes(old: _ShardRows, new: _ShardRows) -> Iterator[str]:
    """Yield a table of the shards that are filled differently, and an empty line after it."""
    rows = []
    for name in sorted(old.keys() | new.keys()):
        one, other = (_figures(shards.get(name)) for shards in (old, new))
        if one != other:
            rows.append((name, *(_change(*pair) for pair in zip(one, other, strict=True))))
    if rows:
        yield table(("shard", "models", "GPU memory", "GPU time", "CPU", "memory", "disk"), rows)
        yield ""


def _figures(shard: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return what is used of a shard; nothing of one that is not open."""
    if shard is None:
        return ("-",) * 6
    used, devices = shard["used"], shard["devices"]
    return (
        f"{used['models']:,}",
        amount(sum(row["usedBytes"] for row in devices), "bytes") if devices else "-",
        amount(sum(row["usedMilli"] for row in devices), "milli") if devices else "-",
        amount(used["cpuMilli"], "milli"),
        amount(used["memoryBytes"], "bytes"),
        amount(used["diskBytes"], "bytes"),
    )


def _change(before: str, after: str) -> str:
    return after if before == after else f"{before} to {after}"
