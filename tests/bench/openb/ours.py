"""The placement of ``planner.online`` on the openb traces: nodes are shards, their GPUs the devices."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np

from planner.online.arrays import (
    ALLOWED,
    ALONE,
    ANYWHERE,
    ASK_COLUMNS,
    BY_HOST,
    BY_MILLI,
    BY_SEATS,
    BY_STEADY,
    CELL_COLUMNS,
    DOMAIN,
    FIRST,
    LAST,
    MEMORY_LEFT,
    MILLI_LEFT,
    NO_TENANT,
    NOTHING_BANNED,
    ON_DEVICE,
    ROW,
    ROW_COLUMNS,
    TENANT,
    TYPE,
    WORTH,
    Ask,
    Board,
    Load,
    Scores,
    Where,
)
from planner.online.arrays import MILLI as ASK_MILLI
from planner.online.book import change
from planner.online.choosing import choose, measure
from planner.online.mix import HOST_SLACK, SIZE_POWER, TINY
from planner.solve.problem import AMPLE, CPU, MEMORY
from tests.bench.openb.peers import CPU as POD_CPU
from tests.bench.openb.peers import GPUS, MILLI, MODELS
from tests.bench.openb.peers import MEMORY as POD_MEMORY
from tests.bench.openb.trace import MOST_GPUS, WHOLE, Floats, Ints, Run

_EVERYWHERE = Where(banned=NOTHING_BANNED, row=ANYWHERE, device=ANYWHERE)
_COLUMNS = 2


class Field:
    """A run's nodes as a board, and its pods as asks and loads."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.types = int(run.nodes.model.max()) + 1
        self.board = _board(run)
        self.scores = _scores(run, self.board, self.types)
        self.asks = [self._ask(pod) for pod in run.kinds]
        self.loads = [self._load(pod) for pod in run.kinds]
        self._cells = np.zeros(MOST_GPUS, dtype=np.int64)
        measure(self.board, self.scores, 0, len(run.nodes.gpus))
        choose(self.board, self.scores, self.asks[0], _EVERYWHERE, self._cells)  # compiled before it is timed

    def place(self, kind: int, only: int = ANYWHERE) -> tuple[int, Ints] | None:
        """Place a pod, on one node if that is given; returns its node and cells, None if it does not fit."""
        ask = self.asks[kind]
        where = _EVERYWHERE if only == ANYWHERE else _EVERYWHERE._replace(row=only)
        row = choose(self.board, self.scores, ask, where, self._cells)
        if row < 0:
            return None
        cells = self._cells[: ask.seats].copy()
        self.book(kind, row, cells, 1)
        return row, cells

    def book(self, kind: int, row: int, cells: Ints, sign: int) -> None:
        """Book a pod in or out."""
        change(self.board, self.loads[kind], row, cells, sign)
        measure(self.board, self.scores, row, row + 1)

    @property
    def allocated_percent(self) -> float:
        """Return the share of all GPUs that is allocated now."""
        return float(100 - 100 * self.board.cells[:, MILLI_LEFT].sum() / (WHOLE * self.run.nodes.gpus.sum()))

    def _ask(self, pod: Ints) -> Ask:
        seats = int(pod[GPUS])
        types = np.zeros((self.types, ASK_COLUMNS), dtype=np.int64)
        types[:, ALLOWED] = (seats == 0) | (pod[MODELS] >> np.arange(self.types)) & 1
        types[:, ON_DEVICE], types[:, ASK_MILLI] = seats > 0, pod[MILLI]
        return Ask(
            types=types,
            host=np.tile(pod[[POD_CPU, POD_MEMORY]], (self.types, 1)),
            seats=seats,
            backend=0,
            device_base=0,
            host_base=0,
            tenant=NO_TENANT,
        )

    def _load(self, pod: Ints) -> Load:
        return Load(
            host=pod[[POD_CPU, POD_MEMORY]].copy(),
            on_device=bool(pod[GPUS] > 0),
            steady=0,
            milli=int(pod[MILLI]),
            whole=bool(pod[GPUS] > 1),
            backend=0,
            device_base=0,
            host_base=0,
        )


def _board(run: Run) -> Board:
    nodes, count, gpus = run.nodes, len(run.nodes.gpus), int(run.nodes.gpus.sum())
    rows = np.zeros((count, ROW_COLUMNS), dtype=np.int64)
    rows[:, TYPE], rows[:, TENANT], rows[:, DOMAIN] = nodes.model, NO_TENANT, np.arange(count)
    rows[:, LAST] = np.cumsum(nodes.gpus)
    rows[:, FIRST] = rows[:, LAST] - nodes.gpus
    cells = np.zeros((gpus, CELL_COLUMNS), dtype=np.int64)
    cells[:, ROW] = np.repeat(np.arange(count), nodes.gpus)
    cells[:, MEMORY_LEFT], cells[:, MILLI_LEFT] = AMPLE, WHOLE
    host = np.zeros((count, _COLUMNS), dtype=np.int64)
    host[:, CPU], host[:, MEMORY] = nodes.cpu_milli, nodes.memory_mib
    return Board(
        rows=rows,
        cells=cells,
        host_left=host,
        host_users=np.zeros((count, 1), dtype=np.int64),
        device_users=np.zeros((gpus, 1), dtype=np.int64),
    )


def _scores(run: Run, board: Board, types: int) -> Scores:
    """Return the worth of room to typical pods: those with GPUs, weighted by the GPUs that they ask for."""
    asked = run.typical[:, GPUS] > 0
    pods, shares = run.typical[asked], run.weights[asked]
    typical = np.zeros((types, BY_HOST + _COLUMNS, len(pods)))
    allowed = (pods[:, MODELS] >> np.arange(types)[:, None]) & 1
    typical[:, WORTH] = allowed * shares * (pods[:, GPUS] * pods[:, MILLI] / WHOLE) ** SIZE_POWER
    typical[:, BY_STEADY], typical[:, BY_MILLI] = 1 / TINY, 1 / pods[:, MILLI]
    typical[:, BY_SEATS], typical[:, ALONE] = 1 / pods[:, GPUS], pods[:, GPUS] > 1
    typical[:, BY_HOST + CPU] = 1 / np.maximum(pods[:, POD_CPU], TINY)
    typical[:, BY_HOST + MEMORY] = 1 / np.maximum(pods[:, POD_MEMORY], TINY)
    return Scores(
        typical=typical,
        is_gpu=np.ones(types, dtype=np.bool_),
        host_slack=HOST_SLACK,
        counts=np.zeros((len(board.cells), len(pods))),
        sums=np.zeros((len(board.rows), len(pods))),
        values=np.zeros(len(board.rows)),
    )


def place_online(field: Field, arrivals: Iterable[int]) -> Floats:
    """Place pod after pod; returns CPU and wall seconds of each, ``(pods, 2)``."""
    seconds = []
    for kind in arrivals:
        wall, cpu = time.perf_counter(), time.thread_time()
        field.place(int(kind))
        seconds.append((time.thread_time() - cpu, time.perf_counter() - wall))
    return np.array(seconds)
