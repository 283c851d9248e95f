"""A packing in another mix of shards: some are closed, some opened, and everything finds its place anew."""

from __future__ import annotations

import numpy as np

from planner.solve.core.bridge import packing_of, state_of
from planner.solve.core.fill import empty_row
from planner.solve.core.items import make_items
from planner.solve.core.pool import SPENT, Pool, make_pool
from planner.solve.core.state import CLOSED, FIXED, HELD, TYPE, State, close_row, may_open, open_row
from planner.solve.core.tables import make_tables
from planner.solve.core.worth import make_worth, reset
from planner.solve.exact.mix import Mix
from planner.solve.guide import Advice
from planner.solve.mixes.ejection import squeeze
from planner.solve.packing import Packing
from planner.solve.problem import Problem
from planner.solve.watch import Watch

SLICE = 500_000
"""Work between two looks at the clock: tenths of a second."""


class Repacker:
    """Puts a problem's units into given mixes.

    Parameters
    ----------
    problem, advice
        What is placed, and what it is worth.
    seed
        Of all random choices.
    watch
        When to stop.
    """

    def __init__(self, problem: Problem, advice: Advice, *, seed: int, watch: Watch) -> None:
        kinds, types = len(problem.modes[0].allowed), len(problem.prices)
        self.tables = make_tables(problem, np.zeros(kinds), np.zeros((types, kinds)), advice.guide.home)
        self.worth = make_worth(problem, advice.relaxation, advice.prices)
        reset(self.worth, self.tables)
        self.items, self.watch = make_items(self.tables, 1), watch
        self.spent = 0
        self._rng = np.random.default_rng(seed)

    def repack(self, packing: Packing, mix: Mix, work: int) -> Packing | None:
        """Return everything in a mix of shards; None if that is not found with so much work.

        Parameters
        ----------
        packing
            Where everything is now; it is not changed.
        mix
            Shards of each type.
        work
            Sets of residents that may be looked at.
        """
        units = np.arange(len(packing.problem.units))
        state = state_of(packing, self.tables, sum(mix))
        pool = make_pool(units, units, int(self._rng.integers(2**31)))
        if not any(mix) or not self._exchange(state, pool, mix):
            return None
        rows = np.flatnonzero(state.rows[:, TYPE] != CLOSED)
        dear, done = np.ones(len(units)), False
        while not done and pool.book[SPENT] < work and not self.watch.is_over():
            until = min(work, int(pool.book[SPENT]) + SLICE)
            done = squeeze(self.tables, state, pool, self.items, rows, dear, until)
        self.spent += int(pool.book[SPENT])
        return packing_of(state, self.tables, packing) if done else None

    def _exchange(self, state: State, pool: Pool, mix: Mix) -> bool:
        """Close and open shards until there are as many of each type as asked; returns whether that works."""
        for shard_type, wanted in enumerate(mix):
            rows = np.flatnonzero(state.rows[:, TYPE] == shard_type)
            movable = rows[(state.rows[rows, FIXED] == 0) & (state.rows[rows, HELD] == 0)]
            surplus = max(0, len(rows) - wanted)
            if surplus > len(movable):
                return False
            for row in self._rng.permutation(movable)[:surplus]:
                empty_row(self.tables, state, pool, row)
                close_row(self.tables, state, row)
        for shard_type, wanted in enumerate(mix):
            missing = wanted - int((state.rows[:, TYPE] == shard_type).sum())
            for row in np.flatnonzero(state.rows[:, TYPE] == CLOSED)[: max(0, missing)]:
                if not may_open(self.tables, state, shard_type):
                    return False
                open_row(self.tables, state, row, shard_type)
        return True
