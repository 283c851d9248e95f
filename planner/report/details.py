"""What ``explain -o wide`` adds: every dimension of every shard, replica or alternative, nothing cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import assert_never

from planner.domain.plan import Plan
from planner.domain.scenario import Scenario
from planner.report.explanation import (
    Alternative,
    DeviceExplanation,
    Explanation,
    ModelExplanation,
    PlanExplanation,
    ShardExplanation,
)
from planner.report.text import plan_table, service_table, table
from planner.report.usage import Occupant, ShardUse, placement_usage
from planner.report.words import RULE_NAMES, amount, percent
from planner.units import format_usd


def explanation_details(scenario: Scenario, plan: Plan, explanation: Explanation) -> str:
    """Return the tables that follow an explanation's text; empty where there is nothing to list."""
    match explanation:
        case PlanExplanation():
            shards = plan_table(scenario, plan, wide=True) if explanation.shards else ""
            services = service_table(scenario, plan) if plan.services else ""
            return "\n\n".join(filter(None, (shards, services)))
        case ModelExplanation():
            return "\n\n".join(part for part in (_takes_table(explanation), _elsewhere(explanation)) if part)
        case ShardExplanation():
            use = _shard_use(scenario, plan, explanation.shard)
            return _occupants_table(use.occupants)
        case DeviceExplanation():
            use = _shard_use(scenario, plan, explanation.device.rpartition("/")[0])
            device = next(item for item in use.devices if item.name == explanation.device)
            return _occupants_table(device.occupants)
        case _:
            assert_never(explanation)


def _shard_use(scenario: Scenario, plan: Plan, name: str) -> ShardUse:
    return next(use for use in placement_usage(scenario, plan.placement) if use.shard.name == name)


# ---------------------------------------------------------------------------------------------------- a model


def _takes_table(model: ModelExplanation) -> str:
    """Return what each placed replica takes of every resource of its shard."""
    rows = [
        (
            f"{model.model}#{home.replica}",
            use.subject,
            use.name or RULE_NAMES[use.rule],
            amount(use.used, use.unit),
            amount(use.capacity, use.unit),
            percent(use.full_ppm),
        )
        for home in model.homes
        for use in home.takes
    ]
    return (
        table(("replica", "on", "resource", "takes", "capacity", "share"), rows, right=(3, 4, 5))
        if rows
        else ""
    )


def _elsewhere(model: ModelExplanation) -> str:
    """Return every place that was tried with every rule that stands against it."""
    # Two obstacles may differ in nothing that the table shows: each row once.
    rows = dict.fromkeys(
        row for item in (*model.shards, *model.shard_types) for row in _alternative_rows(item)
    )
    headers = ("elsewhere", "shard", "USD/h more", "against it", "of", "need", "have")
    return table(headers, rows, right=(2, 5, 6)) if rows else ""


def _alternative_rows(item: Alternative) -> Iterator[tuple[str, ...]]:
    state = "new" if item.opens else "open"
    if not item.obstacles:
        yield item.target, state, format_usd(item.extra_microusd_per_h), "nothing", "-", "-", "-"
    for obstacle in item.obstacles:
        numbers = (
            "-" if value is None else amount(value, obstacle.unit or "")
            for value in (obstacle.need, obstacle.have)
        )
        yield item.target, state, "-", obstacle.rule.value, obstacle.subject, *numbers


# ------------------------------------------------------------------------------------------ a shard, a device


def _occupants_table(occupants: Iterable[Occupant]) -> str:
    """Return every replica with everything that it needs, those that need most device memory first."""
    largest = sorted(
        occupants, key=lambda item: (-item.need.steady_bytes, -item.need.memory_bytes, item.placed)
    )
    headers = (
        "replica",
        "device",
        "backend",
        "batch",
        "instances",
        "GPU memory",
        "at p50",
        "at load",
        "GPU time",
        "CPU",
        "memory",
        "disk",
        "named resources",
    )
    return table(headers, map(_occupant_row, largest), right=range(3, 12)) if largest else ""


def _occupant_row(item: Occupant) -> tuple[str, ...]:
    need = item.need
    extra = ",".join(f"{name}={amount(value, 'milli')}" for name, value in sorted(need.extra.items()))
    return (
        f"{item.placed.model}#{item.placed.replica}",
        ",".join(str(index) for index in item.placed.devices),
        item.model.backend,
        f"{item.option.batch:,}",
        f"{item.option.instances:,}",
        amount(need.steady_bytes, "bytes"),
        amount(item.median_steady_bytes, "bytes"),
        amount(need.load_peak_bytes, "bytes"),
        amount(need.device_milli, "milli"),
        amount(need.cpu_milli, "milli"),
        amount(need.memory_bytes, "bytes"),
        amount(need.disk_bytes, "bytes"),
        extra or "-",
    )
