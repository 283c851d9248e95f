"""The last objective: the fullest devices give to emptier ones of their type, at no cost and no loss.

Only for fleets up to ``BALANCED_UNITS``: in a large one the fullest of very many devices says little, and it
takes a move a device to lower it.
"""

from __future__ import annotations

from collections.abc import Container

import numpy as np

from planner.solve.packing import Floats, Packing, Resident
from planner.solve.problem import AMPLE, CONFIG, MODELS
from planner.solve.watch import Watch

BALANCED_UNITS = 5_000
_MOST_MOVES = 200
"""Moves of each shard type."""
_TARGETS = 4
"""The emptiest devices that are tried for each unit."""


def balance(packing: Packing, *, fixed: Container[int], watch: Watch) -> int:
    """Lower the fullest devices of each shard type; returns how many units were moved.

    Parameters
    ----------
    packing
        What is changed; its shards, its cost and what it places stay.
    fixed
        Units that have to stay where they are.
    watch
        When to stop.
    """
    if len(packing.problem.units) > BALANCED_UNITS:
        return 0
    types = sorted({packing.opened[row].shard_type for row in packing.open_rows()})
    return sum(_balance_type(packing, shard_type, fixed, watch) for shard_type in types)


def _balance_type(packing: Packing, shard_type: int, fixed: Container[int], watch: Watch) -> int:
    rows = [row for row in packing.open_rows() if packing.opened[row].shard_type == shard_type]
    cells = [cell for row in rows for cell in _cells(packing, row)]
    for moves in range(_MOST_MOVES):
        shares = {cell: _share(packing, cell) for cell in cells}
        fullest = max(cells, key=lambda cell: (shares[cell], -cell))
        emptiest = sorted(cells, key=lambda cell: (shares[cell], cell))[:_TARGETS]
        if watch.is_over() or not _relieve(packing, fullest, emptiest, fixed):
            return moves
    return _MOST_MOVES


def _cells(packing: Packing, row: int) -> range:
    first = int(packing.first_cell[row])
    return range(first, first + len(packing.opened[row].rooms))


def _share(packing: Packing, cell: int) -> float:
    """Return how full a device is in the resource that it has least of, those of its shard included."""
    problem, row = packing.problem, int(packing.row_of[cell])
    shard_type = int(packing.type_of[row])
    room: Floats = problem.host_room[shard_type].astype(np.float64)
    counted = (room > 0) & (room < AMPLE)
    counted[[MODELS, CONFIG]] = False
    used = 1 - packing.host_left[row][counted] / room[counted]
    shares = [float(used.max(initial=0.0))]
    if problem.is_gpu[shard_type]:
        offered = packing.opened[row].rooms[cell - int(packing.first_cell[row])]
        memory = offered.capacity_bytes - offered.fixed_bytes
        left = int(packing.memory_left[cell]) - int(packing.peak_sum[cell])
        shares += [1 - left / memory] if memory > 0 else []
        shares += (
            [1 - int(packing.milli_left[cell]) / offered.capacity_milli] if offered.capacity_milli else []
        )
    return max(shares)


def _relieve(packing: Packing, fullest: int, emptiest: list[int], fixed: Container[int]) -> bool:
    """Move one unit from a device to an emptier one, so that neither is as full as the first was."""
    row = int(packing.row_of[fullest])
    before, device = _share(packing, fullest), fullest - int(packing.first_cell[row])
    here = [item for item in packing.residents[row] if item.devices == (device,)]
    movable = [item for item in here if packing.problem.units[item.unit].simple and item.unit not in fixed]
    if len(packing.residents[row]) < 2:
        return False
    for target in emptiest:
        if target != fullest and any(_moved(packing, item, (fullest, target), before) for item in movable):
            return True
    return False


def _moved(packing: Packing, item: Resident, way: tuple[int, int], before: float) -> bool:
    """Move a unit if that lowers the share; otherwise it stays where it is."""
    fullest, target = way
    row = int(packing.row_of[target])
    there = Resident(
        unit=item.unit,
        model=item.model,
        rank=item.rank,
        devices=(target - int(packing.first_cell[row]),),
    )
    old, residents = packing.remove(item.unit)
    if packing.restore(item.unit, row, (there,)):
        if max(_share(packing, fullest), _share(packing, target)) < before:
            return True
        packing.remove(item.unit)
    restored = packing.restore(item.unit, old, residents)
    assert restored
    return False
