"""Where a model goes: onto the device where the free room of the fleet loses least of its worth.

The worth of free room is how many of each typical model fit into it, weighted by how often they come and what
they use. It falls by what the new model takes, and by what is broken off with it: a rest that no typical
model fits into, GPUs that have no CPU left beside them, whole devices that several are asked of at once. The
idea of descending an expected fragmentation is that of FGD (Weng and others, 'Beware of Fragmentation',
USENIX ATC'23), which asks whether one more model fits; counting how many do sees a shortage coming.

Fits are judged in exact integers; scores are floating point and decide between fits alone. Inner functions
take plain arrays: a named tuple costs a hundred times as much as what they do.
"""
# ruff: noqa: PLR0913, PLR0917 - for that reason

from __future__ import annotations

import math

import numpy as np

from planner.online.arrays import (
    ALLOWED,
    ALONE,
    ANYWHERE,
    BY_HOST,
    BY_MILLI,
    BY_SEATS,
    BY_STEADY,
    CROWD,
    DEVICE_BASE,
    DOMAIN,
    EXCLUSIVE,
    FIRST,
    HOST_BASE,
    LAST,
    MEMORY_LEFT,
    MILLI,
    MILLI_LEFT,
    NO_TENANT,
    ON_DEVICE,
    PEAK,
    PEAK_LEAST,
    PEAK_SUM,
    STEADY,
    SURPLUS,
    TENANT,
    TYPE,
    WORTH,
    Ask,
    Board,
    Floats,
    Ints,
    Scores,
    Where,
)
from planner.solve.compiled import compiled
from planner.solve.problem import MEMORY

GRAIN = 0.01
"""Scores are cut down to multiples of this, in devices; of equal ones the shard with the least free room
wins, so that one fills before the next is begun. FGD's whole scores of 0 to 100 do that for it."""

MOST_TRIED = 1280
"""Shards that fit of which the best is taken: enough to choose from, and a bound on the time of a choice. The
first ones in the order of the plan are tried, so that a large fleet fills from its front."""

_MOST = 1e6
"""More than ever fit on a device."""

_ROUNDING = 1e-6
"""What a quotient may fall short of a whole number by rounding."""

Span = tuple[int, int, int, int]
"""Cells of a shard: its first, the first and the end of those that a model may be on, its end."""

State = tuple[float, float, float, float]
"""What a device has left: memory, time, the least surplus of those that load at once; 1 if it is in use."""


# ----------------------------------------------------------------------------------------------- what fits


@compiled
def may_join(rows: Ints, row: int, allowed: int, tenant: int, banned: Ints) -> bool:
    """Return whether a shard may take a model as far as types, tenants and failure domains go."""
    own = rows[row, TENANT]
    joins = (own == NO_TENANT) | (own == tenant) | (tenant == NO_TENANT)
    for index in range(len(banned)):
        joins &= banned[index] != rows[row, DOMAIN]
    return bool(joins & (allowed != 0))


@compiled
def fits_host(left: Ints, row: int, host: Ints, kind: int, base: int, rest: Ints) -> bool:
    """Return whether a model fits beside the devices of a shard; ``rest`` gets what would be left."""
    fits = True
    for column in range(len(rest)):
        rest[column] = left[row, column] - host[kind, column]
    rest[MEMORY] -= base
    for column in range(len(rest)):
        fits &= rest[column] >= 0
    return fits


@compiled
def fits_device(cells: Ints, cell: int, types: Ints, kind: int, base: int) -> bool:
    """Return whether a device that nobody has for himself has memory and time for one seat of a model."""
    peak = max(0, types[kind, SURPLUS] - cells[cell, PEAK_LEAST])
    memory = types[kind, STEADY] + base + cells[cell, PEAK_SUM] + peak <= cells[cell, MEMORY_LEFT]
    time = types[kind, MILLI] <= cells[cell, MILLI_LEFT]
    return bool((memory & time) | (types[kind, ON_DEVICE] == 0))


@compiled
def _parts(cells: Ints, span: Span, bases: Ints, types: Ints, kind: int, picks: Ints) -> int:
    """List the devices of a shard that a part of may be taken, of alike ones the first; returns how many.

    ``bases`` has what a model's backend costs on each device from the span's first.
    """
    found, origin, first, last = 0, span[0], span[1], span[2]
    for cell in range(first, last):
        base = bases[cell - origin]
        if cells[cell, EXCLUSIVE] != 0 or not fits_device(cells, cell, types, kind, base):
            continue
        new = True
        for index in range(found):
            one = picks[index]
            new &= (
                (cells[one, MEMORY_LEFT] != cells[cell, MEMORY_LEFT])
                | (cells[one, MILLI_LEFT] != cells[cell, MILLI_LEFT])
                | (cells[one, PEAK_SUM] != cells[cell, PEAK_SUM])
                | (cells[one, PEAK_LEAST] != cells[cell, PEAK_LEAST])
                | ((cells[one, CROWD] > 0) != (cells[cell, CROWD] > 0))
                | (bases[one - origin] != base)
            )
        if new:
            picks[found] = cell
            found += 1
    return found


@compiled
def _wholes(cells: Ints, span: Span, bases: Ints, types: Ints, kind: int, picks: Ints) -> int:
    """List whole devices for every seat of a model, those with the least memory that is enough.

    Returns 1, or 0 if there are too few. If the span is one device of its shard, that is among them;
    ``picks`` has one place a seat.
    """
    origin, end = span[0], span[3]
    free = np.zeros(end - origin, dtype=np.bool_)
    for cell in range(origin, end):
        idle = cells[cell, CROWD] == 0
        free[cell - origin] = idle & fits_device(cells, cell, types, kind, bases[cell - origin])
    found = 0
    for seat in range(len(picks)):
        best = -1
        first, last = (span[1], span[2]) if seat == 0 else (origin, end)
        for cell in range(first, last):
            if free[cell - origin] and (best < 0 or cells[cell, MEMORY_LEFT] < cells[best, MEMORY_LEFT]):
                best = cell
        if best >= 0:
            free[best - origin] = False
            picks[seat] = best
            found += 1
    picks.sort()
    return 1 if found == len(picks) else 0


@compiled
def _idle(cells: Ints, span: Span, picks: Ints) -> int:
    """List a device to name a model on that uses none: a busy one, so that others stay whole.

    Returns 1, or 0 if there is none.
    """
    best = -1
    for cell in range(span[1], span[2]):
        if cells[cell, EXCLUSIVE] == 0 and (best < 0 or (cells[cell, CROWD] > 0 and cells[best, CROWD] == 0)):
            best = cell
    picks[0] = best
    return 1 if best >= 0 else 0


# ---------------------------------------------------------------------------------- what free room is worth


@compiled
def _count(typical: Floats, kind: int, state: State, out: Floats) -> None:
    """Count how many of each typical model fit on a GPU.

    The base of a backend counts on an idle device only: on others it is mostly paid.
    """
    memory, milli, least, busy = state
    for index in range(len(out)):
        peak = max(0.0, typical[kind, PEAK, index] - least)
        room = memory - peak - (1.0 - busy) * typical[kind, DEVICE_BASE, index]
        time = milli * typical[kind, BY_MILLI, index]
        fits = np.floor(min(room * typical[kind, BY_STEADY, index], time) + _ROUNDING)
        alone = typical[kind, ALONE, index]
        out[index] = max(0.0, min(fits, alone + (1.0 - alone) * _MOST)) * (1.0 - busy * alone)


@compiled
def _count_any(typical: Floats, kind: int, busy: float, out: Floats) -> None:
    """Count how many of each typical model may be named on a device that is no GPU."""
    for index in range(len(out)):
        out[index] = _MOST * (1.0 - busy * typical[kind, ALONE, index])


@compiled
def _count_beside(typical: Floats, kind: int, host: Ints, empty: float, out: Floats) -> None:
    """Count how many of each typical model have what they need beside the devices of a shard."""
    for index in range(len(out)):
        out[index] = _MOST
    for column in range(len(host)):
        left, share = float(host[column]), empty if column == MEMORY else 0.0
        for index in range(len(out)):
            room = left - share * typical[kind, HOST_BASE, index]
            out[index] = min(out[index], room * typical[kind, BY_HOST + column, index])


@compiled
def _value(typical: Floats, kind: int, sums: Floats, beside: Floats, slack: float) -> float:
    """Return what room is worth that so many of each typical model fit into, in devices."""
    total = 0.0
    for index in range(len(sums)):
        fits = np.floor(sums[index] * typical[kind, BY_SEATS, index] + _ROUNDING)
        enough = slack * beside[index] if beside[index] >= 1.0 else 0.0
        total += typical[kind, WORTH, index] * min(fits, enough)
    return total


@compiled
def _state(cells: Ints, cell: int) -> State:
    """Return what a device has left as it is."""
    memory = float(cells[cell, MEMORY_LEFT] - cells[cell, PEAK_SUM])
    busy = 1.0 if cells[cell, CROWD] > 0 else 0.0
    return memory, float(cells[cell, MILLI_LEFT]), float(cells[cell, PEAK_LEAST]), busy


@compiled
def _state_with(cells: Ints, cell: int, types: Ints, kind: int, base: int) -> State:
    """Return what a device has left once a model has taken a part of it."""
    memory, milli, least, _ = _state(cells, cell)
    uses = float(types[kind, ON_DEVICE])
    memory -= uses * (types[kind, STEADY] + base + max(0.0, types[kind, SURPLUS] - least))
    return memory, milli - uses * types[kind, MILLI], least, 1.0


@compiled
def measure(board: Board, scores: Scores, first: int, last: int) -> None:
    """Count anew what fits into the shards of some rows."""
    beside = np.zeros(scores.sums.shape[1])
    rows, cells, host_left = board.rows, board.cells, board.host_left
    typical, counts, sums, is_gpu = scores.typical, scores.counts, scores.sums, scores.is_gpu
    for row in range(first, last):
        kind = rows[row, TYPE]
        _count_beside(typical, kind, host_left[row], 1.0 if rows[row, TENANT] == NO_TENANT else 0.0, beside)
        sums[row] = 0.0
        for cell in range(rows[row, FIRST], rows[row, LAST]):
            if cells[cell, EXCLUSIVE] != 0:
                counts[cell] = 0.0
            elif is_gpu[kind]:
                _count(typical, kind, _state(cells, cell), counts[cell])
            else:
                _count_any(typical, kind, 1.0 if cells[cell, CROWD] > 0 else 0.0, counts[cell])
            sums[row] += counts[cell]
        scores.values[row] = _value(typical, kind, sums[row], beside, scores.host_slack)


# ------------------------------------------------------------------------------------------------- choices


@compiled
def choose(board: Board, scores: Scores, ask: Ask, where: Where, chosen: Ints) -> int:  # noqa: C901, PLR0912
    """Return the row where free room loses least of its worth, -1 if the model fits nowhere.

    ``chosen`` gets the cells, ``ask.seats`` of them. One function in spite of its length: a call with named
    tuples in its loop would cost more than all that is done there.
    """
    rows, cells, users, host_users = board.rows, board.cells, board.device_users, board.host_users
    typical, is_gpu, values = scores.typical, scores.is_gpu, scores.values
    known, known_sums, slack = scores.counts, scores.sums, scores.host_slack
    host_left, types, host, banned = board.host_left, ask.types, ask.host, where.banned
    seats, backend, base, tenant = ask.seats, ask.backend, ask.device_base, ask.tenant
    beside, sums, counts = np.zeros(known.shape[1]), np.zeros(known.shape[1]), np.zeros(known.shape[1])
    widest = 1 + (rows[:, LAST] - rows[:, FIRST]).max() if len(rows) else 1
    bases, picks = np.zeros(widest, dtype=np.int64), np.zeros(widest, dtype=np.int64)
    rest, best, best_row = np.zeros(host_left.shape[1], dtype=np.int64), -math.inf, -1
    start, stop = (0, len(rows)) if where.row == ANYWHERE else (where.row, where.row + 1)
    tried = 0
    for row in range(start, stop):
        kind, origin, end = rows[row, TYPE], rows[row, FIRST], rows[row, LAST]
        if seats > end - origin or not may_join(rows, row, types[kind, ALLOWED], tenant, banned):
            continue
        host_base = 0 if host_users[row, backend] > 0 else ask.host_base
        if not fits_host(host_left, row, host, kind, host_base, rest):
            continue
        for cell in range(origin, end):
            bases[cell - origin] = 0 if users[cell, backend] > 0 else base
        first, last = (
            (origin, end) if where.device == ANYWHERE else (origin + where.device, origin + where.device + 1)
        )
        span = (origin, first, last, end)
        if seats == 0:
            found = 1
        elif seats > 1:
            found = _wholes(cells, span, bases, types, kind, picks[:seats])
        elif types[kind, ON_DEVICE] == 0:
            found = _idle(cells, span, picks)
        else:
            found = _parts(cells, span, bases, types, kind, picks)
        if found == 0:
            continue
        tried += 1
        if tried > MOST_TRIED:
            break
        _count_beside(typical, kind, rest, 0.0, beside)
        for option in range(found):
            for index in range(len(sums)):
                sums[index] = known_sums[row, index]
            for seat in range(option, option + seats):
                cell = picks[seat]
                if seats > 1:
                    counts[:] = 0.0
                elif is_gpu[kind]:
                    state = _state_with(cells, cell, types, kind, bases[cell - origin])
                    _count(typical, kind, state, counts)
                else:
                    _count_any(typical, kind, 1.0, counts)
                for index in range(len(sums)):
                    sums[index] += counts[index] - known[cell, index]
            score = math.floor((_value(typical, kind, sums, beside, slack) - values[row]) / GRAIN)
            if score > best or (score == best and values[row] < values[best_row]):
                best, best_row = score, row
                for seat in range(seats):
                    chosen[seat] = picks[option + seat]
    return best_row
