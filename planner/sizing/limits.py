"""The three limits of KServe's multi-model guide, for one model per InferenceService and for shards.

"The scalability problem" [KServe, *Multi-Model Serving*,
https://kserve.github.io/website/docs/model-serving/predictive-inference/multi-model-serving] names them:
compute (every pod pays for its sidecars, every model replica for a GPU), pods (a node runs so many) and IP
addresses (each pod takes one). Every figure here carries what it was reckoned with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from planner.domain.fleet import DeviceClass, ShardType
from planner.domain.footprint import uses_device
from planner.domain.model import Model, options_for
from planner.domain.plan import Plan
from planner.domain.scenario import Names, Scenario, names
from planner.domain.services import services_pods


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What one way of serving the models takes.

    Parameters
    ----------
    models
        Models that are served so.
    services, pods
        InferenceServices, and pods with those of transformers; each pod takes an IP address.
    transformer_pods
        How many of the pods are transformers'.
    gpus
        GPUs or MIG instances that the pods hold.
    overhead_cpu_milli, overhead_memory_bytes
        What the sidecars of all pods take.
    """

    models: int
    services: int
    pods: int
    gpus: int
    overhead_cpu_milli: int
    overhead_memory_bytes: int
    transformer_pods: int = 0

    @property
    def overhead_cpu_milli_per_model(self) -> int | None:
        """Sidecar CPU for each model, rounded up; None without models."""
        return -(-self.overhead_cpu_milli // self.models) if self.models else None

    @property
    def overhead_memory_bytes_per_model(self) -> int | None:
        """Sidecar memory for each model, rounded up; None without models."""
        return -(-self.overhead_memory_bytes // self.models) if self.models else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """How many models a limit of the cluster leaves room for, and what that was reckoned with.

    Parameters
    ----------
    limit
        Which: ``pods`` or ``ips``.
    available
        Pods or addresses there are for model servers.
    nodes, pods_per_node
        The assumption behind ``available``; None for ``ips``, and ``pods_per_node`` None where the scenario's
        nodes differ.
    one_per_service_models
        Most models at one InferenceService each, with the pods a model that ``assumptions`` say.
    sharded_models
        Most models at the plan's models a pod; None without a plan that places any.
    """

    limit: Literal["pods", "ips"]
    available: int
    nodes: int | None
    pods_per_node: int | None
    one_per_service_models: int
    sharded_models: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """What the figures were reckoned with.

    Parameters
    ----------
    models, replicas
        Models of the scenario, and their replicas: the predictor pods of one model per InferenceService.
    transformer_replicas
        Transformer pods beside them in each InferenceService; each pod has sidecars.
    nodes
        Nodes; None when nobody said how many there are.
    nodes_from
        Whether ``cluster.nodes`` says so or the scenario's own nodes were counted.
    max_pods_per_node, usable_pods_per_node
        Kubelet's limit, and what is left of it for model servers; None leaves all of it.
    max_ips
        Pod addresses; None is unlimited.
    """

    models: int
    replicas: int
    transformer_replicas: int
    nodes: int | None
    nodes_from: Literal["cluster", "scenario"]
    max_pods_per_node: int
    usable_pods_per_node: int | None
    max_ips: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingLimits:
    """The three limits of a scenario.

    Parameters
    ----------
    assumptions
        What everything was reckoned with.
    one_per_service
        All models of the scenario, one InferenceService each.
    sharded
        The models that a plan places, on its shards; None without a plan.
    ceilings
        Most models under each limit; none for a limit that nobody set.
    """

    assumptions: Assumptions
    one_per_service: Serving
    sharded: Serving | None
    ceilings: tuple[Ceiling, ...]


def serving_limits(
    scenario: Scenario, plan: Plan | None = None, *, transformer_replicas: int = 0
) -> ServingLimits:
    """Return the three limits of a scenario.

    Parameters
    ----------
    scenario
        Models, shard types and the cluster's limits.
    plan
        A verified plan of it; None leaves the shards' side open.
    transformer_replicas
        Transformer pods of each InferenceService that holds one model (the guide reckons with 2).
    """
    if transformer_replicas < 0:
        raise ValueError(f"{transformer_replicas} transformer replicas: 0 or more")
    alone = _one_per_service(scenario, plan, transformer_replicas=transformer_replicas)
    sharded = None if plan is None else _sharded(scenario, plan)
    rooms = (*_pod_rooms(scenario), *_ip_rooms(scenario))
    return ServingLimits(
        assumptions=_assumptions(scenario, transformer_replicas=transformer_replicas),
        one_per_service=alone,
        sharded=sharded,
        ceilings=tuple(_ceiling(room, alone, sharded) for room in rooms),
    )


def _assumptions(scenario: Scenario, *, transformer_replicas: int) -> Assumptions:
    cluster = scenario.cluster
    own = len(scenario.nodes) or None
    return Assumptions(
        models=len(scenario.models),
        replicas=sum(model.replicas for model in scenario.models),
        transformer_replicas=transformer_replicas,
        nodes=own if cluster.nodes is None else cluster.nodes,
        nodes_from="scenario" if cluster.nodes is None else "cluster",
        max_pods_per_node=cluster.max_pods_per_node,
        usable_pods_per_node=cluster.usable_pods_per_node,
        max_ips=cluster.max_ips,
    )


# ------------------------------------------------------------------------------------------ ways of serving


def _one_per_service(scenario: Scenario, plan: Plan | None, *, transformer_replicas: int) -> Serving:
    """Return what one InferenceService a model takes.

    A predictor pod pays the sidecars of the shard type that its replica would be on: the plan's, or else the
    first that the scenario allows it. A transformer pod pays those of replica 0.
    """
    parts = names(scenario)
    chosen = _types_in_plan(parts, plan)
    pods = gpus = cpu_milli = memory_bytes = 0
    for model in scenario.models:
        allowed = next(_types_for(model, scenario, parts), None)
        types = [chosen.get((model.name, replica), allowed) for replica in range(model.replicas)]
        pods += len(types) + transformer_replicas
        gpus += sum(_gpus_alone(model, shard_type, parts) for shard_type in types)
        for shard_type in (*types, *types[:1] * transformer_replicas):
            cpu_milli += shard_type.overhead_cpu_milli if shard_type else 0
            memory_bytes += shard_type.overhead_memory_bytes if shard_type else 0
    return Serving(
        models=len(scenario.models),
        services=len(scenario.models),
        pods=pods,
        transformer_pods=len(scenario.models) * transformer_replicas,
        gpus=gpus,
        overhead_cpu_milli=cpu_milli,
        overhead_memory_bytes=memory_bytes,
    )


def _types_in_plan(parts: Names, plan: Plan | None) -> dict[tuple[str, int], ShardType]:
    if plan is None:
        return {}
    types = {shard.name: parts.shard_types[shard.shard_type] for shard in plan.placement.shards}
    return {(placed.model, placed.replica): types[placed.shard] for placed in plan.placement.placed}


def _types_for(model: Model, scenario: Scenario, parts: Names) -> Iterator[ShardType]:
    """Yield the shard types that a model is allowed on, in the scenario's order."""
    for shard_type in scenario.shard_types:
        served = parts.runtimes[shard_type.runtime].backends
        if served is not None and model.backend not in served:
            continue
        if options_for(model, parts.device_classes[shard_type.device_class]):
            yield shard_type


def _gpus_alone(model: Model, shard_type: ShardType | None, parts: Names) -> int:
    """Return the GPUs that a replica takes in a pod of its own: whole ones, however little it needs."""
    if shard_type is None:
        return 0
    device_class = parts.device_classes[shard_type.device_class]
    if device_class.kind != "gpu" or not _needs_gpu(model, device_class):
        return 0
    return model.devices_per_replica


def _needs_gpu(model: Model, device_class: DeviceClass) -> bool:
    return any(uses_device(model.footprints[index]) for index in options_for(model, device_class))


def _sharded(scenario: Scenario, plan: Plan) -> Serving:
    parts = names(scenario)
    opened = Counter(shard.shard_type for shard in plan.placement.shards)
    pods = {name: count * parts.shard_types[name].replicas for name, count in opened.items()}
    transformers = services_pods(scenario, plan.services)
    return Serving(
        models=len({placed.model for placed in plan.placement.placed}),
        services=len(plan.placement.shards),
        pods=sum(pods.values()) + transformers,
        transformer_pods=transformers,
        gpus=sum(count * _gpus_of(parts.shard_types[name], parts) for name, count in pods.items()),
        overhead_cpu_milli=_weighted(
            pods, {name: parts.shard_types[name].overhead_cpu_milli for name in pods}
        ),
        overhead_memory_bytes=_weighted(
            pods, {name: parts.shard_types[name].overhead_memory_bytes for name in pods}
        ),
    )


def _gpus_of(shard_type: ShardType, parts: Names) -> int:
    on_gpu = parts.device_classes[shard_type.device_class].kind == "gpu"
    return shard_type.device_count if on_gpu else 0


def _weighted(counts: Mapping[str, int], amounts: Mapping[str, int]) -> int:
    return sum(count * amounts[name] for name, count in counts.items())


# ---------------------------------------------------------------------------------------------- the ceilings


@dataclass(frozen=True, slots=True, kw_only=True)
class _Room:
    """What a limit leaves, and under which assumption."""

    limit: Literal["pods", "ips"]
    available: int
    nodes: int | None = None
    pods_per_node: int | None = None


def _pod_rooms(scenario: Scenario) -> tuple[_Room, ...]:
    """Return the pods there are for model servers: as many as are usable, and as kubelet allows."""
    cluster = scenario.cluster
    if cluster.nodes is None:
        return _pod_rooms_of_nodes(scenario)
    counts = [cluster.usable_pods_per_node, cluster.max_pods_per_node]
    distinct = dict.fromkeys(count for count in counts if count is not None)
    return tuple(
        _Room(limit="pods", available=cluster.nodes * count, nodes=cluster.nodes, pods_per_node=count)
        for count in distinct
    )


def _pod_rooms_of_nodes(scenario: Scenario) -> tuple[_Room, ...]:
    """Return the same for the scenario's own nodes, which may differ and may run other pods already."""
    nodes, cluster = scenario.nodes, scenario.cluster
    if not nodes:
        return ()
    limits = [cluster.max_pods_per_node if node.pods is None else node.pods for node in nodes]
    left = [max(0, limit - node.pods_in_use) for limit, node in zip(limits, nodes, strict=True)]
    usable = cluster.usable_pods_per_node
    free = left if usable is None else [min(count, usable) for count in left]
    found = dict.fromkeys((_each_and_sum(free), _each_and_sum(limits)))
    return tuple(
        _Room(limit="pods", available=total, nodes=len(nodes), pods_per_node=each) for each, total in found
    )


def _each_and_sum(counts: list[int]) -> tuple[int | None, int]:
    """Return the count of each node, None where they differ, and of all."""
    return (counts[0] if len(set(counts)) == 1 else None, sum(counts))


def _ip_rooms(scenario: Scenario) -> tuple[_Room, ...]:
    limit = scenario.cluster.max_ips
    return () if limit is None else (_Room(limit="ips", available=limit),)


def _ceiling(room: _Room, alone: Serving, sharded: Serving | None) -> Ceiling:
    return Ceiling(
        limit=room.limit,
        available=room.available,
        nodes=room.nodes,
        pods_per_node=room.pods_per_node,
        one_per_service_models=room.available * alone.models // alone.pods if alone.pods else 0,
        sharded_models=None if sharded is None else _most_sharded(room.available, sharded),
    )


def _most_sharded(available: int, sharded: Serving) -> int | None:
    """Return the most models at the plan's models a pod; its transformers stand once, however many come."""
    pods = sharded.pods - sharded.transformer_pods
    if not sharded.models or not pods:
        return None
    return max(0, available - sharded.transformer_pods) * sharded.models // pods
