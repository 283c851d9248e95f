"""The fluid relaxation: every rule that bounds the cost, as shares of a shard, without the whole numbers.

A shard type offers one unit of each counted dimension. A model takes shares of it, may be cut in pieces and
spread over types; shards are bought by the fraction. What is paid once per site, a backend's base on a device
or a shard and the room for loading on a device, stays in as *overheads*: a site that pays one has that much
less for the models that need it, so the models of an overhead bring sites with them. Dropped: whole numbers,
spread, together, tenants, pins, the order of devices.

Shares are integers of ``SCALE``; demand is rounded down and capacity up, so whatever holds for them holds for
the scenario.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.domain.fleet import ShardType
from planner.solve.problem import AMPLE, CONFIG, MEMORY, Bools, Ints, Mode, Problem, selects

SCALE = 2**30
DEVICE_MEMORY, DEVICE_TIME = 0, 1
FIRST_COLUMN = 2
"""Dimensions: device memory, device time, then the columns of the problem."""

OWN = DEVICE_MEMORY, FIRST_COLUMN + MEMORY
"""The dimensions of what is paid once."""

PEAK_LEVELS = 10
"""Steps into which the room for loading is cut: for each it is said apart how members pay."""

WHOLE = 2**20
"""All of an overhead's cost, where a kind brings a part of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """What a site pays once when it holds any of some kinds.

    Parameters
    ----------
    name
        For people.
    members
        ``(ways, kinds)``: who brings it.
    brought
        ``(ways, kinds)``: how much of its cost a kind brings, of ``WHOLE`` and rounded down: all of it as a
        member; part of a step of the room for loading where its own ends within.
    cost
        What it takes of the shard, ``(dimensions,)`` shares rounded down.
    room
        What a site that pays it has for its members, ``(dimensions,)`` shares rounded up.
    site
        What the site has before anything is paid, ``(dimensions,)`` shares rounded up.
    """

    name: str
    members: Bools
    brought: Ints
    cost: Ints
    room: Ints
    site: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class FluidType:
    """A shard type in the relaxation.

    Parameters
    ----------
    price
        In micro-USD an hour.
    least, most
        Shards opened at least and at most; ``most`` None is unlimited.
    allowed
        ``(ways, kinds)``: whether the kind fits on a shard of its own at all.
    demand
        ``(ways, kinds, dimensions)`` shares.
    own
        ``(ways, kinds, 2)``: what a site that holds any of a kind pays at least, of device memory and of host
        memory (``OWN``), shares rounded down.
    overheads
        What is paid once.
    """

    price: int
    least: int
    most: int | None
    allowed: Bools
    demand: Ints
    own: Ints
    overheads: tuple[Overhead, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxation:
    """The fluid relaxation of a problem; kinds as in the problem."""

    types: tuple[FluidType, ...]


def make_relaxation(problem: Problem) -> Relaxation:
    """Return the fluid relaxation of a problem."""
    return Relaxation(
        types=tuple(_fluid_type(problem, index) for index in range(len(problem.scenario.shard_types)))
    )


def _fluid_type(problem: Problem, index: int) -> FluidType:
    item = problem.scenario.shard_types[index]
    device = _device_capacity(problem, index)
    capacity = np.concatenate((device * item.device_count, problem.host_room[index]))
    capacity[FIRST_COLUMN + CONFIG] = AMPLE  # depends on names and copies; the bound does without it
    demand = np.stack([_demand(problem, mode, index, capacity) for mode in problem.modes])
    allowed = np.stack([_allowed(problem, mode, index, device) for mode in problem.modes])
    shares = np.stack([_down(demand[way], capacity) for way in range(len(problem.modes))])
    return FluidType(
        price=item.price_microusd_per_h,
        least=item.min_count,
        most=most_shards(problem, item),
        allowed=allowed,
        demand=shares,
        own=_own(problem, index, capacity),
        overheads=tuple(_overheads(problem, index, device, capacity)) if allowed.any() else (),
    )


# -------------------------------------------------------------------------------------------------- capacity


def _device_capacity(problem: Problem, index: int) -> Ints:
    """Return memory and time of the best device that a shard of the type can get."""
    item = problem.scenario.shard_types[index]
    if not problem.is_gpu[index]:
        return np.array([AMPLE, AMPLE], dtype=np.int64) // max(1, item.device_count)
    return np.array(
        [max(0, int(problem.best_memory[index])), int(problem.device_milli[index])], dtype=np.int64
    )


def most_shards(problem: Problem, item: ShardType) -> int | None:
    """Return how many shards of a type any plan opens at most; None is unlimited."""
    limits = [item.max_count] if item.max_count is not None else []
    policy, cluster = problem.scenario.policy, problem.scenario.cluster
    if item.provision == "existing":
        limits.append(sum(_most_on(problem, item, node) for node in range(len(problem.scenario.nodes))))
    if policy.max_shards is not None:
        limits.append(policy.max_shards)
    if cluster.max_ips is not None:
        limits.append(cluster.max_ips // max(1, item.replicas))
    return min(limits, default=None)


def _most_on(problem: Problem, item: ShardType, index: int) -> int:
    """Return how many shards of a type a node holds at most when it holds nothing else."""
    node = problem.scenario.nodes[index]
    if not selects(item, node):
        return 0
    pods = problem.scenario.cluster.max_pods_per_node if node.pods is None else node.pods
    limits = [max(0, pods - node.pods_in_use)]
    limits += [node.cpu_milli // item.cpu_milli] if item.cpu_milli else []
    limits += [node.memory_bytes // item.memory_bytes] if item.memory_bytes else []
    if problem.parts.device_classes[item.device_class].kind == "gpu":
        own = sum(device.device_class == item.device_class for device in node.devices)
        limits.append(own // item.device_count)
    return min(limits)


# ---------------------------------------------------------------------------------------------------- demand


def _demand(problem: Problem, mode: Mode, index: int, capacity: Ints) -> Ints:
    """Return what each kind takes of a shard, ``(kinds, dimensions)``; whole devices are taken whole."""
    item = problem.scenario.shard_types[index]
    devices = np.stack((mode.steady[:, index], mode.milli[:, index]), axis=1)
    whole = problem.devices
    several = (whole > 1)[:, None] & problem.is_gpu[index]
    taken = np.where(several, whole[:, None] * (capacity[:2] // max(1, item.device_count)), devices)
    return np.concatenate((taken, mode.host[:, index, :]), axis=1)


def backend_of_kinds(problem: Problem) -> Ints:
    """Return the index of each kind's backend; ``(kinds,)``."""
    return problem.kind_backend


def _allowed(problem: Problem, mode: Mode, index: int, device: Ints) -> Bools:
    """Return which kinds fit on an empty shard of a type, every one-time cost counted."""
    backend = problem.kind_backend
    item = problem.scenario.shard_types[index]
    base = np.where(mode.on_device[:, index], problem.device_base[backend], 0)
    memory = mode.steady[:, index] + mode.surplus[:, index] + base
    host = mode.host[:, index, :].copy()
    host[:, MEMORY] += problem.host_base[backend]
    fits = mode.allowed[:, index] & (memory <= device[0]) & (mode.milli[:, index] <= device[1])
    fits &= (host <= problem.host_room[index]).all(axis=1)
    return np.asarray(fits & (problem.devices <= item.device_count), dtype=np.bool_)


def _down(amounts: Ints, capacity: Ints) -> Ints:
    """Return shares of the capacity rounded down; 0 where nothing is counted.

    Floating-point division is off by less than one unit of ``SCALE``, which the 1 that is taken off covers.
    """
    counted = (capacity > 0) & (capacity < AMPLE)
    shares = np.floor(amounts / np.where(counted, capacity, 1) * SCALE).clip(0, 4.0 * SCALE)
    return np.where(counted & (shares >= 1), shares.astype(np.int64) - 1, 0)


def _up(amounts: Ints, capacity: Ints) -> Ints:
    counted = (capacity > 0) & (capacity < AMPLE)
    shares = np.floor(amounts / np.where(counted, capacity, 1) * SCALE).clip(0, 4.0 * SCALE)
    return np.where(counted, shares.astype(np.int64) + 2, 0)


# ------------------------------------------------------------------------------------------- paid once a site


def _overheads(problem: Problem, index: int, device: Ints, capacity: Ints) -> list[Overhead]:
    item = problem.scenario.shard_types[index]
    single = problem.devices == 1
    of_backend = problem.kind_backend
    site = np.concatenate((device, capacity[FIRST_COLUMN:]))
    on_device = np.stack(
        [mode.on_device[:, index] & mode.allowed[:, index] & single for mode in problem.modes]
    )
    present = np.stack([mode.allowed[:, index] for mode in problem.modes])
    found = []
    for backend, name in enumerate(part.name for part in problem.scenario.backends):
        mine = of_backend == backend
        base = int(problem.device_base[backend])
        if base:
            cost = _at(DEVICE_MEMORY, base, len(site))
            found.append(_overhead(f"device base of {name}", on_device & mine, cost, (site, capacity)))
        base = int(problem.host_base[backend])
        if base:
            cost = _at(FIRST_COLUMN + MEMORY, base, len(site))
            found.append(_overhead(f"host base of {name}", present & mine, cost, (capacity, capacity)))
    if problem.is_gpu[index] and item.parallel_loads:
        found += _peaks(problem, index, on_device, (site, capacity))
    return [overhead for overhead in found if overhead.members.any()]


def _own(problem: Problem, index: int, capacity: Ints) -> Ints:
    """Return what a device and its shard keep for a replica of each kind beside the replica itself."""
    base, host = (of_backend[problem.kind_backend] for of_backend in (problem.device_base, problem.host_base))
    single = problem.devices == 1
    kept = [
        np.stack(
            (np.where(mode.on_device[:, index] & single, base + mode.surplus[:, index], 0), host), axis=1
        )
        for mode in problem.modes
    ]
    return _down(np.stack(kept), capacity[list(OWN)])


def _at(dimension: int, amount: int, size: int) -> Ints:
    row = np.zeros(size, dtype=np.int64)
    row[dimension] = amount
    return row


def _overhead(name: str, members: Bools, cost: Ints, rooms: tuple[Ints, Ints]) -> Overhead:
    """Return an overhead of a site whose members pay all of it; ``rooms`` are the site's and the shard's."""
    site, shard = rooms
    return Overhead(
        name=name,
        members=members,
        brought=members * WHOLE,
        cost=_down(cost, shard),
        room=_up(np.maximum(site - cost, 0), shard),
        site=_up(site, shard),
    )


def _peaks(problem: Problem, index: int, on_device: Bools, rooms: tuple[Ints, Ints]) -> list[Overhead]:
    """Return the steps of the room for loading: a device with a surplus above a step pays all steps to it."""
    site, shard = rooms
    surplus = np.stack([mode.surplus[:, index] for mode in problem.modes])
    bases = problem.device_base[problem.kind_backend]
    steady = np.stack([mode.steady[:, index] for mode in problem.modes])
    counted = on_device & (surplus > 0)
    found, below = [], 0
    for step in _steps(surplus[counted], steady[counted]):
        members = on_device & (surplus >= step)
        least_base = int(bases[members.any(axis=0)].min())
        room = site - _at(DEVICE_MEMORY, step + least_base, len(site))
        found.append(
            Overhead(
                name=f"room for loading of {step} bytes",
                members=members,
                brought=_part(np.where(on_device, surplus, 0), below, step),
                cost=_down(_at(DEVICE_MEMORY, step - below, len(site)), shard),
                room=_up(np.maximum(room, 0), shard),
                site=_up(site, shard),
            )
        )
        below = step
    return found


def _part(surplus: Ints, below: int, step: int) -> Ints:
    """Return which part of a step each surplus takes, of ``WHOLE`` and rounded down."""
    part = np.floor((surplus - below) / (step - below) * WHOLE).clip(0, WHOLE).astype(np.int64)
    return np.where(part < WHOLE, np.maximum(part - 1, 0), WHOLE * (surplus >= step))


def _steps(surplus: Ints, steady: Ints) -> list[int]:
    """Return surpluses that cut the memory of all kinds into equal parts, the largest last."""
    if not len(surplus):
        return []
    order = np.argsort(surplus, kind="stable")
    memory = np.cumsum(steady[order].astype(np.float64) + 1)
    cuts = memory[-1] * np.arange(PEAK_LEVELS) / PEAK_LEVELS
    return sorted({int(surplus[order[place]]) for place in (*np.searchsorted(memory, cuts), -1)})
