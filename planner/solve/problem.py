"""The scenario as arrays: the only place of the solver that rounds, orders and numbers things.

Capacity is what ``domain.memory.shard_room`` says, demand (in ``demand``) what ``domain.memory.need`` says;
both are exact integers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from planner.domain.fleet import Node, NodeDevice, ShardType
from planner.domain.memory import device_room, models_json_entry_bytes, shard_room
from planner.domain.model import Model
from planner.domain.scenario import Names, Scenario, names
from planner.solve.demand import (
    AMPLE,
    CONFIG,
    CPU,
    DISK,
    FIXED_COLUMNS,
    MEMORY,
    MODELS,
    Bools,
    Ints,
    Mode,
    extra_names,
    ints_of,
    kinds_of,
    modes_of,
    numbers_of,
)

__all__ = [
    "AMPLE",
    "CONFIG",
    "CPU",
    "DISK",
    "FIXED_COLUMNS",
    "MEMORY",
    "MODELS",
    "Bools",
    "Ints",
    "Mode",
    "Problem",
    "Unit",
    "make_problem",
    "selects",
]


class Unit(NamedTuple):
    """What is placed at once: one replica of a model, or of all models of a ``together`` group.

    A tuple, because a large fleet has millions and they are made much faster.

    Parameters
    ----------
    members
        Indices of its models.
    replica
        Which replica of each.
    priority
        The highest of its members.
    pin
        The shard it has to be on; None is anywhere.
    simple
        Whether it is one model on one device, unpinned: what the vectorised search can place.
    """

    members: tuple[int, ...]
    replica: int
    priority: int
    pin: str | None
    simple: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A scenario as arrays. Types and nodes in the scenario's order, models by name.

    Parameters
    ----------
    columns
        Names of the shard's resources.
    prices, pods, device_counts, parallel_loads
        Of each type; ``(types,)``.
    is_gpu
        Whether device memory and time are counted; ``(types,)``.
    host_room
        ``(types, columns)``.
    device_memory, device_fixed, device_milli
        Of a device of each type as its class says (shards on nodes ask ``openings``); ``(types,)``.
    best_memory
        What the best device of each type that exists, or may be bought, leaves to models; ``(types,)``.
    device_base, host_base
        Of each backend; ``(backends,)``.
    modes
        At least one. Of each kind and type the first is the way that takes least device memory; after the
        relaxation, the cheapest (``ways``).
    kind, backend, tenant, entry_bytes, level
        Of each model; ``(models,)``. ``tenant`` is 0 everywhere unless tenants are isolated; ``level`` is 0
        for the highest priority, 1 for the next one.
    devices, kind_backend
        Of each kind: whole devices of a replica, and its backend; ``(kinds,)``.
    units
        What is to be placed, in the order of names and replicas.
    simple
        ``Unit.simple`` of each; ``(units,)``.
    seat_unit, seat_model
        The unit and the model of every replica that units are made of, unit by unit; ``(replicas,)``.
    impossible
        (model, replicas) of together groups with fewer copies of another member, or pinned to two shards.
    """

    scenario: Scenario
    parts: Names
    columns: tuple[str, ...]
    prices: Ints
    pods: Ints
    device_counts: Ints
    parallel_loads: Ints
    is_gpu: Bools
    host_room: Ints
    device_memory: Ints
    device_fixed: Ints
    device_milli: Ints
    best_memory: Ints
    device_base: Ints
    host_base: Ints
    modes: tuple[Mode, ...]
    kind: Ints
    backend: Ints
    tenant: Ints
    entry_bytes: Ints
    level: Ints
    devices: Ints
    kind_backend: Ints
    units: tuple[Unit, ...]
    simple: Bools
    seat_unit: Ints
    seat_model: Ints
    impossible: tuple[tuple[int, int], ...]


def make_problem(scenario: Scenario) -> Problem:
    """Return a scenario as arrays."""
    parts = names(scenario)
    kinds, kind = kinds_of(scenario)
    extras = extra_names(kinds)
    columns = ("cpu", "memory", "disk", "models", "config", *extras)
    backends = [item.name for item in scenario.backends]
    units, impossible = _units(scenario)
    seats = np.array([len(unit.members) for unit in units], dtype=np.int64)
    types = scenario.shard_types
    memory, fixed, milli = _device_rooms(scenario, parts)
    return Problem(
        scenario=scenario,
        parts=parts,
        columns=columns,
        prices=ints_of(item.price_microusd_per_h for item in types),
        pods=ints_of(item.replicas for item in types),
        device_counts=ints_of(item.device_count for item in types),
        parallel_loads=ints_of(item.parallel_loads for item in types),
        is_gpu=np.array([parts.device_classes[t.device_class].kind == "gpu" for t in types], dtype=np.bool_),
        host_room=_host_rooms(scenario, parts, columns),
        device_memory=memory,
        device_fixed=fixed,
        device_milli=milli,
        best_memory=_best_memories(scenario, parts),
        device_base=ints_of(item.device_base_bytes for item in scenario.backends),
        host_base=ints_of(item.host_base_bytes for item in scenario.backends),
        modes=modes_of(scenario, parts, kinds, extras),
        kind=kind,
        backend=numbers_of((model.backend for model in scenario.models), backends),
        tenant=_tenants(scenario),
        entry_bytes=ints_of(models_json_entry_bytes(model) for model in scenario.models),
        level=_levels(scenario),
        devices=ints_of(devices for _, devices, *_ in kinds),
        kind_backend=numbers_of((backend for backend, *_ in kinds), backends),
        units=units,
        simple=np.array([unit.simple for unit in units], dtype=np.bool_),
        seat_unit=np.repeat(np.arange(len(units)), seats),
        seat_model=np.array([model for unit in units for model in unit.members], dtype=np.int64),
        impossible=impossible,
    )


def _tenants(scenario: Scenario) -> Ints:
    if not scenario.policy.isolate_tenants:
        return np.zeros(len(scenario.models), dtype=np.int64)
    known = sorted({model.tenant for model in scenario.models}, key=lambda item: (item is not None, item))
    number = {tenant: index for index, tenant in enumerate(known)}
    return ints_of(number[model.tenant] for model in scenario.models)


def _levels(scenario: Scenario) -> Ints:
    priorities = [model.priority for model in scenario.models]
    number = {priority: index for index, priority in enumerate(sorted(set(priorities), reverse=True))}
    return ints_of(number[priority] for priority in priorities)


# -------------------------------------------------------------------------------------------------- capacity


def _host_rooms(scenario: Scenario, parts: Names, columns: tuple[str, ...]) -> Ints:
    replicas = sum(model.replicas for model in scenario.models)
    rows = []
    for shard_type in scenario.shard_types:
        room = shard_room(
            shard_type,
            parts,
            policy=scenario.policy,
            max_config_map_bytes=scenario.cluster.max_config_map_bytes,
        )
        extra = (room.extra.get(name, 0) for name in columns[FIXED_COLUMNS:])
        disk = AMPLE if room.disk_bytes is None else room.disk_bytes
        # A limit that cannot be reached is one resource less to reckon with.
        most = AMPLE if room.max_models is None or room.max_models >= replicas else room.max_models
        rows.append([room.cpu_milli, room.memory_bytes, disk, most, room.models_json_bytes, *extra])
    return np.minimum(np.array(rows, dtype=np.int64).reshape(-1, len(columns)), AMPLE)


def _device_rooms(scenario: Scenario, parts: Names) -> tuple[Ints, Ints, Ints]:
    rooms = [
        shard_room(
            shard_type,
            parts,
            policy=scenario.policy,
            max_config_map_bytes=scenario.cluster.max_config_map_bytes,
        ).devices[0]
        for shard_type in scenario.shard_types
    ]
    return (
        ints_of(room.capacity_bytes for room in rooms),
        ints_of(room.fixed_bytes for room in rooms),
        ints_of(room.capacity_milli for room in rooms),
    )


def _best_memories(scenario: Scenario, parts: Names) -> Ints:
    """Return the room of the best device of each type, on the nodes for what exists."""
    return ints_of(max(_memories(scenario, parts, item), default=0) for item in scenario.shard_types)


def _memories(scenario: Scenario, parts: Names, item: ShardType) -> list[int]:
    found: list[NodeDevice | None] = [None]
    if item.provision == "existing" and parts.device_classes[item.device_class].kind == "gpu":
        nodes = (node for node in scenario.nodes if selects(item, node))
        found = [d for node in nodes for d in node.devices if d.device_class == item.device_class]
    rooms = [
        device_room(
            device_class=parts.device_classes[item.device_class],
            shard_type=item,
            runtime=parts.runtimes[item.runtime],
            policy=scenario.policy,
            device=device,
        )
        for device in found
    ]
    return [room.capacity_bytes - room.fixed_bytes for room in rooms]


def selects(shard_type: ShardType, node: Node) -> bool:
    """Return whether a node has the labels that a shard type asks for."""
    labels = dict(node.labels)
    return all(labels.get(key) == value for key, value in shard_type.node_selector)


# ----------------------------------------------------------------------------------------------------- units


def _units(scenario: Scenario) -> tuple[tuple[Unit, ...], tuple[tuple[int, int], ...]]:
    units: list[Unit] = []
    impossible: list[tuple[int, int]] = []
    groups = _groups(scenario.models)
    for index, model in enumerate(scenario.models):
        if model.together is None:
            units += _units_of([model], (index,), range(model.replicas))
        elif groups[model.together][0] == index:
            members = tuple(groups[model.together])
            group = [scenario.models[index] for index in members]
            copies = min(model.replicas for model in group)
            first = int(_pinned_apart(group))
            impossible += [(i, scenario.models[i].replicas - copies + first) for i in members]
            units += _units_of(group, members, range(first, copies))
    return tuple(units), tuple((index, count) for index, count in impossible if count)


def _groups(models: tuple[Model, ...]) -> Mapping[str, list[int]]:
    """Return the models of each ``together`` group."""
    grouped: Mapping[str, list[int]] = defaultdict(list)
    for index, model in enumerate(models):
        if model.together is not None:
            grouped[model.together].append(index)
    return grouped


def _pinned_apart(group: list[Model]) -> bool:
    """Return whether members of a group are pinned to different shards: then replica 0 is impossible."""
    return len({model.pin.shard for model in group if model.pin is not None}) > 1


def _units_of(group: list[Model], members: tuple[int, ...], replicas: range) -> Iterator[Unit]:
    pins = [model.pin.shard for model in group if model.pin is not None]
    priority = max(model.priority for model in group)
    alone = len(group) == 1 and group[0].devices_per_replica == 1
    for replica in replicas:
        pin = pins[0] if pins and replica == 0 else None
        yield Unit(members, replica, priority, pin, alone and pin is None)
