"""What results are about as ``kind/name``: what ``-o name`` prints and ``explain`` takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import assert_never

from planner.domain.difference import PlanDiff
from planner.domain.plan import Plan
from planner.domain.rules import Rule, Violation
from planner.report.explanation import (
    DeviceExplanation,
    Explanation,
    ModelExplanation,
    PlanExplanation,
    ShardExplanation,
)
from planner.sizing.limits import ServingLimits

_KINDS: dict[Rule, str] = {
    Rule.DEVICE_MEMORY: "device",
    Rule.STARTABLE: "device",
    Rule.DEVICE_TIME: "device",
    Rule.EXCLUSIVE_DEVICES: "device",
    Rule.CPU: "shard",
    Rule.HOST_MEMORY: "shard",
    Rule.DISK: "shard",
    Rule.EXTRA: "shard",
    Rule.MAX_MODELS: "shard",
    Rule.CONFIG_MAP: "shard",
    Rule.TENANTS: "shard",
    Rule.RUNTIME: "model",
    Rule.DEVICE_CLASS: "model",
    Rule.SPREAD: "model",
    Rule.TOGETHER: "together",
    Rule.PIN: "model",
    Rule.SERVICE: "service",
    Rule.MIN_COUNT: "shardtype",
    Rule.MAX_COUNT: "shardtype",
    Rule.NODE_SELECTOR: "shard",
    Rule.NODE_CPU: "node",
    Rule.NODE_MEMORY: "node",
    Rule.NODE_PODS: "node",
    Rule.NODE_DEVICES: "node",
    Rule.IPS: "plan",
    Rule.MAX_SHARDS: "plan",
    Rule.MAX_COST: "plan",
    Rule.ACCOUNTED: "model",
    Rule.REFERENCE: "plan",
    Rule.COST: "plan",
    Rule.BOUND: "plan",
}
"""What kind of thing breaks a rule; ``plan`` where it is the plan as a whole or a figure of its file."""


def violation_names(violations: Iterable[Violation], plan: Plan) -> Iterator[str]:
    """Yield what breaks the rules: ``model/x``, ``shard/y``, ``device/y/0``, ``node/n``, ``plan/p``..."""
    shards = {shard.name for shard in plan.placement.shards}
    models = {placed.model for placed in plan.placement.placed} | {item.model for item in plan.refusals}
    for violation in violations:
        kind, name = _KINDS[violation.rule], violation.subject
        head = name.partition("#")[0]  # a replica is its model, or its group of models
        if kind in ("model", "together"):
            yield f"{kind}/{head}"
        elif violation.rule is Rule.NODE_DEVICES:  # a shard that has the wrong devices, or a node's device
            yield f"shard/{name}" if name in shards else f"node/{name.rpartition('/')[0]}"
        elif violation.rule is Rule.REFERENCE and name in shards:
            yield f"shard/{name}"
        elif violation.rule is Rule.REFERENCE and head in models:
            yield f"model/{head}"
        else:
            yield f"plan/{plan.name}" if kind == "plan" else f"{kind}/{name}"


def explanation_names(explanation: Explanation, plan: Plan) -> Iterator[str]:
    """Yield what an explanation leads to.

    For a plan its shards and the models that it refuses, for a model the shards that it is on, for a shard
    or a device the models that are there.
    """
    match explanation:
        case PlanExplanation():
            yield from (f"shard/{shard.name}" for shard in plan.placement.shards)
            yield from (f"model/{refusal.model}" for refusal in plan.refusals)
        case ModelExplanation():
            yield from (f"shard/{home.shard}" for home in explanation.homes)
        case ShardExplanation():
            yield from (f"model/{resident.model}" for resident in explanation.residents)
        case DeviceExplanation():
            shard, _, ordinal = explanation.device.rpartition("/")
            for placed in plan.placement.placed:
                if placed.shard == shard and int(ordinal) in placed.devices:
                    yield f"model/{placed.model}"
        case _:
            assert_never(explanation)


def difference_names(difference: PlanDiff) -> Iterator[str]:
    """Yield the shards that only one plan opens, then the models that are placed or refused differently."""
    shards = (*difference.opened, *difference.closed)
    yield from (f"shard/{name}" for name in sorted({shard.name for shard in shards}))
    placed = (*difference.added, *difference.removed, *(item.after for item in difference.moved))
    refused = (*difference.refused, *difference.accepted)
    models = {item.model for item in placed} | {item.model for item in refused}
    yield from (f"model/{name}" for name in sorted(models))


def limit_names(limits: ServingLimits) -> Iterator[str]:
    """Yield the limits that the cluster has, ``limit/pods`` and ``limit/ips``, the tightest first."""
    for ceiling in sorted(limits.ceilings, key=lambda item: item.one_per_service_models):
        yield f"limit/{ceiling.limit}"
