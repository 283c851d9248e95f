"""A placement as a board that changes: shards become rows, devices cells, replicas residents."""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from planner.domain.memory import ShardRoom, node_devices, shard_room
from planner.domain.model import Model
from planner.domain.placement import Placed, Placement, Shard
from planner.domain.scenario import Names, Scenario
from planner.domain.verify import domain_of
from planner.online.arrays import (
    CELL_COLUMNS,
    CROWD,
    DOMAIN,
    EXCLUSIVE,
    FIRST,
    LAST,
    MEMORY_LEFT,
    MILLI_LEFT,
    NO_TENANT,
    PEAK_LEAST,
    PEAK_SUM,
    ROW,
    ROW_COLUMNS,
    TENANT,
    TYPE,
    Board,
    Floats,
    Ints,
    Load,
)
from planner.online.asks import Asker
from planner.solve.problem import AMPLE, CONFIG, CPU, DISK, FIXED_COLUMNS, MEMORY, MODELS

FIXED_NAMES = ("cpu", "memory", "disk", "models", "config")
"""Names of the host's first columns, in the order of ``solve.problem``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """A replica where it is, with what it takes there."""

    placed: Placed
    load: Load
    surplus: int


class Book:
    """Who is where, and the board that follows from it.

    Parameters
    ----------
    scenario, parts
        What is planned; its models have to have all that are placed.
    placement
        A legal one.
    """

    def __init__(self, scenario: Scenario, parts: Names, placement: Placement) -> None:
        self.scenario, self.parts = scenario, parts
        self.shards: list[Shard] = []
        self.row_of: dict[str, int] = {}
        self.columns = _columns(scenario)
        self.asker = Asker(scenario, parts, self.columns)
        self._domains: dict[str | None, int] = {}
        self.board = self._empty(())
        self.loads_at_once = [item.parallel_loads for item in scenario.shard_types]
        self.residents: dict[str, dict[int, Resident]] = defaultdict(dict)
        self.surpluses: list[list[int]] = []
        self._crowd: list[int] = []
        self.open(placement.shards)
        for placed in placement.placed:
            self.add(parts.models[placed.model], placed)

    def open(self, shards: tuple[Shard, ...]) -> None:
        """Book empty shards in, behind those that there are."""
        fresh = self._empty(shards)
        rows, cells = len(self.shards), len(self.surpluses)
        fresh.rows[:, FIRST] += cells
        fresh.rows[:, LAST] += cells
        fresh.cells[:, ROW] += rows
        self.board = Board(*(np.concatenate(pair) for pair in zip(self.board, fresh, strict=True)))
        self.row_of.update({shard.name: rows + index for index, shard in enumerate(shards)})
        self.shards.extend(shards)
        self.surpluses.extend([] for _ in fresh.cells)
        self._crowd.extend(0 for _ in shards)

    def close(self, name: str) -> None:
        """Book an empty shard out; those behind it move up.

        Raises
        ------
        KeyError
            It is not open.
        ValueError
            Somebody is on it.
        """
        row = self.row_of[name]
        if self._crowd[row]:
            raise ValueError(f"shard {name!r} has {self._crowd[row]} residents")
        board = self.board
        first, last = int(board.rows[row, FIRST]), int(board.rows[row, LAST])
        cells, rows = without(board.cells, first, last), without(board.rows, row, row + 1)
        cells[first:, ROW] -= 1
        rows[row:, [FIRST, LAST]] -= last - first
        self.board = Board(
            rows=rows,
            cells=cells,
            host_left=without(board.host_left, row, row + 1),
            host_users=without(board.host_users, row, row + 1),
            device_users=without(board.device_users, first, last),
        )
        del self.shards[row], self.surpluses[first:last], self._crowd[row], self.row_of[name]
        self.row_of.update((shard.name, row + index) for index, shard in enumerate(self.shards[row:]))

    def add(self, model: Model, placed: Placed) -> Resident:
        """Book a replica in."""
        row = self.row_of[placed.shard]
        here = self.board.rows[row]
        load, surplus = self.asker.load(model, int(here[TYPE]), placed.option)
        resident = Resident(placed=placed, load=load, surplus=surplus)
        change(self.board, load, row, self._cells(placed), 1)
        here[TENANT] = self.asker.tenant(model)
        self._crowd[row] += 1
        self._book_peaks(resident, 1)
        self.residents[placed.model][placed.replica] = resident
        return resident

    def remove(self, resident: Resident) -> None:
        """Book a replica out."""
        placed = resident.placed
        row = self.row_of[placed.shard]
        del self.residents[placed.model][placed.replica]
        change(self.board, resident.load, row, self._cells(placed), -1)
        self._crowd[row] -= 1
        if self._crowd[row] == 0:
            self.board.rows[row, TENANT] = NO_TENANT
        self._book_peaks(resident, -1)

    def _cells(self, placed: Placed) -> Ints:
        """Return the cells of a replica's devices."""
        found: Ints = np.array(placed.devices, dtype=np.int64)
        found += self.board.rows[self.row_of[placed.shard], FIRST]
        return found

    def _book_peaks(self, resident: Resident, sign: int) -> None:
        """Keep what loading takes: the largest surpluses of those that use a device."""
        if not resident.load.on_device:
            return
        most = self.loads_at_once[int(self.board.rows[self.row_of[resident.placed.shard], TYPE])]
        for cell in self._cells(resident.placed):
            known = self.surpluses[cell]
            if sign > 0:
                insort(known, resident.surplus)
            else:
                known.remove(resident.surplus)
            largest = known[-most:]
            self.board.cells[cell, PEAK_SUM] = min(AMPLE, sum(largest))
            self.board.cells[cell, PEAK_LEAST] = largest[0] if len(known) >= most else 0

    def placed(self) -> tuple[Placed, ...]:
        """Return where everything is, sorted."""
        return tuple(sorted(item.placed for found in self.residents.values() for item in found.values()))

    def placement(self) -> Placement:
        """Return where everything is; the shards are in the order in which they came."""
        return Placement(shards=tuple(self.shards), placed=self.placed())

    def _empty(self, shards: tuple[Shard, ...]) -> Board:
        """Return the board of empty shards; failure domains are numbered as they come."""
        scenario, parts = self.scenario, self.parts
        domains = [domain_of(shard, scenario, parts) for shard in shards]
        numbers = [self._domains.setdefault(domain, len(self._domains)) for domain in domains]
        return _board(scenario, parts, shards, self.columns, numbers)


Rows = TypeVar("Rows", Ints, Floats)


def without(array: Rows, first: int, last: int) -> Rows:
    """Return an array without some rows; the last ones, as of a shard that was only tried, are cut off."""
    return array[:first] if last == len(array) else np.delete(array, slice(first, last), axis=0)


def change(board: Board, load: Load, row: int, cells: Ints, sign: int) -> None:
    """Book a replica in (``sign`` 1) or out (-1) of a shard; what loading takes is booked by the caller."""
    edge, backend = int(sign > 0), load.backend
    board.host_left[row] -= sign * load.host
    board.host_users[row, backend] += sign
    if board.host_users[row, backend] == edge:
        board.host_left[row, MEMORY] -= sign * load.host_base
    for cell in cells:
        here = board.cells[cell]
        here[CROWD] += sign
        if load.whole:
            here[EXCLUSIVE] = edge
        if load.on_device:
            here[MEMORY_LEFT] -= sign * load.steady
            here[MILLI_LEFT] -= sign * load.milli
            board.device_users[cell, backend] += sign
            if board.device_users[cell, backend] == edge:
                here[MEMORY_LEFT] -= sign * load.device_base


def _columns(scenario: Scenario) -> tuple[str, ...]:
    """Return the host's resources: the fixed ones, and every one that some shard type has by name."""
    return (*FIXED_NAMES, *sorted({name for item in scenario.shard_types for name, _ in item.extra}))


def _board(
    scenario: Scenario,
    parts: Names,
    shards: tuple[Shard, ...],
    columns: tuple[str, ...],
    domains: list[int],
) -> Board:
    """Return the board of empty shards in numbered failure domains."""
    kinds = {item.name: index for index, item in enumerate(scenario.shard_types)}
    rooms = [_room(scenario, parts, shard) for shard in shards]
    widths = np.array([len(room.devices) for room in rooms], dtype=np.int64)
    rows = np.zeros((len(shards), ROW_COLUMNS), dtype=np.int64)
    rows[:, TYPE] = [kinds[shard.shard_type] for shard in shards]
    rows[:, TENANT], rows[:, DOMAIN] = NO_TENANT, domains
    rows[:, LAST] = np.cumsum(widths)
    rows[:, FIRST] = rows[:, LAST] - widths
    devices = [device for room in rooms for device in room.devices]
    cells = np.zeros((len(devices), CELL_COLUMNS), dtype=np.int64)
    cells[:, ROW] = np.repeat(np.arange(len(shards)), widths)
    cells[:, MEMORY_LEFT] = [min(item.capacity_bytes - item.fixed_bytes, AMPLE) for item in devices]
    cells[:, MILLI_LEFT] = [min(item.capacity_milli, AMPLE) for item in devices]
    backends = len(scenario.backends)
    return Board(
        rows=rows,
        cells=cells,
        host_left=np.array([_host(room, columns) for room in rooms], dtype=np.int64).reshape(
            -1, len(columns)
        ),
        host_users=np.zeros((len(shards), backends), dtype=np.int64),
        device_users=np.zeros((len(devices), backends), dtype=np.int64),
    )


def _room(scenario: Scenario, parts: Names, shard: Shard) -> ShardRoom:
    return shard_room(
        parts.shard_types[shard.shard_type],
        parts,
        policy=scenario.policy,
        max_config_map_bytes=scenario.cluster.max_config_map_bytes,
        devices=node_devices(shard, parts.nodes),
    )


def _host(room: ShardRoom, columns: tuple[str, ...]) -> list[int]:
    host = [room.extra.get(name, 0) for name in columns]
    host[CPU], host[MEMORY], host[CONFIG] = room.cpu_milli, room.memory_bytes, room.models_json_bytes
    host[DISK] = AMPLE if room.disk_bytes is None else room.disk_bytes
    host[MODELS] = AMPLE if room.max_models is None else room.max_models
    assert len(FIXED_NAMES) == FIXED_COLUMNS
    return [min(amount, AMPLE) for amount in host]
