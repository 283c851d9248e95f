"""The memory model: what a device, a shard and a replica have and use.

On one device of one shard

    reserved + context + pool + foreign + sum over backends in use (base) + sum over replicas (steady)
        <= total - headroom,

and while the shard starts, with k models loading at the same time, the k largest (load peak - steady) on top.
Every device that a shard sees pays context and pool, used or not. Demand is rounded up, capacity down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii as quoted
from operator import attrgetter
from types import MappingProxyType

from planner.domain.fleet import Backend, DeviceClass, Node, NodeDevice, Runtime, ShardType
from planner.domain.footprint import FootprintOption, Quantile, uses_device
from planner.domain.model import Model, framework_of
from planner.domain.placement import Shard
from planner.domain.policy import Policy
from planner.domain.scenario import Names
from planner.units import PPM


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRoom:
    """What one device of a shard offers.

    Parameters
    ----------
    device_class, uuid
        Which device it is; ``uuid`` None is not bound yet.
    total_bytes
        As NVML reports it; 0 for a CPU.
    fixed_bytes
        Used before any model: reserved + context + pool + foreign.
    capacity_bytes
        ``total - headroom``: what everything together may use.
    capacity_milli
        Device time, headroom taken off.
    """

    device_class: str
    uuid: str | None
    total_bytes: int
    fixed_bytes: int
    capacity_bytes: int
    capacity_milli: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRoom:
    """What a shard offers to models: sidecars, idle server and headroom are taken off.

    ``disk_bytes`` None is not counted; ``models_json_bytes`` is the room for entries of ``models.json``.
    """

    devices: tuple[DeviceRoom, ...]
    cpu_milli: int
    memory_bytes: int
    disk_bytes: int | None
    extra: Mapping[str, int]
    max_models: int | None
    models_json_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one replica needs under an option: on each of its devices, and on its shard.

    ``on_device`` says whether it uses its device at all (``footprint.uses_device``).
    """

    on_device: bool
    steady_bytes: int
    load_peak_bytes: int
    device_milli: int
    cpu_milli: int
    memory_bytes: int
    disk_bytes: int
    extra: Mapping[str, int]


def share_up(value: int, ppm: int) -> int:
    """Return ``value * ppm / 1e6`` rounded up."""
    return -(-value * ppm // PPM)


def device_room(
    *,
    device_class: DeviceClass,
    shard_type: ShardType,
    runtime: Runtime,
    policy: Policy,
    device: NodeDevice | None = None,
) -> DeviceRoom:
    """Return what a device offers to a shard; ``device`` is given when it exists already.

    A memory figure of the device itself wins over the shard type's, and that over the class's.
    """
    headroom = policy.headroom
    milli = shard_type.device_milli - share_up(shard_type.device_milli, headroom.device_time_ppm)
    uuid = device.uuid if device else None
    if device_class.kind == "cpu":
        return DeviceRoom(
            device_class=device_class.name,
            uuid=uuid,
            total_bytes=0,
            fixed_bytes=0,
            capacity_bytes=0,
            capacity_milli=milli,
        )
    total = _first(
        device.memory_bytes if device else None, shard_type.device_memory_bytes, device_class.memory_bytes
    )
    reserved = _first(device.reserved_bytes if device else None, device_class.reserved_bytes)
    foreign = device.foreign_bytes if device else 0
    return DeviceRoom(
        device_class=device_class.name,
        uuid=uuid,
        total_bytes=total,
        fixed_bytes=reserved + runtime.context_bytes + runtime.pool_bytes + foreign,
        capacity_bytes=total - share_up(max(0, total - reserved), headroom.device_memory_ppm),
        capacity_milli=milli,
    )


def _first(*values: int | None) -> int:
    return next((value for value in values if value is not None), 0)


def shard_room(
    shard_type: ShardType,
    names: Names,
    *,
    policy: Policy,
    max_config_map_bytes: int,
    devices: tuple[NodeDevice, ...] = (),
) -> ShardRoom:
    """Return what a shard of a type offers; ``devices`` are those of its node, in the shard's order.

    Without ``devices`` every device is as the type and its class say.
    """
    runtime = names.runtimes[shard_type.runtime]
    device_class = names.device_classes[shard_type.device_class]
    rooms = tuple(
        device_room(
            device_class=device_class,
            shard_type=shard_type,
            runtime=runtime,
            policy=policy,
            device=devices[index] if devices else None,
        )
        for index in range(shard_type.device_count)
    )
    cpu_milli = shard_type.cpu_milli - shard_type.overhead_cpu_milli
    memory_bytes = shard_type.memory_bytes - shard_type.overhead_memory_bytes
    return ShardRoom(
        devices=rooms,
        cpu_milli=cpu_milli - share_up(cpu_milli, policy.headroom.cpu_ppm),
        memory_bytes=memory_bytes
        - share_up(memory_bytes, policy.headroom.memory_ppm)
        - runtime.host_base_bytes,
        disk_bytes=shard_type.disk_bytes,
        extra=dict(shard_type.extra),
        max_models=shard_type.max_models,
        models_json_bytes=max_config_map_bytes - len("[]"),
    )


def node_devices(shard: Shard, nodes: Mapping[str, Node]) -> tuple[NodeDevice, ...]:
    """Return the devices that a shard on a node holds; empty for a shard that is bought or has no GPU."""
    if shard.node is None:
        return ()
    return tuple(nodes[shard.node].devices[position] for position in shard.node_devices)


def need(option: FootprintOption, *, backend: Backend, runtime: Runtime, quantile: Quantile) -> Need:
    """Return what one replica needs on each of its devices and on its shard.

    Backends with a process per instance pay a CUDA context for each on a GPU, unless the figure was measured
    as a difference of the device's memory and so contains them.
    """
    contexts = 0
    if backend.context_per_instance and option.source in ("declared", "estimated"):
        contexts = option.instances * runtime.context_bytes
    on_device = uses_device(option)
    added = contexts if on_device else 0
    steady, peak, milli, cpu, memory, disk = _AMOUNTS[quantile](option)
    return Need(
        on_device=on_device,
        steady_bytes=steady + added,
        load_peak_bytes=max(steady, peak) + added,
        device_milli=milli,
        cpu_milli=cpu,
        memory_bytes=memory,
        disk_bytes=disk,
        extra=dict(option.extra) if option.extra else _NOTHING,
    )


def _reader(quantile: Quantile) -> Callable[[FootprintOption], tuple[int, ...]]:
    names = ("steady_bytes", "load_peak_bytes", "device_milli", "cpu_milli", "memory_bytes", "disk_bytes")
    return attrgetter(*(f"{name}.{quantile}" for name in names))


_AMOUNTS: Mapping[Quantile, Callable[[FootprintOption], tuple[int, ...]]] = {
    "p50": _reader("p50"),
    "p95": _reader("p95"),
}
"""What ``Amount.at`` says of each amount; read at once, because plans are verified with millions of them."""

_NOTHING: Mapping[str, int] = MappingProxyType({})


def start_peak_bytes(needs: Iterable[Need], *, parallel_loads: int) -> int:
    """Return what loading takes on top of the steady state: the k largest (load peak - steady)."""
    surplus = sorted((item.load_peak_bytes - item.steady_bytes for item in needs), reverse=True)
    return sum(surplus[:parallel_loads])


def models_json_entry_bytes(model: Model) -> int:
    """Return the bytes of a model's entry in ``models.json``, its comma and its largest memory included.

    Only copy 0 of a model has an entry: its shard is the TrainedModel's parent.
    """
    memory = max([option.memory_bytes.p95 for option in model.footprints])
    texts = (model.name, model.storage_uri, framework_of(model), str(memory))
    return _ENTRY_BYTES + sum([len(quoted(text)) for text in texts])


_ENTRY_BYTES = len('{"modelName":,"modelSpec":{"storageUri":,"framework":,"memory":}},')
"""An entry without its texts."""
