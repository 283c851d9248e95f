"""The scenario as arrays: the only place of the solver that rounds, orders and numbers things.

Demand is what ``domain.memory.need`` says, capacity what ``domain.memory.shard_room`` says; both are exact
integers. Equal models (same backend, options and whole devices) are one *kind*, so that what depends on the
footprint alone is computed once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.domain.fleet import Node, NodeDevice, ShardType
from planner.domain.footprint import FootprintOption
from planner.domain.memory import Need, device_room, models_json_entry_bytes, need, shard_room
from planner.domain.model import Model, options_for
from planner.domain.scenario import Names, Scenario, names

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

AMPLE = 2**60
"""Stands for "not limited": four amounts of this size still fit into an int64; no fleet has an exbibyte."""

CPU, MEMORY, DISK, MODELS, CONFIG = range(5)
"""Columns of the resources of a shard; further named resources follow."""
FIXED_COLUMNS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """One way of running each kind on each shard type; arrays are ``(kinds, types)``.

    Parameters
    ----------
    allowed
        Whether the kind has such a way on the type at all.
    option
        Index into the model's footprints.
    on_device
        Whether device memory and time are counted there; never on a CPU.
    steady, surplus
        Device bytes after warm-up, and what loading takes on top of them.
    milli
        Device time.
    host
        ``(kinds, types, columns)``: what the shard gives; the column ``CONFIG`` is 0, it depends on the name.
    """

    allowed: Bools
    option: Ints
    on_device: Bools
    steady: Ints
    surplus: Ints
    milli: Ints
    host: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What is placed at once: one replica of a model, or of all models of a ``together`` group.

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
        At least one; the first is the smallest way.
    kind, backend, tenant, entry_bytes
        Of each model; ``(models,)``. ``tenant`` is 0 everywhere unless tenants are isolated.
    units
        What is to be placed, in the order of names and replicas.
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
    units: tuple[Unit, ...]
    impossible: tuple[tuple[int, int], ...]


def make_problem(scenario: Scenario) -> Problem:
    """Return a scenario as arrays."""
    parts = names(scenario)
    columns = ("cpu", "memory", "disk", "models", "config", *_extra_names(scenario))
    kinds, kind = _kinds(scenario)
    backend_index = {item.name: index for index, item in enumerate(scenario.backends)}
    units, impossible = _units(scenario)
    types = scenario.shard_types
    memory, fixed, milli = _device_rooms(scenario, parts)
    return Problem(
        scenario=scenario,
        parts=parts,
        columns=columns,
        prices=_ints(item.price_microusd_per_h for item in types),
        pods=_ints(item.replicas for item in types),
        device_counts=_ints(item.device_count for item in types),
        parallel_loads=_ints(item.parallel_loads for item in types),
        is_gpu=np.array([parts.device_classes[t.device_class].kind == "gpu" for t in types], dtype=np.bool_),
        host_room=_host_rooms(scenario, parts, columns),
        device_memory=memory,
        device_fixed=fixed,
        device_milli=milli,
        best_memory=_best_memories(scenario, parts),
        device_base=_ints(item.device_base_bytes for item in scenario.backends),
        host_base=_ints(item.host_base_bytes for item in scenario.backends),
        modes=_modes(scenario, parts, kinds, columns),
        kind=kind,
        backend=_ints(backend_index[model.backend] for model in scenario.models),
        tenant=_tenants(scenario),
        entry_bytes=_ints(models_json_entry_bytes(model) for model in scenario.models),
        units=units,
        impossible=impossible,
    )


def _ints(values: Iterable[int]) -> Ints:
    return np.array([min(value, AMPLE) for value in values], dtype=np.int64)


def _extra_names(scenario: Scenario) -> tuple[str, ...]:
    found = {name for model in scenario.models for option in model.footprints for name, _ in option.extra}
    return tuple(sorted(found))


def _tenants(scenario: Scenario) -> Ints:
    if not scenario.policy.isolate_tenants:
        return np.zeros(len(scenario.models), dtype=np.int64)
    known = sorted({model.tenant for model in scenario.models}, key=lambda item: (item is not None, item))
    number = {tenant: index for index, tenant in enumerate(known)}
    return _ints(number[model.tenant] for model in scenario.models)


# -------------------------------------------------------------------------------------------------- capacity


def _host_rooms(scenario: Scenario, parts: Names, columns: tuple[str, ...]) -> Ints:
    rows = []
    for shard_type in scenario.shard_types:
        room = shard_room(
            shard_type,
            parts,
            policy=scenario.policy,
            max_config_map_bytes=scenario.cluster.max_config_map_bytes,
        )
        extra = (room.extra.get(name, 0) for name in columns[FIXED_COLUMNS:])
        counted = (room.disk_bytes, room.max_models)
        disk, most = (AMPLE if value is None else value for value in counted)
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
        _ints(room.capacity_bytes for room in rooms),
        _ints(room.fixed_bytes for room in rooms),
        _ints(room.capacity_milli for room in rooms),
    )


def _best_memories(scenario: Scenario, parts: Names) -> Ints:
    """Return the room of the best device of each type, on the nodes for what exists."""
    return _ints(max(_memories(scenario, parts, item), default=0) for item in scenario.shard_types)


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


# ---------------------------------------------------------------------------------------------------- demand


def _kinds(scenario: Scenario) -> tuple[tuple[Model, ...], Ints]:
    """Return one model of each kind, and the kind of each model."""
    number: dict[object, int] = {}
    first: list[Model] = []
    kind = np.zeros(len(scenario.models), dtype=np.int64)
    for index, model in enumerate(scenario.models):
        key = (model.backend, model.devices_per_replica, model.footprints)
        if key not in number:
            number[key] = len(first)
            first.append(model)
        kind[index] = number[key]
    return tuple(first), kind


def _modes(
    scenario: Scenario, parts: Names, kinds: tuple[Model, ...], columns: tuple[str, ...]
) -> tuple[Mode, ...]:
    """Return the ways of running each kind on each type, the smallest first."""
    ways = [
        [_ways(scenario, parts, model, shard_type.name) for shard_type in scenario.shard_types]
        for model in kinds
    ]
    most = max((len(found) for row in ways for found in row), default=1)
    return tuple(_mode(scenario, parts, ways, columns, rank) for rank in range(max(1, most)))


_Way = tuple[int, Need]


def _ways(scenario: Scenario, parts: Names, model: Model, type_name: str) -> list[_Way]:
    shard_type = parts.shard_types[type_name]
    runtime = parts.runtimes[shard_type.runtime]
    if runtime.backends is not None and model.backend not in runtime.backends:
        return []
    found = [
        (index, _need(scenario, parts, model.footprints[index], model.backend, shard_type.runtime))
        for index in options_for(model, parts.device_classes[shard_type.device_class])
    ]
    return found if len(found) < 2 else _smallest_first(found)


def _need(scenario: Scenario, parts: Names, option: FootprintOption, backend: str, runtime: str) -> Need:
    return need(
        option,
        backend=parts.backends[backend],
        runtime=parts.runtimes[runtime],
        quantile=scenario.policy.quantile,
    )


def _amounts(wants: Need, extras: Iterable[str]) -> tuple[int, ...]:
    counted = (
        wants.steady_bytes,
        wants.load_peak_bytes - wants.steady_bytes,
        wants.device_milli,
        wants.cpu_milli,
        wants.memory_bytes,
        wants.disk_bytes,
    )
    return (*counted, *(wants.extra.get(name, 0) for name in extras))


def _smallest_first(found: list[_Way]) -> list[_Way]:
    """Return the ways that no other way beats in everything, the one with the least device bytes first."""
    extras = sorted({name for _, wants in found for name in wants.extra})
    amounts = {index: (*_amounts(wants, extras), int(wants.on_device)) for index, wants in found}
    kept = [
        (index, wants)
        for index, wants in found
        if not any(
            all(a <= b for a, b in zip(amounts[other], amounts[index], strict=True))
            and (amounts[other] != amounts[index] or other < index)
            for other, _ in found
            if other != index
        )
    ]
    return sorted(kept, key=lambda way: (amounts[way[0]], way[0]))


def _mode(
    scenario: Scenario,
    parts: Names,
    ways: list[list[list[_Way]]],
    columns: tuple[str, ...],
    rank: int,
) -> Mode:
    shape = (len(ways), len(scenario.shard_types))
    mode = Mode(
        allowed=np.zeros(shape, dtype=np.bool_),
        option=np.zeros(shape, dtype=np.int64),
        on_device=np.zeros(shape, dtype=np.bool_),
        steady=np.zeros(shape, dtype=np.int64),
        surplus=np.zeros(shape, dtype=np.int64),
        milli=np.zeros(shape, dtype=np.int64),
        host=np.zeros((*shape, len(columns)), dtype=np.int64),
    )
    gpu = [parts.device_classes[item.device_class].kind == "gpu" for item in scenario.shard_types]
    for kind, row in enumerate(ways):
        for column, found in enumerate(row):
            if rank < len(found):
                _fill(mode, (kind, column), found[rank], columns=columns, gpu=gpu[column])
    return mode


def _fill(mode: Mode, at: tuple[int, int], way: _Way, *, columns: tuple[str, ...], gpu: bool) -> None:
    index, wants = way
    steady, surplus, milli, cpu, memory, disk, *extra = (
        min(amount, AMPLE + 1) for amount in _amounts(wants, columns[FIXED_COLUMNS:])
    )
    mode.allowed[at] = True
    mode.option[at] = index
    mode.host[at] = (cpu, memory, disk, 1, 0, *extra)
    if gpu and wants.on_device:
        mode.on_device[at] = True
        mode.steady[at], mode.surplus[at], mode.milli[at] = steady, surplus, milli


# ----------------------------------------------------------------------------------------------------- units


def _units(scenario: Scenario) -> tuple[tuple[Unit, ...], tuple[tuple[int, int], ...]]:
    units: list[Unit] = []
    impossible: list[tuple[int, int]] = []
    for members in _groups(scenario.models):
        group = [scenario.models[index] for index in members]
        copies = min(model.replicas for model in group)
        first = int(_pinned_apart(group))
        impossible += [(i, scenario.models[i].replicas - copies + first) for i in members]
        units += [_unit(group, members, replica) for replica in range(first, copies)]
    return tuple(units), tuple((index, count) for index, count in impossible if count)


def _pinned_apart(group: list[Model]) -> bool:
    """Return whether members of a group are pinned to different shards: then replica 0 is impossible."""
    return len({model.pin.shard for model in group if model.pin is not None}) > 1


def _groups(models: tuple[Model, ...]) -> list[tuple[int, ...]]:
    grouped: Mapping[str, list[int]] = defaultdict(list)
    for index, model in enumerate(models):
        if model.together is not None:
            grouped[model.together].append(index)
    groups = []
    for index, model in enumerate(models):
        members = (index,) if model.together is None else tuple(grouped[model.together])
        if members[0] == index:
            groups.append(members)
    return groups


def _unit(group: list[Model], members: tuple[int, ...], replica: int) -> Unit:
    pins = [model.pin.shard for model in group if model.pin is not None and replica == 0]
    return Unit(
        members=members,
        replica=replica,
        priority=max(model.priority for model in group),
        pin=pins[0] if pins else None,
        simple=len(group) == 1 and not pins and group[0].devices_per_replica == 1,
    )
