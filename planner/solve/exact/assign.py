"""The whole assignment problem of a small scenario, searched by CP-SAT from the packing that is known.

First as many replicas as possible, priority by priority, then the least cost. What CP-SAT calls optimal is
proved under all rules of the specification, so a cost that is proved is its own bound, and a count that is
proved is the most that any plan places. One worker, a fixed seed and deterministic time give the same answer
everywhere.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ortools.sat.python import cp_model

from planner.solve.exact.draft import Draft, Open
from planner.solve.exact.engine import make_solver
from planner.solve.exact.rules import add_rules
from planner.solve.exact.slots import make_slots, opening_of
from planner.solve.heuristics import placed_by_priority
from planner.solve.options import Effort
from planner.solve.packing import Packing, Resident

MOST_SEATS, MOST_PLACES = 2_500, 40_000
"""Pairs of a unit and a candidate shard, and of a unit and a device of one, up to which the search is worth
its time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned:
    """What CP-SAT found.

    Parameters
    ----------
    packing
        The best packing it knows.
    most_placed
        Whether no plan places more, priority by priority.
    bound_microusd_per_h
        No plan that places as much as the packing costs less; None is no bound.
    """

    packing: Packing
    most_placed: bool
    bound_microusd_per_h: int | None


def assign(packing: Packing, *, effort: Effort) -> Assigned | None:
    """Return what is at least as good as a packing of the same problem; None if that is too large a question.

    None also where the time is up before the question is asked, and where the packing's own rule of
    ``models.json``, which is narrower than the specification's, rejects what was found.

    Parameters
    ----------
    packing
        What is known; it is the hint and is not changed.
    effort
        What may be spent.
    """
    began_s = time.monotonic()
    known = _numbered_from_zero(packing)
    complete = None not in packing.row_of_unit
    slots = make_slots(known, most_cost=packing.cost if complete else None)
    units, devices = len(packing.problem.units), packing.problem.device_counts
    places = sum(int(devices[slot.shard_type]) for of_one in slots for slot in of_one)
    if sum(map(len, slots)) * units > MOST_SEATS or places * units > MOST_PLACES:
        return None
    draft = Draft(known, slots)
    add_rules(draft)
    stages = _Stages(draft, effort, began_s)
    return None if stages.is_over() else stages.run()


def _numbered_from_zero(packing: Packing) -> Packing:
    """Return a copy in which the replicas that are placed are the first ones of their model."""
    problem, copy = packing.problem, Packing(packing.problem)
    rows = {row: copy.open(packing.opened[row], name=packing.names[row]) for row in packing.open_rows()}
    by_group: dict[tuple[int, ...], list[int]] = {}
    for unit, one in enumerate(problem.units):
        by_group.setdefault(() if one.pin else one.members, []).append(unit)
    for group, units in by_group.items():
        placed = [unit for unit in units if packing.row_of_unit[unit] is not None]
        for new, old in zip(units if group else placed, placed, strict=False):
            row = packing.row_of_unit[old]
            assert row is not None
            mine = [item for item in packing.residents[row] if item.unit == old]
            moved = [
                Resident(unit=new, model=item.model, rank=item.rank, devices=item.devices) for item in mine
            ]
            restored = copy.restore(new, rows[row], moved)
            assert restored
    return copy


class _Stages:
    """The objectives one after the other; what each reaches is asked for in the next."""

    def __init__(self, draft: Draft, effort: Effort, began_s: float) -> None:
        self.draft, self.problem = draft, draft.problem
        self.left = effort.deterministic_time
        self.end_s = None if effort.limit_s is None else began_s + effort.limit_s
        self.solver = make_solver(effort)
        self.best: list[int] = draft.hint
        self.most_placed = True

    def is_over(self) -> bool:
        """Return whether the time is up: what it takes to ask counts, too."""
        return self.end_s is not None and time.monotonic() >= self.end_s

    def run(self) -> Assigned | None:
        for priority, known in self._levels():
            self._place(priority, known)
        bound = self._cheapen()
        found = _packing_of(self.draft, self.best)
        if found is None or _rank(found) > _rank(self.draft.packing):
            return None  # an engine that loses the solution it was given proves nothing
        return Assigned(packing=found, most_placed=self.most_placed, bound_microusd_per_h=bound)

    def _levels(self) -> list[tuple[int, int]]:
        """Return the priorities, the highest first, and how many replicas of each the packing places."""
        levels = sorted({model.priority for model in self.problem.scenario.models}, reverse=True)
        return list(zip(levels, placed_by_priority(self.draft.packing), strict=True))

    def _place(self, priority: int, known: int) -> None:
        """Place as much of a priority as possible, and ask for it from now on."""
        models = self.problem.scenario.models
        terms = {
            unit: sum(models[model].priority == priority for model in one.members)
            for unit, one in enumerate(self.problem.units)
        }
        count = sum(amount * self.draft.placed(unit) for unit, amount in terms.items() if amount)
        possible = sum(amount for unit, amount in terms.items() if self.draft.by_unit[unit])
        if not possible:
            return
        if self.best is self.draft.hint and known == possible:
            self.draft.model.add(count >= possible)
            return
        self.draft.model.maximize(count)
        status = self._solve(self.left / 2)
        self.most_placed &= status == cp_model.OPTIMAL
        found = sum(
            amount * self.best[seat.inside.index]
            for unit, amount in terms.items()
            for seat in self.draft.by_unit[unit]
        )
        self.draft.model.clear_objective()  # type: ignore[no-untyped-call]
        self.draft.model.add(count >= found)

    def _cheapen(self) -> int | None:
        """Find the least cost of what is placed; returns its bound."""
        types = self.problem.scenario.shard_types
        self.draft.model.minimize(
            sum(types[item.slot.shard_type].price_microusd_per_h * item.opened for item in self.draft.opens)
        )
        status = self._solve(self.left)
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return None
        bound = self.solver.best_objective_bound
        return max(0, round(bound)) if np.isfinite(bound) else None  # whole micro-USD, reported as a float

    def _solve(self, work: float) -> cp_model.CpSolverStatus:
        """Solve from the best solution known within a deterministic time, and remember a better one."""
        if work <= 0 or self.is_over():
            return cp_model.UNKNOWN
        model = self.draft.model
        model.clear_hints()  # type: ignore[no-untyped-call]
        for index, value in enumerate(self.best):
            model.add_hint(model.get_int_var_from_proto_index(index), value)
        self.solver.parameters.max_deterministic_time = work
        if self.end_s is not None:
            self.solver.parameters.max_time_in_seconds = max(0.001, self.end_s - time.monotonic())
        status = self.solver.solve(model)
        self.left -= self.solver.response_proto.deterministic_time
        if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            self.best = list(self.solver.response_proto.solution)
        return status


def _rank(packing: Packing) -> tuple[tuple[int, ...], int]:
    """Return what is smaller for the better packing."""
    return tuple(-count for count in placed_by_priority(packing)), packing.cost


def _packing_of(draft: Draft, values: Sequence[int]) -> Packing | None:
    """Return a solution as a packing; None if the packing's own, narrower rules reject it."""
    packing = Packing(draft.problem)
    for item in draft.opens:
        if not values[item.opened.index]:
            continue
        chosen = sorted(place for place, literal in item.device_at.items() if values[literal.index])
        inside = [seat for seat in item.seats if values[seat.inside.index]]
        name = next((pin for seat in inside if (pin := draft.problem.units[seat.unit].pin)), None)
        opening = opening_of(packing.openings, item.slot, tuple(position for _, position in chosen))
        if not _seat_all(packing, packing.open(opening, name=name), item, values):
            return None
    return packing


def _seat_all(packing: Packing, row: int, item: Open, values: Sequence[int]) -> bool:
    for seat in item.seats:
        if values[seat.inside.index]:
            residents = []
            for member in seat.members:
                on = [place for place, literal in member.on.items() if values[literal.index]]
                devices = tuple(sorted(device for _, device in on))
                rank = on[0][0]
                residents.append(Resident(unit=seat.unit, model=member.model, rank=rank, devices=devices))
            if not packing.restore(seat.unit, row, residents):
                return False
    return True
