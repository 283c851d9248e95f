"""From a known packing to a cheaper one out of patterns, and to the configuration bound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from planner.solve.exact.master import Shares
from planner.solve.heuristics import insert_all, open_required, price_shares
from planner.solve.packing import Packing
from planner.solve.patterns.close import close
from planner.solve.patterns.columns import Column, Columns, Pricing, Purse, pattern_of
from planner.solve.patterns.dive import Dive, dive
from planner.solve.patterns.knapsack import make_knapsack, shares_of
from planner.solve.patterns.pricing import fill
from planner.solve.patterns.sites import Classes, Site, make_classes
from planner.solve.problem import Ints, Problem
from planner.solve.watch import Watch

METHOD = "configuration-lp"

MOST_CLASSES = 1_000
"""Classes up to which the program is solved; beyond, a round takes seconds."""

FILLS, FILL_WORK = 6, 20_000
"""Ways to fill shards one by one for the first columns, and the work for one shard."""

FEW_RATIO, DEAR_RATIO = 0.1, 0.01
"""A round that finds fewer columns than this part of the classes is followed by a search of all patterns; the
second where such a search was too much work before, or takes more than ``PROOF_RATIO`` of what is left."""

PROOF_RATIO = 0.05

ROOT_RATIO = 0.4
"""Part of the work that is spent before the first dive."""

HASTY, HASTY_CLASSES = Dive(rounds=1, least_share=0.5, step_ratio=0.3, least_ratio=0.1), 200
"""What is dived first where there are more classes than that: a round then takes a tenth of a second."""

DIVES = (Dive(), *(Dive(noise=noise, step_ratio=0.1) for noise in (0.1, 0.3, 0.5, 0.2, 0.4) * 3))
"""Dives one after the other while there is work left; the first is the most promising one."""

MOST_MISSES = 20
"""Units of a class that are tried in vain for a shard: they are alike but for names, pins and entries."""

NEAR = 0.15
"""Columns that a dive starts with: of a reduced cost of less, in shards of the dearest type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What column generation found.

    Parameters
    ----------
    packing
        Cheaper than the one that was known; None if nothing is.
    bound_microusd_per_h
        No plan that places every unit costs less.
    spent
        What of the work it took; a little more than was allowed where something was in hand.
    """

    packing: Packing | None
    bound_microusd_per_h: int
    spent: float


def search(packing: Packing, *, work: float, seed: int, watch: Watch) -> Found | None:
    """Return a cheaper packing than a complete one, and a bound; None if that is too large a question.

    Parameters
    ----------
    packing
        What is known; it is not changed. What it does not place rules patterns out.
    work
        What may be spent, in roughly the seconds of an idle core; deterministic.
    seed
        Of every random choice.
    watch
        When to stop.
    """
    problem = packing.problem
    if None in packing.row_of_unit or not packing.row_of_unit or not any(problem.prices):
        return None
    classes = make_classes(problem)
    if len(classes.units) > MOST_CLASSES or not all(
        any(s.most[c] for s in classes.sites) for c in _all(classes)
    ):
        return None
    return _Search(packing, classes, seed, Purse(work, watch)).run()


def _all(classes: Classes) -> range:
    return range(len(classes.units))


class _Search:
    """The columns, the best packing so far and the bound."""

    def __init__(self, packing: Packing, classes: Classes, seed: int, purse: Purse) -> None:
        self.problem, self.classes, self.seed = packing.problem, classes, seed
        self.rng = np.random.default_rng(seed)
        self.known, self.best = packing.cost, packing
        self.purse, self.watch = purse, purse.watch
        self.columns = Columns(classes, Pricing(), purse)
        self._asked: int | None = None  # the cost that was last asked to be beaten

    def run(self) -> Found:
        for column in self._columns_of(self.best):
            self.columns.add(column)
        for plan in self._fills():
            self._take(plan)
        self._generate(self.purse.left * (1 - ROOT_RATIO))
        self._dive()
        return Found(
            packing=self.best if self.best.cost < self.known else None,
            bound_microusd_per_h=self.columns.bound,
            spent=self.purse.spent,
        )

    def _is_over(self) -> bool:
        return self.best.cost <= self.columns.bound or self.watch.is_over()

    # ----------------------------------------------------------------------------------- first columns

    def _columns_of(self, packing: Packing) -> Iterator[Column]:
        class_of = {unit: index for index, units in enumerate(self.classes.units) for unit in units}
        for row in packing.open_rows():
            inside = [class_of[unit] for unit in packing.units_in(row)]
            if inside:
                yield Column(shard_type=int(packing.type_of[row]), pattern=pattern_of(inside))

    def _fills(self) -> Iterator[list[Column]]:
        """Yield what fills shards of one type after the other, and add its patterns."""
        for index, site in enumerate(self.classes.sites):
            for values in self._weights(site):
                plan = list(self._fill(index, values, self.classes.demand))
                for column in plan:
                    self.columns.add(column)
                if all(site.most > 0):
                    yield plan

    def _weights(self, site: Site) -> Iterator[Ints]:
        """Yield sizes of classes in one number: all dimensions alike, then some more than others."""
        shares = shares_of(site)
        dims = shares.shape[1]
        for number in range(FILLS):
            weights = np.ones(dims) if number == 0 else self.rng.dirichlet(np.full(dims, 3.0)) * dims
            yield np.maximum(1, (shares @ weights).astype(np.int64))

    def _fill(self, index: int, values: Ints, demand: Ints) -> Iterator[Column]:
        site = self.classes.sites[index]
        known, knapsack = make_knapsack(site, values, shares_of(site), demand)
        order = np.argsort(-knapsack.value, kind="stable")
        sizes, patterns = fill(knapsack, order, demand[known], FILL_WORK)
        for size, pattern in zip(sizes, patterns, strict=True):
            yield Column(shard_type=index, pattern=pattern_of(known[pattern[:size]]))

    # -------------------------------------------------------------------------------------- generation

    def _generate(self, keep: float) -> None:
        """Solve the configuration program until only so much work is left; raises the bound."""
        while not self._is_over():
            shares = self.columns.solve()
            if shares is None:
                return
            dear = self.columns.truncated or self.columns.proof > PROOF_RATIO * self.purse.left
            few = max(2, int(len(self.classes.units) * (DEAR_RATIO if dear else FEW_RATIO)))
            last = self.purse.left < keep
            self.columns.thin(shares)
            added = self.columns.extend(shares)
            if last or added < few:
                added += self.columns.prove(shares)
            if last or not added or self.columns.is_tight(shares):
                return

    def _dive(self) -> None:
        """Dive while that may find something; what a dive finds may raise the bound as well."""
        large = len(self.classes.units) > HASTY_CLASSES
        for style in (HASTY, *DIVES) if large else DIVES:
            shares = self.columns.solve()
            if shares is None or self._is_over() or self.purse.left < 0:
                return
            near = self.columns.promising(shares, NEAR)
            plan = dive(near, style, self.rng, self.best.cost / self.columns.unit)
            for column in near.known:
                self.columns.add(column)
            if plan is not None:
                self._take([*plan, *self._rest(near)])
            self._close(shares)
            if self.purse.left > 0 and not self.columns.is_tight(shares):
                self._generate(self.purse.left * ROOT_RATIO)

    def _close(self, shares: Shares) -> None:
        """Ask whether a shard less is enough, where that would be the bound."""
        price, *others = self.classes.prices
        if others or self.columns.truncated or self.best.cost - self.columns.bound > price:
            return
        if not self._is_over() and self.best.cost != self._asked:
            self._asked = known = self.best.cost
            closed = close(self.columns, shares, shards=known // price - 1, seed=self.seed)
            if closed.impossible:
                self.columns.bound = max(self.columns.bound, known)
            if closed.plan is not None:
                self._take(closed.plan)

    def _rest(self, columns: Columns) -> list[Column]:
        """Return the cheapest patterns that fill shards with what a dive left over, if anything."""
        plans = [
            plan
            for index, site in enumerate(self.classes.sites)
            if all(site.most[columns.demand > 0] > 0)
            for values in self._weights(site)
            if (plan := list(self._fill(index, values, columns.demand)))
        ]
        return min(plans, key=self._price, default=[])

    def _price(self, plan: Sequence[Column]) -> int:
        return sum(self.classes.prices[column.shard_type] for column in plan)

    # ------------------------------------------------------------------------------------- realisation

    def _take(self, plan: Sequence[Column]) -> None:
        """Keep a plan of patterns if all of it can be placed for less."""
        if self._price(plan) >= self.best.cost:
            return
        found = realise(self.problem, self.classes, plan, watch=self.watch)
        if None not in found.row_of_unit and found.cost < self.best.cost:
            self.best = found


def realise(problem: Problem, classes: Classes, plan: Sequence[Column], *, watch: Watch) -> Packing:
    """Return patterns as a packing; units that find no room in their pattern's shard go elsewhere."""
    packing = Packing(problem)
    open_required(packing)
    idle = [
        [row for row in packing.open_rows() if packing.type_of[row] == t] for t in range(len(classes.sites))
    ]
    waiting = [list(units) for units in classes.units]
    for column in plan:
        if watch.is_over():
            break
        required = bool(idle[column.shard_type])
        opening = next(iter(packing.openings.candidates(column.shard_type)), None)
        if required:
            row = idle[column.shard_type].pop()
        elif opening is not None:
            row = packing.open(opening)
        else:
            continue
        for of_class, count in column.pattern:
            _place(packing, row, waiting[of_class], count)
        if not packing.residents[row] and not required:
            packing.close(row)
    rest = [unit for units in waiting for unit in units]
    if rest:
        insert_all(packing, rest, price_shares(problem), watch)
    return packing


def _place(packing: Packing, row: int, waiting: list[int], count: int) -> None:
    """Place up to so many units of a class in a row; one of a model that is there already is passed by."""
    here = {resident.model for resident in packing.residents[row]}
    placed: list[int] = []
    misses = 0
    for unit in waiting:
        if len(placed) == count or misses == MOST_MISSES:
            break
        members = packing.problem.units[unit].members
        if not here.isdisjoint(members):
            continue
        if packing.place_whole(unit, row):
            here.update(members)
            placed.append(unit)
        else:
            misses += 1
    for unit in placed:
        waiting.remove(unit)
