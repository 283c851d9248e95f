"""The fluid relaxation as a linear program, solved by GLOP in floating point.

Its dual prices are a proposal that ``bounds`` makes exact; its primal solution says which types to buy and
what to put on them. Nothing of it is trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ortools.linear_solver import pywraplp

from planner.solve.bounds import DEAREST, DualPrices
from planner.solve.packing import Floats
from planner.solve.problem import Ints
from planner.solve.relaxation import OWN, SCALE, WHOLE, FluidType, Overhead, Relaxation

REFUSAL_PRICE = 2.0
"""Price of a replica that is not placed, in shards of the dearest type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fluid:
    """A solution of the relaxation.

    Parameters
    ----------
    prices
        Dual prices.
    shards
        ``(types,)``: shards opened, in fractions.
    share
        ``(types, ways, clusters)``: which part of each cluster is on which type, and in which way.
    """

    prices: DualPrices
    shards: Floats
    share: Floats


class Program:
    """The program under construction; costs are in units of the highest price.

    Parameters
    ----------
    relaxation, clusters, weights
        As of ``solve_fluid``.
    refusable
        Whether replicas may be refused, at a price; else they are all placed.
    """

    def __init__(
        self,
        relaxation: Relaxation,
        clusters: Sequence[Ints],
        weights: Floats,
        *,
        refusable: bool = True,
    ) -> None:
        self.solver = pywraplp.Solver.CreateSolver("GLOP")
        self.relaxation, self.clusters, self.weights = relaxation, clusters, weights
        self.infinity = self.solver.infinity()
        self.unit = max((item.price for item in relaxation.types), default=0) or 1
        self.objective = self.solver.Objective()
        self.objective.SetMinimization()
        self.covers = [self.solver.Constraint(1.0, self.infinity) for _ in clusters]
        for kinds, cover in zip(clusters if refusable else (), self.covers, strict=refusable):
            self._add_refusal(cover, float(weights[kinds].sum()))
        self.shares: list[list[tuple[int, int, pywraplp.Variable]]] = []
        self.counts: list[pywraplp.Variable] = []
        self.rows: list[list[pywraplp.Constraint]] = []
        self.links: list[list[list[pywraplp.Constraint]]] = []
        for item in relaxation.types:
            self._add_type(item)

    def _add_refusal(self, cover: pywraplp.Constraint, replicas: float) -> None:
        """Let a cluster be refused, at a price that only a fleet that is too small will pay."""
        refused = self.solver.NumVar(0.0, self.infinity, "")
        self.objective.SetCoefficient(refused, REFUSAL_PRICE * replicas)
        cover.SetCoefficient(refused, 1.0)

    def _add_type(self, item: FluidType) -> None:
        solver = self.solver
        dimensions = item.demand.shape[2]
        count = solver.NumVar(item.least, self.infinity if item.most is None else item.most, "")
        self.objective.SetCoefficient(count, item.price / self.unit)
        rows = [solver.Constraint(-self.infinity, 0.0) for _ in range(dimensions)]
        for row in rows:
            row.SetCoefficient(count, -1.0)
        links = [[solver.Constraint(-self.infinity, 0.0) for _ in range(dimensions)] for _ in item.overheads]
        for overhead, linked in zip(item.overheads, links, strict=True):
            sites = solver.NumVar(0.0, self.infinity, "")
            for dimension in range(dimensions):
                if overhead.cost[dimension]:
                    rows[dimension].SetCoefficient(sites, overhead.cost[dimension] / SCALE)
                if overhead.room[dimension]:
                    linked[dimension].SetCoefficient(sites, -overhead.room[dimension] / SCALE)
        self.counts.append(count)
        self.rows.append(rows)
        self.links.append(links)
        self.shares.append(self._add_shares(item, rows, links))

    def _add_shares(
        self,
        item: FluidType,
        rows: list[pywraplp.Constraint],
        links: list[list[pywraplp.Constraint]],
    ) -> list[tuple[int, int, pywraplp.Variable]]:
        found, order = [], np.concatenate(self.clusters) if self.clusters else np.zeros(0, dtype=np.int64)
        starts = np.cumsum([0, *map(len, self.clusters)])[:-1]
        for way in range(len(item.allowed)):
            demand = item.demand[way, order] * self.weights[order][:, None] / SCALE
            taken = np.add.reduceat(demand, starts) if len(starts) else demand
            paid = [
                np.add.reduceat(_paid(item, overhead, way, order, demand), starts)
                for overhead in item.overheads
            ]
            for cluster, kinds in enumerate(self.clusters):
                if not item.allowed[way, kinds[0]]:
                    continue
                share = self.solver.NumVar(0.0, self.infinity, "")
                self.covers[cluster].SetCoefficient(share, 1.0)
                _add_demand(share, taken[cluster], rows)
                for part, linked in zip(paid, links, strict=True):
                    _add_demand(share, part[cluster], linked)
                found.append((way, cluster, share))
        return found

    def solve(self, limit_s: float | None) -> Fluid | None:
        """Return an optimal solution; None if the engine finds none, or not in time."""
        if limit_s is not None:
            self.solver.SetTimeLimit(max(1, round(1000 * limit_s)))
        if self.solver.Solve() != pywraplp.Solver.OPTIMAL:
            return None
        ways = max((len(item.allowed) for item in self.relaxation.types), default=1)
        share = np.zeros((len(self.counts), ways, len(self.clusters)))
        for index, found in enumerate(self.shares):
            for way, cluster, variable in found:
                share[index, way, cluster] = variable.solution_value()
        return Fluid(
            prices=self.prices(self.unit),
            shards=np.array([count.solution_value() for count in self.counts]),
            share=share,
        )

    def prices(self, unit: float) -> DualPrices:
        """Return the dual prices of the last solution, times a unit."""
        links = tuple(
            _duals(of_type, item.demand.shape[2]) * unit
            for of_type, item in zip(self.links, self.relaxation.types, strict=True)
        )
        width = self.relaxation.types[0].demand.shape[2]
        return DualPrices(dimensions=_duals(self.rows, width) * unit, links=links)


def _add_demand(share: pywraplp.Variable, demand: Floats, rows: list[pywraplp.Constraint]) -> None:
    """Let a share of a cluster take its demand of each dimension."""
    for dimension in np.flatnonzero(demand).tolist():
        rows[dimension].SetCoefficient(share, float(demand[dimension]))


def _paid(item: FluidType, overhead: Overhead, way: int, kinds: Ints, demand: Floats) -> Floats:
    """Return what of the room of an overhead the demand of kinds takes: more where they leave less of it."""
    beside = np.repeat(overhead.site[None, :].astype(np.float64), len(kinds), axis=0)
    beside[:, list(OWN)] -= item.own[way, kinds]
    dearer = np.minimum(overhead.room / np.maximum(beside, 1.0), DEAREST)
    return np.asarray(demand * dearer * (overhead.brought[way, kinds] / WHOLE)[:, None])


def _duals(rows: list[list[pywraplp.Constraint]], width: int) -> Floats:
    """Return what the capacity in each row is worth; the engine's sign is that of a row that is at most."""
    return -np.array([[row.dual_value() for row in of_one] for of_one in rows]).reshape(-1, width)


def solve_fluid(
    relaxation: Relaxation, clusters: Sequence[Ints], weights: Floats, limit_s: float | None = None
) -> Fluid | None:
    """Return an optimal solution of the relaxation; None if the engine finds none.

    Parameters
    ----------
    relaxation
        What is relaxed.
    clusters
        Kinds that are treated as one, each fitting on the same types.
    weights
        ``(kinds,)``: replicas of each kind.
    limit_s
        Seconds after which the engine gives up; None is never.
    """
    return Program(relaxation, clusters, weights).solve(limit_s)
