"""Explanations for people: the lines that ``explain`` prints."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import assert_never

from planner.domain.rules import Rule
from planner.report.explanation import (
    Alternative,
    DeviceExplanation,
    Explanation,
    Home,
    ModelExplanation,
    Obstacle,
    PlanExplanation,
    ShardExplanation,
    Use,
)
from planner.report.rooms import room_lines
from planner.report.text import table
from planner.report.words import RULE_NAMES, amount, percent, plural, usd_text
from planner.units import format_bytes

_MOST_LISTED = 20
_MOST_NAMES = 8


def explanation_text(explanation: Explanation, *, wide: bool = False) -> str:
    """Return an explanation as text, without a newline at its end.

    ``wide`` cuts no list, and leaves out what ``details`` then lists in full.
    """
    most = sys.maxsize if wide else _MOST_LISTED
    match explanation:
        case PlanExplanation():
            lines = _plan_lines(explanation, most=most)
        case ModelExplanation():
            lines = _model_lines(explanation)
        case ShardExplanation():
            lines = _shard_lines(explanation, wide=wide)
        case DeviceExplanation():
            lines = _device_lines(explanation, most=most)
        case _:
            assert_never(explanation)
    return "\n".join(lines)


def _listed(names: Sequence[str], most: int = _MOST_NAMES) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest:,} more" if rest > 0 else "")


def _uses_table(uses: Iterable[Use]) -> str:
    rows = [
        (
            f"  {use.subject}",
            use.name or RULE_NAMES[use.rule],
            amount(use.used, use.unit),
            amount(use.capacity, use.unit),
            amount(use.left, use.unit),
            percent(use.full_ppm),
        )
        for use in uses
    ]
    return table(("  of", "resource", "used", "capacity", "left", "full"), rows, right=(2, 3, 4, 5))


# --------------------------------------------------------------------------------------------------- the plan


def _plan_lines(plan: PlanExplanation, *, most: int) -> Iterator[str]:
    cost = usd_text(plan.cost_microusd_per_h)
    yield f"Plan {plan.name}: {plural(plan.shards, 'shard')}, {cost}, {plan.status}."
    yield _bound_line(plan)
    if plan.binding_shards:
        yield "What binds (the fullest resource of each shard):"
        for rule, count in plan.binding_shards:
            yield f"  {RULE_NAMES[rule]}: {plural(count, 'shard')}"
        yield "In all:"
        yield _uses_table(plan.overall)
    if plan.saved_at_p50_bytes:
        yield (
            f"Planning with p50 instead would need {format_bytes(plan.saved_at_p50_bytes)} less GPU memory "
            "for the models that are placed."
        )
    yield from room_lines(plan.room)
    if plan.refusals:
        yield "Refused:"
        for sentence in plan.refusals[:most]:
            yield f"  {sentence}"
        if len(plan.refusals) > most:
            rest = plural(len(plan.refusals) - most, "more reason")
            yield f"  and {rest}: name a model to see its own"
    else:
        yield "Nothing is refused."


def _bound_line(plan: PlanExplanation) -> str:
    if plan.bound_microusd_per_h is None:
        return "There is no bound: nothing is proven about what a better plan would cost."
    bound = usd_text(plan.bound_microusd_per_h)
    surplus = plan.cost_microusd_per_h - plan.bound_microusd_per_h
    if surplus == 0:
        return (
            f"No plan that places as much costs less than {bound} ({plan.bound_method}): this one is optimal."
        )
    return (
        f"No plan that places as much costs less than {bound} ({plan.bound_method}); "
        f"this one costs {usd_text(surplus)} more."
    )


# ---------------------------------------------------------------------------------------------------- a model


def _model_lines(model: ModelExplanation) -> Iterator[str]:
    placed = f"{len(model.homes)} of {plural(model.replicas, 'replica')} placed"
    yield f"Model {model.model} ({model.backend}): {placed}."
    for home in model.homes:
        yield from _home_lines(home)
    for reason in model.reasons:
        yield f"  refused: {reason}"
    if model.moved_with:
        yield f"It shares its shard with {_listed(model.moved_with)}; below they go along."
    yield f"Elsewhere, replica {model.tried_replica}:"
    yield from _open_shard_lines(model)
    for alternative in model.shard_types:
        yield f"  a new {alternative.target}: {_new_shard_text(alternative)}"


def _home_lines(home: Home) -> Iterator[str]:
    at = ", ".join(f"{home.shard}/{index}" for index in home.devices)
    node = f" on node {home.node}" if home.node else ""
    yield (
        f"  replica {home.replica} is on {at} ({home.shard_type}{node}), batch {home.batch}, "
        f"{plural(home.instances, 'instance')}, footprint {home.source}"
    )
    takes = [
        f"{percent(use.full_ppm)} of its {RULE_NAMES[use.rule]} ({amount(use.used, use.unit)})"
        for use in home.takes[:3]
    ]
    if takes:
        yield f"    takes {', '.join(takes)}"
    if home.shard_models == 1:
        price = home.price_microusd_per_h
        saved = f" and save {usd_text(price)}" if price else ""
        yield f"    alone there: without it the shard would close{saved}"
    else:
        others = plural(home.shard_models - 1, "other model")
        yield f"    the shard is open for {others} too: being there adds nothing to the cost"


def _open_shard_lines(model: ModelExplanation) -> Iterator[str]:
    fits = [item.target for item in model.shards if not item.obstacles]
    if fits:
        yield f"  would fit on {plural(len(fits), 'other open shard')} at no extra cost: {_listed(fits)}"
    for reason, count, example in _grouped(model.shards):
        yield f"  not on {plural(count, 'open shard')}, {reason}; the nearest: {example}"
    if not model.shards:
        yield "  there is no other open shard"
    if model.shards_untried:
        yield f"  {plural(model.shards_untried, 'further open shard')} not tried"


def _grouped(alternatives: Iterable[Alternative]) -> Iterator[tuple[str, int, str]]:
    """Yield (rules in words, how many places they rule out, the nearest miss), most frequent first."""
    groups: dict[tuple[Rule, ...], list[Alternative]] = defaultdict(list)
    for alternative in alternatives:
        if alternative.obstacles:
            groups[tuple(sorted({item.rule for item in alternative.obstacles}))].append(alternative)
    for rules, members in sorted(
        groups.items(), key=lambda item: (-len(item[1]), _miss(item[1][0]), item[0])
    ):
        nearest = min(members, key=_miss)
        reason = " and ".join(RULE_NAMES[rule] for rule in rules)
        worst = max(nearest.obstacles, key=_excess)
        yield reason, len(members), worst.sentence


def _miss(alternative: Alternative) -> float:
    return max(_excess(obstacle) for obstacle in alternative.obstacles)


def _excess(obstacle: Obstacle) -> float:
    """Return by which share of what there is a rule is missed; rules without numbers come last."""
    if obstacle.need is None or obstacle.have is None:
        return float("inf")
    return (obstacle.need - obstacle.have) / max(1, obstacle.have)


def _new_shard_text(alternative: Alternative) -> str:
    if not alternative.obstacles:
        return f"fits, and would cost {usd_text(alternative.extra_microusd_per_h)} more"
    return "no; " + "; ".join(item.sentence for item in alternative.obstacles[:3])


# ---------------------------------------------------------------------------------------------------- a shard


def _shard_lines(shard: ShardExplanation, *, wide: bool) -> Iterator[str]:
    node = f" on node {shard.node}" if shard.node else ""
    price = usd_text(shard.price_microusd_per_h)
    yield f"Shard {shard.shard}: {shard.shard_type} ({shard.runtime}){node}, {price}, {_holds(shard)}."
    yield _uses_table(shard.resources)
    if shard.binding is not None:
        what = shard.binding.name or RULE_NAMES[shard.binding.rule]
        yield f"{what} of {shard.binding.subject} binds: {percent(shard.binding.full_ppm)} is used."
    if shard.largest_that_fits is not None and shard.largest_bytes is not None:
        size = format_bytes(shard.largest_bytes)
        yield f"The largest model that could still join it: {shard.largest_that_fits} ({size})."
    elif shard.models_untried:
        yield f"None of the largest models fits; {plural(shard.models_untried, 'smaller model')} not tried."
    else:
        yield "No other model of the scenario fits."
    if shard.residents and not wide:
        yield _residents_table(shard)


def _holds(shard: ShardExplanation) -> str:
    return f"holds {plural(len(shard.residents), 'model')}"


def _residents_table(shard: ShardExplanation) -> str:
    largest = sorted(shard.residents, key=lambda item: (-item.steady_bytes, -item.memory_bytes, item.model))
    rows = [
        (
            f"  {item.model}",
            str(item.replica),
            ",".join(str(index) for index in item.devices),
            amount(item.steady_bytes, "bytes"),
            amount(item.device_milli, "milli"),
            amount(item.cpu_milli, "milli"),
            amount(item.memory_bytes, "bytes"),
        )
        for item in largest[:_MOST_LISTED]
    ]
    headers = ("  model", "replica", "device", "GPU memory", "GPU time", "CPU", "memory")
    text = table(headers, rows, right=(1, 3, 4, 5, 6))
    rest = len(largest) - _MOST_LISTED
    return text + (f"\n  and {plural(rest, 'smaller model')}" if rest > 0 else "")


# --------------------------------------------------------------------------------------------------- a device


def _device_lines(device: DeviceExplanation, *, most: int) -> Iterator[str]:
    uuid = f", {device.uuid}" if device.uuid else ""
    yield f"Device {device.device}: {device.device_class}{uuid}."
    if not device.is_gpu:
        yield "A CPU: what its models use is counted on the shard (explain the shard)."
        return
    yield _account_table(device, most=most)
    yield _start_text(device)
    time = f"{amount(device.used_milli, 'milli')} of {amount(device.capacity_milli, 'milli')}"
    yield f"GPU time: {time} (1 is a whole device)."
    if device.saved_at_p50_bytes:
        yield f"Planning with p50 instead would free {format_bytes(device.saved_at_p50_bytes)} here."


def _account_table(device: DeviceExplanation, *, most: int) -> str:
    shown = device.lines[: most + 4]
    rows = [(f"  {line.what}", format_bytes(line.size_bytes), f"{line.size_bytes:,}") for line in shown]
    rest = device.lines[len(shown) :]
    if rest:
        size = sum(line.size_bytes for line in rest)
        rows.append((f"  {plural(len(rest), 'further model')}", format_bytes(size), f"{size:,}"))
    for what, size in (
        ("= used", device.used_bytes),
        ("left", device.left_bytes),
        ("headroom of the policy", device.headroom_bytes),
        ("= total", device.total_bytes),
    ):
        rows.append((f"  {what}", format_bytes(size), f"{size:,}"))
    return table(("  GPU memory", "size", "bytes"), rows, right=(1, 2))


def _start_text(device: DeviceExplanation) -> str:
    if not device.start_lines:
        return "Starting takes no more than running."
    who = ", ".join(f"{line.what} {format_bytes(line.size_bytes)}" for line in device.start_lines)
    peak = format_bytes(device.used_bytes + device.start_bytes)
    return f"While it starts: {peak} of {format_bytes(device.capacity_bytes)} (on top: {who})."
