"""Which numbers of shards to look at next: tiny integer programs over the types, solved by CP-SAT."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from ortools.sat.python import cp_model

from planner.solve.exact.engine import make_solver
from planner.solve.options import Effort

Mix = tuple[int, ...]
"""Shards of each type."""

ROOM_SCALE = 1_000_000
"""Room is compared in millionths of what is asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What every mix that holds everything meets: ``sum(worth * shards) >= asked``, exact integers."""

    worth: tuple[int, ...]
    asked: int

    def holds(self, mix: Sequence[int]) -> bool:
        """Return whether a mix meets it."""
        return sum(worth * count for worth, count in zip(self.worth, mix, strict=True)) >= self.asked


class MixProgram:
    """All mixes that meet some conditions.

    Parameters
    ----------
    prices
        Of each type, in micro-USD an hour.
    least, most
        Shards of each type.
    effort
        What one question may cost, but for the clock: ``limit_s`` of each says that.
    """

    def __init__(
        self, prices: Sequence[int], least: Sequence[int], most: Sequence[int], effort: Effort
    ) -> None:
        self.prices, self.effort = prices, effort
        self.spent = 0.0
        self.limits = list(zip(least, most, strict=True))
        self.conditions: list[Condition] = []
        self._without: list[Mix] = []

    def add(self, condition: Condition) -> None:
        """Ask for one more condition from now on."""
        self.conditions.append(condition)

    def leave_out(self, mix: Mix) -> None:
        """Look at a mix no more, nor at mixes that have no more shards of any type, for ``roomiest``."""
        self._without.append(mix)

    def forget_left_out(self) -> None:
        """Look at all mixes again."""
        self._without = []

    def least_cost(self, limit_s: float | None = None) -> tuple[int, Mix | None]:
        """Return what every mix costs at least that meets all conditions, and the mix if it costs no more."""
        model, counts = self._model()
        cost = sum(price * count for price, count in zip(self.prices, counts, strict=True))
        model.minimize(cost)
        solver, status = self._solve(model, limit_s)
        bound = max(0, round(solver.best_objective_bound)) if status in _KNOWN else 0
        if status != cp_model.OPTIMAL:
            return bound, None
        return bound, tuple(solver.value(count) for count in counts)

    def roomiest(self, most_cost: int, limit_s: float | None = None) -> Mix | None:
        """Return the mix of at most some cost that is farthest from breaking any condition.

        None if none is known that has not been left out.
        """
        model, counts = self._model()
        model.add(sum(p * count for p, count in zip(self.prices, counts, strict=True)) <= most_cost)
        for mix in self._without:
            model.add_bool_or(
                *(self._more(model, count, known) for count, known in zip(counts, mix, strict=True))
            )
        room = model.new_int_var(0, 8 * ROOM_SCALE, "")
        for item in self.conditions:
            scaled = [worth * ROOM_SCALE // max(1, item.asked) for worth in item.worth]
            model.add(sum(w * count for w, count in zip(scaled, counts, strict=True)) >= room)
        model.maximize(room)
        solver, status = self._solve(model, limit_s)
        if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
            return None
        return tuple(solver.value(count) for count in counts)

    def _more(self, model: cp_model.CpModel, count: cp_model.IntVar, known: int) -> cp_model.IntVar:
        literal = model.new_bool_var("")
        model.add(count >= known + 1).only_enforce_if(literal)
        return literal

    def _model(self) -> tuple[cp_model.CpModel, list[cp_model.IntVar]]:
        model = cp_model.CpModel()
        counts = [model.new_int_var(low, high, "") for low, high in self.limits]
        for item in self.conditions:
            model.add(sum(w * count for w, count in zip(item.worth, counts, strict=True)) >= item.asked)
        return model, counts

    def _solve(
        self, model: cp_model.CpModel, limit_s: float | None
    ) -> tuple[cp_model.CpSolver, cp_model.CpSolverStatus]:
        solver = make_solver(dataclasses.replace(self.effort, limit_s=limit_s))
        status = solver.solve(model)
        self.spent += solver.response_proto.deterministic_time
        return solver, status


_KNOWN = (cp_model.OPTIMAL, cp_model.FEASIBLE, cp_model.UNKNOWN)
