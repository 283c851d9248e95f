"""A whole packing at once: many residents are put into open, empty shards much faster than one by one."""

from __future__ import annotations

import numpy as np

from planner.solve.packing import Packing, Resident
from planner.solve.problem import CONFIG, MEMORY, Ints


def settle(packing: Packing, residents: list[list[Resident]], row_of_unit: Ints) -> None:
    """Put residents into the open, empty shards of a packing; they have to fit.

    Parameters
    ----------
    packing
        What is changed.
    residents
        Of each row.
    row_of_unit
        Where each unit is; -1 is nowhere.
    """
    everyone = [(row, one) for row, some in enumerate(residents) for one in some]
    _settle_rows(packing, everyone)
    packing.adopt(residents, row_of_unit, _settle_cells(packing, everyone))


def _settle_rows(packing: Packing, everyone: list[tuple[int, Resident]]) -> None:
    """Take what everyone needs of a shard off what is left there."""
    problem = packing.problem
    row = np.array([where for where, _ in everyone], dtype=np.int64)
    model = np.array([one.model for _, one in everyone], dtype=np.int64)
    rank = np.array([one.rank for _, one in everyone], dtype=np.int64)
    kind, shard_type = problem.kind[model], packing.type_of[row]
    packing.tenant[row] = problem.tenant[model]
    for number, mode in enumerate(problem.modes):
        mine = rank == number
        np.subtract.at(packing.host_left, row[mine], mode.host[kind[mine], shard_type[mine]])
    np.subtract.at(packing.host_left[:, CONFIG], row, problem.entry_bytes[model])
    np.add.at(packing.host_users, (row, problem.backend[model]), 1)
    used = packing.host_users[: packing.rows] > 0
    packing.host_left[: packing.rows, MEMORY] -= (used * problem.host_base).sum(axis=1)


def _settle_cells(packing: Packing, everyone: list[tuple[int, Resident]]) -> list[list[int]]:
    """Take what everyone needs of devices off what is left there; returns the surpluses of each cell."""
    problem = packing.problem
    first = packing.first_cell.tolist()
    at = [
        (first[row] + device, one.model, one.rank, len(one.devices) > 1)
        for row, one in everyone
        for device in one.devices
    ]
    cell, model, rank, alone = np.array(at, dtype=np.int64).reshape(-1, 4).T
    kind, shard_type = problem.kind[model], packing.cell_type[cell]
    np.add.at(packing.crowd, cell, 1)
    packing.exclusive[cell[alone == 1]] = True
    surpluses: list[list[int]] = [[] for _ in range(packing.cells)]
    for number, mode in enumerate(problem.modes):
        mine = (rank == number) & mode.on_device[kind, shard_type]
        here, what = cell[mine], (kind[mine], shard_type[mine])
        np.subtract.at(packing.memory_left, here, mode.steady[what])
        np.subtract.at(packing.milli_left, here, mode.milli[what])
        np.add.at(packing.device_users, (here, problem.backend[model[mine]]), 1)
        for where, surplus in zip(here.tolist(), mode.surplus[what].tolist(), strict=True):
            surpluses[where].append(surplus)
    used = packing.device_users[: packing.cells] > 0
    packing.memory_left[: packing.cells] -= (used * problem.device_base).sum(axis=1)
    return surpluses
