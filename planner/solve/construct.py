"""A whole packing from nothing: what is special first, then shard by shard, then one by one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from planner.solve.core.fleet import MANY_UNITS, Fleet, Tell
from planner.solve.filling import Filler, Pool, Style, fill_at_home, fill_by_worth, fill_open
from planner.solve.guide import Advice
from planner.solve.heuristics import insert_all, largest_first, open_required
from planner.solve.packing import Packing
from planner.solve.problem import Problem
from planner.solve.watch import Watch


def construct(  # noqa: PLR0913 - the settings of a search
    problem: Problem, advice: Advice, *, seed: int, watch: Watch, work: int = 0, tell: Tell | None = None
) -> tuple[Packing, Fleet | None]:
    """Return a packing of as many units as find room until the time is up.

    Parameters
    ----------
    problem, advice
        What is packed, and what the relaxation says of it.
    seed
        Of all random choices.
    watch
        When to stop; what is not placed then stays so.
    work, tell
        What may be spent on improving the parts of a large fleet, and who hears of it.

    Returns
    -------
        The packing; and the search that made it, if it made all of it.
    """
    packing = Packing(problem)
    open_required(packing)
    return extend(packing, range(len(problem.units)), advice, seed=seed, watch=watch, work=work, tell=tell)


def construct_by_priority(problem: Problem, advice: Advice, *, seed: int, watch: Watch) -> Packing:
    """Return a packing in which each priority is packed before the next one is looked at.

    It is the right thing in a fleet that is too small, and dearer in one that is not.
    """
    packing = Packing(problem)
    open_required(packing)
    for level in sorted({unit.priority for unit in problem.units}, reverse=True):
        units = [i for i, unit in enumerate(problem.units) if unit.priority == level]
        packing, _ = extend(packing, units, advice, seed=seed, watch=watch)
    return packing


MOST_IN_A_SHARD = 48
"""Units in a shard that the compiled search handles well; of more it looks at too few."""


INSERTING_S_A_UNIT, INSERTED_UNITS = 150e-6, 20_000
"""Seconds of placing one unit after the others, measured 110e-6 up to 10,000 units; and up to how many."""


DEEP_WORK_A_UNIT, DEEP_S_A_UNIT = (0.0045, 0.0025), 0.6e-3
"""Work that a deep construction takes for each unit, measured 0.040 to 0.045, and of many, half of that; and
the time limit that it asks for: it takes up to 0.8e-3 seconds of a core."""


SEARCH_S = 1.0
"""Seconds that a search needs to find anything: machine code, tables and the first shards take most of it."""


def suits_fleet(problem: Problem, advice: Advice) -> bool:
    """Return whether the compiled search takes a problem.

    All shards are bought, because those on nodes are opened one by one; and few models share one, as far as
    the relaxation knows.
    """
    types, guide = problem.scenario.shard_types, advice.guide
    if not types or any(item.provision != "new" for item in types):
        return False
    price = np.where(guide.home >= 0, problem.prices[guide.home], problem.prices.max())
    value = guide.value[[unit.members[0] for unit in problem.units]]
    shards = float((value / np.maximum(price, 1)).sum())
    return len(problem.units) <= MOST_IN_A_SHARD * max(shards, 1.0)


def extend(  # noqa: PLR0913 - the settings of a search
    packing: Packing,
    units: Sequence[int],
    advice: Advice,
    *,
    seed: int,
    watch: Watch,
    work: int = 0,
    tell: Tell | None = None,
) -> tuple[Packing, Fleet | None]:
    """Place further units, as far as there is room and time.

    Returns the packing, and the search that made it if every simple unit found its place there.
    """
    problem = packing.problem
    wanted = np.zeros(len(problem.units), dtype=np.bool_)
    wanted[units] = True
    order = [unit for unit in largest_first(advice.shares) if wanted[unit]]
    special = [unit for unit in order if not problem.units[unit].simple]
    special.sort(key=lambda unit: problem.units[unit].pin is None)
    insert_all(packing, special, advice.shares, watch)
    simple = [unit for unit in order if problem.units[unit].simple]
    fleet, early = None, watch.before(_inserting_s(len(simple)))
    left_s = early.left_s()
    if left_s is not None and left_s < SEARCH_S:
        pass  # there is hardly time to start
    elif simple and suits_fleet(problem, advice):
        deep = _has_time_for_pairs(len(simple), work, watch)
        fleet = Fleet(packing, advice, seed=seed, watch=early, deep=deep)
        fleet.construct(simple, work, tell)
        fleet.watch = watch
        packing = fleet.packing()
    elif simple:
        rng = np.random.default_rng(seed)
        _fill(
            Filler(
                packing,
                Pool(problem, simple, advice.guide.home),
                advice.guide,
                style=Style(),
                rng=rng,
                watch=early,
            )
        )
    waiting = [unit for unit in simple if packing.row_of_unit[unit] is None]
    insert_all(packing, waiting, advice.shares, watch)
    return packing, None if waiting else fleet


def _inserting_s(units: int) -> float:
    """Return seconds to keep for placing one by one what a search that the clock stops leaves; 0 is none.

    Placing so takes a tenth of the time of the search, at a third to a half more cost. So many units that it
    could not get far are left to the search.
    """
    return INSERTING_S_A_UNIT * units if units <= INSERTED_UNITS else 0.0


def _has_time_for_pairs(units: int, work: int, watch: Watch) -> bool:
    """Return whether a deep construction leaves anything of the work and of the time that is asked for."""
    limit_s = watch.limit_s
    each = DEEP_WORK_A_UNIT[units > MANY_UNITS]
    return work >= each * units and (limit_s is None or limit_s >= DEEP_S_A_UNIT * units)


def _fill(filler: Filler) -> None:
    fill_open(filler)
    fill_at_home(filler)
    fill_by_worth(filler)
