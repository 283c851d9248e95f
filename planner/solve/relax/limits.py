"""Levers on limits that are numbers: counts, addresses, budget, pods, bytes of the configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from planner.domain.fleet import ShardType
from planner.domain.plan import Plan
from planner.domain.rules import Rule
from planner.domain.scenario import Scenario
from planner.domain.services import services_pods
from planner.solve.relax.lever import Lever, with_cluster, with_policy, with_type

LARGEST_CONFIG_MAP_BYTES, CONFIG_MAP_STEP_BYTES = 1_048_576, 1_024
"""Kubernetes takes no ConfigMap above 1 MiB (``MaxSecretSize`` in its API validation)."""

MOST_PODS = 500
"""Pods a node beyond which no kubelet is run in practice."""


def on_limits(scenario: Scenario, most: int) -> Iterator[Lever]:
    """Yield the limits that are set; ``most`` is how many shards more could be of use."""
    for item in scenario.shard_types:
        if item.max_count is not None:
            yield _max_count(item, most)
        if item.max_models is not None and item.max_models < len(scenario.models):
            yield _max_models(item, len(scenario.models) - item.max_models)
    if scenario.policy.max_shards is not None:
        yield _max_shards(scenario.policy.max_shards, most)
    if scenario.cluster.max_ips is not None and scenario.shard_types:
        yield _max_ips(scenario, most)
    if scenario.policy.max_usd_per_h_microusd is not None and scenario.shard_types:
        yield _max_cost(scenario, most)
    yield from _pods(scenario, most)
    room = LARGEST_CONFIG_MAP_BYTES - scenario.cluster.max_config_map_bytes
    if room > 0:
        yield _config_map(scenario.cluster.max_config_map_bytes, room)


def _max_count(item: ShardType, most: int) -> Lever:
    before, name = item.max_count or 0, item.name
    return Lever(
        field=f"shardTypes[{name}].maxCount",
        unit="shards",
        steps=most,
        burden=1,
        rules=frozenset({Rule.MAX_COUNT, Rule.SPREAD}),
        relaxed=lambda scenario, step: with_type(scenario, name, max_count=before + step),
        value=lambda step: before + step,
        used=lambda plan: sum(shard.shard_type == name for shard in plan.placement.shards) - before,
        weigh=lambda item: int(item.name == name),
    )


def _max_models(item: ShardType, most: int) -> Lever:
    before, name = item.max_models or 0, item.name
    return Lever(
        field=f"shardTypes[{name}].maxModels",
        unit="models",
        steps=most,
        burden=1,
        rules=frozenset({Rule.MAX_MODELS, Rule.MAX_COUNT}),
        relaxed=lambda scenario, step: with_type(scenario, name, max_models=before + step),
        value=lambda step: before + step,
        used=lambda plan: _most_models(plan, name) - before,
    )


def _most_models(plan: Plan, type_name: str) -> int:
    """Return the models in the shard of a type that holds most."""
    held = {shard.name: 0 for shard in plan.placement.shards if shard.shard_type == type_name}
    for placed in plan.placement.placed:
        if placed.shard in held:
            held[placed.shard] += 1
    return max(held.values(), default=0)


def _max_shards(before: int, most: int) -> Lever:
    return Lever(
        field="policy.limits.maxShards",
        unit="shards",
        steps=most,
        burden=1,
        rules=frozenset({Rule.MAX_SHARDS}),
        relaxed=lambda scenario, step: with_policy(scenario, max_shards=before + step),
        value=lambda step: before + step,
        used=lambda plan: len(plan.placement.shards) - before,
        weigh=lambda _: 1,
    )


def _max_ips(scenario: Scenario, most: int) -> Lever:
    before = scenario.cluster.max_ips or 0
    pods = {item.name: item.replicas for item in scenario.shard_types}
    return Lever(
        field="cluster.maxIPs",
        unit="addresses",
        steps=most * max(pods.values()),
        burden=1,
        rules=frozenset({Rule.IPS}),
        relaxed=lambda scenario, step: with_cluster(scenario, max_ips=before + step),
        value=lambda step: before + step,
        used=lambda plan: (
            sum(pods[shard.shard_type] for shard in plan.placement.shards)
            + services_pods(scenario, plan.services)
            - before
        ),
        weigh=lambda item: item.replicas,
        weigh_service=lambda item: item.replicas,
    )


def _max_cost(scenario: Scenario, most: int) -> Lever:
    before = scenario.policy.max_usd_per_h_microusd or 0
    dearest = max(item.price_microusd_per_h for item in scenario.shard_types)
    return Lever(
        field="policy.limits.maxCostPerHour",
        unit="microusd",
        steps=max(1, most * dearest),
        burden=1,
        rules=frozenset({Rule.MAX_COST}),
        relaxed=lambda scenario, step: with_policy(scenario, max_usd_per_h_microusd=before + step),
        value=lambda step: before + step,
        used=lambda plan: plan.cost_microusd_per_h - before,
        is_cost=True,
    )


def _config_map(before: int, room: int) -> Lever:
    def value(step: int) -> int:
        return min(LARGEST_CONFIG_MAP_BYTES, before + step * CONFIG_MAP_STEP_BYTES)

    return Lever(
        field="cluster.maxConfigMapBytes",
        unit="bytes",
        steps=-(-room // CONFIG_MAP_STEP_BYTES),
        burden=1,
        rules=frozenset({Rule.CONFIG_MAP}),
        relaxed=lambda scenario, step: with_cluster(scenario, max_config_map_bytes=value(step)),
        value=value,
    )


def _pods(scenario: Scenario, most: int) -> Iterator[Lever]:
    """Yield the pods a node may run: the cluster's figure, and that of the nodes that have their own."""
    own = [node.pods for node in scenario.nodes if node.pods is not None]
    if len(own) < len(scenario.nodes):
        before = scenario.cluster.max_pods_per_node
        if before < MOST_PODS:
            yield Lever(
                field="cluster.maxPodsPerNode",
                unit="pods",
                steps=min(most, MOST_PODS - before),
                burden=1,
                rules=frozenset({Rule.NODE_PODS}),
                relaxed=lambda scenario, step: with_cluster(scenario, max_pods_per_node=before + step),
                value=lambda step: before + step,
            )
    for pods in sorted(set(own)):
        if pods < MOST_PODS:
            yield _own_pods(pods, min(most, MOST_PODS - pods))


def _own_pods(pods: int, steps: int) -> Lever:
    def relaxed(scenario: Scenario, step: int) -> Scenario:
        nodes = (
            dataclasses.replace(node, pods=pods + step) if node.pods == pods else node
            for node in scenario.nodes
        )
        return dataclasses.replace(scenario, nodes=tuple(nodes))

    return Lever(
        field="nodes[].allocatable.pods",
        unit="pods",
        steps=steps,
        burden=1,
        rules=frozenset({Rule.NODE_PODS}),
        relaxed=relaxed,
        value=lambda step: pods + step,
    )


def on_required(scenario: Scenario) -> Iterator[Lever]:
    """Yield the shards that are asked for, where there are too many to open."""
    for item in scenario.shard_types:
        if item.min_count:
            yield _min_count(item)


def _min_count(item: ShardType) -> Lever:
    before, name = item.min_count, item.name
    return Lever(
        field=f"shardTypes[{name}].minCount",
        unit="shards",
        steps=before,
        burden=1,
        rules=frozenset({Rule.MIN_COUNT}),
        relaxed=lambda scenario, step: with_type(scenario, name, min_count=before - step),
        value=lambda step: before - step,
    )
