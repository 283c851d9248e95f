"""How much still fits: figures of fragmentation for whoever has a model in his hands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.domain.model import Model
from planner.domain.placement import Placement
from planner.domain.scenario import Scenario, names
from planner.online.arrays import (
    ALLOWED,
    CROWD,
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
    Ints,
)
from planner.online.book import Book
from planner.solve.problem import AMPLE, MEMORY


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What still fits into the open shards as they are.

    Parameters
    ----------
    free_bytes
        GPU memory that models could take, on all devices together; while they load.
    largest_bytes, largest_at
        The most of it on one device, and which (``shard/0``); None where no GPU has any.
    whole_devices, whole_at
        The most GPUs of one shard that nobody is on, and which shard; 0 and None where there is none.
    largest_model
        The model of the scenario with the most GPU memory of which one more replica fits; None if none does.
    median_model
        The model in the middle of all replicas, by GPU memory and then host memory; None without models.
    median_fits
        How many more of it fit, one after the other.
    median_in_one_piece
        How many would fit if all that is free were one large shard with one large device of each type.
    """

    free_bytes: int
    largest_bytes: int | None
    largest_at: str | None
    whole_devices: int
    whole_at: str | None
    largest_model: str | None
    median_model: str | None
    median_fits: int
    median_in_one_piece: int

    @property
    def lost_ppm(self) -> int:
        """Return the share of the median models that the pieces cost, in parts per million."""
        whole = self.median_in_one_piece
        return 0 if whole == 0 else max(0, whole - self.median_fits) * 1_000_000 // whole


def free_room(scenario: Scenario, placement: Placement) -> Room:
    """Return what still fits into a placement.

    Parameters
    ----------
    placement
        A legal one of the scenario.
    """
    book = Book(scenario, names(scenario), placement)
    largest, at = _largest(book)
    whole, whole_at = _wholes(book)
    ordered = sorted(scenario.models, key=_size)
    median = _median(ordered)
    fits, in_one_piece = (0, 0) if median is None else _count(book, median)
    return Room(
        free_bytes=int(sum(_free(book, cell) for cell in range(len(book.board.cells)))),
        largest_bytes=largest,
        largest_at=at,
        whole_devices=whole,
        whole_at=whole_at,
        largest_model=next((model.name for model in reversed(ordered) if _fits(book, model)), None),
        median_model=None if median is None else median.name,
        median_fits=fits,
        median_in_one_piece=in_one_piece,
    )


def _size(model: Model) -> tuple[int, int, str]:
    """Return what models are ordered by."""
    steady = max(option.steady_bytes.p95 for option in model.footprints) * model.devices_per_replica
    return steady, max(option.memory_bytes.p95 for option in model.footprints), model.name


def _median(ordered: list[Model]) -> Model | None:
    half = (sum(model.replicas for model in ordered) + 1) // 2
    for model in ordered:
        half -= model.replicas
        if half <= 0:
            return model
    return None


def _is_gpu(book: Book, row: int) -> bool:
    kind = book.scenario.shard_types[int(book.board.rows[row, TYPE])]
    return book.parts.device_classes[kind.device_class].kind == "gpu"


def _free(book: Book, cell: int) -> int:
    """Return the GPU memory that one more model may take on a device while it loads."""
    here = book.board.cells[cell]
    if here[EXCLUSIVE]:
        return 0
    return max(0, int(here[MEMORY_LEFT] - here[PEAK_SUM]))


def _largest(book: Book) -> tuple[int | None, str | None]:
    best, at = None, None
    for row, shard in enumerate(book.shards):
        first, last = int(book.board.rows[row, FIRST]), int(book.board.rows[row, LAST])
        for cell in range(first, last if _is_gpu(book, row) else first):
            free = _free(book, cell)
            if free > (best or 0):
                best, at = free, f"{shard.name}/{cell - first}"
    return best, at


def _wholes(book: Book) -> tuple[int, str | None]:
    best, at = 0, None
    for row, shard in enumerate(book.shards):
        here = book.board.rows[row]
        idle = int((book.board.cells[here[FIRST] : here[LAST], CROWD] == 0).sum())
        if _is_gpu(book, row) and idle > best:
            best, at = idle, shard.name
    return best, at


def _fits(book: Book, model: Model) -> bool:
    """Return whether one more replica of a model, as a model of its own, fits somewhere."""
    return any(_fits_by(book, way.ask) for way in book.asker.ways(model))


def _fits_by(book: Book, ask: Ask) -> bool:
    board, kinds = book.board, book.board.rows[:, TYPE]
    left = board.host_left - ask.host[kinds]
    left[:, MEMORY] -= ask.host_base * (board.host_users[:, ask.backend] == 0)
    tenants = (board.rows[:, TENANT] == NO_TENANT) | (board.rows[:, TENANT] == ask.tenant)
    rows = tenants & (ask.types[kinds, ALLOWED] != 0) & (left >= 0).all(axis=1)
    cells, wants = board.cells, ask.types[kinds[board.cells[:, ROW]]]
    need = wants[:, STEADY] + ask.device_base * (board.device_users[:, ask.backend] == 0)
    need += cells[:, PEAK_SUM] + np.maximum(wants[:, SURPLUS] - cells[:, PEAK_LEAST], 0)
    enough = (need <= cells[:, MEMORY_LEFT]) & (wants[:, MILLI] <= cells[:, MILLI_LEFT])
    free = (cells[:, EXCLUSIVE] == 0) & ((cells[:, CROWD] == 0) | (ask.seats == 1))
    seats = (enough | (wants[:, ON_DEVICE] == 0)) & free & rows[cells[:, ROW]]
    found = np.bincount(cells[seats, ROW])
    return bool((found >= ask.seats).any())


def _count(book: Book, model: Model) -> tuple[int, int]:
    """Return how many more of a model fit, as models of their own; and how many if nothing were in pieces."""
    ways = book.asker.ways(model)
    if not ways:
        return 0, 0
    ask, fits = ways[0].ask, 0
    pooled: dict[int, list[int]] = {}
    for row in range(len(book.shards)):
        here, kind = book.board.rows[row], int(book.board.rows[row, TYPE])
        if not ask.types[kind, ALLOWED] or here[TENANT] not in (NO_TENANT, ask.tenant):
            continue
        fits += min(_on_devices(book, ask, row), _beside(book, ask, row))
        pooled.setdefault(kind, []).append(row)
    return fits, sum(_pooled(book, ask, kind, rows) for kind, rows in pooled.items())


def _beside(book: Book, ask: Ask, row: int) -> int:
    """Return how many of a model have what they need beside the devices of a shard."""
    kind, left = int(book.board.rows[row, TYPE]), book.board.host_left[row].copy()
    if not book.board.host_users[row, ask.backend]:
        left[MEMORY] -= ask.host_base
    return _quotient(left, ask.host[kind])


def _quotient(left: Ints, wants: Ints) -> int:
    if (left < 0).any():
        return 0
    return int(min((have // need for have, need in zip(left, wants, strict=True) if need > 0), default=AMPLE))


def _on_devices(book: Book, ask: Ask, row: int) -> int:
    """Return how many of a model fit on the devices of a shard."""
    here = book.board.rows[row]
    cells = range(int(here[FIRST]), int(here[LAST]))
    if ask.seats > 1:
        return (
            sum(_on_device(book, ask, cell, 1) for cell in cells if not book.board.cells[cell, CROWD])
            // ask.seats
        )
    return sum(_on_device(book, ask, cell, AMPLE) for cell in cells)


def _on_device(book: Book, ask: Ask, cell: int, most: int) -> int:
    """Return how many of a model fit on a device, at most ``most``: they load one after the other."""
    board, here = book.board, book.board.cells[cell]
    row = int(here[ROW])
    kind = int(board.rows[row, TYPE])
    wants = ask.types[kind]
    if here[EXCLUSIVE]:
        return 0
    if not wants[ON_DEVICE]:
        return most
    at_once = book.loads_at_once[kind]
    base = 0 if board.device_users[cell, ask.backend] else ask.device_base
    known = book.surpluses[cell][-at_once:]
    left = int(here[MEMORY_LEFT]) - base
    count = min(most, _bounded(left, int(wants[STEADY])), _bounded(int(here[MILLI_LEFT]), int(wants[MILLI])))
    while count > 0:
        surpluses = sorted([*known, *[int(wants[SURPLUS])] * min(count, at_once)])[-at_once:]
        over = count * int(wants[STEADY]) + sum(surpluses) - left
        if over <= 0:
            return count
        count -= max(1, -(-over // max(1, int(wants[STEADY]))) if count > at_once else 1)
    return 0


def _bounded(have: int, need: int) -> int:
    if have < 0:
        return 0
    return AMPLE if need == 0 else have // need


def _pooled(book: Book, ask: Ask, kind: int, rows: list[int]) -> int:
    """Return how many of a model all that is free of a type would hold, in one piece."""
    board, wants = book.board, ask.types[kind]
    left = np.minimum(np.maximum(board.host_left[rows], 0), AMPLE // max(1, len(rows))).sum(axis=0)
    beside = _quotient(left, ask.host[kind])
    if not wants[ON_DEVICE]:
        return beside
    cells = [cell for row in rows for cell in range(int(board.rows[row, FIRST]), int(board.rows[row, LAST]))]
    memory = sum(_free(book, cell) for cell in cells)
    time = sum(max(0, int(board.cells[cell, MILLI_LEFT])) for cell in cells)
    seats = ask.seats
    return min(
        beside,
        _bounded(max(0, memory - int(wants[SURPLUS]) * seats), int(wants[STEADY]) * seats),
        _bounded(time, int(wants[MILLI]) * seats),
    )
