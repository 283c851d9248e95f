"""Shapes to domain values: defaults filled in, names sorted where order means nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from sys import intern

from planner.domain.fleet import Cluster, Labels, LoadCost, Named, Node, NodeDevice, ShardType, Transformer
from planner.domain.footprint import ZERO, FootprintOption
from planner.domain.loading import default_max_models
from planner.domain.model import Model, Pin
from planner.domain.policy import Headroom, Policy
from planner.scenario.scenario_shape import (
    ClusterShape,
    FootprintShape,
    ModelShape,
    NodeDeviceShape,
    NodeShape,
    PinShape,
    PolicyShape,
    ShardTypeShape,
    TransformerShape,
)
from planner.scenario.shapes import GpuMemory

_NO_GPU = GpuMemory()


def _labels(mapping: Mapping[str, str]) -> Labels:
    return tuple(sorted(mapping.items()))


def _named(mapping: Mapping[str, int]) -> Named:
    return tuple(sorted(mapping.items()))


def default_group(scenario: str, shard_type: str) -> str:
    """Return the group of a shard type that names none: the scenario's name and its own, made a DNS label."""
    return f"{scenario}-{shard_type}".lower().replace(".", "-").replace("_", "-")


def shard_type_of(
    shape: ShardTypeShape, *, scenario: str, has_nodes: bool, loads: LoadCost | None
) -> ShardType:
    """Return a shard type.

    Parameters
    ----------
    shape
        What is said of it.
    scenario
        The scenario's name.
    has_nodes
        Decides where nothing says whether it is bought.
    loads
        What loads cost its runtime, which decides where nothing says how many models it may hold.
    """
    return ShardType(
        name=shape.name,
        runtime=shape.runtime,
        device_class=shape.devices.device_class,
        device_count=shape.devices.count,
        device_memory_bytes=shape.devices.gpu_memory,
        device_milli=shape.devices.gpu_time,
        cpu_milli=shape.resources.cpu,
        memory_bytes=shape.resources.memory,
        disk_bytes=shape.resources.disk,
        overhead_cpu_milli=shape.overhead.cpu,
        overhead_memory_bytes=shape.overhead.memory,
        price_microusd_per_h=shape.price_per_hour,
        provision=shape.provision or ("existing" if has_nodes else "new"),
        min_count=shape.min_count,
        max_count=shape.max_count,
        max_models=_max_models(shape, loads),
        replicas=shape.replicas,
        group=shape.group or default_group(scenario, shape.name),
        zone=shape.zone,
        node_selector=_labels(shape.node_selector),
        parallel_loads=shape.parallel_loads,
        extra=_named(shape.extra),
    )


def _max_models(shape: ShardTypeShape, loads: LoadCost | None) -> int | None:
    if "max_models" in shape.model_fields_set or loads is None:
        return shape.max_models
    return default_max_models(loads)


def nodes_of(shape: NodeShape) -> Iterator[Node]:
    """Yield the node, or as many numbered ones as its ``count`` says."""
    suffixes = [""] if shape.count is None else [f"-{number}" for number in range(shape.count)]
    devices = tuple(
        device for position, entry in enumerate(shape.devices) for device in _devices_of(entry, position)
    )
    for suffix in suffixes:
        yield Node(
            name=shape.name + suffix,
            zone=shape.zone,
            rack=shape.rack,
            cpu_milli=shape.allocatable.cpu,
            memory_bytes=shape.allocatable.memory,
            pods=shape.allocatable.pods,
            pods_in_use=shape.pods_in_use,
            devices=devices,
            labels=_labels(shape.labels),
        )


def _devices_of(shape: NodeDeviceShape, position: int) -> Iterator[NodeDevice]:
    """Yield a whole GPU, or the MIG instances that it is cut into."""
    if not shape.mig:
        yield NodeDevice(
            device_class=shape.device_class or "",
            uuid=shape.uuid,
            memory_bytes=shape.memory,
            reserved_bytes=shape.reserved,
            foreign_bytes=shape.foreign,
        )
    for instance in shape.mig:
        yield NodeDevice(
            device_class=instance.device_class,
            uuid=instance.uuid,
            memory_bytes=instance.memory,
            reserved_bytes=instance.reserved,
            foreign_bytes=instance.foreign,
            parent=shape.uuid or str(position),
        )


def transformer_of(shape: TransformerShape) -> Transformer:
    """Return a transformer."""
    return Transformer(
        name=shape.name,
        image=shape.image,
        args=tuple(shape.args),
        env=_labels(shape.env),
        replicas=shape.replicas,
        cpu_milli=shape.resources.cpu,
        memory_bytes=shape.resources.memory,
        price_microusd_per_h=shape.price_per_hour,
    )


def model_of(shape: ModelShape) -> Model:
    """Return a model with its footprint options in their order."""
    return Model(
        name=shape.name,
        backend=intern(shape.backend),
        framework=shape.framework,
        storage_uri=shape.storage_uri,
        replicas=shape.replicas,
        priority=shape.priority,
        tenant=shape.tenant,
        together=shape.together,
        devices_per_replica=shape.devices_per_replica,
        pin=_pin(shape.pin),
        probe=shape.probe,
        transformer=shape.transformer,
        labels=_labels(shape.labels),
        footprints=tuple(option_of(item) for item in shape.footprints),
    )


def _pin(shape: PinShape | None) -> Pin | None:
    return None if shape is None else Pin(shard=shape.shard, device=shape.device)


def option_of(shape: FootprintShape) -> FootprintOption:
    """Return a footprint option; the names that many of them share are kept once."""
    gpu = shape.gpu_memory or _NO_GPU
    return FootprintOption(
        device_class=intern(shape.device_class),
        batch=shape.batch,
        instances=shape.instances,
        steady_bytes=gpu.steady,
        load_peak_bytes=gpu.load_peak,
        residual_bytes=gpu.residual,
        device_milli=shape.gpu_time or ZERO,
        cpu_milli=shape.cpu or ZERO,
        memory_bytes=shape.memory or ZERO,
        disk_bytes=shape.disk or ZERO,
        source=shape.source,
        extra=_named(shape.extra),
    )


def cluster_of(shape: ClusterShape) -> Cluster:
    """Return the cluster's limits."""
    return Cluster(
        max_pods_per_node=shape.max_pods_per_node,
        usable_pods_per_node=shape.usable_pods_per_node,
        nodes=shape.nodes,
        max_ips=shape.max_ips,
        max_config_map_bytes=shape.max_config_map_bytes,
    )


def policy_of(shape: PolicyShape) -> Policy:
    """Return the policy."""
    return Policy(
        headroom=Headroom(
            device_memory_ppm=shape.headroom.gpu_memory,
            device_time_ppm=shape.headroom.gpu_time,
            cpu_ppm=shape.headroom.cpu,
            memory_ppm=shape.headroom.memory,
        ),
        quantile=shape.quantile,
        spread=shape.spread,
        isolate_tenants=shape.tenants == "isolated",
        objective=tuple(shape.objective),
        max_usd_per_h_microusd=shape.limits.max_cost_per_hour,
        max_shards=shape.limits.max_shards,
    )
