"""Why something was not placed: the rule that stands against it and the two numbers that do not fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from planner.domain.fleet import ShardType
from planner.domain.plan import Refusal
from planner.domain.references import in_group
from planner.domain.rules import Rule
from planner.solve.openings import Opening
from planner.solve.packing import Packing
from planner.solve.problem import CONFIG, CPU, DISK, FIXED_COLUMNS, MEMORY, MODELS, Problem, selects

_COLUMN_RULES = {
    CPU: Rule.CPU,
    MEMORY: Rule.HOST_MEMORY,
    DISK: Rule.DISK,
    MODELS: Rule.MAX_MODELS,
    CONFIG: Rule.CONFIG_MAP,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """A rule that stands against a model, its subject and its numbers."""

    rule: Rule
    subject: str
    need: int | None = None
    have: int | None = None
    proven: bool = False


_UNTRIED = Reason(rule=Rule.ACCOUNTED, subject="time limit")
"""No rule is known to stand against it: a shard could be opened for it, and the search had no time to."""


def refusals(packing: Packing, *, stopped: bool = False) -> tuple[Refusal, ...]:
    """Return why every unit that is not placed was refused, one entry a model and reason, sorted.

    Parameters
    ----------
    packing
        What the search has come to.
    stopped
        Whether the clock ended the search: what is not placed may then not have been tried everywhere.
    """
    problem = packing.problem
    counted: Counter[tuple[int, Reason]] = Counter()
    for unit, row in enumerate(packing.row_of_unit):
        if row is None:
            reason = unit_reason(packing, unit, stopped=stopped)
            counted.update((model, reason) for model in problem.units[unit].members)
    for model, replicas in problem.impossible:
        counted[model, _fewer_copies(problem, model)] += replicas
    found = [
        Refusal(
            model=problem.scenario.models[model].name,
            replicas=count,
            rule=reason.rule,
            subject=reason.subject,
            need=reason.need,
            have=reason.have,
            proven=reason.proven,
        )
        for (model, reason), count in counted.items()
    ]
    return tuple(sorted(found, key=lambda item: (item.model, item.rule.value, item.subject)))


def _fewer_copies(problem: Problem, model: int) -> Reason:
    key = problem.scenario.models[model].together
    assert key is not None
    return Reason(rule=Rule.TOGETHER, subject=key, proven=True)


def unit_reason(packing: Packing, unit: int, *, stopped: bool) -> Reason:
    """Return the best reason: what proves it impossible anywhere, else what is in short supply."""
    alone = nearest_miss(packing.problem, unit)
    return alone if alone is not None else _shortage(packing, unit, stopped=stopped)


# ------------------------------------------------------------------------------------- impossible, even alone


def nearest_miss(problem: Problem, unit: int) -> Reason | None:
    """Return the rule that keeps a unit off every shard type even alone; None if some type takes it.

    Of all types the one that misses least is told.
    """
    misses = [_miss(problem, unit, index) for index in range(len(problem.scenario.shard_types))]
    if not misses:
        return Reason(rule=Rule.DEVICE_CLASS, subject="no shard type", proven=True)
    if any(miss is None for miss in misses):
        return None
    ranked = [(_excess(miss), index) for index, miss in enumerate(misses) if miss is not None]
    return misses[min(ranked)[1]]


def _excess(miss: Reason) -> tuple[int, float]:
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
    return min(ways, key=_excess) if ways else _not_allowed(problem, model, shard_type)


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
        (_COLUMN_RULES.get(column, Rule.EXTRA), int(host[column]), int(room[column]))
        for column in range(len(problem.columns))
    ]
    for position, (rule, need, have) in enumerate(checks):
        if need > have:
            extra = position - (len(checks) - len(problem.columns)) - FIXED_COLUMNS
            subject = (
                item.name if rule != Rule.EXTRA else f"{item.name}/{problem.columns[FIXED_COLUMNS + extra]}"
            )
            yield Reason(rule=rule, subject=subject, need=need, have=have, proven=True)


# ------------------------------------------------------------------------------------------ no room was found


def _shortage(packing: Packing, unit: int, *, stopped: bool) -> Reason:
    """Return what keeps the search from opening one more shard for a unit.

    Told of the type that most such shards are of, because that is where a reader would look for room.
    """
    problem, openings = packing.problem, packing.openings
    one, model = problem.units[unit], problem.scenario.models[problem.units[unit].members[0]]
    able = [
        index for index in range(len(problem.scenario.shard_types)) if _miss(problem, unit, index) is None
    ]
    able.sort(key=lambda index: (-openings.counts[index], int(problem.prices[index]), index))
    free = next(_free_openings(packing, unit, able), None)
    small = _too_small(packing, unit, able)
    if stopped and free is not None and small is None:
        return _UNTRIED
    if one.pin is not None:
        return Reason(rule=Rule.PIN, subject=str(one.pin))
    limits = [openings.limit(shard_type) or openings.node_limit(shard_type) for shard_type in able]
    if (
        model.together is not None and None in limits
    ):  # a shard could be opened, and each would fit on it alone
        return Reason(rule=Rule.TOGETHER, subject=model.together)
    if small is not None:
        return small
    for limit in limits:
        if limit is not None:
            return Reason(rule=limit.rule, subject=limit.subject, need=limit.need, have=limit.have)
    domains = len(set(packing.domains(unit)))
    return Reason(rule=Rule.SPREAD, subject=problem.scenario.policy.spread, need=model.replicas, have=domains)


def _free_openings(packing: Packing, unit: int, types: list[int]) -> Iterator[Opening]:
    """Yield the shards that could be opened for a unit away from the other replicas of its models."""
    pin = packing.problem.units[unit].pin
    if pin is not None and any(packing.names[row] == pin for row in packing.open_rows()):
        return  # its shard is open already, and there is no other
    avoid = set(packing.domains(unit))
    for shard_type in types:
        yield from packing.openings.candidates(shard_type, avoid)


def _too_small(packing: Packing, unit: int, types: list[int]) -> Reason | None:
    """Return what a unit lacks on every free device, told of the one that lacks least; None if some takes it.

    A type takes what fits on its best device; what is free may have less room, as other processes hold some.
    """
    problem, misses = packing.problem, []
    for opening in _free_openings(packing, unit, types):
        item = problem.scenario.shard_types[opening.shard_type]
        have = max(room.capacity_bytes - room.fixed_bytes for room in opening.rooms)
        need = max(_start_bytes(problem, model, opening.shard_type) for model in problem.units[unit].members)
        if need <= have:
            return None
        misses.append(Reason(rule=Rule.STARTABLE, subject=item.name, need=need, have=have))
    return min(misses, key=_excess, default=None)


def _start_bytes(problem: Problem, model: int, shard_type: int) -> int:
    """Return the device memory that a model alone needs while it loads, at the least of its options."""
    kind, base = int(problem.kind[model]), int(problem.device_base[int(problem.backend[model])])
    needs = [
        base + int(mode.steady[kind, shard_type] + mode.surplus[kind, shard_type])
        if mode.on_device[kind, shard_type]
        else 0
        for mode in problem.modes
        if mode.allowed[kind, shard_type]
    ]
    return min(needs, default=0)
