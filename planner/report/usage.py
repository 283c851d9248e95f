"""The account of a placement: what every shard and device offers, uses and has left."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from planner.domain.fleet import ShardType
from planner.domain.footprint import FootprintOption
from planner.domain.memory import (
    DeviceRoom,
    Need,
    ShardRoom,
    need,
    node_devices,
    shard_room,
    start_peak_bytes,
)
from planner.domain.model import Model
from planner.domain.placement import Placed, Placement, Shard
from planner.domain.rules import Rule
from planner.domain.scenario import Names, Scenario, names
from planner.units import PPM


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupant:
    """A placed replica, its footprint option and what it needs under the policy's quantile.

    ``median_steady_bytes`` is what it would need on each of its devices under the quantile p50.
    """

    placed: Placed
    model: Model
    option: FootprintOption
    need: Need
    median_steady_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceUse:
    """How much of one resource is used.

    Parameters
    ----------
    rule
        The rule that limits it; it also names the unit (``rules.UNITS``).
    subject
        The shard, or the device as ``shard/0``.
    used, capacity
        In the rule's unit, headroom taken off the capacity.
    name
        The named resource of the rule ``extra``; empty elsewhere.
    """

    rule: Rule
    subject: str
    used: int
    capacity: int
    name: str = ""

    @property
    def left(self) -> int:
        """Return what is free; negative where the rule is broken."""
        return self.capacity - self.used

    @property
    def full_ppm(self) -> int:
        """Return the used share in parts per million; of no capacity at all, everything or nothing."""
        if self.capacity <= 0:
            return PPM if self.used > 0 else 0
        return self.used * PPM // self.capacity


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceUse:
    """One device of a shard, its memory line by line (bytes) and its time (milli-devices).

    Parameters
    ----------
    name
        ``<shard>/<ordinal>``.
    is_gpu
        Whether memory and time are counted here at all.
    room
        What it offers.
    reserved_bytes, context_bytes, pool_bytes, foreign_bytes
        The parts of ``room.fixed_bytes``.
    bases
        (backend, bytes) of every backend in use here, sorted.
    occupants
        The replicas that are on it.
    start_peak_bytes
        What loading takes on top of the steady state.
    """

    name: str
    is_gpu: bool
    room: DeviceRoom
    reserved_bytes: int
    context_bytes: int
    pool_bytes: int
    foreign_bytes: int
    bases: tuple[tuple[str, int], ...]
    occupants: tuple[Occupant, ...]
    start_peak_bytes: int

    @property
    def models_bytes(self) -> int:
        """Return the steady footprints of the replicas that use the device."""
        return sum(item.need.steady_bytes for item in self.occupants if item.need.on_device)

    @property
    def used_bytes(self) -> int:
        """Return everything that is used in the steady state, the fixed part included."""
        return self.room.fixed_bytes + sum(size for _, size in self.bases) + self.models_bytes

    @property
    def headroom_bytes(self) -> int:
        """Return what the policy keeps free."""
        return self.room.total_bytes - self.room.capacity_bytes

    @property
    def left_bytes(self) -> int:
        """Return what is free below the headroom."""
        return self.room.capacity_bytes - self.used_bytes

    @property
    def used_milli(self) -> int:
        """Return the used share of the device's time."""
        return sum(item.need.device_milli for item in self.occupants)

    @property
    def resources(self) -> tuple[ResourceUse, ...]:
        """Return memory, memory while starting, and time; nothing for a CPU."""
        if not self.is_gpu:
            return ()
        used, capacity = self.used_bytes, self.room.capacity_bytes
        return (
            ResourceUse(rule=Rule.DEVICE_MEMORY, subject=self.name, used=used, capacity=capacity),
            ResourceUse(
                rule=Rule.STARTABLE, subject=self.name, used=used + self.start_peak_bytes, capacity=capacity
            ),
            ResourceUse(
                rule=Rule.DEVICE_TIME,
                subject=self.name,
                used=self.used_milli,
                capacity=self.room.capacity_milli,
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardUse:
    """One shard: its devices, its residents and its own resources."""

    shard: Shard
    shard_type: ShardType
    room: ShardRoom
    devices: tuple[DeviceUse, ...]
    occupants: tuple[Occupant, ...]
    host: tuple[ResourceUse, ...]

    @property
    def resources(self) -> tuple[ResourceUse, ...]:
        """Return the devices' resources, then the host's."""
        return tuple(use for device in self.devices for use in device.resources) + self.host

    @property
    def binding(self) -> ResourceUse | None:
        """Return the resource that is fullest; None for a shard that counts none."""
        return max(self.resources, key=lambda use: use.full_ppm, default=None)

    @property
    def device_used_bytes(self) -> int:
        """Return the used memory of all its GPUs."""
        return sum(device.used_bytes for device in self.devices if device.is_gpu)

    @property
    def device_capacity_bytes(self) -> int:
        """Return what all its GPUs together may use."""
        return sum(device.room.capacity_bytes for device in self.devices if device.is_gpu)

    def host_use(self, rule: Rule) -> ResourceUse | None:
        """Return one of the host's resources; None where the shard does not count it."""
        return next((use for use in self.host if use.rule == rule), None)


def placement_usage(scenario: Scenario, placement: Placement) -> tuple[ShardUse, ...]:
    """Return the account of every shard, in the placement's order.

    Parameters
    ----------
    placement
        Its names must mean something (``domain.references``).
    """
    parts = names(scenario)
    types = {shard.name: parts.shard_types[shard.shard_type] for shard in placement.shards}
    occupants: dict[str, list[Occupant]] = defaultdict(list)
    for placed in placement.placed:
        occupants[placed.shard].append(occupant(scenario, parts, placed, types[placed.shard]))
    return tuple(shard_usage(scenario, parts, shard, occupants[shard.name]) for shard in placement.shards)


def occupant(scenario: Scenario, parts: Names, placed: Placed, shard_type: ShardType) -> Occupant:
    """Return a replica with what it needs on a shard of a type."""
    model = parts.models[placed.model]
    option = model.footprints[placed.option]
    backend, runtime = parts.backends[model.backend], parts.runtimes[shard_type.runtime]
    return Occupant(
        placed=placed,
        model=model,
        option=option,
        need=need(option, backend=backend, runtime=runtime, quantile=scenario.policy.quantile),
        median_steady_bytes=need(option, backend=backend, runtime=runtime, quantile="p50").steady_bytes,
    )


def shard_usage(scenario: Scenario, parts: Names, shard: Shard, occupants: Iterable[Occupant]) -> ShardUse:
    """Return the account of one shard with some residents."""
    residents = tuple(occupants)
    shard_type = parts.shard_types[shard.shard_type]
    room = shard_room(
        shard_type,
        parts,
        policy=scenario.policy,
        max_config_map_bytes=scenario.cluster.max_config_map_bytes,
        devices=node_devices(shard, parts.nodes),
    )
    devices = tuple(
        _device_usage(parts, shard, index=index, room=offers, occupants=residents)
        for index, offers in enumerate(room.devices)
    )
    return ShardUse(
        shard=shard,
        shard_type=shard_type,
        room=room,
        devices=devices,
        occupants=residents,
        host=_host_usage(parts, shard.name, room=room, occupants=residents),
    )


def _device_usage(
    parts: Names, shard: Shard, *, index: int, room: DeviceRoom, occupants: tuple[Occupant, ...]
) -> DeviceUse:
    """Return the account of one device; ``occupants`` are those of the whole shard."""
    shard_type = parts.shard_types[shard.shard_type]
    is_gpu = parts.device_classes[shard_type.device_class].kind == "gpu"
    runtime = parts.runtimes[shard_type.runtime]
    real = node_devices(shard, parts.nodes)
    foreign = real[index].foreign_bytes if real and is_gpu else 0
    context, pool = (runtime.context_bytes, runtime.pool_bytes) if is_gpu else (0, 0)
    here = tuple(item for item in occupants if index in item.placed.devices)
    using = tuple(item for item in here if is_gpu and item.need.on_device)
    return DeviceUse(
        name=f"{shard.name}/{index}",
        is_gpu=is_gpu,
        room=room,
        reserved_bytes=room.fixed_bytes - context - pool - foreign,
        context_bytes=context,
        pool_bytes=pool,
        foreign_bytes=foreign,
        bases=tuple(
            (backend, parts.backends[backend].device_base_bytes)
            for backend in sorted({item.model.backend for item in using})
        ),
        occupants=here,
        start_peak_bytes=start_peak_bytes(
            (item.need for item in using), parallel_loads=shard_type.parallel_loads
        ),
    )


def _host_usage(
    parts: Names, shard: str, *, room: ShardRoom, occupants: tuple[Occupant, ...]
) -> tuple[ResourceUse, ...]:
    """Return CPU, memory, disk, named resources and the number of models, those that are counted."""
    needs = [item.need for item in occupants]
    backends = {item.model.backend for item in occupants}
    memory = sum(parts.backends[name].host_base_bytes for name in backends)
    amounts: list[tuple[Rule, int, int | None, str]] = [
        (Rule.CPU, sum(item.cpu_milli for item in needs), room.cpu_milli, ""),
        (Rule.HOST_MEMORY, memory + sum(item.memory_bytes for item in needs), room.memory_bytes, ""),
        (Rule.DISK, sum(item.disk_bytes for item in needs), room.disk_bytes, ""),
        (Rule.MAX_MODELS, len(occupants), room.max_models, ""),
    ]
    amounts += [
        (Rule.EXTRA, sum(item.extra.get(name, 0) for item in needs), capacity, name)
        for name, capacity in sorted(room.extra.items())
    ]
    return tuple(
        ResourceUse(rule=rule, subject=shard, used=used, capacity=capacity, name=name)
        for rule, used, capacity, name in amounts
        if capacity is not None
    )


def overall_usage(shards: Iterable[ShardUse]) -> Mapping[Rule, tuple[int, int]]:
    """Return used and capacity of every rule over all shards that count it (named resources apart)."""
    totals: dict[Rule, tuple[int, int]] = {}
    for shard in shards:
        for use in shard.resources:
            if use.rule is not Rule.EXTRA:
                used, capacity = totals.get(use.rule, (0, 0))
                totals[use.rule] = (used + use.used, capacity + use.capacity)
    return totals
