"""The restricted master program of column generation, solved by GLOP from one round to the next.

It covers every class of units by patterns at least cost. Covering, not partitioning: a pattern whose unit is
covered already is as good with that unit left out. Its duals are a proposal that ``patterns.bound`` makes
exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ortools.linear_solver import pywraplp

from planner.solve.packing import Floats
from planner.solve.problem import Ints

REFUSAL_PRICE = 2.0
"""What leaving one unit uncovered costs, in shards of the dearest type; no bound rests on it."""

_PARAMETERS = "use_preprocessing: false feasibility_rule: DEVEX optimization_rule: DEVEX use_dual_simplex: "
"""Presolve would throw the last basis away, from which a round needs a few pivots only. Steepest edge norms
cost more to begin with than such a round's pivots. After new columns the last basis still covers everything;
after a new demand it does not, but its duals still hold: the dual simplex then needs a third of the pivots.
"""

_LOAD, _PIVOT_ROW = 45, 2
"""What handing over an entry of a column counts for, and an entry of the basis in a pivot; an entry of the
pivot's row counts for one, 10 ns. Fitted to 250 rounds of 120 to 500 units, within a fifth in six of seven.
"""


_Asked = tuple[tuple[int, ...], tuple[int, ...], tuple[int | None, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """A solution of the master.

    Parameters
    ----------
    cost
        In shards of the dearest type.
    value
        ``(columns,)``: how often each column is used.
    worth
        ``(classes,)``: dual price of one unit.
    rent
        ``(types,)``: what a shard costs beside its price, below 0 where more are asked for than needed.
    """

    cost: float
    value: Floats
    worth: Floats
    rent: Floats


class Master:
    """The program, its rows fixed and its columns growing.

    ``work`` counts what a round hands over and what its pivots touch, some 100 million a second.

    Parameters
    ----------
    prices
        ``(types,)``, in shards of the dearest type.
    demand
        ``(classes,)``.
    least, most
        Shards of each type; ``most`` None is unlimited.
    """

    def __init__(
        self, prices: Sequence[float], demand: Ints, least: Sequence[int], most: Sequence[int | None]
    ) -> None:
        self._solver = pywraplp.Solver.CreateSolver("GLOP")
        self._prices, infinity = prices, self._solver.infinity()
        self._infinity = infinity
        self._objective = self._solver.Objective()
        self._objective.SetMinimization()
        self._covers = [self._solver.Constraint(float(count), infinity) for count in demand]
        self._limits = [self._solver.Constraint(-infinity, infinity) for _ in prices]
        self._columns: list[pywraplp.Variable] = []
        self._entries = 0
        self._asked: _Asked | None = None
        self._asked_anew = True
        self.work = 0
        for cover in self._covers:
            refused = self._variable(REFUSAL_PRICE)
            cover.SetCoefficient(refused, 1.0)
        self.demand(demand, least, most)

    def _variable(self, price: float) -> pywraplp.Variable:
        variable = self._solver.NumVar(0.0, self._infinity, "")
        self._objective.SetCoefficient(variable, price)
        return variable

    def demand(self, demand: Ints, least: Sequence[int], most: Sequence[int | None]) -> None:
        """Ask for so many units of each class, and so many shards of each type."""
        asked = (tuple(map(int, demand)), tuple(least), tuple(most))
        if asked == self._asked:
            return
        self._asked, self._asked_anew = asked, True
        for cover, count in zip(self._covers, demand, strict=True):
            cover.SetLb(float(count))
        for limit, low, high in zip(self._limits, least, most, strict=True):
            limit.SetBounds(
                float(low) if low else -self._infinity, self._infinity if high is None else float(high)
            )

    def add(self, shard_type: int, pattern: Sequence[tuple[int, int]]) -> None:
        """Add a column: classes and how many units of each."""
        column = self._variable(self._prices[shard_type])
        for of_class, count in pattern:
            self._covers[of_class].SetCoefficient(column, float(count))
        self._limits[shard_type].SetCoefficient(column, 1.0)
        self._columns.append(column)
        self._entries += len(pattern)

    def solve(self) -> Shares | None:
        """Return an optimal solution; None if the engine finds none."""
        algorithm = "true" if self._asked_anew else "false"
        self._solver.SetSolverSpecificParametersAsString(_PARAMETERS + algorithm)
        self._asked_anew = False
        status = self._solver.Solve()
        self.work += self._work(self._solver.iterations())
        if status != pywraplp.Solver.OPTIMAL:
            return None
        return Shares(
            cost=self._objective.Value(),
            value=np.array([column.solution_value() for column in self._columns]),
            worth=np.array([cover.dual_value() for cover in self._covers]),
            rent=-np.array([limit.dual_value() for limit in self._limits]),
        )

    def _work(self, pivots: int) -> int:
        rows, columns = len(self._covers), len(self._columns)
        in_basis = rows * self._entries // max(1, columns)
        return pivots * (rows + columns + _PIVOT_ROW * in_basis) + _LOAD * self._entries
