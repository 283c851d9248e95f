"""Place more where not all fit: empty some shards, and refill them from their units and those left out.

Ruin and recreate (Schrimpf, Schneider, Stamm-Wilbrandt and Dueck 2000): what was taken out comes back one by
one where it fits best, important units first, the others in an order that chance changes. A round is kept if
it places more, by priority, or as many with no less room left.
"""

from __future__ import annotations

import numpy as np

from planner.solve.guide import Advice
from planner.solve.heuristics import insert, largest_first, open_for, placed_by_priority
from planner.solve.packing import Packing, Resident
from planner.solve.watch import Watch

MOST_UNITS = 4_000
"""Units up to which it is tried: a round asks all shards about each unit that it takes out."""

MOST_EMPTIED, MOST_TRIED = 2, 100
"""Shards that a round empties, and units left out that it tries: by priority, small ones first."""

NOISES = (0.6, 1.5)
"""By which part of itself a unit's size may count for more."""

Taken = list[tuple[int, int, tuple[Resident, ...]]]
"""Units, where they were, and how."""


def place_more(packing: Packing, advice: Advice, *, rounds: int, seed: int, watch: Watch) -> None:
    """Place more of what is left out, if rounds of search find how; nothing that is placed gets worse.

    Nothing is tried where there are more than ``MOST_UNITS``. Units of several models or devices, pinned ones
    and shards that have a name stay as they are.

    Parameters
    ----------
    packing
        What is changed.
    advice
        What the relaxation says.
    rounds
        How many at most.
    seed
        Of the random choices.
    watch
        When to stop.
    """
    if len(packing.problem.units) > MOST_UNITS:
        return
    rng, hopeful = np.random.default_rng(seed), _hopeful(packing, advice)
    for _ in range(rounds):
        waiting = [unit for unit in hopeful if packing.row_of_unit[unit] is None][:MOST_TRIED]
        rows = _movable(packing)
        if not waiting or not rows or watch.is_over():
            return
        _try_round(packing, advice, waiting, rows, rng)


def _try_round(
    packing: Packing, advice: Advice, waiting: list[int], rows: list[int], rng: np.random.Generator
) -> None:
    before, marker = _standing(packing), packing.rows
    count = int(rng.integers(1, min(MOST_EMPTIED, len(rows)) + 1))
    emptied = rng.choice(rows, size=count, replace=False).tolist()
    taken: Taken = [(unit, row, packing.remove(unit)[1]) for row in emptied for unit in packing.units_in(row)]
    for row in emptied:
        packing.close(row)
    placed = [
        unit
        for unit in _order(packing, advice, [*waiting, *(unit for unit, _, _ in taken)], rng)
        if insert(packing, unit, advice.shares[unit])
    ]
    if _standing(packing) >= before:
        return
    for unit in placed:
        packing.remove(unit)
    for row in reversed(range(marker, packing.rows)):
        packing.close(row)
        packing.forget(row)
    for row in emptied:
        packing.reopen(row)
    for unit, row, residents in taken:
        restored = packing.restore(unit, row, residents)
        assert restored


def _hopeful(packing: Packing, advice: Advice) -> list[int]:
    """Return the simple units that fit into a shard of their own: by priority, small ones first."""
    empty, found = Packing(packing.problem), []
    for unit in reversed(largest_first(advice.shares)):
        one = packing.problem.units[unit]
        row = open_for(empty, unit, advice.shares[unit]) if one.simple and one.pin is None else None
        if row is not None:
            found.append(unit)
            empty.remove(unit)
            empty.close(row)
            empty.forget(row)
    return sorted(found, key=lambda unit: int(packing.problem.level[packing.problem.units[unit].members[0]]))


def _movable(packing: Packing) -> list[int]:
    """Return the open shards that may be emptied."""
    units, counts = packing.problem.units, packing.openings.counts
    types = packing.problem.scenario.shard_types
    fixed = {row for unit, row in enumerate(packing.row_of_unit) if not units[unit].simple}
    return [
        row
        for row in packing.open_rows()
        if row not in fixed
        and packing.names[row] is None
        and counts[packing.opened[row].shard_type] > types[packing.opened[row].shard_type].min_count
    ]


def _order(packing: Packing, advice: Advice, units: list[int], rng: np.random.Generator) -> list[int]:
    """Return units by priority, then by size, half of the time those of a backend after each other."""
    problem, size = packing.problem, advice.guide.size
    models = np.array([problem.units[unit].members[0] for unit in units], dtype=np.int64)
    noise = NOISES[int(rng.integers(len(NOISES)))]
    large = size[models] * (1 + noise * rng.random(len(units)))
    backend = rng.permutation(len(problem.device_base))[problem.backend[models]]
    together = backend * int(rng.integers(2))
    return [units[index] for index in np.lexsort((-large, together, problem.level[models]))]


def _standing(packing: Packing) -> tuple[tuple[int, ...], int, int]:
    """Return what is larger for the better packing: what is placed, the cost spared, the memory left."""
    cells = packing.alive[packing.row_of[: packing.cells]]
    left = (packing.memory_left - packing.peak_sum)[: packing.cells][cells]
    return placed_by_priority(packing), -packing.cost, int(left.sum())
