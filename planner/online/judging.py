"""What keeps a model off every shard, in one pass over the board. Compiled.

A refusal is told with its reasons in the time in which a place would have been found: nothing is put off, and
no counters have to follow what comes and goes. Each function goes over all shards by itself: a call for each
shard would cost more than what is done there.
"""
# ruff: noqa: PLR0913, PLR0917 - inner functions take plain arrays: reading a named tuple in a loop is slow

from __future__ import annotations

import numpy as np

from planner.online.arrays import (
    ALLOWED,
    CROWD,
    DOMAIN,
    EXCLUSIVE,
    FIRST,
    LAST,
    MEMORY_LEFT,
    MILLI,
    MILLI_LEFT,
    NO_TENANT,
    ON_DEVICE,
    PEAK_LEAST,
    PEAK_SUM,
    ROW,
    STEADY,
    SURPLUS,
    TENANT,
    TYPE,
    Ask,
    Board,
    Floats,
    Ints,
)
from planner.solve.compiled import compiled
from planner.solve.problem import MEMORY

FITS, NOT_ALLOWED, TENANTS, SPREAD, WHOLES, DEVICE_MEMORY, STARTABLE, DEVICE_TIME, COLUMN = range(9)
"""What stands against a model on a shard; from ``COLUMN`` on one for every column of the host."""


@compiled
def judge(board: Board, ask: Ask, banned: Ints, codes: Ints, ratios: Floats) -> None:
    """Say of every shard what stands against a model first, and how far off it is.

    Parameters
    ----------
    banned
        Failure domains that the model's other replicas are in.
    codes, ratios
        ``(rows,)``: written. How far off is the need over what there is; a fit is no distance at all, and a
        plain prohibition infinitely far.
    """
    rows, cells, host_left = board.rows, board.cells, board.host_left
    codes[:], ratios[:] = FITS, 0.0
    _judge_rows(rows, ask.types, ask.tenant, banned, codes, ratios)
    _judge_hosts(rows, host_left, board.host_users[:, ask.backend], ask.host, ask.host_base, codes, ratios)
    lacks, misses = np.zeros(len(cells), dtype=np.int64), np.zeros(len(cells))
    _judge_cells(rows, cells, board.device_users[:, ask.backend], ask.types, ask.device_base, lacks, misses)
    _judge_devices(rows, cells, lacks, misses, ask.seats, codes, ratios)


@compiled
def tally(rows: Ints, codes: Ints, ratios: Floats, counts: Ints, nearest: Ints) -> None:
    """Count the shards that each verdict is on, and find the first of those that miss least.

    ``counts`` and ``nearest`` are ``(codes, types)``; the latter is -1 where there is none. Types are told
    apart where it is the type that is not allowed; all others stand in the first column.
    """
    counts[:], nearest[:] = 0, -1
    for row in range(len(rows)):
        code = codes[row]
        kind = rows[row, TYPE] if code == NOT_ALLOWED else 0
        counts[code, kind] += 1
        known = nearest[code, kind]
        if known < 0 or ratios[row] < ratios[known]:
            nearest[code, kind] = row


@compiled
def _judge_rows(rows: Ints, types: Ints, tenant: int, banned: Ints, codes: Ints, ratios: Floats) -> None:
    """Judge by type, tenant and failure domain."""
    for row in range(len(rows)):
        for index in range(len(banned)):
            if banned[index] == rows[row, DOMAIN]:
                codes[row] = SPREAD
        if rows[row, TENANT] != NO_TENANT and rows[row, TENANT] != tenant:
            codes[row] = TENANTS
        if types[rows[row, TYPE], ALLOWED] == 0:
            codes[row] = NOT_ALLOWED
        if codes[row] != FITS:
            ratios[row] = np.inf


@compiled
def _judge_hosts(
    rows: Ints, left: Ints, users: Ints, host: Ints, base: int, codes: Ints, ratios: Floats
) -> None:
    """Judge what nothing stands against yet by the resources of the host: the first that is short counts."""
    for row in range(len(rows)):
        kind, column = rows[row, TYPE], 0
        while column < left.shape[1] and codes[row] == FITS:
            need = host[kind, column] + (base if column == MEMORY and users[row] == 0 else 0)
            if need > left[row, column]:
                codes[row], ratios[row] = COLUMN + column, need / max(left[row, column], 1)
            column += 1


@compiled
def _judge_cells(
    rows: Ints, cells: Ints, users: Ints, types: Ints, base: int, codes: Ints, ratios: Floats
) -> None:
    """Judge devices by their memory, at rest and while loading, and by their time."""
    for cell in range(len(cells)):
        kind = rows[cells[cell, ROW], TYPE]
        if types[kind, ON_DEVICE] == 0:
            continue
        left, steady = cells[cell, MEMORY_LEFT], types[kind, STEADY] + (0 if users[cell] > 0 else base)
        rest = left - cells[cell, PEAK_SUM]
        peak = steady + max(0, types[kind, SURPLUS] - cells[cell, PEAK_LEAST])
        if steady > left:
            codes[cell], ratios[cell] = DEVICE_MEMORY, steady / max(left, 1)
        elif peak > rest:
            codes[cell], ratios[cell] = STARTABLE, peak / max(rest, 1)
        elif types[kind, MILLI] > cells[cell, MILLI_LEFT]:
            codes[cell], ratios[cell] = DEVICE_TIME, types[kind, MILLI] / max(cells[cell, MILLI_LEFT], 1)


@compiled
def _judge_devices(
    rows: Ints, cells: Ints, lacks: Ints, misses: Floats, seats: int, codes: Ints, ratios: Floats
) -> None:
    """Judge what nothing stands against yet by its devices: enough that are free, else the nearest of them.

    ``lacks`` and ``misses`` are what stands against each device, and how far off that is.
    """
    for row in range(len(rows)):
        if codes[row] != FITS:
            continue
        free, fit, nearest = 0, 0, -1
        for cell in range(rows[row, FIRST], rows[row, LAST]):
            if cells[cell, EXCLUSIVE] != 0 or (seats != 1 and cells[cell, CROWD] != 0):
                continue
            free += 1
            if lacks[cell] == FITS:
                fit += 1
            elif nearest < 0 or misses[cell] < misses[nearest]:
                nearest = cell
        if free < seats:
            codes[row], ratios[row] = WHOLES, seats / max(free, 1)
        elif fit < seats:
            codes[row], ratios[row] = lacks[nearest], misses[nearest]
