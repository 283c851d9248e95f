"""What the compiled search reads and never changes: demand, rooms, prices and limits, as few flat arrays.

Few and wide arrays keep calls between compiled functions cheap and what is read together in one cache line.
Columns have names below; behind the named ones follow those whose number depends on the problem. Only
dimensions that can bind are kept. A *way* is a mode on a shard type: ``rank * types + type``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.solve.openings import NO_ROW, UNKNOWN_DOMAIN, zone_numbers
from planner.solve.problem import AMPLE, CONFIG, CPU, MEMORY, MODELS, Bools, Ints, Problem
from planner.solve.relaxation import backend_of_kinds

Floats = NDArray[np.float64]

(
    DIMENSIONS,
    BACKENDS,
    HOST_MEMORY,
    CONFIG_ENTRY,
    TYPES,
    LOADS_MOST,
    MOST_PODS,
    MOST_SHARDS,
    MOST_COST,
    BASES,
) = range(10)
"""Of ``rule``: how many dimensions, backends (and one for none) and types there are, which dimension is host
memory and which ``models.json`` (-1 where it cannot bind), the most parallel loads, the limits of the plan;
then device bases, then host bases of backends."""

PRICE, DEVICES, LOADS, LEAST, MOST, PODS, TYPE_DOMAIN, ROOM = range(8)
"""Of a type; then what an empty shard offers of each dimension."""

KIND, MODEL, ENTRY, OWNER, FROM, TO, HOME = range(7)
"""Of a unit: its kind (-1 is not placed by the compiled search), its first model, bytes of ``models.json``,
tenant, the units of the same model, and the type that the relaxation puts it on (-1 is any)."""

HOST = 2
"""Dimensions are device memory, device time, then those of the shard from here on."""

EXTRA, CHARGED, BACKEND = range(3)
"""Behind the dimensions of a demand: room for loading, the backend whose base the device pays (the last is
none; -1 forbids the way), the backend."""


class Tables(NamedTuple):
    """A problem and the worth of its kinds.

    Parameters
    ----------
    rule
        Sizes, limits and bases.
    demand
        ``(ways, kinds, dimensions + 3)``: what a replica takes, then ``EXTRA``, ``CHARGED``, ``BACKEND``.
    types, units
        ``(types, ROOM + dimensions)`` and ``(units, 7)``.
    share
        ``(types, dimensions)``: one over the capacity of an empty device or shard, 0 where none is counted.
    value
        What a replica of each kind is worth.
    loss
        ``(types, kinds)``: by how much a replica costs more on a type than its worth, as a share of that.
    place
        ``(units,)``: the place of each unit by falling worth; see ``put_in_order``.
    """

    rule: Ints
    demand: Ints
    types: Ints
    units: Ints
    share: Floats
    value: Floats
    loss: Floats
    place: Ints


def put_in_order(tables: Tables, units: Ints | None = None) -> None:
    """Note the places of units, None is all, by falling worth, after their worths have changed.

    Those of others are no longer comparable with theirs.
    """
    known = np.arange(len(tables.units)) if units is None else units
    worth = tables.value[np.maximum(tables.units[known, KIND], 0)]
    tables.place[known[np.argsort(-worth, kind="stable")]] = np.arange(len(known))


def make_tables(problem: Problem, value: Floats, loss: Floats, home: Ints) -> Tables:
    """Return a problem as the compiled search reads it; ``value`` is what a replica of each kind is worth."""
    columns = host_columns(problem)
    memory = np.minimum(problem.device_memory - problem.device_fixed, AMPLE)
    room = np.concatenate(
        (np.stack((memory, problem.device_milli), axis=1), problem.host_room[:, columns]), axis=1
    )
    tables = Tables(
        rule=_rule(problem, columns),
        demand=_demand(problem, columns),
        types=np.concatenate((_types(problem), room), axis=1),
        units=_units(problem, home),
        share=_shares(room),
        value=np.asarray(value, dtype=np.float64),
        loss=np.asarray(loss, dtype=np.float64),
        place=np.zeros(len(problem.units), dtype=np.int64),
    )
    put_in_order(tables)
    return tables


def host_columns(problem: Problem) -> list[int]:
    """Return the columns of the shard that may bind; host memory always, ``models.json`` last."""
    most = _most_replicas(problem)
    counted: Bools = np.asarray((problem.host_room < AMPLE // 2).any(axis=0))
    counted[MEMORY], counted[CONFIG] = True, False
    counted[MODELS] = (most > problem.host_room[:, MODELS]).any()
    columns = [int(column) for column in np.flatnonzero(counted)]
    most = np.minimum(most, problem.host_room[:, MODELS])
    longest = int(problem.entry_bytes.max(initial=0))
    config_binds = bool((most * longest > problem.host_room[:, CONFIG]).any())
    return [*columns, CONFIG] if config_binds else columns


def _most_replicas(problem: Problem) -> Floats:
    """Return more than what a shard of each type could hold, ``maxModels`` and ``models.json`` aside."""
    most: Floats = np.full(len(problem.prices), len(problem.seat_unit), dtype=np.float64)
    mode = problem.modes[0] if len(problem.modes) == 1 else None
    if mode is not None and len(mode.allowed):
        large = np.iinfo(np.int64).max
        for column in set(range(len(problem.columns))) - {MODELS, CONFIG}:
            least = np.where(mode.allowed, mode.host[:, :, column], large).min(axis=0)
            room = np.where(least > 0, problem.host_room[:, column], np.inf)  # some need none of it
            most = np.minimum(most, room / np.maximum(least, 1))
        least = np.where(mode.allowed, mode.steady, large).min(axis=0)
        room = problem.device_counts * (problem.device_memory - problem.device_fixed)
        most = np.where(problem.is_gpu & (least > 0), np.minimum(most, room / np.maximum(least, 1)), most)
    return most


def _rule(problem: Problem, columns: list[int]) -> Ints:
    policy, cluster = problem.scenario.policy, problem.scenario.cluster
    limits = (cluster.max_ips, policy.max_shards, policy.max_usd_per_h_microusd)
    sizes = (
        HOST + len(columns),
        len(problem.device_base) + 1,
        HOST + columns.index(MEMORY),
        HOST + columns.index(CONFIG) if CONFIG in columns else -1,
        len(problem.prices),
        max(1, int(problem.parallel_loads.max(initial=1))),
        *(AMPLE if limit is None else limit for limit in limits),
    )
    return np.array([*sizes, *problem.device_base, 0, *problem.host_base, 0], dtype=np.int64)


def _demand(problem: Problem, columns: list[int]) -> Ints:
    backend = backend_of_kinds(problem)
    nothing, types, kinds = len(problem.device_base), len(problem.prices), len(backend)
    demand = np.empty((len(problem.modes) * types, kinds, HOST + len(columns) + 3), dtype=np.int64)
    for rank, mode in enumerate(problem.modes):
        for index in range(types):
            way = demand[rank * types + index]
            way[:, 0], way[:, 1] = mode.steady[:, index], mode.milli[:, index]
            way[:, HOST:-3] = mode.host[:, index, columns]
            charged = np.where(mode.on_device[:, index], backend, nothing)
            way[:, -3], way[:, -1] = mode.surplus[:, index], backend
            way[:, -2] = np.where(mode.allowed[:, index], charged, -1)
    return demand


def _types(problem: Problem) -> Ints:
    items = problem.scenario.shard_types
    columns = (
        problem.prices,
        problem.device_counts,
        problem.parallel_loads,
        [item.min_count for item in items],
        [_most(problem, index) for index in range(len(items))],
        problem.pods,
        _domains(problem),
    )
    return np.array(columns, dtype=np.int64).reshape(ROOM, -1).T.copy()


def _most(problem: Problem, index: int) -> int:
    """Return how many shards of a type may be bought; none if a shard that is empty breaks a rule."""
    item = problem.scenario.shard_types[index]
    if item.provision != "new" or (problem.host_room[index, [CPU, CONFIG]] < 0).any():
        return 0
    return AMPLE if item.max_count is None else item.max_count


def _domains(problem: Problem) -> list[int]:
    """Return the failure domain of the bought shards of each type, ``NO_ROW`` for one each."""
    scenario = problem.scenario
    if scenario.policy.spread != "zone":
        return [NO_ROW] * len(scenario.shard_types)
    numbers = zone_numbers(scenario)
    return [UNKNOWN_DOMAIN if item.zone is None else numbers[item.zone] for item in scenario.shard_types]


def _units(problem: Problem, home: Ints) -> Ints:
    """Return what is known of each unit; the units of a model follow each other."""
    count = len(problem.units)
    members = np.fromiter((unit.members[0] for unit in problem.units), dtype=np.int64, count=count)
    simple: Bools = np.fromiter((unit.simple for unit in problem.units), dtype=np.bool_, count=count)
    starts = np.flatnonzero(np.diff(members, prepend=-1))
    ends = np.append(starts[1:], count)[: len(starts)]
    lengths = ends - starts
    columns = (
        np.where(simple, problem.kind[members], -1),
        members,
        problem.entry_bytes[members],
        problem.tenant[members],
        np.repeat(starts, lengths),
        np.repeat(ends, lengths),
        home,
    )
    return np.stack(columns, axis=1).astype(np.int64)


def _shares(capacity: Ints) -> Floats:
    counted = (capacity > 0) & (capacity < AMPLE // 2)
    return np.where(counted, 1.0 / np.where(counted, capacity, 1), 0.0)
