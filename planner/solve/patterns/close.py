"""Closing the gap: every pattern that a plan of one shard less could use, given to CP-SAT.

A plan of so many shards wastes, over all of them, what they cost above what their patterns are worth by the
values of the bound. So a pattern that wastes more by itself is in no such plan, and where few are left an
exact search over them finds such a plan or proves that there is none (enumeration by reduced costs, as
Baldacci and others do for vehicle routes since 2008).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.solve.exact.cover import cover
from planner.solve.exact.master import Shares
from planner.solve.options import Effort
from planner.solve.patterns.bound import SCALE
from planner.solve.patterns.columns import Column, Columns, Pattern, as_integers, named, pattern_of
from planner.solve.patterns.pricing import list_full, search_each

MOST_PATTERNS, LIST_WORK = 3_000, 20_000_000
"""Patterns up to which CP-SAT mostly has an answer in a second, and the work to list them: a few tenths."""

COVER_TIME = 1.0
"""CP-SAT's deterministic time, roughly seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """An answer: the patterns of a plan, None if none are known; and whether it is proved that none exist."""

    plan: tuple[Column, ...] | None
    impossible: bool


def close(columns: Columns, shares: Shares, *, shards: int, seed: int) -> Closed:
    """Return a plan of at most so many shards, or that there is none, or neither where that is too much.

    Parameters
    ----------
    columns
        Of one shard type, with nothing fixed.
    shares
        A solution of its master; any would do, an optimal one leaves fewest patterns.
    shards
        One less than are known to suffice.
    seed
        Of the engine.
    """
    patterns = _candidates(columns, shares, shards)
    if patterns is None or columns.purse.left <= 0:
        return Closed(plan=None, impossible=False)
    effort = Effort(
        deterministic_time=min(COVER_TIME, columns.purse.left / 2),
        limit_s=columns.purse.watch.left_s(),
        workers=1,
        seed=seed,
    )
    found = cover(columns.demand, patterns, shards, effort)
    columns.purse.spend(proof=found.spent)
    plan = None
    if found.chosen is not None:
        plan = tuple(Column(shard_type=0, pattern=patterns[number]) for number in found.chosen)
    return Closed(plan=plan, impossible=found.impossible)


def _candidates(columns: Columns, shares: Shares, shards: int) -> list[Pattern] | None:
    """Return every full pattern that so many shards may hold; None if there are too many.

    A plan stays one if every shard is filled up with units that are elsewhere too, so full patterns suffice.
    """
    values = np.maximum(as_integers(shares.worth), 1)  # what is worth nothing has to be placed as well
    known, knapsack = columns.knapsack(0, values)
    limit = columns.limit(columns.pricing.proof)
    *_, most_worth, work = search_each(knapsack, 1, SCALE, limit, limit)
    waste = shards * SCALE - int(values @ columns.demand) + (shards - 1) * (most_worth - SCALE)
    sizes, patterns, complete, listing = list_full(knapsack, SCALE - waste - 1, MOST_PATTERNS, LIST_WORK)
    columns.purse.spend(search=work + listing)
    return [pattern_of(item) for item in named(known, sizes, patterns)] if complete else None
