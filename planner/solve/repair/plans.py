"""What the rest of the solver calls: a placement in, one with few moves out, and a bound on the moves."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from planner.domain.difference import count_moves
from planner.domain.placement import Placed, Placement
from planner.solve.heuristics import largest_first, price_shares
from planner.solve.problem import Bools, Ints, Problem
from planner.solve.repair.relief import evict_conflicts, go_home, relieve_all, settle
from planner.solve.repair.room import ROOMY, TIGHT, copy_of, state_of
from planner.solve.repair.saving import empty_rows, level_out
from planner.solve.repair.sites import Sites, sites_of
from planner.solve.repair.tables import ALIVE, KIND, MASK, NOWHERE, RANK, ROW, State
from planner.solve.watch import Watch

_ADMITTED = 100
"""Units for which room is made at most: each looks at all shards."""

_NO_SHARD = ""
"""The shard of what has none yet: no name is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """A placement with as few changes as were found to make it legal.

    Parameters
    ----------
    placement
        Shards as before; replicas that found no seat on them are left out.
    homeless
        How many those are, of the replicas that the scenario still knows.
    at_least
        So many replicas have another seat, or none, in every legal placement.
    """

    placement: Placement
    homeless: int
    at_least: int


def repair(problem: Problem, base: Placement) -> Repaired:
    """Return a placement without overload, in which as little as possible moved; no shard is opened."""
    sites = sites_of(problem, base)
    start = state_of(sites)
    evict_conflicts(sites.demand, start)
    best, least = _relieved(sites, start, ROOMY)
    if (best.seats[:, ROW] == NOWHERE).any():
        other, _ = _relieved(sites, start, TIGHT)
        best = min(
            (best, other),
            key=lambda state: (np.count_nonzero(state.seats[:, ROW] == NOWHERE), _moved(sites, state)),
        )
    return Repaired(
        placement=_placement(sites, best),
        homeless=int(np.count_nonzero(best.seats[:, ROW] == NOWHERE)),
        at_least=_at_least(sites, least),
    )


def admit(
    problem: Problem, placement: Placement, base: Placement, *, most_moves: int, watch: Watch
) -> Placement:
    """Return a legal placement that holds more, with room made by few moves; parameters as ``save``.

    At most ``_ADMITTED`` units are tried, important ones first, then small ones, until the time is up. Units
    of several models or devices and pinned ones are left out.
    """
    waiting = _waiting(problem, placement)
    sites = sites_of(problem, Placement(shards=placement.shards, placed=(*placement.placed, *waiting)))
    items = {item: index for index, item in enumerate(sites.placed)}
    if len(sites.unsettled) > len(waiting):
        return placement  # something is seated where these arrays do not reach
    state, at_home = state_of(sites), _at_home(sites, base)
    left = most_moves - count_moves(base, placement)
    for item in waiting:
        if watch.is_over():
            break
        before = copy_of(state)
        settle(sites.demand, state, items[item], TIGHT)
        changed = (state.seats[:, [ROW, MASK, RANK]] != sites.seats).any(axis=1)
        if np.count_nonzero(changed & at_home) > left:
            state = before
    return _placement(sites, state)


def _waiting(problem: Problem, placement: Placement) -> list[Placed]:
    """Return the simple units that a placement does not hold, on no shard that there is; the best first."""
    held = {(item.model, item.replica) for item in placement.placed}
    models, units = problem.scenario.models, problem.units
    simple = [unit for unit in reversed(largest_first(price_shares(problem))) if units[unit].simple]
    found = [
        Placed(model=model.name, replica=units[unit].replica, shard=_NO_SHARD, devices=())
        for unit in sorted(simple, key=lambda unit: -units[unit].priority)
        if ((model := models[units[unit].members[0]]).name, units[unit].replica) not in held
    ]
    return found[:_ADMITTED]


def save(problem: Problem, placement: Placement, base: Placement, *, most_moves: int) -> Placement:
    """Return a legal placement at less cost, with the shards gone that are not worth their moves.

    Parameters
    ----------
    placement
        What is changed: legal.
    base
        What is in force: its replicas are counted as moves if they have another seat than there.
    most_moves
        Moves in all, those from the base to ``placement`` among them.
    """
    sites = sites_of(problem, placement)
    state, at_home = state_of(sites), _at_home(sites, base)
    left = most_moves - count_moves(base, placement)
    if left > 0:
        empty_rows(sites.demand, state, at_home, _values(sites), left)
    after = _placement(sites, state)
    names = {shard.name for row, shard in enumerate(sites.shards) if not state.rows[row, ALIVE]}
    return Placement(shards=tuple(s for s in after.shards if s.name not in names), placed=after.placed)


def level(problem: Problem, placement: Placement, base: Placement, *, most_moves: int) -> Placement:
    """Return a legal placement whose fullest shards are emptier, at the same cost; parameters as ``save``."""
    sites = sites_of(problem, placement)
    state, at_home = state_of(sites), _at_home(sites, base)
    left = most_moves - count_moves(base, placement)
    if left > 0:
        level_out(sites.demand, state, at_home, left)
    return _placement(sites, state)


def _at_home(sites: Sites, base: Placement) -> Bools:
    seats = set(base.placed)
    return np.array([item in seats for item in sites.placed], dtype=np.bool_)


def _values(sites: Sites) -> Ints:
    """Return what each shard's end saves; of a type only as many may end as are above its ``minCount``."""
    types = sites.problem.scenario.shard_types
    pinned = {model.pin.shard for model in sites.problem.scenario.models if model.pin}
    spare = {item.name: -item.min_count for item in types}
    for shard in sites.shards:
        spare[shard.shard_type] += 1
    values = []
    for shard, opening in reversed(list(zip(sites.shards, sites.openings, strict=True))):
        may_end = shard.name not in pinned and spare[shard.shard_type] > 0
        spare[shard.shard_type] -= may_end
        values.append(types[opening.shard_type].price_microusd_per_h * may_end)
    return np.array(values[::-1], dtype=np.int64)


def _relieved(sites: Sites, start: State, style: int) -> tuple[State, Ints]:
    state, demand = copy_of(start), sites.demand
    least = relieve_all(demand, state, style)
    for item in np.flatnonzero(state.seats[:, ROW] == NOWHERE):
        settle(demand, state, int(item), style)
    go_home(demand, state, sites.seats)
    return state, least


def _moved(sites: Sites, state: State) -> int:
    seats = state.seats[:, [ROW, MASK, RANK]]
    return int(np.count_nonzero((seats != sites.seats).any(axis=1)))


def _placement(sites: Sites, state: State) -> Placement:
    """Return the placement of the books: what is not an item of theirs is gone."""
    problem = sites.problem
    lost = {int(unit) for unit in sites.unit[state.seats[:, ROW] == NOWHERE]}
    placed = []
    for item, was in enumerate(sites.placed):
        if int(sites.unit[item]) in lost:  # a group goes as a whole
            continue
        row, mask, rank = (int(value) for value in state.seats[item, [ROW, MASK, RANK]])
        if (row, mask, rank) == tuple(sites.seats[item]):
            placed.append(was)
            continue
        mode, shard_type = problem.modes[rank], sites.openings[row].shard_type
        placed.append(
            Placed(
                model=was.model,
                replica=was.replica,
                shard=sites.shards[row].name,
                devices=tuple(device for device in range(mask.bit_length()) if mask >> device & 1),
                option=int(mode.option[int(sites.demand.items[item, KIND]), shard_type]),
            )
        )
    return Placement(shards=sites.base.shards, placed=tuple(sorted(placed)))


def _at_least(sites: Sites, least: Ints) -> int:
    """Return the bound on the moves: what each row asks for, and the shards that cannot stand.

    Of a type of which fewer may stand than did, those are counted that cost least moves to empty.
    """
    total = int(least.sum()) + sum(sites.certain)
    emptied: dict[str, int] = defaultdict(int)
    for name, items in sites.gone:
        if name is None:
            total += items
        else:
            emptied[name] += 1
    for name, count in emptied.items():
        total += sum(sorted(_moves_to_empty(sites, name, least))[:count])
    return total


def _moves_to_empty(sites: Sites, name: str, least: Ints) -> list[int]:
    """Return for each shard of a type how many moves more than its own repair it takes to empty it."""
    found = [items for kind, items in sites.gone if kind == name]
    rows = [row for row, shard in enumerate(sites.shards) if shard.shard_type == name]
    seated = np.bincount(sites.seats[:, 0][sites.seats[:, 0] != NOWHERE], minlength=len(sites.shards))
    return found + [int(seated[row]) - int(least[row]) for row in rows]
