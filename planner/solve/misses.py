"""What keeps a unit off an empty shard: rules that it breaks alone, so that no plan could place it there.

All is worked out for many units at once, type by type, because a scenario may refuse a million.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from planner.domain.fleet import ShardType
from planner.domain.references import in_group
from planner.domain.rules import Rule
from planner.solve.packing import Floats
from planner.solve.problem import (
    CONFIG,
    CPU,
    DISK,
    FIXED_COLUMNS,
    MEMORY,
    MODELS,
    Bools,
    Ints,
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


class Reason(NamedTuple):
    """A rule that stands against a model, its subject and its numbers.

    A tuple, because there may be one for each of many models, and they are counted.
    """

    rule: Rule
    subject: str
    need: int | None = None
    have: int | None = None
    proven: bool = False


class Group(NamedTuple):
    """Units that have the same reasons: all replicas of some models that are pinned alike."""

    members: tuple[int, ...]
    pin: str | None


# ----------------------------------------------------------------------------------------------- yes or no


def takes_alone(problem: Problem) -> Bools:
    """Return whether the best empty shard of each type takes each model alone; ``(models, types)``."""
    kinds = np.zeros((len(problem.modes[0].allowed), len(problem.scenario.shard_types)), dtype=np.bool_)
    backend, devices = problem.kind_backend, problem.devices
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


def _device_takes(problem: Problem, mode: Mode, backend: Ints, index: int) -> Bools:
    need = problem.device_base[backend] + mode.steady[:, index] + mode.surplus[:, index]
    fits = (need <= problem.best_memory[index]) & (mode.milli[:, index] <= problem.device_milli[index])
    found: Bools = fits | ~mode.on_device[:, index]
    return found


def _host_takes(problem: Problem, mode: Mode, backend: Ints, index: int) -> Bools:
    found = np.ones(len(backend), dtype=np.bool_)
    for column in range(len(problem.columns)):
        if column != CONFIG:  # depends on the model's name
            base = problem.host_base[backend] if column == MEMORY else 0
            found &= mode.host[:, index, column] + base <= problem.host_room[index, column]
    return found


# -------------------------------------------------------------------------------------- why, with numbers

_RULES = (
    Rule.PIN,
    Rule.NODE_DEVICES,
    Rule.NODE_SELECTOR,
    Rule.RUNTIME,
    Rule.DEVICE_CLASS,
    Rule.EXCLUSIVE_DEVICES,
    Rule.DEVICE_MEMORY,
    Rule.STARTABLE,
    Rule.DEVICE_TIME,
)
"""What is checked before the columns of the host, in no order; a check is known by its position."""

_PIN, _NODE_DEVICES, _NODE_SELECTOR, _RUNTIME, _DEVICE_CLASS, _EXCLUSIVE, _MEMORY, _START, _TIME = range(9)
_FIRST_COLUMN = len(_RULES)
_NOTHING, _NO_TYPE = -1, -2
"""Nothing is missed; and there is no shard type at all."""


class _Misses(NamedTuple):
    """What each of some models or units misses on a shard of one type.

    ``check`` is the first thing that does not fit, ``ratio`` how far off it is: -inf is nothing missed, inf
    a prohibition without numbers.
    """

    check: Ints
    need: Ints
    have: Ints
    ratio: Floats

    def replace(self, where: Bools, other: _Misses) -> None:
        """Take over another one's figures, in place."""
        for own, its in zip(self, other, strict=True):
            own[where] = its[where]

    def put(self, where: Bools, check: int, numbers: tuple[int, int] | None = None) -> None:
        """Say that a check without numbers, or with these, is what is missed."""
        need, have = numbers or (0, 0)
        self.check[where], self.need[where], self.have[where] = check, need, have
        self.ratio[where] = np.inf if numbers is None else need / max(have, 1)


def nearest_misses(problem: Problem, groups: Sequence[Group]) -> list[Reason]:
    """Return, for groups that no type takes alone, the rule that keeps each off the type that misses least.

    Numbers come before plain prohibitions, the smallest ratio of need to have first, then the first type.
    """
    best, best_type = _nothing_missed(len(groups)), np.zeros(len(groups), dtype=np.int64)
    best.put(np.ones(len(groups), dtype=np.bool_), _NO_TYPE)
    most = max((len(group.members) for group in groups), default=1)
    members = [
        np.array([group.members[min(place, len(group.members) - 1)] for group in groups], dtype=np.int64)
        for place in range(most)
    ]
    for index in range(len(problem.scenario.shard_types)):
        found = _of_type(problem, index, members)
        _apply_pins(found, groups, problem.scenario.shard_types[index])
        nearer = (found.ratio < best.ratio) | (best.check == _NO_TYPE)
        nearer &= found.check != _NOTHING
        best.replace(nearer, found)
        best_type[nearer] = index
    return _reasons(problem, groups, best, best_type)


def _nothing_missed(count: int) -> _Misses:
    return _Misses(
        check=np.full(count, _NOTHING, dtype=np.int64),
        need=np.zeros(count, dtype=np.int64),
        have=np.zeros(count, dtype=np.int64),
        ratio=np.full(count, -np.inf),
    )


def _of_type(problem: Problem, index: int, members: list[Ints]) -> _Misses:
    """Return what groups miss on a type: a node for it, else what the first member misses that does."""
    item = problem.scenario.shard_types[index]
    found = _nothing_missed(len(members[0]))
    missing = _no_node(problem, item) if item.provision == "existing" else None
    if missing is not None:
        found.put(found.check == _NOTHING, *missing)
        return found
    for models in members:
        found.replace(found.check == _NOTHING, _of_models(problem, index, models))
    return found


def _apply_pins(found: _Misses, groups: Sequence[Group], item: ShardType) -> None:
    pins = {group.pin for group in groups}
    apart = {pin for pin in pins if pin is not None and not in_group(pin, item.group)}
    if apart:
        found.put(np.array([group.pin in apart for group in groups], dtype=np.bool_), _PIN)


def _no_node(problem: Problem, item: ShardType) -> tuple[int, tuple[int, int] | None] | None:
    """Return why no node could hold a shard of a type even if it were empty; None if one could."""
    nodes = [node for node in problem.scenario.nodes if selects(item, node)]
    if not nodes:
        return _NODE_SELECTOR, None
    if problem.parts.device_classes[item.device_class].kind == "cpu":
        return None
    most = max(sum(device.device_class == item.device_class for device in node.devices) for node in nodes)
    return None if most >= item.device_count else (_NODE_DEVICES, (item.device_count, most))


def _of_models(problem: Problem, index: int, models: Ints) -> _Misses:
    """Return what models miss on an empty shard of a type, in the way that comes nearest."""
    kind = problem.kind[models]
    best = _nothing_missed(len(models))
    best.put(best.check == _NOTHING, _DEVICE_CLASS)
    served = problem.parts.runtimes[problem.scenario.shard_types[index].runtime].backends
    if served is not None:
        unserved = np.array([item.name not in served for item in problem.scenario.backends], dtype=np.bool_)
        best.put(unserved[problem.backend[models]], _RUNTIME)
    for mode in problem.modes:
        found = _in_mode(problem, mode, index, models)
        best.replace(mode.allowed[kind, index] & (found.ratio < best.ratio), found)
    return best


def _in_mode(problem: Problem, mode: Mode, index: int, models: Ints) -> _Misses:
    """Return the first thing that does not fit on an empty shard of a type as its class describes it."""
    found = _nothing_missed(len(models))
    for check, need, have in reversed(_checks(problem, mode, index, models)):
        where = need > have
        found.check[where], found.need[where], found.have[where] = check, need[where], have
    missed = found.check != _NOTHING
    found.ratio[missed] = found.need[missed] / np.maximum(found.have[missed], 1)
    return found


def _checks(problem: Problem, mode: Mode, index: int, models: Ints) -> list[tuple[int, Ints, int]]:
    """Return what is checked, in order: what each model needs, and what there is."""
    item = problem.scenario.shard_types[index]
    kind, backend = problem.kind[models], problem.backend[models]
    memory = int(problem.best_memory[index])
    steady = problem.device_base[backend] + mode.steady[kind, index]
    if item.provision == "new":  # told as people read it: with what the device keeps for itself
        steady = steady + problem.device_fixed[index]
        memory = int(problem.device_memory[index])
    on_device = [
        (_MEMORY, steady, memory),
        (_START, steady + mode.surplus[kind, index], memory),
        (_TIME, mode.milli[kind, index], int(problem.device_milli[index])),
    ]
    unused = ~mode.on_device[kind, index]
    checks = [(_EXCLUSIVE, problem.devices[kind], item.device_count)]
    checks += [(check, np.where(unused, have, need), have) for check, need, have in on_device]
    host = mode.host[kind, index]
    host[:, MEMORY] += problem.host_base[backend]
    host[:, CONFIG] = problem.entry_bytes[models]
    room = problem.host_room[index]
    return checks + [(_FIRST_COLUMN + at, host[:, at], int(room[at])) for at in range(len(problem.columns))]


def _reasons(problem: Problem, groups: Sequence[Group], found: _Misses, types: Ints) -> list[Reason]:
    rules = [*_RULES, *(COLUMN_RULES.get(at, Rule.EXTRA) for at in range(len(problem.columns)))]
    columns = zip(groups, types.tolist(), *(column.tolist() for column in found), strict=True)
    reasons = []
    for group, index, check, need, have, ratio in columns:
        if check == _NO_TYPE:
            reasons.append(Reason(Rule.DEVICE_CLASS, "no shard type", proven=True))
            continue
        subject = _subject(problem, group, index, check)
        if ratio == np.inf:
            reasons.append(Reason(rules[check], subject, proven=True))
        else:
            reasons.append(Reason(rules[check], subject, need=need, have=have, proven=True))
    return reasons


def _subject(problem: Problem, group: Group, index: int, check: int) -> str:
    """Return what a check on a type is about."""
    item = problem.scenario.shard_types[index]
    if check >= _FIRST_COLUMN + FIXED_COLUMNS:
        return f"{item.name}/{problem.columns[check - _FIRST_COLUMN]}"
    if check == _PIN:
        assert group.pin is not None
        return group.pin
    return {_RUNTIME: item.runtime, _DEVICE_CLASS: item.device_class}.get(check, item.name)
