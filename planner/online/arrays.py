"""What the compiled loops of placement see: named tuples of flat arrays, and nothing of the domain.

*Rows* are open shards, *cells* their devices, *typical* are the models that stand for those to come.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

NO_TENANT = -1
"""Whose an empty shard is."""

ANYWHERE = -1
"""No particular row, or device."""


TYPE, TENANT, DOMAIN, FIRST, LAST = range(5)
"""Columns of ``Board.rows``: shard type, whose models it holds, failure domain, its cells' first and end."""
ROW_COLUMNS = 5

ROW, MEMORY_LEFT, PEAK_SUM, PEAK_LEAST, MILLI_LEFT, CROWD, EXCLUSIVE = range(7)
"""Columns of ``Board.cells``.

Memory left is capacity less what is fixed, bases and steady footprints. The peak is what loading takes on
top, and the least surplus in it, 0 while fewer are there than load at once. Crowd is residents; exclusive is
1 where one of them has the device for itself.
"""
CELL_COLUMNS = 7

ALLOWED, ON_DEVICE, STEADY, SURPLUS, MILLI = range(5)
"""Columns of ``Ask.types``: 1 where the model may be at all, 1 where device memory and time are counted,
device bytes after warm-up, what loading takes on top of them, device time."""
ASK_COLUMNS = 5

WORTH, BY_STEADY, BY_MILLI, PEAK, DEVICE_BASE, HOST_BASE, BY_SEATS, ALONE, BY_HOST = range(9)
"""Rows of ``Scores.typical``; from ``BY_HOST`` on there is one for each column of the host.

Worth is the share of the demand, times what one uses of a device of the type, times what such a device is
worth; 0 where it may not be. ``BY_`` is one over what one needs, large instead of infinite. Bases count where
nothing is yet. Alone is 1 for models that take several whole devices.
"""


class Board(NamedTuple):
    """What every open shard and device has left, exactly.

    Parameters
    ----------
    rows
        ``(rows, ROW_COLUMNS)``.
    cells
        ``(cells, CELL_COLUMNS)``.
    host_left
        ``(rows, columns)``: the columns of ``solve.problem``.
    host_users, device_users
        ``(rows, backends)`` and ``(cells, backends)``: residents that use each backend.
    """

    rows: Ints
    cells: Ints
    host_left: Ints
    host_users: Ints
    device_users: Ints


class Ask(NamedTuple):
    """What one replica asks for, on every shard type.

    Parameters
    ----------
    types
        ``(types, ASK_COLUMNS)``.
    host
        ``(types, columns)``, the entry in ``models.json`` included.
    seats
        Devices that it takes: 1, or so many whole ones; 0 takes none, and is named on none.
    backend, device_base, host_base
        Its backend, and what that costs where it is the first to use it.
    tenant
        Whose it is; ``NO_TENANT`` where nobody asks.
    """

    types: Ints
    host: Ints
    seats: int
    backend: int
    device_base: int
    host_base: int
    tenant: int


class Load(NamedTuple):
    """What one replica takes where it is.

    Parameters
    ----------
    host
        ``(columns,)``, the entry in ``models.json`` included.
    on_device
        Whether device memory and time are counted.
    steady, milli
        On each of its devices.
    whole
        Whether it has its devices for itself.
    backend, device_base, host_base
        Its backend, and what that costs where it is the only one to use it.
    """

    host: Ints
    on_device: bool
    steady: int
    milli: int
    whole: bool
    backend: int
    device_base: int
    host_base: int


class Scores(NamedTuple):
    """What free room is worth: the models that stand for those to come, and how many of each fit where.

    All is floating point, for choices between fits alone. ``counts``, ``sums`` and ``values`` stay until
    their row changes.

    Parameters
    ----------
    typical
        ``(types, BY_HOST + columns, typical)``.
    is_gpu
        ``(types,)``: whether device memory and time are counted.
    host_slack
        Times that a shard's host resources count.
    counts
        ``(cells, typical)``: how many of each fit on the device.
    sums
        ``(rows, typical)``: over the devices of the row.
    values
        ``(rows,)``: what the free room of the row is worth, in devices.
    """

    typical: Floats
    is_gpu: Bools
    host_slack: float
    counts: Floats
    sums: Floats
    values: Floats


class Where(NamedTuple):
    """Where a model may go.

    Parameters
    ----------
    banned
        Failure domains that its other replicas are in.
    row, device
        The only ones that it may be on; ``ANYWHERE`` is any.
    """

    banned: Ints
    row: int
    device: int


NOTHING_BANNED: Ints = np.zeros(0, dtype=np.int64)
"""No failure domain is taken."""
