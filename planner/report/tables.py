"""A plan as pandas DataFrames, for notebooks: the same figures as everywhere, exact and with their units.

Needs the extra ``report``. Columns are named as our fields are: the unit is the suffix (``_bytes``,
``_milli``, ``_usd_per_h``), a ratio ends in ``_ratio``. A missing value is None
(``NaN`` in a column of numbers).
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from planner.domain.fleet import ShardType
from planner.domain.plan import Plan
from planner.domain.rules import UNITS, Rule
from planner.domain.scenario import Scenario
from planner.report.usage import DeviceUse, ShardUse, placement_usage
from planner.report.words import refusal_reason
from planner.units import MICROUSD, PPM


def shards_frame(scenario: Scenario, plan: Plan) -> pd.DataFrame:
    """Return a row a shard, indexed by its name.

    Columns: ``shard_type, group, node, models, device_used_bytes, device_capacity_bytes, cpu_used_milli,
    cpu_capacity_milli, memory_used_bytes, memory_capacity_bytes, full_ratio, binding_rule, price_usd_per_h``.
    """
    rows = [_shard_row(shard) for shard in placement_usage(scenario, plan.placement)]
    return _frame(rows, ["shard", *_SHARD_COLUMNS], index="shard")


_SHARD_COLUMNS = (
    "shard_type",
    "group",
    "node",
    "models",
    "device_used_bytes",
    "device_capacity_bytes",
    "cpu_used_milli",
    "cpu_capacity_milli",
    "memory_used_bytes",
    "memory_capacity_bytes",
    "full_ratio",
    "binding_rule",
    "price_usd_per_h",
)


def _shard_row(shard: ShardUse) -> dict[str, Any]:
    cpu, memory, binding = shard.host_use(Rule.CPU), shard.host_use(Rule.HOST_MEMORY), shard.binding
    return {
        "shard": shard.shard.name,
        "shard_type": shard.shard_type.name,
        "group": shard.shard_type.group,
        "node": shard.shard.node,
        "models": len(shard.occupants),
        "device_used_bytes": shard.device_used_bytes,
        "device_capacity_bytes": shard.device_capacity_bytes,
        "cpu_used_milli": cpu.used if cpu else None,
        "cpu_capacity_milli": cpu.capacity if cpu else None,
        "memory_used_bytes": memory.used if memory else None,
        "memory_capacity_bytes": memory.capacity if memory else None,
        "full_ratio": binding.full_ppm / PPM if binding else None,
        "binding_rule": binding.rule.value if binding else None,
        "price_usd_per_h": shard.shard_type.price_microusd_per_h / MICROUSD,
    }


def devices_frame(scenario: Scenario, plan: Plan) -> pd.DataFrame:
    """Return a row a GPU, indexed by ``shard/ordinal``; CPU shards have none.

    Columns: ``shard, device_class, uuid, total_bytes, reserved_bytes, context_bytes, pool_bytes,
    foreign_bytes, base_bytes, models_bytes, used_bytes, capacity_bytes, left_bytes, start_peak_bytes,
    used_milli, capacity_milli, models``.
    """
    rows = [
        _device_row(shard, device)
        for shard in placement_usage(scenario, plan.placement)
        for device in shard.devices
        if device.is_gpu
    ]
    return _frame(rows, ["device", *_DEVICE_COLUMNS], index="device")


_DEVICE_COLUMNS = (
    "shard",
    "device_class",
    "uuid",
    "total_bytes",
    "reserved_bytes",
    "context_bytes",
    "pool_bytes",
    "foreign_bytes",
    "base_bytes",
    "models_bytes",
    "used_bytes",
    "capacity_bytes",
    "left_bytes",
    "start_peak_bytes",
    "used_milli",
    "capacity_milli",
    "models",
)


def _device_row(shard: ShardUse, device: DeviceUse) -> dict[str, Any]:
    return {
        "device": device.name,
        "shard": shard.shard.name,
        "device_class": device.room.device_class,
        "uuid": device.room.uuid,
        "total_bytes": device.room.total_bytes,
        "reserved_bytes": device.reserved_bytes,
        "context_bytes": device.context_bytes,
        "pool_bytes": device.pool_bytes,
        "foreign_bytes": device.foreign_bytes,
        "base_bytes": sum(size for _, size in device.bases),
        "models_bytes": device.models_bytes,
        "used_bytes": device.used_bytes,
        "capacity_bytes": device.room.capacity_bytes,
        "left_bytes": device.left_bytes,
        "start_peak_bytes": device.start_peak_bytes,
        "used_milli": device.used_milli,
        "capacity_milli": device.room.capacity_milli,
        "models": len(device.occupants),
    }


def placements_frame(scenario: Scenario, plan: Plan) -> pd.DataFrame:
    """Return a row a placed replica.

    Columns: ``model, replica, shard, devices`` (ordinals, comma-separated), ``option, steady_bytes,
    load_peak_bytes, device_milli, cpu_milli, memory_bytes, disk_bytes``; device figures are on each device.
    """
    rows = [
        {
            "model": item.placed.model,
            "replica": item.placed.replica,
            "shard": item.placed.shard,
            "devices": ",".join(str(index) for index in item.placed.devices),
            "option": item.placed.option,
            "steady_bytes": item.need.steady_bytes,
            "load_peak_bytes": item.need.load_peak_bytes,
            "device_milli": item.need.device_milli,
            "cpu_milli": item.need.cpu_milli,
            "memory_bytes": item.need.memory_bytes,
            "disk_bytes": item.need.disk_bytes,
        }
        for shard in placement_usage(scenario, plan.placement)
        for item in shard.occupants
    ]
    columns = ["model", "replica", "shard", "devices", "option", "steady_bytes", "load_peak_bytes"]
    return _frame(rows, [*columns, "device_milli", "cpu_milli", "memory_bytes", "disk_bytes"])


def refusals_frame(plan: Plan) -> pd.DataFrame:
    """Return a row a refusal.

    Columns: ``model, replicas, rule, subject, need, have, unit, proven, reason``.
    """
    rows = [
        {
            "model": refusal.model,
            "replicas": refusal.replicas,
            "rule": refusal.rule.value,
            "subject": refusal.subject,
            "need": refusal.need,
            "have": refusal.have,
            "unit": UNITS.get(refusal.rule),
            "proven": refusal.proven,
            "reason": refusal_reason(refusal),
        }
        for refusal in plan.refusals
    ]
    columns = ["model", "replicas", "rule", "subject", "need", "have", "unit", "proven", "reason"]
    return _frame(rows, columns)


def models_frame(scenario: Scenario, plan: Plan) -> pd.DataFrame:
    """Return a row a model of the scenario, indexed by its name.

    Columns: ``backend, tenant, priority, replicas, placed, refused, shards`` (comma-separated, by replica).
    """
    homes: dict[str, list[str]] = {model.name: [] for model in scenario.models}
    for placed in plan.placement.placed:
        homes[placed.model].append(placed.shard)
    refused = {model.name: 0 for model in scenario.models}
    for refusal in plan.refusals:
        refused[refusal.model] += refusal.replicas
    rows = [
        {
            "model": model.name,
            "backend": model.backend,
            "tenant": model.tenant,
            "priority": model.priority,
            "replicas": model.replicas,
            "placed": len(homes[model.name]),
            "refused": refused[model.name],
            "shards": ",".join(homes[model.name]),
        }
        for model in scenario.models
    ]
    columns = ["model", "backend", "tenant", "priority", "replicas", "placed", "refused", "shards"]
    return _frame(rows, columns, index="model")


def shard_types_frame(scenario: Scenario, plan: Plan) -> pd.DataFrame:
    """Return a row a shard type of the scenario, indexed by its name.

    Columns: ``device_class, price_usd_per_h, min_count, max_count, opened, cost_usd_per_h``.
    """
    opened = {item.name: 0 for item in scenario.shard_types}
    for shard in plan.placement.shards:
        opened[shard.shard_type] += 1
    rows = [_type_row(item, opened[item.name]) for item in scenario.shard_types]
    columns = ["device_class", "price_usd_per_h", "min_count", "max_count", "opened", "cost_usd_per_h"]
    return _frame(rows, ["shard_type", *columns], index="shard_type")


def _type_row(shard_type: ShardType, opened: int) -> dict[str, Any]:
    return {
        "shard_type": shard_type.name,
        "device_class": shard_type.device_class,
        "price_usd_per_h": shard_type.price_microusd_per_h / MICROUSD,
        "min_count": shard_type.min_count,
        "max_count": shard_type.max_count,
        "opened": opened,
        "cost_usd_per_h": opened * shard_type.price_microusd_per_h / MICROUSD,
    }


def _frame(rows: list[dict[str, Any]], columns: list[str], *, index: str | None = None) -> pd.DataFrame:
    """Return a frame that has its columns even if it has no rows."""
    frame = pd.DataFrame(rows, columns=columns)
    return frame if index is None else frame.set_index(index)
