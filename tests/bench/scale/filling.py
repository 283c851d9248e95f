"""A legal plan in no time: shards of one type, filled one after the other. Its cost means nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from planner.domain.canonical import sha256_of
from planner.domain.fleet import Backend
from planner.domain.memory import Need, ShardRoom, need, shard_room
from planner.domain.model import Model
from planner.domain.placement import Placed, Placement, Shard
from planner.domain.plan import Budget, Plan
from planner.domain.scenario import Scenario, names
from planner.domain.verify import cost_microusd_per_h

_TYPE = "a10g-large"
_LOOKED_AT = 12
"""Shards, the last that were opened, that are looked at before another is opened."""


@dataclass(slots=True)
class _Filled:
    """A shard while it is filled: what is left of its device and of itself."""

    name: str
    bytes: int
    milli: int
    cpu_milli: int
    memory_bytes: int
    peak_bytes: int = 0
    backends: set[str] = field(default_factory=set)
    models: set[str] = field(default_factory=set)

    def takes(self, model: Model, wants: Need, backend: Backend) -> bool:
        new = backend.name not in self.backends
        base, host = (backend.device_base_bytes, backend.host_base_bytes) if new else (0, 0)
        peak = max(self.peak_bytes, wants.load_peak_bytes - wants.steady_bytes)
        return (
            model.name not in self.models
            and wants.steady_bytes + base + peak <= self.bytes
            and wants.device_milli <= self.milli
            and wants.cpu_milli <= self.cpu_milli
            and wants.memory_bytes + host <= self.memory_bytes
        )

    def take(self, model: Model, wants: Need, backend: Backend) -> None:
        if backend.name not in self.backends:
            self.bytes -= backend.device_base_bytes
            self.memory_bytes -= backend.host_base_bytes
        self.backends.add(backend.name)
        self.models.add(model.name)
        self.bytes -= wants.steady_bytes
        self.milli -= wants.device_milli
        self.cpu_milli -= wants.cpu_milli
        self.memory_bytes -= wants.memory_bytes
        self.peak_bytes = max(self.peak_bytes, wants.load_peak_bytes - wants.steady_bytes)


def a_plan_of(scenario: Scenario) -> Plan:
    """Return a plan that places every replica of a fleet (``tests.support.fleets``)."""
    opened: list[str] = []
    placed = tuple(sorted(_placed(scenario, opened)))
    shards = tuple(Shard(name=name, shard_type=_TYPE) for name in sorted(opened))
    placement = Placement(shards=shards, placed=placed)
    return Plan(
        name=scenario.name,
        namespace=scenario.namespace,
        scenario_sha256=sha256_of(scenario),
        seed=0,
        budget=Budget(work=1),
        stopped_by_clock=False,
        versions=(),
        status="feasible",
        placement=placement,
        cost_microusd_per_h=cost_microusd_per_h(scenario, placement),
        bound=None,
        refusals=(),
    )


def _placed(scenario: Scenario, opened: list[str]) -> Iterator[Placed]:
    parts = names(scenario)
    shard_type = parts.shard_types[_TYPE]
    limit = scenario.cluster.max_config_map_bytes
    room = shard_room(shard_type, parts, policy=scenario.policy, max_config_map_bytes=limit)
    recent: deque[_Filled] = deque(maxlen=_LOOKED_AT)
    for model in scenario.models:
        backend = parts.backends[model.backend]
        classes = [option.device_class for option in model.footprints]
        option = classes.index(shard_type.device_class)
        wants = need(
            model.footprints[option],
            backend=backend,
            runtime=parts.runtimes[shard_type.runtime],
            quantile=scenario.policy.quantile,
        )
        for replica in range(model.replicas):
            shard = next((item for item in recent if item.takes(model, wants, backend)), None)
            if shard is None:
                shard = _empty(f"{shard_type.group}-{len(opened) + 1}", room)
                recent.append(shard)
                opened.append(shard.name)
            shard.take(model, wants, backend)
            yield Placed(model=model.name, replica=replica, shard=shard.name, devices=(0,), option=option)


def _empty(name: str, room: ShardRoom) -> _Filled:
    (device,) = room.devices
    return _Filled(
        name=name,
        bytes=device.capacity_bytes - device.fixed_bytes,
        milli=device.capacity_milli,
        cpu_milli=room.cpu_milli,
        memory_bytes=room.memory_bytes,
    )
