"""The relaxation in whole shards: a bound for small scenarios, proved by CP-SAT in exact integers.

As ``relaxation``, but every shard is bought whole, every replica is in one shard, and no shard holds a model
twice. What is still dropped (spread over nodes and zones, tenants, pins, groups, the devices inside a shard)
only makes it cheaper, so what CP-SAT proves of it bounds every plan. One function states one rule.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ortools.sat.python import cp_model

from planner.solve.exact.engine import make_solver
from planner.solve.options import Effort
from planner.solve.problem import Problem
from planner.solve.relaxation import SCALE, FluidType, Relaxation

MOST_CHOICES = 4_000
"""Pairs of a replica and a shard up to which a proof is tried; CP-SAT seldom closes larger ones in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Replica:
    """One replica of a model, and the model's kind."""

    model: int
    kind: int
    priority: int


class _Slot:
    """A shard that may be opened, and who is in it in which way."""

    def __init__(self, model: cp_model.CpModel, item: FluidType, replicas: Sequence[_Replica]) -> None:
        self.item = item
        self.opened = model.new_bool_var("")
        self.inside = {
            (index, way): model.new_bool_var("")
            for index, replica in enumerate(replicas)
            for way in range(len(item.allowed))
            if item.allowed[way, replica.kind]
        }


def whole_bound(
    problem: Problem, relaxation: Relaxation, *, placed: Sequence[int], cost: int, effort: Effort
) -> int | None:
    """Return a lower bound in micro-USD of placing so many replicas; None if that is too large a question.

    Parameters
    ----------
    problem, relaxation
        What is bounded.
    placed
        Replicas of each priority, the highest first.
    cost
        A cost that is known to suffice.
    effort
        What may be spent.
    """
    replicas = _replicas(problem)
    counts = [_most_shards(item, cost, len(replicas)) for item in relaxation.types]
    if sum(counts) * len(replicas) > MOST_CHOICES:
        return None
    model = cp_model.CpModel()
    slots = [
        [_Slot(model, item, replicas) for _ in range(count)]
        for item, count in zip(relaxation.types, counts, strict=True)
    ]
    everything = [slot for of_type in slots for slot in of_type]
    for slot in everything:
        _fits(model, slot, replicas)
        _is_open(model, slot)
        _holds_a_model_once(model, slot, replicas)
    _places_once(model, everything)
    _places_as_much(model, everything, replicas, _per_priority(problem, placed))
    _opens_in_order(model, slots)
    prices = sum(slot.item.price * slot.opened for slot in everything)
    model.add(prices <= cost)
    model.minimize(prices)
    return _proved(model, effort)


def _replicas(problem: Problem) -> list[_Replica]:
    return [
        _Replica(
            model=index,
            kind=int(problem.kind[index]),
            priority=problem.scenario.models[index].priority,
        )
        for unit in problem.units
        for index in unit.members
    ]


def _most_shards(item: FluidType, cost: int, replicas: int) -> int:
    """Return how many shards of a type a plan of no more than a cost may need."""
    limits = [replicas + item.least]
    limits += [] if item.most is None else [item.most]
    limits += [cost // item.price] if item.price else []
    return min(limits)


def _fits(model: cp_model.CpModel, slot: _Slot, replicas: Sequence[_Replica]) -> None:
    """In every dimension what is inside and what is paid once fit; a closed shard holds nothing."""
    item = slot.item
    paid = [model.new_bool_var("") for _ in item.overheads]
    for overhead, pays in zip(item.overheads, paid, strict=True):
        for (index, way), inside in slot.inside.items():
            if overhead.members[way, replicas[index].kind]:
                model.add_implication(inside, pays)
    for dimension in range(item.demand.shape[2]):
        terms = [
            int(item.demand[way, replicas[index].kind, dimension]) * inside
            for (index, way), inside in slot.inside.items()
        ]
        once = [int(o.cost[dimension]) * pays for o, pays in zip(item.overheads, paid, strict=True)]
        model.add(sum(terms) + sum(once) <= SCALE * slot.opened)


def _is_open(model: cp_model.CpModel, slot: _Slot) -> None:
    """A replica is in an open shard only, also where it takes nothing that is counted."""
    for inside in slot.inside.values():
        model.add_implication(inside, slot.opened)


def _holds_a_model_once(model: cp_model.CpModel, slot: _Slot, replicas: Sequence[_Replica]) -> None:
    """A server holds a name once."""
    by_model: dict[int, list[cp_model.IntVar]] = defaultdict(list)
    for (index, _), inside in slot.inside.items():
        by_model[replicas[index].model].append(inside)
    for choices in by_model.values():
        if len(choices) > 1:
            model.add_at_most_one(choices)


def _per_priority(problem: Problem, placed: Sequence[int]) -> dict[int, int]:
    levels = sorted({model.priority for model in problem.scenario.models}, reverse=True)
    return dict(zip(levels, placed, strict=True))


def _places_once(model: cp_model.CpModel, slots: Sequence[_Slot]) -> None:
    """Every replica is placed at most once, in one way."""
    where: dict[int, list[cp_model.IntVar]] = defaultdict(list)
    for slot in slots:
        for (index, _), inside in slot.inside.items():
            where[index].append(inside)
    for choices in where.values():
        model.add_at_most_one(choices)


def _places_as_much(
    model: cp_model.CpModel,
    slots: Sequence[_Slot],
    replicas: Sequence[_Replica],
    placed: Mapping[int, int],
) -> None:
    """Of each priority as many replicas are placed as asked."""
    for priority, count in placed.items():
        mine = [
            inside
            for slot in slots
            for (index, _), inside in slot.inside.items()
            if replicas[index].priority == priority
        ]
        model.add(sum(mine) >= count)


def _opens_in_order(model: cp_model.CpModel, slots: Sequence[Sequence[_Slot]]) -> None:
    """Shards of a type are alike, so they are opened in order; the required ones are open."""
    for of_type in slots:
        for number, slot in enumerate(of_type):
            if number < slot.item.least:
                model.add(slot.opened == 1)
            if number:
                model.add_implication(slot.opened, of_type[number - 1].opened)


def _proved(model: cp_model.CpModel, effort: Effort) -> int | None:
    solver = make_solver(effort)
    status = solver.solve(model)
    known = status in (cp_model.OPTIMAL, cp_model.FEASIBLE, cp_model.UNKNOWN)
    if not known or not np.isfinite(solver.best_objective_bound):
        return None
    return max(0, round(solver.best_objective_bound))  # a whole number of micro-USD, reported as a float
