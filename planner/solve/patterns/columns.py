"""Column generation: the master program and the pricing that feeds it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from planner.solve.bounds import round_up
from planner.solve.exact.master import Master, Shares
from planner.solve.packing import Floats
from planner.solve.patterns.bound import SCALE, configuration_bound
from planner.solve.patterns.knapsack import make_knapsack, shares_of
from planner.solve.patterns.pricing import Knapsack, search_each
from planner.solve.patterns.sites import Classes
from planner.solve.problem import Ints
from planner.solve.watch import Watch

Pattern = tuple[tuple[int, int], ...]
"""Classes and how many units of each, sorted."""

TOLERANCE = 32
"""A column has to be worth so much more than its price, of ``SCALE``: twice the rounding of 16 units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A pattern on a shard type."""

    shard_type: int
    pattern: Pattern


LP_UNIT, SEARCH_UNIT, ROUND_UNIT = 1e-8, 1.4e-8, 4e-3
"""What the engine's work, that of pricing and a round as such count for: measured seconds of an idle core."""


MANY_RATIO, KEPT_RATIO = 6, 3
"""Columns for each row of the master from which on most are forgotten, and how many are kept; a row has at
most one in use."""

LEAST_WORK = 100_000
"""Work of a search that is made although nothing is left for it."""


class Purse:
    """Work that may be spent, in what are roughly seconds; the clock is a safety stop beside it.

    ``left`` and ``spent`` are deterministic.
    """

    def __init__(self, amount: float, watch: Watch) -> None:
        self.amount = self.left = amount
        self.watch = watch

    @property
    def spent(self) -> float:
        """What was spent, which a part that had begun may take above what was given."""
        return self.amount - self.left

    def spend(self, *, engine: int = 0, search: int = 0, proof: float = 0.0) -> None:
        """Count the work of a round, or of a part of it; that of a proof in deterministic time."""
        self.left -= LP_UNIT * engine + SEARCH_UNIT * search + proof + ROUND_UNIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Pricing:
    """How pricing searches.

    Parameters
    ----------
    each
        Work to find the best pattern with a given class.
    round
        Work to find patterns in one round, of all types.
    proof
        Work to find a bound of all patterns, of all types.
    smoothing
        Weight of the last round's prices: duals that jump less make better columns (Wentges 1997).
    """

    each: int = 3_000
    round: int = 20_000_000
    proof: int = 60_000_000
    smoothing: float = 0.4


class Columns:
    """Known columns, the demand that is left and the best bound of all of it."""

    def __init__(self, classes: Classes, pricing: Pricing, purse: Purse) -> None:
        self.classes, self.pricing, self.purse = classes, pricing, purse
        self.unit = max(classes.prices)
        self.floors = [price / self.unit for price in classes.prices]
        self.step = math.gcd(*classes.prices) / self.unit
        self.demand = classes.demand
        self.least, self.most = list(classes.least), list(classes.most)
        self.master = Master(self.floors, self.demand, self.least, self.most)
        self.known: list[Column] = []
        self.bound = 0
        self.truncated = False
        self.proof = 0.0
        self._seen: set[Column] = set()
        self._shares = [shares_of(site) for site in classes.sites]
        self._center: Floats | None = None

    # ------------------------------------------------------------------------------------------- columns

    def add(self, column: Column) -> bool:
        """Add a column; returns whether it is new."""
        if column in self._seen:
            return False
        self._seen.add(column)
        self.known.append(column)
        self.master.add(column.shard_type, column.pattern)
        return True

    def thin(self, shares: Shares) -> None:
        """Forget columns of much reduced cost where there are many; a solution of the master stays one."""
        rows = len(self.demand) + len(self.floors)
        if len(self.known) <= MANY_RATIO * rows:
            return
        cost = np.array([self._reduced_cost(column, shares) for column in self.known])
        cost[shares.value > 0] = -np.inf
        kept = [
            self.known[number] for number in np.sort(np.argsort(cost, kind="stable")[: KEPT_RATIO * rows])
        ]
        self.master = Master(self.floors, self.demand, self.least, self.most)
        self.known, self._seen = [], set()
        for column in kept:
            self.add(column)

    def _reduced_cost(self, column: Column, shares: Shares) -> float:
        worth = sum(float(shares.worth[of_class]) * count for of_class, count in column.pattern)
        return self.floors[column.shard_type] + float(shares.rent[column.shard_type]) - worth

    def fix(self, column: Column) -> None:
        """Take a pattern as decided: what it covers is no longer asked for."""
        for of_class, count in column.pattern:
            self.demand[of_class] = max(0, self.demand[of_class] - count)
        self.least[column.shard_type] = max(0, self.least[column.shard_type] - 1)
        most = self.most[column.shard_type]
        if most is not None:
            self.most[column.shard_type] = most - 1

    def promising(self, shares: Shares, dearer: float) -> Columns:
        """Return the columns of less reduced cost, in shards of the dearest type, with all of the demand."""
        other = Columns(self.classes, self.pricing, self.purse)
        for column in self.known:
            if self._reduced_cost(column, shares) < dearer:
                other.add(column)
        return other

    def solve(self) -> Shares | None:
        """Solve the master for what is asked now."""
        self.master.demand(self.demand, self.least, self.most)
        before = self.master.work
        shares = self.master.solve()
        self.purse.spend(engine=self.master.work - before)
        return shares

    def is_tight(self, shares: Shares) -> bool:
        """Return whether the bound is what a solution of the master costs, rounded up."""
        return self.bound >= round_up(math.ceil(shares.cost * self.unit * (1 - 1e-7)), self.classes.prices)

    # ------------------------------------------------------------------------------------------- pricing

    def extend(self, shares: Shares) -> int:
        """Add columns that improve a solution of the master, found quickly; returns how many."""
        if self._center is None:
            self._center = shares.worth
        smoothed = self.pricing.smoothing * self._center + (1 - self.pricing.smoothing) * shares.worth
        self._center = smoothed
        found = self._price(smoothed, shares)
        return found or self._price(shares.worth, shares)

    def _price(self, worth: Floats, shares: Shares) -> int:
        values, real = as_integers(worth), as_integers(shares.worth)
        each, added = self.pricing.each, 0
        for index in range(len(self.classes.sites)):
            floor = self._floor(index, shares)
            known, knapsack = self.knapsack(index, values)
            _, sizes, patterns, _, work = search_each(
                knapsack, 0, max(0, floor // 2), each, self.limit(self.pricing.round)
            )
            self.purse.spend(search=work)
            added += self._add_best(index, named(known, sizes, patterns), real, floor + TOLERANCE)
        return added

    def prove(self, shares: Shares) -> int:
        """Search all patterns: add what improves and raise the bound; returns how many were added.

        ``truncated`` says whether that was ever too much work; then the bound is weaker. ``proof`` is the
        most that it took of the purse for a type.

        The bound is one of the whole demand, so it is raised only while nothing is fixed.
        """
        values, added, most_worth = as_integers(shares.worth), 0, []
        for index in range(len(self.classes.sites)):
            floor = max(0, self._floor(index, shares))
            known, knapsack = self.knapsack(index, values)
            limit = self.limit(self.pricing.proof)
            _, sizes, patterns, worth, work = search_each(knapsack, 1, floor, limit, limit)
            self.purse.spend(search=work)
            self.truncated |= work >= limit
            self.proof = max(self.proof, SEARCH_UNIT * work)
            most_worth.append(worth)
            added += self._add_best(index, named(known, sizes, patterns), values, floor + TOLERANCE)
        if np.array_equal(self.demand, self.classes.demand):
            self.bound = max(self.bound, configuration_bound(self.classes, values, most_worth))
        return added

    def limit(self, most: int) -> int:
        """Return the work for one type: a fair part of what is allowed, or of half of what is left."""
        left, left_s = self.purse.left, self.purse.watch.left_s()
        if left_s is not None:
            left = min(left, left_s)
        return min(most, max(int(left / SEARCH_UNIT / 2), LEAST_WORK)) // len(self.classes.sites)

    def _floor(self, index: int, shares: Shares) -> int:
        return int((self.floors[index] + shares.rent[index]) * SCALE)

    def knapsack(self, index: int, values: Ints) -> tuple[Ints, Knapsack]:
        """Return the class of each place and the knapsack of a type, for the demand that is left."""
        return make_knapsack(self.classes.sites[index], values, self._shares[index], self.demand)

    def _add_best(self, index: int, patterns: list[Ints], values: Ints, floor: int) -> int:
        """Add the patterns that are worth more than a floor, the best first; returns how many."""
        worth = [int(values[pattern].sum()) for pattern in patterns]
        added = 0
        for number in np.argsort([-value for value in worth], kind="stable"):
            if worth[number] <= floor:
                break
            added += self.add(Column(shard_type=index, pattern=pattern_of(patterns[number])))
        return added


def pattern_of(classes: Iterable[int]) -> Pattern:
    """Return a pattern of classes, one entry a unit."""
    return tuple(sorted(Counter(int(item) for item in classes).items()))


def named(known: Ints, sizes: Ints, patterns: Ints) -> list[Ints]:
    """Return the classes of the patterns that were found."""
    return [known[patterns[place, :size]] for place, size in enumerate(sizes) if size]


def as_integers(worth: Floats) -> Ints:
    """Return dual prices in ``SCALE``, rounded down."""
    return np.asarray(np.floor(np.nan_to_num(worth).clip(0, 4) * SCALE), dtype=np.int64)
