"""The other two tracks on the openb traces: everything known beforehand, and k moves on the end state."""

from __future__ import annotations

from collections import Counter

import numpy as np

from planner.online.arrays import ANYWHERE, MILLI_LEFT, NOTHING_BANNED, ROW, Where
from planner.online.choosing import choose
from tests.bench.openb.ours import Field
from tests.bench.openb.peers import CPU as POD_CPU
from tests.bench.openb.peers import GPUS, MILLI
from tests.bench.openb.trace import MOST_GPUS, WHOLE, Ints

WORTH_A_MOVE = 0.02
"""GPUs of usable room that a move has to bring."""

Seat = tuple[int, int, Ints]
"""Where a pod is: its kind, node and cells."""


def place_known(field: Field) -> None:
    """Place all pods in an order of our choice: those that waste nothing first, the largest of them first.

    Pods that ask for more than two thirds of a GPU leave a rest that few fit into, so they come after the
    others that use GPUs; pods without one come last. What fits nowhere is left out.
    """
    pods = field.run.kinds[field.run.arrivals]
    partial = (pods[:, GPUS] == 1) & (pods[:, MILLI] < WHOLE)
    wasteful = partial & (pods[:, MILLI] > WHOLE * 2 // 3)
    order = np.lexsort((-pods[:, POD_CPU], -pods[:, GPUS] * pods[:, MILLI], wasteful, pods[:, GPUS] == 0))
    for kind in field.run.arrivals[order]:
        field.place(int(kind))


class Tenancy:
    """The end of an online run: who is where, and which kinds of pod found no place.

    Parameters
    ----------
    field
        Fresh.
    nodes
        Where another policy placed each pod, -1 for dropped; None places them by ours.
    """

    def __init__(self, field: Field, nodes: Ints | None = None) -> None:
        self.field = field
        self.at_node: list[list[Seat]] = [[] for _ in field.run.nodes.gpus]
        self.waiting: Counter[int] = Counter()
        for index, kind in enumerate(field.run.arrivals):
            only = ANYWHERE if nodes is None else int(nodes[index])
            found = None if nodes is not None and only < 0 else field.place(int(kind), only)
            if found is None:
                self.waiting[int(kind)] += 1
            else:
                self.at_node[found[0]].append((int(kind), *found))
        pods = field.run.kinds
        self._by_size = sorted(self.waiting, key=lambda kind: -int(pods[kind, GPUS] * pods[kind, MILLI]))

    def move_most(self, most: int) -> int:
        """Move pods, one at a time, where that makes more of the free room; returns how many were moved.

        Nodes with the most free GPU room go first; on each the pod is moved whose going is worth most, and
        what waits is let in.
        """
        moved, found = 0, True
        while found and moved < most:
            found = False
            for node in np.argsort(-self._free(), kind="stable"):
                if moved < most and self._move_best(int(node)):
                    moved, found = moved + 1, True
        return moved

    def _free(self) -> Ints:
        board = self.field.board
        return np.bincount(board.cells[:, ROW], board.cells[:, MILLI_LEFT]).astype(np.int64)

    def _move_best(self, node: int) -> bool:
        """Move the pod off a node whose going is worth most; returns False if none is worth a move."""
        first_of = {seat[0]: seat for seat in reversed(self.at_node[node])}
        tried = [(self._gain(seat), kind) for kind, seat in sorted(first_of.items())]
        gain, kind = max(tried, default=(0.0, -1))
        if gain < WORTH_A_MOVE:
            return False
        self._move(first_of[kind])
        self._fill(node)
        return True

    def _gain(self, seat: Seat) -> float:
        """Return what free room is worth more, in GPUs, once a pod has gone elsewhere; -inf if it cannot."""
        kind, node, cells = seat
        where = self._elsewhere(seat)
        if where is None:
            return -np.inf
        values = self.field.scores.values
        before = values[node] + values[where[0]]
        self.field.book(kind, node, cells, -1)
        self.field.book(kind, *where, 1)
        gain = values[node] + values[where[0]] - before
        self.field.book(kind, *where, -1)
        self.field.book(kind, node, cells, 1)
        return float(gain)

    def _elsewhere(self, seat: Seat) -> tuple[int, Ints] | None:
        """Return another node for a pod, without moving it."""
        kind, node, _ = seat
        own = np.array([node], dtype=np.int64)
        cells = np.zeros(MOST_GPUS, dtype=np.int64)
        ask = self.field.asks[kind]
        where = Where(banned=own, row=ANYWHERE, device=ANYWHERE)
        row = choose(self.field.board, self.field.scores, ask, where, cells)
        return None if row < 0 else (int(row), cells[: ask.seats].copy())

    def _move(self, seat: Seat) -> None:
        kind, node, cells = seat
        where = self._elsewhere(seat)
        assert where is not None
        self.at_node[node] = [item for item in self.at_node[node] if item is not seat]
        self.field.book(kind, node, cells, -1)
        self.field.book(kind, *where, 1)
        self.at_node[where[0]].append((kind, *where))

    def _fill(self, node: int) -> None:
        """Let waiting pods into a node, the largest first."""
        field, cells = self.field, np.zeros(MOST_GPUS, dtype=np.int64)
        where = Where(banned=NOTHING_BANNED, row=node, device=ANYWHERE)
        for kind in self._by_size:
            ask = field.asks[kind]
            while self.waiting[kind] > 0 and choose(field.board, field.scores, ask, where, cells) >= 0:
                taken = cells[: ask.seats].copy()
                field.book(kind, node, taken, 1)
                self.at_node[node].append((kind, node, taken))
                self.waiting[kind] -= 1
