"""The compiled search over a whole fleet: shards are built around the largest units, then improved.

A large fleet is cut into parts that are searched apart, as many at a time as there are cores; each part is
much larger than what one shard chooses from, so little is lost, and equal seeds give equal plans whatever the
number of cores.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from planner.solve.core.apart import Part, cut, deal_out, join, part_of_rows, parts_of, shares_domains
from planner.solve.core.bridge import packing_of, state_of
from planner.solve.core.fill import Rows, Taste
from planner.solve.core.items import make_items
from planner.solve.core.pool import SIZE, SPENT, make_pool, put_all, shuffle
from planner.solve.core.search import build, build_around, dissolve, fill_open, promised_cost, sweep
from planner.solve.core.state import (
    CLOSED,
    FIXED,
    OPEN_COST,
    OPEN_SHARDS,
    ROW,
    TYPE,
    State,
    make_state,
    may_open,
)
from planner.solve.core.tables import (
    BACKEND,
    DIMENSIONS,
    EXTRA,
    HOME,
    KIND,
    PRICE,
    Floats,
    Tables,
    make_tables,
)
from planner.solve.core.worth import FEW_UNITS, make_worth, relearn, reset
from planner.solve.guide import Advice
from planner.solve.packing import Packing
from planner.solve.problem import Ints, Problem
from planner.solve.watch import Watch

EVALUATIONS = 3_000_000
"""Of candidates and sets of them, in one unit of work: up to a tenth of a second."""

CANDIDATES = (256, 1024)
"""That a device chooses from at once, in a fleet of ``FEW_UNITS`` at most and in a larger one: the more there
are, the more alike are the residents of a shard, in their backend and in the room that they need to load."""

MANY_UNITS = 50_000
"""Units from which on a deep construction chooses from half as many: they are looked at by pairs."""

FIRST = Taste(alignment=1.0, reluctance=8.0, noise=0.0, loss=0.02, depth=1, rounds=12)
DEEP = FIRST._replace(depth=3, rounds=60)
LAST = FIRST._replace(loss=np.inf)
LATER = LAST._replace(noise=0.1, rounds=6)
PLAINLY = FIRST, LAST, LATER
DEEPLY = DEEP, LAST._replace(depth=3), LATER._replace(depth=3, rounds=12)
"""How devices choose while much waits, when little is left, and in shards that exchange with those left; and
the same where there is time to let pairs make room for pairs."""

ROUND_A_UNIT = 20
"""What a round of improvement counts for each unit: copies, order and worths."""

PARTS, BLUR = (0.1, 0.03), 0.1
"""The largest part of the fleet that is dissolved at once, the smaller one where pairs make room for pairs
among ``MANY_UNITS``, which takes long; and how randomly."""

LENIENCE = 0.3
"""By how much less, in shards, what the parts of a large fleet go on from may promise at first (Kirkpatrick,
Gelatt and Vecchi: Optimization by simulated annealing, 1983): else they soon find nothing more."""

PROMISING = 0.9
"""Of its price that a shard has to earn: one that earns less counts as that, and a tenth of its price."""

BATCH, AT_ONCE_BUILT, LEAST_SHARDS = 0.05, 256, 4.0
"""Of the shards that all that waits is worth, the part that is built between two looks at prices; so many at
most; and what is too few for it."""

LEFT_OVER_SHARDS = 40.0
"""What each part of a large fleet leaves over to be built together: the last shards are the worst."""

ENOUGH, SUCCESS = (0.9, 0.8, 0.7, 0.5), 0.5
"""What shards have to earn of their price: less as soon as fewer than so many of those that are tried do."""

STEPS, HUGE_UNITS, HUGE_STEPS = 6, 200_000, 2
"""In which the parts of a large fleet are improved, and those of a larger one: between them what they cost
together is told, and shards are dealt out anew."""

Tell = Callable[[int, int], None]
"""Hears what a search has found so far: its cost, and how many units it leaves out."""

FEW_SHARDS, PART_AROUND = 100, 0.5
"""In so few shards only such a part of the rounds builds around the largest."""

AT_ONCE = 16
"""Shards between two looks at the clock: some tens of milliseconds."""


class Fleet:
    """A packing in compiled form, and the search over it.

    Parameters
    ----------
    packing
        What is open and placed; it stays as it is.
    advice
        What the relaxation says.
    seed
        Of all random choices.
    watch
        When to stop; asked between rounds.
    deep
        Whether pairs make room for pairs, in construction and in shards that exchange with those that wait:
        in all a tenth of the cost above the bound, or more, at twice the time of a round.
    """

    def __init__(
        self, packing: Packing, advice: Advice, *, seed: int, watch: Watch, deep: bool = False
    ) -> None:
        self.before, self.watch = packing, watch
        self._first, self._last, self._later = DEEPLY if deep else PLAINLY
        self._many = len(packing.problem.units) > MANY_UNITS
        problem = packing.problem
        kinds = len(problem.modes[0].allowed)
        types = len(problem.prices)
        self.tables: Tables = make_tables(
            problem, np.zeros(kinds), np.zeros((types, kinds)), advice.guide.home
        )
        self.worth = make_worth(problem, advice.relaxation, advice.prices)
        reset(self.worth, self.tables)
        self.everything = np.arange(types)
        self.types = np.array(advice.guide.types or range(types), dtype=np.int64)
        self._start(state_of(packing, self.tables, _rows_needed(problem, self.tables)), seed)
        self._apart = 0  # evaluations in parts
        self._lenience = 0.0

    def _start(self, state: State, seed: int) -> None:
        self.state, self._rng = state, np.random.default_rng(seed)
        candidates = CANDIDATES[len(self.tables.units) > FEW_UNITS]
        if self._many and self._first is DEEP:
            candidates //= 2
        self.pool, self.items = make_pool(*_kin(self.tables), seed), make_items(self.tables, candidates)
        self._free = _closed_rows(state)
        self._best = _copied(state)
        self._near: State | None = None  # what the search is at: the best, or what promises to become it
        self._promise: float | None = None  # what that promises, once it is known
        self._value = self.tables.value

    @property
    def spent(self) -> int:
        """Units of work so far."""
        return (int(self.pool.book[SPENT]) + self._apart) // EVALUATIONS

    @property
    def was_apart(self) -> bool:
        """Whether the fleet has been built and improved in parts."""
        return self._apart > 0

    @property
    def cost(self) -> int:
        """Price of the best fleet so far, in micro-USD an hour."""
        return int(self._best.totals[OPEN_COST])

    def packing(self) -> Packing:
        """Return the best fleet so far."""
        return packing_of(self._best, self.tables, self.before)

    # --------------------------------------------------------------------------------------------- building

    def construct(self, units: Sequence[int], work: int = 0, tell: Tell | None = None) -> None:
        """Place simple units into open and new shards; those that find no room, or no time, stay out.

        The parts of a large fleet are improved, too, with so many units of work; ``tell`` then hears of it.
        """
        fresh = (self.state.rows[:, TYPE] == CLOSED).all()
        wanted = np.asarray(units, dtype=np.int64)
        parts = parts_of(self.tables, wanted, self._rng) if fresh else [wanted]
        if len(parts) > 1:
            self.construct_apart(parts, work, tell)
        else:
            self._construct(units)

    def _construct(self, units: Sequence[int] | Ints) -> None:
        put_all(self.pool, np.asarray(units, dtype=np.int64))
        shuffle(self.pool)
        for part in _listed(np.flatnonzero(self.state.rows[:, TYPE] != CLOSED)):
            if not self.watch.is_over():
                fill_open(self.tables, self.state, self.pool, self.items, part, self._last)
        before = _copied(self.state) if self.pool.book[SIZE] <= FEW_UNITS else None
        waiting = self.pool.units[: self.pool.book[SIZE]].copy()
        self._build_around(self._first)
        self._build(self._last)
        left = self._forget_waiting()
        self._best, self._near, self._promise = _copied(self.state), None, None
        if before is not None:
            self._try_plainly(before, waiting, left)

    def _try_plainly(self, before: State, waiting: Ints, left: int) -> None:
        """Build another time, opening what earns most: among few units that may well be better."""
        self.state, self._free = before, _closed_rows(before)
        reset(self.worth, self.tables)
        put_all(self.pool, waiting)
        self._build(self._last)
        found = self._forget_waiting(), int(self.state.totals[OPEN_COST])
        if found < (left, self.cost):
            self._best = _copied(self.state)
        self._restore()

    def _forget_waiting(self) -> int:
        """Leave those out that find no room: they wait no more. Returns how many they were."""
        size = int(self.pool.book[SIZE])
        self.pool.position[self.pool.units[:size]] = -1
        self.pool.book[SIZE] = 0
        return size

    def _build_around(self, taste: Taste, least: float = LEAST_SHARDS) -> None:
        """Open shards that earn nearly all of their price, at prices that follow those that still wait.

        It ends where what waits is worth less than ``least`` shards.
        """
        enough = list(ENOUGH)
        while enough and not self.watch.is_over():
            relearn(self.worth, self.tables, self.pool, self._types_left())
            shards = self._waiting_shards()
            if shards < least:
                return
            wanted = max(1, min(AT_ONCE_BUILT, int(BATCH * shards)))
            desk = self.pool, self.items, self._free
            if build_around(self.tables, self.state, *desk, taste, wanted, enough[0]) < SUCCESS * wanted:
                enough.pop(0)
            if self._free.size[0] < AT_ONCE_BUILT:
                self._grow()

    def _types_left(self) -> Ints:
        """Return the types of which more may be bought."""
        return np.array(
            [i for i in self.everything if may_open(self.tables, self.state, int(i))], dtype=np.int64
        )

    def _waiting_shards(self) -> float:
        """Return how many shards of its best type, roughly, all that waits is worth."""
        waiting = self.pool.units[: self.pool.book[SIZE]]
        kinds = self.tables.units[waiting, KIND]
        price = np.maximum(self.tables.types[np.argmin(self.tables.loss[:, kinds], axis=0), PRICE], 1)
        return float((self.tables.value[kinds] / price).sum())

    def _build(self, taste: Taste) -> None:
        """Open shards for those that wait as long as something fits and there is time."""
        desk, types = (self.pool, self.items), (self.types, self.everything)
        while not self.watch.is_over():
            if not build(self.tables, self.state, *desk, self._free, types, taste, AT_ONCE):
                return
            if self._free.size[0] == 0:
                self._grow()

    def _grow(self) -> None:
        """Make room for more rows."""
        state, size = self.state, len(self.state.rows)
        more = max(64, size // 2)
        rows = np.concatenate((state.rows, np.zeros((more, state.rows.shape[1]), dtype=np.int64)))
        rows[size:, TYPE] = CLOSED
        cells = np.concatenate((state.cells, np.zeros((more, *state.cells.shape[1:]), dtype=np.int64)))
        self.state = state._replace(rows=rows, cells=cells)
        self._free = _closed_rows(self.state)

    # ------------------------------------------------------------------------------------------------ parts

    def construct_apart(self, parts: list[Ints], work: int, tell: Tell | None = None) -> None:
        """Build the parts of an empty fleet, improve them, and put them together.

        As many parts at a time as there are cores are at work; ``tell`` hears of all of them between steps.
        """
        empty = self._best
        with ThreadPoolExecutor(max_workers=min(len(parts), os.cpu_count() or 1)) as threads:
            self._take_in(empty, list(threads.map(self._built_part, parts, self._seeds(len(parts)))))
            self._best = self.near
            self._restore()
            self._construct(self._left_out(parts))
            steps = HUGE_STEPS if len(self.tables.units) > HUGE_UNITS else STEPS
            for step in range(steps):
                left = work - self.spent
                if tell is not None:
                    tell(self.cost, int((self._best.units[:, ROW] < 0).sum()))
                if left <= 0 or self.watch.is_over() or shares_domains(self.tables):
                    break
                each = [max(1, left // ((steps - step) * len(parts)))] * len(parts)
                dealt, seeds = self._dealt_out(len(parts)), self._seeds(len(parts))
                self._lenience = LENIENCE * (1.0 - (step + 1) / steps)
                self._take_in(empty, list(threads.map(self._improved_part, dealt, seeds, each)))
        self._lenience = 0.0
        self._restore()

    def _seeds(self, count: int) -> list[int]:
        seeds: list[int] = self._rng.integers(2**31, size=count).tolist()
        return seeds

    def _dealt_out(self, parts: int) -> list[Part]:
        """Return where the search is, all open shards in so many parts."""
        dealt = deal_out(self.tables, self.near, parts, self._rng)
        return [part_of_rows(self.tables, self.near, rows, AT_ONCE_BUILT) for rows in dealt]

    def _take_in(self, empty: State, fleets: list[tuple[Ints, Fleet]]) -> None:
        """Put parts together: the best of each if that is cheaper, and where each search is."""
        self._apart += sum(int(fleet.pool.book[SPENT]) for _, fleet in fleets)
        best = join(empty, [Part(units=units, state=fleet.best) for units, fleet in fleets])
        near = join(empty, [Part(units=units, state=fleet.near) for units, fleet in fleets])
        if best.totals[OPEN_COST] < self.cost:
            self._best = best
        self._near, self._promise = near, None

    def _part(self, part: Part, seed: int) -> Fleet:
        """Return a fleet of some of the units only, in shards of their own."""
        fleet = copy.copy(self)
        fleet.tables, fleet.worth = cut(self.tables, self.worth, part.units)
        fleet._apart = 0  # noqa: SLF001 - a fleet, too
        fleet._start(part.state, seed)  # noqa: SLF001
        return fleet

    def _built_part(self, units: Ints, seed: int) -> tuple[Ints, Fleet]:
        """Return a fleet of some of the units, in new shards."""
        tables = self.tables._replace(units=self.tables.units[units])
        fleet = self._part(Part(units=units, state=make_state(tables, AT_ONCE_BUILT)), seed)
        fleet._begin(np.arange(len(units)))  # noqa: SLF001
        return units, fleet

    def _begin(self, units: Ints) -> None:
        """Build while many wait; those that are left over wait for what other parts leave over."""
        put_all(self.pool, units)
        shuffle(self.pool)
        self._build_around(self._first, LEFT_OVER_SHARDS)
        self._forget_waiting()
        self._best = _copied(self.state)

    def _left_out(self, parts: list[Ints]) -> Ints:
        """Return the units of some parts that are not placed."""
        units = np.concatenate(parts)
        return np.sort(units[self._best.units[units, ROW] < 0])

    def _improved_part(self, part: Part, seed: int, work: int) -> tuple[Ints, Fleet]:
        """Return a fleet of some of the shards, improved by so many units of work."""
        fleet = self._part(part, seed)
        while fleet.spent < work and fleet.can_improve() and not fleet.watch.is_over():
            fleet.improve()
        return part.units, fleet

    @property
    def best(self) -> State:
        """The best fleet so far."""
        return self._best

    @property
    def near(self) -> State:
        """What the search is at: the best, or what may become better."""
        return self._best if self._near is None else self._near

    # -------------------------------------------------------------------------------------------- improving

    def can_improve(self) -> bool:
        """Return whether there is a shard that may be closed."""
        rows = self.state.rows
        return bool(((rows[:, TYPE] != CLOSED) & (rows[:, FIXED] == 0)).any())

    def improve(self) -> bool:
        """Dissolve, exchange and build once; returns whether that found something cheaper."""
        listed = self._open_rows()
        self.pool.book[SPENT] += ROUND_A_UNIT * len(self.tables.units)
        reset(self.worth, self.tables)
        if self._promise is None:
            self._near, self._value = self.near, self.tables.value.copy()
            self._promise = promised_cost(self.tables, self._near, self._value, PROMISING)
        most = PARTS[self._first is DEEP and self._many]
        wanted = max(2, int(self._rng.uniform(0.3, 1.0) * most * len(listed)))
        dissolve(self.tables, self.state, self.pool, self._free, listed, wanted, BLUR)
        shuffle(self.pool)
        for part in _listed(self._rng.permutation(self._open_rows())):
            if not self.watch.is_over():
                sweep(self.tables, self.state, self.pool, self.items, part, self._later)
        if len(listed) > FEW_SHARDS or self._rng.random() < PART_AROUND:
            self._build_around(self._first)
        self._build(self._last)
        return self._judge()

    def _judge(self) -> bool:
        """Keep what promises more, and what is cheaper than all; returns whether it is cheaper."""
        if self.pool.book[SIZE]:
            self._forget_waiting()
            self._restore()
            return False
        promise = promised_cost(self.tables, self.state, self._value, PROMISING)
        assert self._promise is not None
        if promise > self._promise + self._worse():
            self._restore()
            return False
        cheaper = int(self.state.totals[OPEN_COST]) < self.cost
        self._promise, self._near = promise, _copied(self.state)
        if cheaper:
            self._best = self._near
        return cheaper

    def _worse(self) -> float:
        """Return by how much less may be promised this time: at random, so that the search gets around."""
        if self._lenience == 0.0:
            return 0.0
        totals = self.state.totals
        return float(self._lenience * self._rng.random() * totals[OPEN_COST] / max(1, totals[OPEN_SHARDS]))

    def _open_rows(self) -> Ints:
        rows = self.state.rows
        return np.flatnonzero((rows[:, TYPE] != CLOSED) & (rows[:, FIXED] == 0))

    def _restore(self) -> None:
        self.state = _copied(self.near)
        self._free = _closed_rows(self.state)


def _listed(rows: Ints) -> list[Ints]:
    return [rows[start : start + AT_ONCE] for start in range(0, len(rows), AT_ONCE)]


def _copied(state: State) -> State:
    return State(*(part.copy() for part in state))


def _closed_rows(state: State) -> Rows:
    closed = np.flatnonzero(state.rows[:, TYPE] == CLOSED)[::-1]
    free = np.zeros(len(state.rows), dtype=np.int64)
    free[: len(closed)] = closed
    return Rows(free=free, size=np.array([len(closed)], dtype=np.int64))


def _rows_needed(problem: Problem, tables: Tables) -> int:
    """Return how many shards are surely enough at first: there may be more."""
    worth: Floats = tables.value[np.maximum(tables.units[:, KIND], 0)]
    paid = problem.prices[problem.prices > 0]
    cheapest = int(paid.min()) if len(paid) else 1
    return min(len(problem.units), 64 + int(2 * worth.sum() / cheapest)) + 8


def _kin(tables: Tables) -> tuple[Ints, Ints]:
    """Return all units by home and backend, and of each place the last one of the same home and backend.

    Of these the first are those with most room for loading.
    """
    kind, width = np.maximum(tables.units[:, KIND], 0), tables.rule[DIMENSIONS]
    way, backend = np.maximum(tables.units[:, HOME], 0), tables.demand[0, kind, width + BACKEND]
    order = np.lexsort((-tables.demand[way, kind, width + EXTRA], backend, way))
    ends = np.flatnonzero(np.diff(way[order]) | np.diff(backend[order]))
    ends = np.append(ends, len(order) - 1)
    return order, ends[np.searchsorted(ends, np.arange(len(order)))]
