"""The arrays of a repair: what is asked and offered, and the books of who is where.

Few wide arrays instead of many narrow ones: every array that is handed to a compiled function makes each of
its callers slower to compile. The constants name their columns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from planner.solve.problem import Ints

Number = int | np.integer
"""What compiled functions take for a whole number."""

NOWHERE = -1
"""The row of an item without a seat; the end of a list; no column."""
MOST_DEVICES = 62
"""Devices of a shard are bits of an int64."""

ALLOWED, ON_DEVICE, STEADY, SURPLUS, MILLI, HOST = range(6)
"""Columns of ``Demand.need``; the shard's resources follow from ``HOST`` on, as in ``problem.Mode.host``."""
KIND, BACKEND, TENANT, ENTRY, MODEL, MOVABLE = range(6)
"""Columns of ``Demand.items``; ``ENTRY`` is in bytes of ``models.json``."""
TYPE, DOMAIN, FIRST_CELL = range(3)
"""Columns of ``Demand.rows``."""
ROW, MASK, RANK, NEXT, PREVIOUS = range(5)
"""Columns of ``State.seats``: the row, its devices as bits, the mode; neighbours in the list of the row."""
FIRST, COUNT, ALIVE = range(3)
"""Columns of ``State.rows``: the first resident, how many there are, whether the shard is open."""
MEMORY_LEFT, MILLI_LEFT, PEAK_SUM, PEAK_LEAST, USERS, CROWD, EXCLUSIVE = range(7)
"""Columns of ``State.cells``. Steady states and bases are taken off ``MEMORY_LEFT``, starts are not;
``USERS`` use the device, the ``CROWD`` is pinned to it."""


class Demand(NamedTuple):
    """What never changes while a placement is changed."""

    need: Ints
    """``(ranks, kinds, types, HOST + columns)``."""
    bases: Ints
    """``(backends, 2)``: on a device, on a host."""
    parallel_loads: Ints
    """``(types,)``."""
    items: Ints
    """``(items, 6)``."""
    first_of_model: Ints
    """``(models + 1,)``: where the items of a model start in ``of_model``."""
    of_model: Ints
    rows: Ints
    """``(rows + 1, 3)``."""
    row_of: Ints
    """``(cells,)``."""
    host_room: Ints
    """``(rows, columns)``."""
    cell_room: Ints
    """``(cells, 2)``: bytes that are not fixed, and milli-devices."""
    isolate: bool
    """Whether a row takes one tenant only."""


class State(NamedTuple):
    """Who is where, and what is left there."""

    seats: Ints
    """``(items, 5)``."""
    rows: Ints
    """``(rows, 3)``."""
    host_left: Ints
    """``(rows, columns)``."""
    host_users: Ints
    """``(rows, backends)``."""
    cells: Ints
    """``(cells, 7)``."""
    device_users: Ints
    """``(cells, backends)``."""
