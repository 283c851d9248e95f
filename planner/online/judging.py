"""What keeps a model off every shard, in one pass over the board. Compiled.

A refusal is told with its reasons in the time in which a place would have been found: nothing is put off, and
no counters have to follow what comes and goes.
"""
# ruff: noqa: PLR0913, PLR0917 - a named tuple costs a hundred times as much as what inner functions do

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

Verdict = tuple[int, float]
"""What stands against a model first, and how far off it is: the need over what there is.

A fit is no distance at all, and a plain prohibition infinitely far.
"""


@compiled
def judge(board: Board, ask: Ask, banned: Ints, way: int, codes: Ints, ratios: Floats, best: Ints) -> None:
    """Judge every shard by one way of running a model, and keep the way that is least far off.

    Parameters
    ----------
    banned
        Failure domains that the model's other replicas are in.
    way
        Which way it is; they are judged in order from 0.
    codes, ratios, best
        ``(rows,)``: what stands against the model by the best way, how far off that is, and which it is.
    """
    rows, cells, users, host_users = board.rows, board.cells, board.device_users, board.host_users
    host_left, types, host = board.host_left, ask.types, ask.host
    backend, seats, tenant, base, beside = ask.backend, ask.seats, ask.tenant, ask.device_base, ask.host_base
    for row in range(len(rows)):
        code, ratio = _bans(rows, row, types, tenant, banned)
        if code == FITS:
            code, ratio = _host(rows, row, host_left, host, 0 if host_users[row, backend] else beside)
        if code == FITS:
            code, ratio = _devices(rows, row, cells, users, types, seats, backend, base)
        if way == 0 or ratio < ratios[row]:
            codes[row], ratios[row], best[row] = code, ratio, way


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
def _bans(rows: Ints, row: int, types: Ints, tenant: int, banned: Ints) -> Verdict:
    if types[rows[row, TYPE], ALLOWED] == 0:
        return NOT_ALLOWED, np.inf
    if rows[row, TENANT] != NO_TENANT and rows[row, TENANT] != tenant:
        return TENANTS, np.inf
    for index in range(len(banned)):
        if banned[index] == rows[row, DOMAIN]:
            return SPREAD, np.inf
    return FITS, 0.0


@compiled
def _host(rows: Ints, row: int, left: Ints, host: Ints, base: int) -> Verdict:
    """Return the first resource of a shard that is short."""
    kind = rows[row, TYPE]
    for column in range(left.shape[1]):
        need = host[kind, column] + (base if column == MEMORY else 0)
        if need > left[row, column]:
            return COLUMN + column, need / max(left[row, column], 1)
    return FITS, 0.0


@compiled
def _devices(
    rows: Ints, row: int, cells: Ints, users: Ints, types: Ints, seats: int, backend: int, base: int
) -> Verdict:
    """Return what a shard's devices lack: enough that are free, or what the nearest of those lacks."""
    kind, free, fit, code, least = rows[row, TYPE], 0, 0, FITS, np.inf
    for cell in range(rows[row, FIRST], rows[row, LAST]):
        if cells[cell, EXCLUSIVE] != 0 or (seats != 1 and cells[cell, CROWD] != 0):
            continue
        free += 1
        lacks, ratio = _device(cells, cell, types, kind, 0 if users[cell, backend] else base)
        if lacks == FITS:
            fit += 1
        elif ratio < least:
            code, least = lacks, ratio
    if free < seats:
        return WHOLES, seats / max(free, 1)
    return (FITS, 0.0) if fit >= seats else (code, least)


@compiled
def _device(cells: Ints, cell: int, types: Ints, kind: int, base: int) -> Verdict:
    """Return what a device lacks for one seat."""
    if types[kind, ON_DEVICE] == 0:
        return FITS, 0.0
    left, steady = cells[cell, MEMORY_LEFT], types[kind, STEADY] + base
    if steady > left:
        return DEVICE_MEMORY, steady / max(left, 1)
    left -= cells[cell, PEAK_SUM]
    peak = steady + max(0, types[kind, SURPLUS] - cells[cell, PEAK_LEAST])
    if peak > left:
        return STARTABLE, peak / max(left, 1)
    if types[kind, MILLI] > cells[cell, MILLI_LEFT]:
        return DEVICE_TIME, types[kind, MILLI] / max(cells[cell, MILLI_LEFT], 1)
    return FITS, 0.0
