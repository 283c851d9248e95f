"""Conditions that every mix of shards meets which holds everything, and the bound that they give.

Benders' decomposition (1962) of the relaxation in whole shards: the numbers of shards are the first stage.
For any prices of the dimensions of a shard, the shards of a mix are worth at least what all replicas are
worth at their cheapest places; that is one linear condition in whole numbers, exact whatever the prices.
Prices that refute a mix come from ``exact.slack``; the cheapest mix that meets all conditions is a bound.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from planner.solve.bounds import DualPrices, denominator, values_of_kinds
from planner.solve.clusters import make_clusters
from planner.solve.exact.mix import Condition, Mix, MixProgram
from planner.solve.exact.slack import Slack, SlackProgram
from planner.solve.options import Effort
from planner.solve.packing import Floats
from planner.solve.problem import Ints, Problem
from planner.solve.relaxation import Relaxation, backend_of_kinds
from planner.solve.watch import Watch

CLUSTERS = 200
"""Clusters of kinds in the linear program: a tenth of a second, and hundredths from then on."""

_DEAREST = 1e12

MOST_CUTS, MOST_LOOKS = 40, 8
"""Mixes that are refuted at most for a bound, and looked at before one is taken for the roomiest."""

MOST_TIME = 3.0
"""CP-SAT's deterministic time for all questions for mixes: with a handful of types each takes thousandths;
with dozens that cost nearly the same it would take as long as it may."""


def condition_of(relaxation: Relaxation, prices: DualPrices, unit: float, replicas: Ints) -> Condition:
    """Return the condition that prices of dimensions give, exact whatever they are.

    Parameters
    ----------
    relaxation
        The relaxation.
    prices
        Of all of a dimension of one shard.
    unit
        What prices are multiplied with, to make integers of them.
    replicas
        ``(kinds,)``.
    """
    dimensions = np.nan_to_num(prices.dimensions * unit, nan=0.0, posinf=0.0, neginf=0.0).clip(0, _DEAREST)
    worth = [max(1, math.ceil(float(row.sum()))) for row in dimensions]
    priced = Relaxation(
        types=tuple(
            dataclasses.replace(item, price=price, least=0, most=None)
            for item, price in zip(relaxation.types, worth, strict=True)
        )
    )
    scaled = DualPrices(dimensions=dimensions, links=tuple(row * unit for row in prices.links))
    values, _ = values_of_kinds(priced, scaled)
    total = sum(value * int(count) for value, count in zip(values, replicas, strict=True) if count)
    return Condition(worth=tuple(worth), asked=total // denominator())


class Mixes:
    """The mixes of a problem, and what is known of them.

    Parameters
    ----------
    problem, relaxation
        What has to be placed, all of it.
    most_cost
        What a plan costs that is known, in micro-USD an hour.
    effort
        What one question may cost.
    watch
        When to stop.
    """

    def __init__(
        self, problem: Problem, relaxation: Relaxation, *, most_cost: int, effort: Effort, watch: Watch
    ) -> None:
        self.relaxation, self.most_cost, self.watch = relaxation, most_cost, watch
        kinds = len(problem.modes[0].allowed)
        self.replicas = np.bincount(problem.kind[problem.seat_model], minlength=kinds)
        weights: Floats = self.replicas.astype(np.float64)
        clusters = make_clusters(relaxation, weights, backend_of_kinds(problem), CLUSTERS)
        self._slack = SlackProgram(relaxation, clusters, weights)
        prices = [item.price for item in relaxation.types]
        least = [item.least for item in relaxation.types]
        most = [self._most(index, len(problem.seat_model)) for index in range(len(prices))]
        self.program = MixProgram(prices, least, most, effort)
        self._known: dict[Mix, Slack | None] = {}

    def _most(self, index: int, replicas: int) -> int:
        item = self.relaxation.types[index]
        limits = [replicas + item.least] if item.most is None else [item.most]
        limits += [self.most_cost // item.price] if item.price else []
        return max(item.least, min(limits))

    def add(self, prices: DualPrices, unit: float) -> Condition:
        """Ask for the condition of some prices."""
        condition = condition_of(self.relaxation, prices, unit, self.replicas)
        self.program.add(condition)
        return condition

    def is_over(self) -> bool:
        """Return whether there is no time, or no work, for another question."""
        return self.watch.is_over() or self.program.spent >= MOST_TIME

    def is_known(self, mix: Mix) -> bool:
        """Return whether a mix was looked at."""
        return mix in self._known

    def look(self, mix: Mix) -> Slack | None:
        """Return what a mix leaves; a condition is added that says how much that is."""
        if mix not in self._known:
            self._known[mix] = found = self._slack.solve(mix, self.watch.left_s())
            if found is not None:
                self.add(found.prices, float(self.most_cost))
        return self._known[mix]

    def bound(self) -> int:
        """Return a cost below which no mix holds everything, refuting the cheapest again and again."""
        cost, mix = self.program.least_cost(self.watch.left_s())
        for _ in range(MOST_CUTS):
            if mix is None or mix in self._known or self.is_over():
                break
            found = self.look(mix)
            if found is None or self.program.conditions[-1].holds(mix) or self.is_over():
                break
            cost, mix = self.program.least_cost(self.watch.left_s())
        return cost

    def leave_out(self, mix: Mix) -> None:
        """Look no more at a mix, nor at those that have no more shards of any type."""
        self.program.leave_out(mix)

    def forget_tried(self) -> None:
        """Look at all mixes again."""
        self.program.forget_left_out()

    def roomiest(self, most_cost: int) -> Mix | None:
        """Return the mix of at most some cost that leaves most, about."""
        mix = None
        for _ in range(MOST_LOOKS):
            if self.is_over():
                break
            mix = self.program.roomiest(most_cost, self.watch.left_s())
            if mix is None or mix in self._known:
                return mix
            self.look(mix)
        return mix
