"""What became of models that were placed into a living plan, for terminals."""

from __future__ import annotations

from collections.abc import Iterable

from planner.domain.rules import UNITS, Rule
from planner.domain.scenario import Scenario
from planner.online.planning import Grown
from planner.online.reasons import Obstacle
from planner.report.text import refusal_lines, table
from planner.report.usage import DeviceUse, placement_usage
from planner.report.words import RULE_NAMES, amount, plural


def placing_text(scenario: Scenario, grown: Grown, *, wide: bool = False) -> str:
    """Return a line a replica that got a place, what was refused and why, and a summary."""
    placed, refused = grown.outcome.placed, grown.plan.refusals
    parts = []
    if placed:
        headers = ["model", "replica", "shard", "device"]
        headers += ["node", "GPU memory", "left on device"] if wide else []
        parts.append(table(headers, _rows(scenario, grown, wide=wide), right=(1, 3)))
    if refused:
        parts.append("\n".join([*refusal_lines(refused), *obstacle_lines(grown)]))
    count = sum(item.replicas for item in refused)
    summary = [f"placed   {plural(len(placed), 'replica')}; nothing else was moved"]
    summary += [f"refused  {plural(count, 'replica')}"] if count else []
    summary += [
        f"gone     {plural(len(grown.gone), 'replica')} that the scenario does not want any more"
    ] * bool(grown.gone)
    return "\n\n".join([*parts, "\n".join(summary)])


def _rows(scenario: Scenario, grown: Grown, *, wide: bool) -> Iterable[list[str]]:
    devices: dict[str, DeviceUse] = {}
    nodes = {shard.name: shard.node or "-" for shard in grown.plan.placement.shards}
    if wide:
        shards = placement_usage(scenario, grown.plan.placement)
        devices = {device.name: device for shard in shards for device in shard.devices}
    for item in grown.outcome.placed:
        where = ",".join(map(str, item.devices))
        row = [item.model, str(item.replica), item.shard, where]
        if wide:
            device = devices[f"{item.shard}/{item.devices[0]}"]
            need = next(one.need for one in device.occupants if one.placed == item)
            memory = [need.steady_bytes, device.left_bytes] if device.is_gpu else []
            row += [nodes[item.shard], *(amount(value, "bytes") for value in memory)] + ["-"] * (
                2 - len(memory)
            )
        yield row


def obstacle_lines(grown: Grown) -> list[str]:
    """Return why the first model that was refused fits nowhere: how many shards each rule keeps it off."""
    found, shards = grown.outcome.obstacles, len(grown.plan.placement.shards)
    if not found:
        return []
    total = sum(item.shards for item in found)
    where = "shards" if total == shards else "shards that it may be on"
    head = f"{grown.outcome.obstructed}: 0 of {total:,} {where} can take it"
    return [head, *(f"  {obstacle_sentence(item)}" for item in found)]


def obstacle_sentence(item: Obstacle) -> str:
    """Return how many shards a rule keeps a model off, and the nearest miss of them."""
    miss = item.nearest
    head = f"{plural(item.shards, 'shard')}: {RULE_NAMES[item.rule]}"
    if item.rule is Rule.SPREAD:
        return f"{head} ({plural(miss.have or 0, 'replica')} of it there)"
    if miss.need is None or miss.have is None:
        return f"{head} ({miss.subject})"
    unit = UNITS.get(item.rule, "")
    return f"{head}; nearest {miss.subject}: needs {amount(miss.need, unit)}, has {amount(miss.have, unit)}"
