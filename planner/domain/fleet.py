"""What models can be put on: device classes, shard types to open and nodes that exist."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CPU_CLASS = "cpu"

Named = tuple[tuple[str, int], ...]
"""Further named resources, sorted by name, in milli-units."""

Labels = tuple[tuple[str, str], ...]
"""Labels or a selector, sorted by key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceClass:
    """A kind of device of the catalogue: a GPU product, a MIG slice of one, or ``cpu``.

    Parameters
    ----------
    name
        As footprints and shard types refer to it, as ``nvidia-t4``.
    kind
        Whether device memory is counted (``gpu``) or only the shard's own resources are (``cpu``).
    memory_bytes
        Total as NVML reports it, the driver's reservation included; 0 for ``cpu``.
    reserved_bytes
        What the driver keeps for itself (NVML v2 ``reserved``).
    product
        The node label ``nvidia.com/gpu.product``; None for ``cpu``.
    mig_profile
        The MIG profile's name, as ``1g.10gb``; None for a whole device.
    source
        Where the figures come from.
    """

    name: str
    kind: Literal["gpu", "cpu"]
    memory_bytes: int
    reserved_bytes: int = 0
    product: str | None = None
    mig_profile: str | None = None
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """What a server backend costs beside the models that use it.

    Parameters
    ----------
    name
        Triton's backend name, or a framework for the servers that have no backends.
    device_base_bytes
        GPU memory paid once per (device, backend) as soon as one model uses it there.
    host_base_bytes
        Host memory paid once per (shard, backend).
    context_per_instance
        Whether every instance is a process of its own that pays a CUDA context on its device.
    pinnable
        Whether its models run on the devices that a shard's agent tells them, and not where they choose.
    source
        Where the figures come from.
    """

    name: str
    device_base_bytes: int = 0
    host_base_bytes: int = 0
    context_per_instance: bool = False
    pinnable: bool = True
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadCost:
    """What loads cost a server itself, on top of what each model takes.

    Parameters
    ----------
    each_ns
        One load through its API while it knows no other model.
    per_known_ns
        More for each model that it knows.
    at_start_ns
        Each model of a start with all of its models; None for a server that cannot start so.
    """

    each_ns: int
    per_known_ns: int = 0
    at_start_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """A model server and what it costs with no model in it.

    Parameters
    ----------
    name
        As shard types refer to it, as ``triton``.
    backends
        Backends it serves; None for any.
    context_bytes
        The CUDA context of the server's process, paid on every GPU that the shard sees.
    pool_bytes
        The server's device memory pool, paid on every GPU that the shard sees.
    host_base_bytes
        Host memory of the idle server, its pinned pool included.
    loads
        What loads cost it; None is not known.
    source
        Where the figures come from.
    """

    name: str
    backends: tuple[str, ...] | None = None
    context_bytes: int = 0
    pool_bytes: int = 0
    host_base_bytes: int = 0
    loads: LoadCost | None = None
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardType:
    """A template of a shard: one model server's pod, which may be opened again and again.

    Parameters
    ----------
    name, runtime, device_class
        Its own name, and the names of its runtime and of the class of all its devices.
    device_count
        Devices a shard gets, at least 1 (a CPU shard has one device, its CPU).
    device_memory_bytes
        Memory of each device where it differs from the class's; None takes the class's.
    device_milli
        GPU time of each device, in milli-devices.
    cpu_milli, memory_bytes, disk_bytes
        What one pod requests from its node, sidecars included; ``disk_bytes`` None is not counted.
    overhead_cpu_milli, overhead_memory_bytes
        The sidecars' part of it, in each pod.
    price_microusd_per_h
        Price of one shard (all its pods) for an hour.
    provision
        ``new``: bought, each pod on a machine of its own; ``existing``: placed on the scenario's nodes.
    min_count, max_count
        How many are opened at least and at most; ``max_count`` None is unlimited.
    max_models
        Models a shard may hold; None is unlimited.
    replicas
        Identical pods of a shard behind one service; 1 for ``existing``.
    group
        Base of the shards' names: ``news``, ``news-1``, ``news-2``...
    zone
        Zone of the shards that are bought; None is unknown.
    node_selector
        Labels that a node must have.
    parallel_loads
        Models that a shard loads at the same time on a device (the k of the rule ``startable``).
    extra
        Further named capacity.
    """

    name: str
    runtime: str
    device_class: str
    device_count: int = 1
    device_memory_bytes: int | None = None
    device_milli: int = 1000
    cpu_milli: int
    memory_bytes: int
    disk_bytes: int | None = None
    overhead_cpu_milli: int = 0
    overhead_memory_bytes: int = 0
    price_microusd_per_h: int = 0
    provision: Literal["new", "existing"] = "new"
    min_count: int = 0
    max_count: int | None = None
    max_models: int | None = None
    replicas: int = 1
    group: str
    zone: str | None = None
    node_selector: Labels = ()
    parallel_loads: int = 1
    extra: Named = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDevice:
    """One GPU, or one MIG instance, of a node that exists.

    Parameters
    ----------
    device_class
        Its class in the catalogue.
    uuid
        As NVML reports it; None when it is not known yet.
    memory_bytes, reserved_bytes
        As NVML reports them where they differ from the class's; None takes the class's.
    foreign_bytes
        Memory that processes other than shards of ours hold.
    parent
        UUID or position of the GPU that a MIG instance is cut from; None for a whole GPU.
    """

    device_class: str
    uuid: str | None = None
    memory_bytes: int | None = None
    reserved_bytes: int | None = None
    foreign_bytes: int = 0
    parent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A machine that exists.

    Parameters
    ----------
    name
        The Kubernetes node's name.
    zone, rack
        Failure domains; None is unknown.
    cpu_milli, memory_bytes
        Allocatable by our pods: what other pods request is already taken off.
    pods
        Pods the node may run; None takes the cluster's ``max_pods_per_node``.
    pods_in_use
        Pods already there.
    devices
        Its devices in NVML's order; a GPU cut by MIG is represented by its instances.
    labels
        Node labels.
    """

    name: str
    zone: str | None = None
    rack: str | None = None
    cpu_milli: int
    memory_bytes: int
    pods: int | None = None
    pods_in_use: int = 0
    devices: tuple[NodeDevice, ...] = ()
    labels: Labels = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Transformer:
    """What stands between clients and some models of a group and changes what passes: one service for all.

    Parameters
    ----------
    name
        As models refer to it.
    image, args, env
        What its pods run; ``env`` sorted by name.
    replicas
        Identical pods of a service, at least 1.
    cpu_milli, memory_bytes
        What one pod requests from its node, sidecars included.
    price_microusd_per_h
        Price of one service (all its pods) for an hour.
    """

    name: str
    image: str
    args: tuple[str, ...] = ()
    env: Labels = ()
    replicas: int = 1
    cpu_milli: int
    memory_bytes: int
    price_microusd_per_h: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Limits of the cluster as a whole.

    Parameters
    ----------
    max_pods_per_node
        Kubelet's limit (110 by default).
    usable_pods_per_node
        What is left for model servers after system pods; None means all of them.
    nodes
        Nodes that ``limits`` reckons with; None counts the scenario's own.
    max_ips
        Pod addresses; None is unlimited.
    max_config_map_bytes
        Largest ConfigMap that is written.
    """

    max_pods_per_node: int = 110
    usable_pods_per_node: int | None = None
    nodes: int | None = None
    max_ips: int | None = None
    max_config_map_bytes: int = 1_000_000
