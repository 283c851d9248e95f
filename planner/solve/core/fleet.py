"""The compiled search over a whole fleet, round by round."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from planner.solve.core.bridge import packing_of, state_of
from planner.solve.core.fill import Rows, Taste
from planner.solve.core.items import make_items
from planner.solve.core.pool import SIZE, SPENT, Pool, make_pool, put, shuffle
from planner.solve.core.search import build, dissolve, fill_open, sweep
from planner.solve.core.state import CLOSED, FIXED, OPEN_COST, TYPE, State
from planner.solve.core.tables import (
    BACKEND,
    DIMENSIONS,
    EXTRA,
    HOME,
    KIND,
    Floats,
    Tables,
    make_tables,
)
from planner.solve.core.worth import Worth, apply, learn, make_worth
from planner.solve.guide import Advice
from planner.solve.packing import Packing
from planner.solve.problem import Ints, Problem
from planner.solve.watch import Watch

EVALUATIONS = 1_000_000
"""Of candidates and sets of them, in one unit of work: about a tenth of a second."""

CANDIDATES = 128
"""That a device chooses from at once; more cost time and hardly pack better."""

FIRST, LATER = (
    Taste(alignment=1.0, reluctance=8.0, noise=0.0, loss=np.inf, depth=1, rounds=6),
    Taste(alignment=1.0, reluctance=8.0, noise=0.1, loss=np.inf, depth=1, rounds=6),
)
RATE, PART, BLUR = 0.5, 0.1, 0.1
"""How fast prices follow, the largest part of the fleet that is dissolved at once, and how randomly."""

WORSE = 1.003
"""A fleet that costs so much more than the best one is given up for it."""


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
    """

    def __init__(self, packing: Packing, advice: Advice, *, seed: int, watch: Watch) -> None:
        self.before, self.watch = packing, watch
        problem = packing.problem
        kinds = len(problem.modes[0].allowed)
        types = len(problem.prices)
        self.tables: Tables = make_tables(
            problem, np.zeros(kinds), np.zeros((types, kinds)), advice.guide.home
        )
        self.worth: Worth = make_worth(problem, advice.relaxation, advice.prices)
        apply(self.worth, self.tables)
        self.pool: Pool = make_pool(_kin(self.tables), seed)
        self.items = make_items(self.tables, CANDIDATES)
        self.state: State = state_of(packing, self.tables, _rows_needed(problem, self.tables))
        self.everything = np.arange(types)
        self.types = np.array(advice.guide.types or range(types), dtype=np.int64)
        self._free = _closed_rows(self.state)
        self._best = _copied(self.state)
        self._rng = np.random.default_rng(seed)

    @property
    def spent(self) -> int:
        """Units of work so far."""
        return int(self.pool.book[SPENT]) // EVALUATIONS

    @property
    def cost(self) -> int:
        """Price of the best fleet so far, in micro-USD an hour."""
        return int(self._best.totals[OPEN_COST])

    def packing(self) -> Packing:
        """Return the best fleet so far."""
        return packing_of(self._best, self.tables, self.before)

    # --------------------------------------------------------------------------------------------- building

    def construct(self, units: Iterable[int]) -> None:
        """Place simple units into open and new shards; those that find no room, or no time, stay out."""
        for unit in units:
            put(self.pool, unit)
        shuffle(self.pool)
        rows = np.flatnonzero(self.state.rows[:, TYPE] != CLOSED)
        for part in _parts(rows):
            if not self.watch.is_over():
                fill_open(self.tables, self.state, self.pool, self.items, part, FIRST)
        self._build(FIRST)
        self._forget_waiting()
        self._best = _copied(self.state)

    def _forget_waiting(self) -> None:
        """Leave those out that find no room: they wait no more."""
        size = int(self.pool.book[SIZE])
        self.pool.position[self.pool.units[:size]] = -1
        self.pool.book[SIZE] = 0

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

    # -------------------------------------------------------------------------------------------- improving

    def can_improve(self) -> bool:
        """Return whether there is a shard that may be closed."""
        rows = self.state.rows
        return bool(((rows[:, TYPE] != CLOSED) & (rows[:, FIXED] == 0)).any())

    def improve(self) -> bool:
        """Dissolve, exchange and build once; returns whether that found something cheaper."""
        listed = self._open_rows()
        learn(self.worth, self.tables, self.state, listed, RATE)
        wanted = max(2, int(self._rng.uniform(0.3, 1.0) * PART * len(listed)))
        dissolve(self.tables, self.state, self.pool, self._free, listed, wanted, BLUR)
        shuffle(self.pool)
        rows = self._rng.permutation(self._open_rows())
        for part in _parts(rows):
            if not self.watch.is_over():
                sweep(self.tables, self.state, self.pool, self.items, part, LATER)
        self._build(LATER)
        cost, best = int(self.state.totals[OPEN_COST]), self.cost
        if self.pool.book[SIZE] or cost > best * WORSE:
            self._forget_waiting()
            self._restore()
            return False
        if cost <= best:
            self._best = _copied(self.state)
        return cost < best

    def _open_rows(self) -> Ints:
        rows = self.state.rows
        return np.flatnonzero((rows[:, TYPE] != CLOSED) & (rows[:, FIXED] == 0))

    def _restore(self) -> None:
        self.state = _copied(self._best)
        self._free = _closed_rows(self.state)


def _parts(rows: Ints) -> list[Ints]:
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


def _kin(tables: Tables) -> Ints:
    """Return all units so that those of a home and a backend with as much room for loading are neighbours."""
    kind, width = np.maximum(tables.units[:, KIND], 0), tables.rule[DIMENSIONS]
    way = np.maximum(tables.units[:, HOME], 0)
    surplus = tables.demand[way, kind, width + EXTRA]
    return np.lexsort((-surplus, tables.demand[0, kind, width + BACKEND], tables.units[:, HOME]))
