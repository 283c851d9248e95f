"""Walks from mix to mix of shards, each annealed from where the last one ended; two of them at a time.

Where annealing leaves little too much, shards trade.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from planner.solve.core.bridge import packing_of, state_of
from planner.solve.core.state import CLOSED, ROW, TYPE
from planner.solve.core.tables import KIND, MOST_PODS, MOST_SHARDS, PODS, PRICE, Floats, Tables
from planner.solve.exact.mix import Condition, Mix
from planner.solve.mixes.annealing import anneal
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
from planner.solve.mixes.pairs import make_tools
from planner.solve.mixes.trading import make_desk, trade_all
from planner.solve.packing import Packing
from planner.solve.problem import Ints
from planner.solve.watch import Watch

CHANGES = ((6, 4), (20, 3), (60, 2), (None, 1))
"""(types up to, shards that the next mix has more or less of at most): hundreds or thousands of mixes."""

NEARLY = 0.001
"""Room that a mix may have less than one that is no dearer, as a share of all."""

PHASES, HEATS = ((0.6, 0.1, 0.015, 3.0, 3.0), (0.4, 0.01, 0.0005, 1.0, 0.05)), 40
"""Of annealing: the part of the changes; what is tolerated at the start and at the end, in what a unit costs
on average; what waste counts for, at the start and at the end. And steps in a phase. Waste counts for more
than what is too much at first, so that bases and room for loading are shared before everything has to fit."""

FIRST, MORE, AT_ONCE, PAIR = 1_500, 3, 500_000, 20
"""Changes for each unit that are tried in one mix in the first pass, how many times more in the next one;
changes between two looks at the clock; and for how many a pair of shards counts."""

RISE, FALL = 0.6, 0.001
"""By how much more room the next mix has, in what is too much in the last one, and by how much less where
nothing is, as a share of all."""

CLOSE = 0.0003
"""Too much, as a share of the cost, up to which the last phase is gone through again at once."""

TRADING, TRADED, TRADING_WORK = 0.001, (0.2, 0.02), 3_000_000
"""Too much, as a share of the cost, below which shards trade; what waste counts for, first and then; and the
work of each."""

PARTS = (0.5, 0.35)
"""Which part of what may be saved the first mix of each walk saves."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A mix that may hold everything.

    Parameters
    ----------
    cost
        In micro-USD an hour.
    room
        What it leaves at least by one of the conditions, as a share of what is asked.
    mix
        Shards of each type.
    """

    cost: int
    room: float
    mix: Mix


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

    def best_near(self, mix: Ints, above: int, below: int) -> list[Choice]:
        """Return the mixes near another one that leave nearly most room of those no dearer, cheapest first.

        Parameters
        ----------
        mix
            Shards of each type.
        above, below
            Least cost, and what they cost less than, in micro-USD an hour.
        """
        found = mix + self._changes
        costs = found @ self.prices
        keep = ((found >= self._low) & (found <= self._high)).all(axis=1) & (costs >= above) & (costs < below)
        keep &= (found @ self._pods <= self._most[0]) & (found.sum(axis=1) <= self._most[1])
        room = (found @ self._shares.T).min(axis=1) - 1.0
        order = np.lexsort((-room, costs))
        order = order[keep[order] & (room[order] >= 0)]
        best = np.maximum.accumulate(room[order])
        order = order[room[order] > best - NEARLY]
        return [Choice(cost=int(costs[i]), room=float(room[i]), mix=tuple(found[i].tolist())) for i in order]


def _changes(types: int, used: Ints) -> Ints:
    """Return all ways to add and to take away a few shards of some types."""
    found, unit = np.zeros((1, types), dtype=np.int64), np.eye(types, dtype=np.int64)[used]
    for _ in range(next(most for limit, most in CHANGES if limit is None or len(used) <= limit)):
        before = found[:, None, :]
        after = np.concatenate((before, before + unit, before - unit), axis=1)
        found = np.unique(after.reshape(-1, types), axis=0)
    return found


class _Walk:
    """One walk: asks for more room after a mix that was missed, for less after one that was found."""

    def __init__(  # noqa: PLR0913, PLR0917 - what walks share, and what each has of its own
        self,
        setting: Setting,
        worth: Floats,
        near: Neighbours,
        choices: list[Choice],
        start: Place,
        others: Ints,
        *,
        bound: int,
        part: float,
        seed: int,
        watch: Watch,
    ) -> None:
        self.setting, self.worth, self.near, self.watch = setting, worth, near, watch
        self.choices = choices
        self.best, self.bound = start, bound
        self.part, self.spent = part, 0
        self.others, self.work = others, 0
        self.desk, self.tools = make_desk(setting), make_tools(setting, seed)

    def run(self, work: int) -> Place:
        """Return the cheapest place that is found with so many changes."""
        self.work, each = work, FIRST * len(self.setting.movable)
        while not self._is_over() and self._pass(each):
            each *= MORE
        return self.best

    def _is_over(self) -> bool:
        return self.spent >= self.work or self.best.cost <= self.bound or self.watch.is_over()

    def _pass(self, each: int) -> bool:
        """Try one mix after the other, each once; returns whether there was anything to try."""
        before, tried = self.spent, set[Mix]()
        most = self.best.cost - int(self.part * (self.best.cost - self.bound))
        asked = max((choice.room for choice in self.choices if choice.cost <= most), default=0.0)
        while not self._is_over():
            left = [one for one in self.choices if one.cost < self.best.cost and one.mix not in tried]
            if not left:
                break
            choice = next((one for one in left if one.room >= asked), max(left, key=lambda one: one.room))
            tried.add(choice.mix)
            at, over = self._anneal(choice.mix, self.best, each, PHASES)
            if 0 < over < CLOSE * at.cost and not self._is_over():
                at, over = self._anneal(choice.mix, at, each, PHASES[1:])
            if over <= 0:
                self.best, asked = at, choice.room - FALL
            else:
                asked = choice.room + RISE * over / at.cost
        return self.spent > before

    def _anneal(
        self, mix: Mix, start: Place, work: int, phases: Sequence[tuple[float, float, float, float, float]]
    ) -> tuple[Place, float]:
        """Return where annealing a mix ends that starts from some place, and what is too much there."""
        cost = sum(int(price) * count for price, count in zip(self.near.prices, mix, strict=True))
        types, homes = self._changed(start, np.array(mix) - self.others)
        crowd = make_crowd(self.setting, types, homes)
        if crowd is None:
            return Place(cost=cost, types=types, homes=homes), math.inf
        unit = float(self.near.prices[types].sum()) / max(1, len(self.setting.movable))
        for share, hot, cold, waste, last in phases:
            left = min(int(share * work), self.work - self.spent)
            heats, wastes = np.geomspace(hot * unit, cold * unit, HEATS), np.geomspace(waste, last, HEATS)
            parts = np.array_split(np.arange(HEATS), max(1, min(HEATS, left // AT_ONCE)))
            if any(self._is_done(crowd, heats[part], wastes[part], left // HEATS) for part in parts):
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

    def _is_done(self, crowd: Crowd, heats: Floats, wastes: Floats, changes: int) -> bool:
        """Return whether some more annealing leaves nothing too much, or there is no more time."""
        pairs = max(1, changes // PAIR)
        self.spent += len(heats) * pairs * PAIR
        return anneal(self.setting, crowd, self.tools, heats, wastes, pairs) or self.watch.is_over()

    def _changed(self, start: Place, wanted: Ints) -> tuple[Ints, Ints]:
        """Return so many shards of each type, those gone that earn least of their price; and who is where."""
        types, homes = start.types, start.homes
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

    def neighbours(
        self, conditions: list[Condition], limits: list[tuple[int, int]], used: Ints
    ) -> Neighbours:
        """Return the mixes near any one that differ in plain shards only."""
        used = np.array([index for index in used if plain_types(self.tables)[index]], dtype=np.int64)
        return Neighbours(self.tables, conditions, limits, used)

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
        setting = make_setting(self.tables, self.prices, self.movable)
        near = self.neighbours(conditions, limits, used)
        worth = self.tables.value[np.maximum(self.tables.units[:, KIND], 0)]
        start = Place(cost=self.packing.cost, types=self.types, homes=self.homes)
        others = np.array(self.packing.openings.counts) - np.bincount(self.types, minlength=len(near.prices))
        choices = near.best_near(np.array(self.packing.openings.counts), bound, start.cost)
        walks = [
            _Walk(
                setting,
                worth,
                near,
                choices,
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
