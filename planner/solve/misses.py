"""What keeps a unit off an empty shard: rules that it breaks alone, so that no plan could place it there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from planner.domain.fleet import ShardType
from planner.domain.references import in_group
from planner.domain.rules import Rule
from planner.solve.problem import (
    CONFIG,
    CPU,
    DISK,
    FIXED_COLUMNS,
    MEMORY,
    MODELS,
    Bools,
    Mode,
    Problem,
    selects,
)

COLUMN_RULES = {
    CPU: Rule.CPU,
    MEMORY: Rule.HOST_MEMORY,
    DISK: Rule.DISK,
    MODELS: Rule.MAX_MODELS,
    CONFIG: Rule.CONFIG_MAP,
}
"""The rule of each fixed column; the others are ``Rule.EXTRA``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """A rule that stands against a model, its subject and its numbers."""

    rule: Rule
    subject: str
    need: int | None = None
    have: int | None = None
    proven: bool = False


# ------------------------------------------------------------------------------------- all models at once


def takes_alone(problem: Problem) -> Bools:
    """Return whether the best empty shard of each type takes each model alone; ``(models, types)``."""
    kinds = np.zeros((len(problem.modes[0].allowed), len(problem.scenario.shard_types)), dtype=np.bool_)
    backend = np.zeros(len(kinds), dtype=np.int64)
    backend[problem.kind] = problem.backend  # models of a kind have one backend
    devices = np.ones(len(kinds), dtype=np.int64)
    devices[problem.kind] = [model.devices_per_replica for model in problem.scenario.models]
    for mode in problem.modes:
        for index in range(kinds.shape[1]):
            enough = devices <= problem.device_counts[index]
            enough &= _device_takes(problem, mode, backend, index) & _host_takes(
                problem, mode, backend, index
            )
            kinds[:, index] |= mode.allowed[:, index] & enough
    found: Bools = kinds[problem.kind] & (problem.entry_bytes[:, None] <= problem.host_room[:, CONFIG])
    for index, item in enumerate(problem.scenario.shard_types):
        if item.provision == "existing" and _no_node(problem, item) is not None:
            found[:, index] = False
    return found


def _device_takes(problem: Problem, mode: Mode, backend: np.ndarray, index: int) -> Bools:
    need = problem.device_base[backend] + mode.steady[:, index] + mode.surplus[:, index]
    fits = (need <= problem.best_memory[index]) & (mode.milli[:, index] <= problem.device_milli[index])
    found: Bools = fits | ~mode.on_device[:, index]
    return found


def _host_takes(problem: Problem, mode: Mode, backend: np.ndarray, index: int) -> Bools:
    found = np.ones(len(backend), dtype=np.bool_)
    for column in range(len(problem.columns)):
        if column != CONFIG:  # depends on the model's name
            base = problem.host_base[backend] if column == MEMORY else 0
            found &= mode.host[:, index, column] + base <= problem.host_room[index, column]
    return found


# ---------------------------------------------------------------------------------------- one, with numbers


def nearest_miss(problem: Problem, unit: int) -> Reason:
    """Return the rule that keeps a unit that no type takes alone off the type that misses least."""
    types = range(len(problem.scenario.shard_types))
    misses = [miss for index in types if (miss := _miss(problem, unit, index)) is not None]
    return min(
        misses, key=excess, default=Reason(rule=Rule.DEVICE_CLASS, subject="no shard type", proven=True)
    )


def excess(miss: Reason) -> tuple[int, float]:
    """Return how far off a miss is: numbers before plain prohibitions, the smallest ratio first."""
    if miss.need is None or miss.have is None:
        return (1, 0.0)
    return (0, miss.need / max(miss.have, 1))


def _miss(problem: Problem, unit: int, shard_type: int) -> Reason | None:
    item = problem.scenario.shard_types[shard_type]
    one = problem.units[unit]
    if one.pin is not None and not in_group(one.pin, item.group):
        return Reason(rule=Rule.PIN, subject=one.pin, proven=True)
    if item.provision == "existing" and (missing := _no_node(problem, item)) is not None:
        return missing
    for model in one.members:
        found = _model_miss(problem, model, shard_type)
        if found is not None:
            return found
    return None


def _no_node(problem: Problem, item: ShardType) -> Reason | None:
    """Return why no node could hold a shard of a type even if it were empty; None if one could."""
    nodes = [node for node in problem.scenario.nodes if selects(item, node)]
    if not nodes:
        return Reason(rule=Rule.NODE_SELECTOR, subject=item.name, proven=True)
    if problem.parts.device_classes[item.device_class].kind == "cpu":
        return None
    most = max(sum(device.device_class == item.device_class for device in node.devices) for node in nodes)
    if most >= item.device_count:
        return None
    return Reason(rule=Rule.NODE_DEVICES, subject=item.name, need=item.device_count, have=most, proven=True)


def _model_miss(problem: Problem, model: int, shard_type: int) -> Reason | None:
    kind, ways = int(problem.kind[model]), []
    for rank, mode in enumerate(problem.modes):
        if mode.allowed[kind, shard_type]:
            miss = next(_way_misses(problem, model, (rank, shard_type)), None)
            if miss is None:
                return None
            ways.append(miss)
    return min(ways, key=excess) if ways else _not_allowed(problem, model, shard_type)


def _not_allowed(problem: Problem, model: int, shard_type: int) -> Reason:
    item = problem.scenario.shard_types[shard_type]
    served = problem.parts.runtimes[item.runtime].backends
    if served is not None and problem.scenario.models[model].backend not in served:
        return Reason(rule=Rule.RUNTIME, subject=item.runtime, proven=True)
    return Reason(rule=Rule.DEVICE_CLASS, subject=item.device_class, proven=True)


def _way_misses(problem: Problem, model: int, way: tuple[int, int]) -> Iterator[Reason]:
    """Yield what does not fit on an empty shard of a type as its class describes it."""
    rank, shard_type = way
    mode, item = problem.modes[rank], problem.scenario.shard_types[shard_type]
    kind, backend = int(problem.kind[model]), int(problem.backend[model])
    wanted = problem.scenario.models[model].devices_per_replica
    checks: list[tuple[Rule, int, int]] = [(Rule.EXCLUSIVE_DEVICES, wanted, item.device_count)]
    if mode.on_device[kind, shard_type]:
        steady = int(problem.device_base[backend] + mode.steady[kind, shard_type])
        memory, milli = int(problem.best_memory[shard_type]), int(problem.device_milli[shard_type])
        if item.provision == "new":  # told as people read it: with what the device keeps for itself
            steady += int(problem.device_fixed[shard_type])
            memory = int(problem.device_memory[shard_type])
        checks.append((Rule.DEVICE_MEMORY, steady, memory))
        checks.append((Rule.STARTABLE, steady + int(mode.surplus[kind, shard_type]), memory))
        checks.append((Rule.DEVICE_TIME, int(mode.milli[kind, shard_type]), milli))
    host = mode.host[kind, shard_type].copy()
    host[MEMORY] += problem.host_base[backend]
    host[CONFIG] = problem.entry_bytes[model]
    room = problem.host_room[shard_type]
    checks += [
        (COLUMN_RULES.get(column, Rule.EXTRA), int(host[column]), int(room[column]))
        for column in range(len(problem.columns))
    ]
    for position, (rule, need, have) in enumerate(checks):
        if need > have:
            extra = position - (len(checks) - len(problem.columns)) - FIXED_COLUMNS
            subject = (
                item.name if rule != Rule.EXTRA else f"{item.name}/{problem.columns[FIXED_COLUMNS + extra]}"
            )
            yield Reason(rule=rule, subject=subject, need=need, have=have, proven=True)
