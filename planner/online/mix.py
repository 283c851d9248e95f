"""The models that stand for those to come: what free room is worth is how many of them it holds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

import numpy as np

from planner.online.arrays import (
    ALONE,
    BY_HOST,
    BY_MILLI,
    BY_SEATS,
    BY_STEADY,
    DEVICE_BASE,
    HOST_BASE,
    PEAK,
    WORTH,
    Board,
    Floats,
    Ints,
    Scores,
)
from planner.solve.problem import Problem

HOST_SLACK: Final = 1.6
"""Times that the host resources of a shard count when models are counted that could be added.

A typical model is counted as if all that came were like it; in truth those that need much CPU share a shard
with others that need little. Tuned on the openb traces with seeds 100 to 103, where 1.3 to 1.75 are within
0.2 points of each other and 1 loses 0.3."""

SIZE_POWER: Final = 0.8
"""The power of what a typical model uses that its fit is worth: large ones count a little less than they use.

Tuned as ``HOST_SLACK``: 0.7 to 1 are within 0.15 points, 0.5 and 1.5 lose more, 0 loses a point."""

TINY: Final = 1e-9
"""Stands for "needs nothing" where something is divided by it."""

TYPICAL: Final = 24
"""Models that stand for all; as many more as there are different numbers of whole devices."""


def make_scores(problem: Problem, board: Board) -> Scores:
    """Return what free room is worth on a board, nothing of it counted yet."""
    kinds, shares = typical_kinds(problem)
    types, columns = len(problem.prices), board.host_left.shape[1]
    typical = np.zeros((types, BY_HOST + columns, len(kinds)))
    mode = problem.modes[0]
    seats, backends = _seats_and_backends(problem)
    for index, kind in enumerate(kinds):
        typical[:, WORTH, index] = shares[index] * _uses(problem, kind, int(seats[kind]))
    typical[:, BY_STEADY] = (1 / np.maximum(mode.steady[kinds], TINY)).T
    typical[:, BY_MILLI] = (1 / np.maximum(mode.milli[kinds], TINY)).T
    typical[:, PEAK] = mode.surplus[kinds].T
    typical[:, BY_HOST:] = 1 / TINY
    known = len(problem.columns)
    typical[:, BY_HOST : BY_HOST + known] = np.moveaxis(1 / np.maximum(mode.host[kinds], TINY), 0, -1)
    typical[:, DEVICE_BASE] = problem.device_base[backends[kinds]]
    typical[:, HOST_BASE] = problem.host_base[backends[kinds]]
    typical[:, BY_SEATS], typical[:, ALONE] = 1 / seats[kinds], seats[kinds] > 1
    return Scores(
        typical=typical,
        is_gpu=problem.is_gpu,
        host_slack=HOST_SLACK,
        counts=np.zeros((len(board.cells), len(kinds))),
        sums=np.zeros((len(board.rows), len(kinds))),
        values=np.zeros(len(board.rows)),
    )


def typical_kinds(problem: Problem) -> tuple[Ints, Floats]:
    """Return the kinds of models that stand for all, and the share of the replicas that each stands for.

    They are taken at even steps through the replicas sorted by size, apart for every number of whole devices.
    """
    counts: Counter[int] = Counter()
    for index, model in enumerate(problem.scenario.models):
        counts[int(problem.kind[index])] += model.replicas
    seats, _ = _seats_and_backends(problem)
    by_seats: dict[int, list[int]] = defaultdict(list)
    for kind in sorted(counts):
        by_seats[int(seats[kind])].append(kind)
    total = max(1, counts.total())
    kinds: list[int] = []
    shares: list[float] = []
    for group in by_seats.values():
        weight = sum(counts[kind] for kind in group)
        steps = max(1, round(TYPICAL * weight / total))
        sizes = {kind: float(_uses(problem, kind, 1).max(initial=0.0)) for kind in group}
        ordered = sorted(group, key=lambda kind: (sizes[kind], kind))
        for kind, share in Counter(_at_even_steps(ordered, counts, weight, steps)).items():
            kinds.append(kind)
            shares.append(share * weight / steps / total)
    return np.array(kinds, dtype=np.int64), np.array(shares)


def _at_even_steps(ordered: Sequence[int], counts: Counter[int], weight: int, steps: int) -> list[int]:
    ends = np.cumsum([counts[kind] for kind in ordered])
    middles = (np.arange(steps) + 0.5) * weight / steps
    return [ordered[int(position)] for position in np.searchsorted(ends, middles, side="right")]


def _seats_and_backends(problem: Problem) -> tuple[Ints, Ints]:
    """Return the devices and the backend of each kind."""
    seats = np.ones(len(problem.modes[0].allowed), dtype=np.int64)
    backends = np.zeros(len(seats), dtype=np.int64)
    for index, model in enumerate(problem.scenario.models):
        seats[problem.kind[index]] = model.devices_per_replica
        backends[problem.kind[index]] = problem.backend[index]
    return seats, backends


def _uses(problem: Problem, kind: int, seats: int) -> Floats:
    """Return what a fit of a kind is worth on each type: what it uses of a device, and what that costs."""
    mode = problem.modes[0]
    memory = mode.steady[kind] / np.maximum(problem.device_memory - problem.device_fixed, 1)
    share = np.maximum(memory, mode.milli[kind] / np.maximum(problem.device_milli, 1))
    beside = (mode.host[kind] / np.maximum(problem.host_room, 1)).max(axis=1, initial=0.0)
    uses = np.where(problem.is_gpu, share * mode.on_device[kind], beside) * seats
    return np.asarray(uses**SIZE_POWER * mode.allowed[kind] * _prices(problem), dtype=np.float64)


def _prices(problem: Problem) -> Floats:
    """Return the price of a device of each type in times of their mean; 1 for what costs nothing."""
    prices = problem.prices / problem.device_counts
    priced = prices > 0
    if not priced.any():
        return np.ones(len(prices))
    return np.where(priced, prices / prices[priced].mean(), 1.0)
