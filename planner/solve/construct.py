"""A whole packing from nothing: what is special first, then shard by shard, then one by one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from planner.solve.filling import Filler, Pool, Style, fill_at_home, fill_by_worth, fill_open
from planner.solve.guide import Advice
from planner.solve.heuristics import insert_all, largest_first, open_required
from planner.solve.packing import Packing
from planner.solve.problem import Problem
from planner.solve.watch import Watch


def construct(  # noqa: PLR0913 - what to pack, how, and until when
    problem: Problem,
    advice: Advice,
    *,
    style: Style,
    rng: np.random.Generator,
    watch: Watch,
    by_priority: bool = False,
) -> Packing:
    """Return a packing of as many units as find room until the time is up.

    Parameters
    ----------
    problem, advice
        What is packed, and what the relaxation says of it.
    style, rng
        How devices choose.
    watch
        When to stop; what is not placed then stays so.
    by_priority
        Whether each priority is packed before the next one is looked at: the right thing in a fleet that is
        too small, and dearer in one that is not.
    """
    packing = Packing(problem)
    open_required(packing)
    for units in _levels(problem, by_priority=by_priority):
        extend(packing, units, advice, style=style, rng=rng, watch=watch)
    return packing


def _levels(problem: Problem, *, by_priority: bool) -> list[list[int]]:
    everything = range(len(problem.units))
    if not by_priority:
        return [list(everything)]
    levels = sorted({unit.priority for unit in problem.units}, reverse=True)
    return [[i for i in everything if problem.units[i].priority == level] for level in levels]


def extend(  # noqa: PLR0913 - what to pack, how, and until when
    packing: Packing,
    units: Sequence[int],
    advice: Advice,
    *,
    style: Style,
    rng: np.random.Generator,
    watch: Watch,
) -> None:
    """Place further units into a packing, as far as there is room and time."""
    problem = packing.problem
    wanted = set(units)
    order = [unit for unit in largest_first(advice.shares) if unit in wanted]
    special = [unit for unit in order if not problem.units[unit].simple]
    special.sort(key=lambda unit: problem.units[unit].pin is None)
    insert_all(packing, special, advice.shares, watch)
    pool = Pool(problem, (u for u in order if problem.units[u].simple), advice.guide.home)
    filler = Filler(packing, pool, advice.guide, style=style, rng=rng, watch=watch)
    fill_open(filler)
    fill_at_home(filler)
    fill_by_worth(filler)
    waiting = set(pool.units())
    insert_all(packing, [unit for unit in order if unit in waiting], advice.shares, watch)
