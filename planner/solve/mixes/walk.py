"""Walks from mix to mix of shards, each annealed from where the last one ended; two of them at a time.

Where annealing leaves little too much, shards trade.
"""

from __future__ import annotations

import copy
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from planner.solve.core.bridge import packing_of, state_of
from planner.solve.core.state import CLOSED, ROW, TYPE
from planner.solve.core.tables import KIND, MOST_PODS, MOST_SHARDS, PODS, PRICE, Floats, Tables
from planner.solve.exact.mix import Condition, Mix
from planner.solve.mixes.annealing import anneal, make_luck
from planner.solve.mixes.crowd import (
    HOME,
    Crowd,
    Setting,
    make_crowd,
    make_setting,
    move_in,
    overload,
    plain_rows,
    plain_types,
)
from planner.solve.mixes.trading import make_desk, trade_all
from planner.solve.packing import Packing
from planner.solve.problem import Ints
from planner.solve.watch import Watch

CHANGES = ((6, 4), (20, 3), (60, 2), (None, 1))
"""(types up to, shards that the next mix has more or less of at most): hundreds or thousands of mixes."""

CHANGED = 0.002
"""Room that a mix has to have more for each shard that is another one, as a share of all."""

PHASES, HEATS = ((0.7, 0.04, 0.006, 0.6), (0.3, 0.01, 0.0002, 0.2)), 40
"""Of annealing: the part of the changes; what is tolerated at the start and at the end, in what a unit costs
on average; and what waste counts for, less in the end. And steps in a phase."""

FIRST, MORE, AT_ONCE = 1_500, 3, 500_000
"""Changes for each unit that are tried in one mix in the first pass, how many times more in the next one; and
changes between two looks at the clock."""

CLOSE, REHEATS, HOPELESS = 0.0003, 6, 0.003
"""Too much, as a share of the cost, up to which the last phase is gone through again at once, and how often;
and from which on a mix is not tried again, nor those that have no more shards of any type."""

TRADING, TRADED, TRADING_WORK = 0.001, (0.2, 0.02), 3_000_000
"""Too much, as a share of the cost, below which shards trade; what waste counts for, first and then; and the
work of each."""

PARTS = (0.5, 0.35)
"""Which part of what may be saved the next mix of each walk saves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a walk is.

    Parameters
    ----------
    cost
        Of all shards, in micro-USD an hour.
    types
        Of the shards that are annealed.
    homes
        Which of them each unit is in, -1 where it is in none.
    """

    cost: int
    types: Ints
    homes: Ints


class Neighbours:
    """The mixes near another one that meet all conditions.

    Parameters
    ----------
    tables
        What shards cost, and what limits there are.
    conditions
        What mixes meet that hold everything.
    limits
        Least and most shards of each type.
    used
        The types that there may be more or less of.
    """

    def __init__(
        self, tables: Tables, conditions: list[Condition], limits: list[tuple[int, int]], used: Ints
    ) -> None:
        self.prices, self._pods = tables.types[:, PRICE], tables.types[:, PODS]
        self._most = tables.rule[MOST_PODS], tables.rule[MOST_SHARDS]
        self._low, self._high = np.array(limits, dtype=np.int64).reshape(-1, 2).T
        self._shares = np.array([[w / max(1, c.asked) for w in c.worth] for c in conditions])
        self._changes = _changes(len(self.prices), used)
        self._without = np.zeros((0, len(self.prices)), dtype=np.int64)

    def leave_out(self, mix: Mix) -> None:
        """Look at a mix no more, nor at those that have no more shards of any type."""
        self._without = np.concatenate((self._without, np.array([mix], dtype=np.int64)))

    def next_to(self, mix: Ints, above: int, most: int) -> Mix | None:
        """Return the mix near another one of some cost that leaves most room, changes weighed against it."""
        found = mix + self._changes
        costs = found @ self.prices
        keep = ((found >= self._low) & (found <= self._high)).all(axis=1) & (costs > above) & (costs <= most)
        keep &= (found @ self._pods <= self._most[0]) & (found.sum(axis=1) <= self._most[1])
        room = (found @ self._shares.T).min(axis=1) - 1.0
        without = (found[:, None, :] <= self._without[None, :, :]).all(axis=2)
        keep &= (room >= 0) & ~np.any(without, axis=1)
        if not keep.any():
            return None
        score = np.where(keep, room - CHANGED * np.abs(self._changes).sum(axis=1), -np.inf)
        return tuple(found[int(np.argmax(score))].tolist())


def _changes(types: int, used: Ints) -> Ints:
    """Return all ways to add and to take away a few shards of some types."""
    found, unit = np.zeros((1, types), dtype=np.int64), np.eye(types, dtype=np.int64)[used]
    for _ in range(next(most for limit, most in CHANGES if limit is None or len(used) <= limit)):
        before = found[:, None, :]
        after = np.concatenate((before, before + unit, before - unit), axis=1)
        found = np.unique(after.reshape(-1, types), axis=0)
    return found


class _Walk:
    """One walk: halves what may be saved, from wherever it is."""

    def __init__(  # noqa: PLR0913 - what walks share, and what each has of its own
        self,
        setting: Setting,
        worth: Floats,
        near: Neighbours,
        start: Place,
        others: Ints,
        *,
        bound: int,
        part: float,
        seed: int,
        watch: Watch,
    ) -> None:
        self.setting, self.worth, self.near, self.watch = setting, worth, near, watch
        self.best, self.bound = start, bound
        self.part, self.spent = part, 0
        self.book = np.array([np.random.default_rng(seed).integers(1, 2**31 - 1)], dtype=np.int64)
        self.luck, self.others, self.work = make_luck(), others, 0
        self.known: dict[Mix, Place] = {}
        self.desk = make_desk(setting)

    def run(self, work: int) -> Place:
        """Return the cheapest place that is found with so many changes."""
        self.work, each = work, FIRST * self.setting.orders.shape[1]
        while not self._is_over() and self._pass(each):
            each *= MORE
        return self.best

    def _is_over(self) -> bool:
        return self.spent >= self.work or self.best.cost <= self.bound or self.watch.is_over()

    def _pass(self, each: int) -> bool:
        """Halve what may be saved, from wherever that ends; returns whether there was anything to try."""
        low, target, before = self.bound - 1, 0, self.spent
        while not self._is_over():
            cost = self.best.cost
            most = min(max(target, cost - int(self.part * (cost - low))), cost - 1)
            mix = self._next(low, most) or self._next(low, cost - 1)
            if mix is None:
                break
            at, over = self._anneal(mix, min(each, self.work - self.spent))
            at, over = self._finished(mix, at, over, each)
            if over <= 0:
                self.best, target = at, 0
                continue
            self.known[mix], low, target = at, at.cost, at.cost + int(min(over, cost))
            if over > HOPELESS * at.cost:
                self.near.leave_out(mix)
        return self.spent > before

    def _finished(self, mix: Mix, at: Place, over: float, each: int) -> tuple[Place, float]:
        """Return where some more annealing ends, less hot, where only little is too much."""
        for _ in range(REHEATS):
            if not 0 < over < CLOSE * at.cost or self._is_over():
                break
            self.known[mix] = at
            again, more = self._anneal(mix, min(each, self.work - self.spent), PHASES[1:])
            if more <= over:
                at, over = again, more
        return at, over

    def _next(self, above: int, most: int) -> Mix | None:
        mix = self.others + np.bincount(self.best.types, minlength=len(self.others))
        return self.near.next_to(mix, above, most)

    def _anneal(
        self, mix: Mix, work: int, phases: tuple[tuple[float, float, float, float], ...] = PHASES
    ) -> tuple[Place, float]:
        """Return where annealing a mix ends, and what is too much there; it goes on where it ended before."""
        cost = sum(int(price) * count for price, count in zip(self.near.prices, mix, strict=True))
        at = self.known.get(mix)
        types, homes = (at.types, at.homes) if at else self._changed(np.array(mix) - self.others)
        crowd = make_crowd(self.setting, types, homes)
        if crowd is None:
            return Place(cost=cost, types=types, homes=homes), math.inf
        unit = float(self.near.prices[types].sum()) / max(1, self.setting.orders.shape[1])
        for share, hot, cold, waste in phases:
            heats, each = np.geomspace(hot * unit, cold * unit, HEATS), max(1, int(share * work) // HEATS)
            parts = np.array_split(heats, max(1, min(HEATS, work // AT_ONCE)))
            if any(self._is_done(crowd, part, waste, each) for part in parts):
                break
        over = overload(self.setting, crowd)
        if 0 < over < TRADING * cost and not self.watch.is_over():
            over = self._trade(crowd)
        return Place(cost=cost, types=types, homes=crowd.units[:, HOME].copy()), over

    def _trade(self, crowd: Crowd) -> float:
        """Let shards trade; returns what is too much then."""
        for waste in TRADED:
            most = min(TRADING_WORK, self.work - self.spent)
            self.spent += trade_all(self.setting, crowd, self.desk, waste, most)
        return overload(self.setting, crowd)

    def _is_done(self, crowd: Crowd, heats: Floats, waste: float, each: int) -> bool:
        """Return whether some more annealing leaves nothing too much, or there is no more time."""
        self.spent += len(heats) * each
        return anneal(self.setting, crowd, self.book, self.luck, heats, waste, each) or self.watch.is_over()

    def _changed(self, wanted: Ints) -> tuple[Ints, Ints]:
        """Return so many shards of each type, those gone that earn least of their price; and who is where."""
        types, homes = self.best.types, self.best.homes
        inside = homes >= 0
        worth = np.bincount(homes[inside], weights=self.worth[inside], minlength=len(types))
        order = np.argsort(-worth / np.maximum(self.near.prices[types], 1), kind="stable")
        stays = [order[types[order] == one][:count] for one, count in enumerate(wanted.tolist())]
        new = [one for one, count in enumerate(wanted.tolist()) for _ in range(count - len(stays[one]))]
        kept = np.concatenate(stays)
        number = np.full(len(types) + 1, -1, dtype=np.int64)
        number[kept] = np.arange(len(kept))
        return np.concatenate((types[kept], np.array(new, dtype=np.int64))), number[homes]


class Walker:
    """Walks over the mixes of a complete packing.

    Parameters
    ----------
    packing
        Where walks start; it is not changed.
    tables
        Its problem in compiled form, and what units are worth.
    prices
        ``(types, dimensions)``: of all of a dimension of a shard, as of the relaxation.
    watch
        When to stop.
    """

    def __init__(self, packing: Packing, tables: Tables, prices: Floats, watch: Watch) -> None:
        self.packing, self.tables, self.watch = packing, tables, watch
        state = state_of(packing, tables, 0)
        self.rows = plain_rows(tables, state)
        homes = np.full(len(state.rows) + 1, -1, dtype=np.int64)
        homes[self.rows] = np.arange(len(self.rows))
        self.types = state.rows[self.rows, TYPE].copy()
        self.homes = np.where(tables.units[:, KIND] >= 0, homes[state.units[:, ROW]], -1)
        self.movable = np.flatnonzero(self.homes >= 0)
        self.prices, self.spent = prices, 0

    def suits(self) -> bool:
        """Return whether there is anything to anneal."""
        return len(self.movable) > 0

    def walk(  # noqa: PLR0913 - the settings of a search
        self,
        conditions: list[Condition],
        limits: list[tuple[int, int]],
        used: Ints,
        *,
        bound: int,
        seed: int,
        work: int,
    ) -> Packing:
        """Return the cheapest packing that is found by changing so many places in each of two walks.

        Parameters
        ----------
        conditions, limits
            What mixes meet that hold everything, and least and most shards of each type.
        used
            Types that there may be more or less of.
        bound
            A cost at which it ends, in micro-USD an hour.
        seed
            Of all random choices.
        work
            Changes that are tried in each walk.
        """
        used = np.array([index for index in used if plain_types(self.tables)[index]], dtype=np.int64)
        setting = make_setting(self.tables, self.prices, self.movable)
        near = Neighbours(self.tables, conditions, limits, used)
        worth = self.tables.value[np.maximum(self.tables.units[:, KIND], 0)]
        start = Place(cost=self.packing.cost, types=self.types, homes=self.homes)
        others = np.array(self.packing.openings.counts) - np.bincount(self.types, minlength=len(near.prices))
        walks = [
            _Walk(
                setting,
                worth,
                copy.copy(near),
                start,
                others,
                bound=bound,
                part=part,
                seed=seed + index,
                watch=self.watch,
            )
            for index, part in enumerate(PARTS)
        ]
        with ThreadPoolExecutor(max_workers=min(len(walks), os.cpu_count() or 1)) as threads:
            found = list(threads.map(lambda walk: walk.run(work), walks))
        self.spent += sum(walk.spent for walk in walks)
        return self._packing_at(min(found, key=lambda at: at.cost))

    def _packing_at(self, at: Place) -> Packing:
        """Return the packing of a place; the one that walks started from if it is no dearer."""
        if at.cost >= self.packing.cost:
            return self.packing
        state = state_of(self.packing, self.tables, max(0, len(at.types) - len(self.rows)))
        closed = np.flatnonzero(state.rows[:, TYPE] == CLOSED)
        rows, before = np.concatenate((self.rows, closed)), len(self.rows)
        if not move_in(self.tables, state, self.movable, rows, before, at.types, at.homes):
            return self.packing
        return packing_of(state, self.tables, self.packing)
