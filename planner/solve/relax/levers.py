"""What of a scenario may be relaxed: each lever in whole steps, every further step allowing more.

A lever is monotone: what is legal after some steps is legal after more of them. That is what makes a binary
search for the least step right, and a proof about one step a proof about all smaller ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from planner.domain.fleet import Node, ShardType
from planner.domain.model import Model
from planner.domain.plan import Plan, Refusal
from planner.domain.policy import Headroom
from planner.domain.rules import Rule
from planner.domain.scenario import Scenario
from planner.units import MICROUSD

Value = int | str | None
"""What a change is from and to; None is no limit."""

HEADROOM_STEP_PPM = 1_000
"""Headroom is given up in tenths of a percent."""

LARGEST_CONFIG_MAP_BYTES, CONFIG_MAP_STEP_BYTES = 1_048_576, 1_024
"""Kubernetes takes no ConfigMap above 1 MiB (``MaxSecretSize`` in its API validation)."""

MOST_PODS = 500
"""Pods a node beyond which no kubelet is run in practice."""

HOST_LABEL = "kubernetes.io/hostname"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lever:
    """One thing of a scenario that may be relaxed.

    Parameters
    ----------
    field
        Where it stands in the scenario document, as ``shardTypes[t4].maxCount``; ``nodes[a].count`` stands
        for nodes like a.
    unit
        Of its values: as ``rules.UNITS`` has them, ``ppm``, ``nodes``, or empty for words.
    steps
        How far it may be relaxed, at least 1.
    burden
        What it asks of the fleet's owner, the smaller the easier: 1 a number, 2 machines, 3 a margin, 4 a
        promise to the models' owners.
    rules
        The rules that it may lift; what was refused by them is tried first.
    relaxed
        Returns a scenario with the lever relaxed by some steps.
    value
        Returns its value after some steps; 0 steps is the value as it is.
    used
        Returns how many steps a plan makes use of; None where the plan does not say.
    weigh
        Returns what a shard of a type takes of it: then a plan that takes the least of it, instead of the
        least money, tells and bounds the steps that are needed. None where it is not shards that take it.
    machines
        Whether its steps are machines whose price the scenario does not know.
    """

    field: str
    unit: str
    steps: int
    burden: int
    rules: frozenset[Rule]
    relaxed: Callable[[Scenario, int], Scenario]
    value: Callable[[int], Value]
    used: Callable[[Plan], int] | None = None
    weigh: Callable[[ShardType], int] | None = None
    is_cost: bool = False
    machines: bool = False


def levers_of(scenario: Scenario, plan: Plan | None) -> tuple[Lever, ...]:
    """Return what may be relaxed, the likeliest help first.

    Parameters
    ----------
    scenario
        What is asked.
    plan
        The best plan that is known; None where the scenario allows none.
    """
    refused = () if plan is None else plan.refusals
    levers = [
        *_counted(scenario, plan),
        *_machines(scenario, plan),
        *_margins(scenario),
        *_promises(scenario),
    ]
    levers += list(_on_models(scenario, refused))
    if plan is None:
        levers += list(_required(scenario))
    named = {refusal.rule for refusal in refused}
    return tuple(sorted(levers, key=lambda lever: (not lever.rules & named, lever.burden)))


def _missing(scenario: Scenario, plan: Plan | None) -> int:
    """Return how many shards more could be of use at most: one for every replica that is refused."""
    if plan is not None:
        return sum(refusal.replicas for refusal in plan.refusals)
    wanted = sum(model.replicas for model in scenario.models)
    return max(1, wanted + sum(item.min_count for item in scenario.shard_types))


# ---------------------------------------------------------------------------------- limits that are numbers


def _counted(scenario: Scenario, plan: Plan | None) -> Iterator[Lever]:
    missing = _missing(scenario, plan)
    for item in scenario.shard_types:
        if item.max_count is not None:
            yield _max_count(item, missing)
        if item.max_models is not None and item.max_models < len(scenario.models):
            yield _max_models(item, len(scenario.models) - item.max_models)
    if scenario.policy.max_shards is not None:
        yield _max_shards(scenario.policy.max_shards, missing)
    if scenario.cluster.max_ips is not None and scenario.shard_types:
        yield _max_ips(scenario, missing)
    if scenario.policy.max_usd_per_h_microusd is not None and scenario.shard_types:
        yield _max_cost(scenario, missing)
    yield from _pods(scenario, missing)
    room = LARGEST_CONFIG_MAP_BYTES - scenario.cluster.max_config_map_bytes
    if room > 0:
        yield _config_map(scenario.cluster.max_config_map_bytes, room)


def _max_count(item: ShardType, missing: int) -> Lever:
    before, name = item.max_count or 0, item.name
    return Lever(
        field=f"shardTypes[{name}].maxCount",
        unit="shards",
        steps=missing,
        burden=1,
        rules=frozenset({Rule.MAX_COUNT, Rule.SPREAD}),
        relaxed=lambda scenario, step: _with_type(scenario, name, max_count=before + step),
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
        relaxed=lambda scenario, step: _with_type(scenario, name, max_models=before + step),
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


def _max_shards(before: int, missing: int) -> Lever:
    return Lever(
        field="policy.limits.maxShards",
        unit="shards",
        steps=missing,
        burden=1,
        rules=frozenset({Rule.MAX_SHARDS}),
        relaxed=lambda scenario, step: _with_policy(scenario, max_shards=before + step),
        value=lambda step: before + step,
        used=lambda plan: len(plan.placement.shards) - before,
        weigh=lambda _: 1,
    )


def _max_ips(scenario: Scenario, missing: int) -> Lever:
    before = scenario.cluster.max_ips or 0
    pods = {item.name: item.replicas for item in scenario.shard_types}
    return Lever(
        field="cluster.maxIPs",
        unit="addresses",
        steps=missing * max(pods.values()),
        burden=1,
        rules=frozenset({Rule.IPS}),
        relaxed=lambda scenario, step: _with_cluster(scenario, max_ips=before + step),
        value=lambda step: before + step,
        used=lambda plan: sum(pods[shard.shard_type] for shard in plan.placement.shards) - before,
        weigh=lambda item: item.replicas,
    )


def _max_cost(scenario: Scenario, missing: int) -> Lever:
    before = scenario.policy.max_usd_per_h_microusd or 0
    dearest = max(item.price_microusd_per_h for item in scenario.shard_types)
    return Lever(
        field="policy.limits.maxCostPerHour",
        unit="microusd",
        steps=max(1, missing * dearest),
        burden=1,
        rules=frozenset({Rule.MAX_COST}),
        relaxed=lambda scenario, step: _with_policy(scenario, max_usd_per_h_microusd=before + step),
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
        relaxed=lambda scenario, step: _with_cluster(scenario, max_config_map_bytes=value(step)),
        value=value,
    )


def _pods(scenario: Scenario, missing: int) -> Iterator[Lever]:
    """Yield the pods a node may run: the cluster's figure, and that of the nodes that have their own."""
    own = [node.pods for node in scenario.nodes if node.pods is not None]
    if len(own) < len(scenario.nodes):
        before = scenario.cluster.max_pods_per_node
        if before < MOST_PODS:
            yield Lever(
                field="cluster.maxPodsPerNode",
                unit="pods",
                steps=min(missing, MOST_PODS - before),
                burden=1,
                rules=frozenset({Rule.NODE_PODS}),
                relaxed=lambda scenario, step: _with_cluster(scenario, max_pods_per_node=before + step),
                value=lambda step: before + step,
            )
    for pods in sorted(set(own)):
        if pods < MOST_PODS:
            yield _own_pods(pods, min(missing, MOST_PODS - pods))


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


# ------------------------------------------------------------------------------------------------- machines


def _machines(scenario: Scenario, plan: Plan | None) -> Iterator[Lever]:
    """Yield one more node of every kind that there is, empty but for the pods that every node of it runs."""
    prices = [item.price_microusd_per_h for item in scenario.shard_types if item.provision == "existing"]
    if not prices:
        return
    kinds: dict[object, list[Node]] = {}
    for node in scenario.nodes:
        kinds.setdefault(dataclasses.replace(_blank(node), name="", rack=None, pods_in_use=0), []).append(
            node
        )
    for alike in kinds.values():
        yield _more_nodes(alike, _most_nodes(scenario, plan), unpriced=not any(prices))


def _blank(node: Node) -> Node:
    """Return a node as it would be bought: other GPUs, nothing of others in them."""
    devices = tuple(
        dataclasses.replace(device, uuid=None, parent=None, foreign_bytes=0) for device in node.devices
    )
    labels = tuple((key, value) for key, value in node.labels if key != HOST_LABEL)
    return dataclasses.replace(node, devices=devices, labels=labels)


def _most_nodes(scenario: Scenario, plan: Plan | None) -> int:
    """Return how many nodes could be of use: twice what is refused over what a node holds now, and two."""
    missing = _missing(scenario, plan)
    if plan is None:
        return missing
    hosts = {shard.name: shard.node for shard in plan.placement.shards if shard.node is not None}
    held = sum(placed.shard in hosts for placed in plan.placement.placed)
    a_node = max(1, held // max(1, len(set(hosts.values()))))
    return min(missing, 2 + 2 * missing // a_node)


def _more_nodes(alike: list[Node], most: int, *, unpriced: bool) -> Lever:
    pattern = dataclasses.replace(_blank(alike[0]), pods_in_use=min(node.pods_in_use for node in alike))

    def relaxed(scenario: Scenario, step: int) -> Scenario:
        new = (dataclasses.replace(pattern, name=name) for name in _new_names(scenario, pattern.name, step))
        return dataclasses.replace(scenario, nodes=(*scenario.nodes, *new))

    known = {node.name for node in alike}
    return Lever(
        field=f"nodes[{pattern.name}].count",
        unit="nodes",
        steps=most,
        burden=2,
        rules=frozenset(
            {
                Rule.NODE_DEVICES,
                Rule.NODE_CPU,
                Rule.NODE_MEMORY,
                Rule.NODE_PODS,
                Rule.SPREAD,
                Rule.NODE_SELECTOR,
            }
        ),
        relaxed=relaxed,
        value=lambda step: len(known) + step,
        machines=unpriced,
    )


def _new_names(scenario: Scenario, base: str, count: int) -> list[str]:
    taken, number = {node.name for node in scenario.nodes}, 1
    found: list[str] = []
    while len(found) < count:
        name = f"{base}-more-{number}"
        number += 1
        if name not in taken:
            found.append(name)
    return found


# ------------------------------------------------------------------------------------------------- margins


_HEADROOMS: tuple[tuple[str, str, frozenset[Rule]], ...] = (
    ("gpuMemory", "device_memory_ppm", frozenset({Rule.DEVICE_MEMORY, Rule.STARTABLE, Rule.NODE_DEVICES})),
    ("gpuTime", "device_time_ppm", frozenset({Rule.DEVICE_TIME, Rule.NODE_DEVICES})),
    ("cpu", "cpu_ppm", frozenset({Rule.CPU, Rule.NODE_CPU})),
    ("memory", "memory_ppm", frozenset({Rule.HOST_MEMORY, Rule.NODE_MEMORY})),
)


def _margins(scenario: Scenario) -> Iterator[Lever]:
    for name, attribute, rules in _HEADROOMS:
        before = getattr(scenario.policy.headroom, attribute)
        if before:
            yield _headroom(name, attribute, rules, before)


def _headroom(name: str, attribute: str, rules: frozenset[Rule], before: int) -> Lever:
    steps = -(-before // HEADROOM_STEP_PPM)

    def value(step: int) -> int:
        return (steps - step) * HEADROOM_STEP_PPM if step else before

    def relaxed(scenario: Scenario, step: int) -> Scenario:
        headroom: Headroom = dataclasses.replace(scenario.policy.headroom, **{attribute: value(step)})
        return _with_policy(scenario, headroom=headroom)

    return Lever(
        field=f"policy.headroom.{name}",
        unit="ppm",
        steps=steps,
        burden=3,
        rules=rules,
        relaxed=relaxed,
        value=value,
    )


# ------------------------------------------------------------------------------------------------ promises


_LOOSER = {"zone": ("zone", "node", "shard"), "node": ("node", "shard")}
"""Each asks for less than the one before: shards in two zones are on two nodes, and two shards."""


def _promises(scenario: Scenario) -> Iterator[Lever]:
    policy = scenario.policy
    levels = _LOOSER.get(policy.spread, ())
    if levels and any(model.replicas > 1 for model in scenario.models):
        yield Lever(
            field="policy.spread",
            unit="",
            steps=len(levels) - 1,
            burden=4,
            rules=frozenset({Rule.SPREAD}),
            relaxed=lambda scenario, step: _with_policy(scenario, spread=levels[step]),
            value=lambda step: levels[step],
        )
    if policy.isolate_tenants and len({model.tenant for model in scenario.models}) > 1:
        yield Lever(
            field="policy.tenants",
            unit="",
            steps=1,
            burden=4,
            rules=frozenset({Rule.TENANTS, Rule.MAX_COUNT, Rule.MAX_SHARDS}),
            relaxed=lambda scenario, step: _with_policy(scenario, isolate_tenants=not step),
            value=lambda step: "shared" if step else "isolated",
        )


def _on_models(scenario: Scenario, refused: Iterable[Refusal]) -> Iterator[Lever]:
    """Yield the pins and groups of models that are refused."""
    names = {refusal.model for refusal in refused}
    pinned = sorted(model.name for model in scenario.models if model.name in names and model.pin is not None)
    keys = sorted({model.together for model in scenario.models if model.name in names and model.together})
    for name in pinned:
        yield _on_model("pin", name, Rule.PIN, {name})
    for key in keys:
        members = {model.name for model in scenario.models if model.together == key}
        yield _on_model("together", key, Rule.TOGETHER, members)


def _on_model(attribute: Literal["pin", "together"], subject: str, rule: Rule, members: set[str]) -> Lever:
    field = f"models[{subject}].pin" if attribute == "pin" else f"together[{subject}]"

    def relaxed(scenario: Scenario, step: int) -> Scenario:
        models = (
            _freed(model, attribute) if step and model.name in members else model for model in scenario.models
        )
        return dataclasses.replace(scenario, models=tuple(models))

    return Lever(
        field=field,
        unit="",
        steps=1,
        burden=4,
        rules=frozenset({rule}),
        relaxed=relaxed,
        value=lambda step: "none" if step else "as asked",
    )


def _freed(model: Model, attribute: Literal["pin", "together"]) -> Model:
    if attribute == "pin":
        return dataclasses.replace(model, pin=None)
    return dataclasses.replace(model, together=None)


def _required(scenario: Scenario) -> Iterator[Lever]:
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
        relaxed=lambda scenario, step: _with_type(scenario, name, min_count=before - step),
        value=lambda step: before - step,
    )


# ----------------------------------------------------------------------------------------- scenarios, changed


def weighed_scenario(scenario: Scenario, weigh: Callable[[ShardType], int]) -> Scenario:
    """Return a scenario in which a shard costs as many USD as what is weighed says."""
    types = (
        dataclasses.replace(item, price_microusd_per_h=weigh(item) * MICROUSD)
        for item in scenario.shard_types
    )
    policy = dataclasses.replace(scenario.policy, max_usd_per_h_microusd=None)
    return dataclasses.replace(scenario, shard_types=tuple(types), policy=policy)


def relaxed_scenario(scenario: Scenario, levers: tuple[Lever, ...], steps: Mapping[int, int]) -> Scenario:
    """Return a scenario with some levers, by their positions, relaxed by so many steps."""
    for position, step in sorted(steps.items()):
        if step:
            scenario = levers[position].relaxed(scenario, step)
    return scenario


def _with_policy(scenario: Scenario, **fields: Any) -> Scenario:
    return dataclasses.replace(scenario, policy=dataclasses.replace(scenario.policy, **fields))


def _with_cluster(scenario: Scenario, **fields: Any) -> Scenario:
    return dataclasses.replace(scenario, cluster=dataclasses.replace(scenario.cluster, **fields))


def _with_type(scenario: Scenario, name: str, **fields: Any) -> Scenario:
    types = (
        dataclasses.replace(item, **fields) if item.name == name else item for item in scenario.shard_types
    )
    return dataclasses.replace(scenario, shard_types=tuple(types))
