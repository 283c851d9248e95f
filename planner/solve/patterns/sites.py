"""What a pattern may hold: classes of alike units, and what each takes of a shard of each type.

Everything here only relaxes the rules of the specification, so what is proved of patterns holds for plans: a
shard's devices count as one, a class that may run in several ways takes the least of each dimension, and
spread, pins and the names in ``models.json`` are left out.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from planner.solve.problem import AMPLE, CONFIG, MEMORY, Bools, Ints, Problem
from planner.solve.relaxation import most_shards

DEVICE_MEMORY, DEVICE_TIME, FIRST_COLUMN = 0, 1, 2
"""Dimensions of a site before those that bind nothing are dropped; the columns of the problem follow."""

MOST_BACKENDS = 62
"""Backends that fit into the bits of one integer; the bases of further ones are left out."""

UNBOUND = 2**40
"""Room of a dimension that binds nothing but is kept for its place."""


class Site(NamedTuple):
    """One shard type for pricing: what it offers, and what each class of units takes of it.

    Attributes
    ----------
    room
        ``(dimensions,)``, each in its own unit; dimension 0 is where room for loading is kept free.
    size
        ``(classes, dimensions)``.
    most
        ``(classes,)``: how many of a class one shard may hold; 0 where the class is not allowed.
    backends
        ``(classes,)``: the backends of a class, as bits.
    base
        ``(backends, dimensions)``: what the first unit of a backend takes once.
    surplus
        ``(classes,)``: what loading takes on top of dimension 0.
    loads
        Of how many of the largest surpluses room is kept.
    label
        ``(classes,)``: only classes of one label share a shard.
    """

    room: Ints
    size: Ints
    most: Ints
    backends: Ints
    base: Ints
    surplus: Ints
    loads: int
    label: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """Units that are alike, and the sites that may hold them.

    Parameters
    ----------
    units
        The units of each class.
    sites
        One a shard type.
    prices
        ``(types,)``, micro-USD an hour.
    least, most
        Shards of each type at least and at most; ``most`` None is unlimited.
    """

    units: tuple[tuple[int, ...], ...]
    sites: tuple[Site, ...]
    prices: tuple[int, ...]
    least: tuple[int, ...]
    most: tuple[int | None, ...]

    @property
    def demand(self) -> Ints:
        """Return how many units each class has; ``(classes,)``."""
        return np.array([len(units) for units in self.units], dtype=np.int64)


def make_classes(problem: Problem) -> Classes:
    """Return the classes of a problem and the sites of its types."""
    grouped: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for unit, one in enumerate(problem.units):
        kinds = tuple(sorted(int(problem.kind[model]) for model in one.members))
        grouped[kinds, int(problem.tenant[one.members[0]])].append(unit)
    units = tuple(tuple(members) for members in grouped.values())
    types = problem.scenario.shard_types
    return Classes(
        units=units,
        sites=tuple(_site(problem, units, index) for index in range(len(types))),
        prices=tuple(item.price_microusd_per_h for item in types),
        least=tuple(item.min_count for item in types),
        most=tuple(most_shards(problem, item) for item in types),
    )


def _site(problem: Problem, units: tuple[tuple[int, ...], ...], index: int) -> Site:
    room = _room(problem, index)
    wants = [_wants(problem, problem.units[members[0]].members, index, room) for members in units]
    dims = len(room)
    size = np.array([want.size for want in wants], dtype=np.int64).reshape(-1, dims)
    surplus = np.array([want.surplus for want in wants], dtype=np.int64)
    base = _base(problem, index, dims)
    backends = _backends(problem, units)
    most = np.array(
        [
            len({problem.units[unit].members for unit in members}) if want.allowed else 0
            for members, want in zip(units, wants, strict=True)
        ],
        dtype=np.int64,
    )
    most[~_fits_alone(room, size, surplus, base, backends)] = 0
    kept = _binding(room, size, most, base, surplus)
    return Site(
        room=room[kept],
        size=np.ascontiguousarray(size[:, kept]),
        most=most,
        backends=backends if base[:, kept].any() else np.zeros_like(backends),
        base=np.ascontiguousarray(base[:, kept]),
        surplus=surplus,
        loads=int(problem.parallel_loads[index]) if problem.is_gpu[index] and surplus.any() else 0,
        label=np.array([int(problem.tenant[problem.units[m[0]].members[0]]) for m in units], dtype=np.int64),
    )


def _fits_alone(room: Ints, size: Ints, surplus: Ints, base: Ints, backends: Ints) -> Bools:
    taken = size.copy()
    for backend, row in enumerate(base):
        taken[(backends >> backend) & 1 == 1] += row
    taken[:, DEVICE_MEMORY] += surplus
    return np.asarray((taken <= room).all(axis=1), dtype=np.bool_)


def _room(problem: Problem, index: int) -> Ints:
    count = int(problem.device_counts[index])
    devices = [AMPLE, AMPLE]
    if problem.is_gpu[index]:
        devices = [max(0, int(problem.best_memory[index])) * count, int(problem.device_milli[index]) * count]
    room = np.array([*devices, *map(int, problem.host_room[index])], dtype=np.int64)
    room[FIRST_COLUMN + CONFIG] = AMPLE  # depends on names; patterns do without it
    return np.minimum(room, AMPLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Want:
    allowed: bool
    size: Ints
    surplus: int


def _wants(problem: Problem, members: tuple[int, ...], index: int, room: Ints) -> _Want:
    """Return what the models of a unit take together, each in the least of its ways."""
    size, surplus, allowed = np.zeros(len(room), dtype=np.int64), 0, True
    for model in members:
        kind = int(problem.kind[model])
        modes = [mode for mode in problem.modes if mode.allowed[kind, index]]
        allowed &= bool(modes)
        if not modes:
            continue
        whole = problem.scenario.models[model].devices_per_replica
        rows = [np.array([m.steady[kind, index], m.milli[kind, index], *m.host[kind, index]]) for m in modes]
        taken = np.min(rows, axis=0)
        if whole > 1 and problem.is_gpu[index]:
            taken[:2] = whole * (room[:2] // max(1, int(problem.device_counts[index])))
        else:
            surplus = max(surplus, min(int(m.surplus[kind, index]) for m in modes))
        allowed &= whole <= problem.device_counts[index]
        size += taken
    return _Want(allowed=allowed, size=np.minimum(size, AMPLE + 1), surplus=surplus)


def _backends(problem: Problem, units: tuple[tuple[int, ...], ...]) -> Ints:
    masks = []
    for alike in units:
        of_models = {int(problem.backend[model]) for model in problem.units[alike[0]].members}
        masks.append(sum(1 << backend for backend in of_models if backend < MOST_BACKENDS))
    return np.array(masks, dtype=np.int64)


def _base(problem: Problem, index: int, dims: int) -> Ints:
    """Return what each backend takes once, where every model of it on this type pays that."""
    count = min(len(problem.device_base), MOST_BACKENDS)
    base = np.zeros((count, dims), dtype=np.int64)
    base[:, FIRST_COLUMN + MEMORY] = problem.host_base[:count]
    for backend in range(count if problem.is_gpu[index] else 0):
        kinds = np.unique(problem.kind[problem.backend == backend])
        pays = all(
            mode.on_device[kind, index]
            for mode in problem.modes
            for kind in kinds
            if mode.allowed[kind, index]
        )
        base[backend, DEVICE_MEMORY] = (
            problem.device_base[backend] if pays and _single(problem, backend) else 0
        )
    return base


def _single(problem: Problem, backend: int) -> bool:
    """Return whether no model of a backend takes whole devices, on which its base is counted already."""
    models = problem.scenario.models
    return all(models[i].devices_per_replica == 1 for i in np.flatnonzero(problem.backend == backend))


def _binding(room: Ints, size: Ints, most: Ints, base: Ints, surplus: Ints) -> Bools:
    """Return the dimensions in which all that is allowed does not fit at once; the first always stays."""
    total = (size.astype(object) * most[:, None].astype(object)).sum(axis=0) + base.astype(object).sum(axis=0)
    total[DEVICE_MEMORY] += int(surplus.sum())
    kept = np.array([int(total[d]) > int(room[d]) for d in range(len(room))], dtype=np.bool_)
    kept[DEVICE_MEMORY] |= not kept.any() or bool(surplus.any())
    return kept
