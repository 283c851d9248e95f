"""How much room so many shards of each type leave, as far as the fluid relaxation knows.

The program of ``fluid`` with the numbers of shards given: by how much all demand may grow, all of it alike,
until the shards are full. Below one they are too few. The dual prices say which shards that hangs on, and
``mixes.cuts`` makes an exact condition of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ortools.linear_solver import pywraplp

from planner.solve.bounds import DualPrices
from planner.solve.exact.fluid import Program
from planner.solve.packing import Floats
from planner.solve.problem import Ints
from planner.solve.relaxation import Relaxation

MOST_GROWTH = 8.0
"""Shards that leave more room than that are not told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slack:
    """What a mix of shards leaves.

    Parameters
    ----------
    growth
        Times the demand that fits.
    prices
        What the dimensions of a shard of each type are worth, in growth.
    """

    growth: float
    prices: DualPrices


class SlackProgram:
    """The program, solved for one mix after the other from the last basis.

    Parameters
    ----------
    relaxation, clusters, weights
        As of ``solve_fluid``.
    """

    def __init__(self, relaxation: Relaxation, clusters: Sequence[Ints], weights: Floats) -> None:
        self._program = Program(relaxation, clusters, weights, refusable=False)
        solver, self._counts = self._program.solver, self._program.counts
        self._program.objective.Clear()
        growth = solver.NumVar(0.0, MOST_GROWTH, "")
        self._program.objective.SetCoefficient(growth, -1.0)
        self._program.objective.SetMinimization()
        for cover in self._program.covers:
            cover.SetLb(0.0)
            cover.SetCoefficient(growth, -1.0)
        self._growth = growth
        solver.SetSolverSpecificParametersAsString("use_preprocessing: false use_dual_simplex: true")

    def solve(self, mix: Sequence[int], limit_s: float | None = None) -> Slack | None:
        """Return what so many shards of each type leave; None if the engine does not say, or not in time."""
        for count, wanted in zip(self._counts, mix, strict=True):
            count.SetBounds(float(wanted), float(wanted))
        solver = self._program.solver
        if limit_s is not None:
            solver.SetTimeLimit(max(1, round(1000 * limit_s)))
        if solver.Solve() != pywraplp.Solver.OPTIMAL:
            return None
        return Slack(growth=self._growth.solution_value(), prices=self._program.prices(1.0))
