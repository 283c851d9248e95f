"""A whole packing from nothing: what is special first, then shard by shard, then one by one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from planner.solve.core.fleet import Fleet
from planner.solve.filling import Filler, Pool, Style, fill_at_home, fill_by_worth, fill_open
from planner.solve.guide import Advice
from planner.solve.heuristics import insert_all, largest_first, open_required
from planner.solve.packing import Packing
from planner.solve.problem import Problem
from planner.solve.watch import Watch


def construct(
    problem: Problem, advice: Advice, *, seed: int, watch: Watch, by_priority: bool = False
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
    by_priority
        Whether each priority is packed before the next one is looked at: the right thing in a fleet that is
        too small, and dearer in one that is not.

    Returns
    -------
        The packing; and the search that made it, if it made all of it.
    """
    packing = Packing(problem)
    open_required(packing)
    fleet = None
    for units in _levels(problem, by_priority=by_priority):
        packing, fleet = extend(packing, units, advice, seed=seed, watch=watch)
    return packing, None if by_priority else fleet


def _levels(problem: Problem, *, by_priority: bool) -> list[list[int]]:
    everything = range(len(problem.units))
    if not by_priority:
        return [list(everything)]
    levels = sorted({unit.priority for unit in problem.units}, reverse=True)
    return [[i for i in everything if problem.units[i].priority == level] for level in levels]


def is_bought(problem: Problem) -> bool:
    """Return whether all shards are bought: those on nodes are opened one by one, and not by the fleet."""
    types = problem.scenario.shard_types
    return bool(types) and all(item.provision == "new" for item in types)


def extend(
    packing: Packing, units: Sequence[int], advice: Advice, *, seed: int, watch: Watch
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
    fleet = None
    if is_bought(problem) and simple:
        fleet = Fleet(packing, advice, seed=seed, watch=watch)
        fleet.construct(simple)
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
                watch=watch,
            )
        )
    waiting = [unit for unit in simple if packing.row_of_unit[unit] is None]
    insert_all(packing, waiting, advice.shares, watch)
    return packing, None if waiting else fleet


def _fill(filler: Filler) -> None:
    fill_open(filler)
    fill_at_home(filler)
    fill_by_worth(filler)
