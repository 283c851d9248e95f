"""The published policies, from their paper and what its simulator does: FGD, best fit and random.

Scores are kube-scheduler's: whole numbers from 0 to 100, cut down, and of equal ones the first node wins (the
simulator gives nodes a random order). Both matter: with exact scores FGD loses some 5 points.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from planner.solve.compiled import compiled
from tests.bench.openb.trace import WHOLE, Floats, Ints, Nodes, Run

CPU, MEMORY, GPUS, MILLI, MODELS = range(5)
"""Columns of a kind of pod."""

_MOST_CPU, _MOST_GPU = 128_000, 8 * WHOLE
"""What best fit measures by: the largest node's."""

_NOTHING = -1


@compiled
def fits(nodes: Nodes, node: int, pod: Ints) -> bool:
    """Return whether a pod fits on a node."""
    if nodes.cpu_milli[node] < pod[CPU] or nodes.memory_mib[node] < pod[MEMORY]:
        return False
    if pod[GPUS] == 0:
        return True
    if not (pod[MODELS] >> nodes.model[node]) & 1:
        return False
    return int((nodes.free[node] >= pod[MILLI]).sum()) >= pod[GPUS]


@compiled
def put(nodes: Nodes, node: int, pod: Ints, gpu: int) -> None:
    """Take a pod's resources: on one GPU of a node, or without one on the first that are free."""
    nodes.cpu_milli[node] -= pod[CPU]
    nodes.memory_mib[node] -= pod[MEMORY]
    if gpu >= 0:
        nodes.free[node, gpu] -= pod[MILLI]
        return
    left = pod[GPUS]
    for index in range(nodes.free.shape[1]):
        if left > 0 and nodes.free[node, index] == WHOLE:
            nodes.free[node, index] = 0
            left -= 1


@compiled
def fragmentation(cpu: int, free: Ints, model: int, typical: Ints, weights: Floats) -> float:
    """Return the expected milli-GPUs of a node that a typical pod cannot use (section 3 of the paper).

    All that is free counts for a pod that does not fit, and for one without a GPU; else what is left of GPUs
    with less than the pod asks of each.
    """
    whole = free.sum()
    total = 0.0
    for index in range(len(typical)):
        pod = typical[index]
        if pod[MILLI] == 0 or not (pod[MODELS] >> model) & 1 or cpu < pod[CPU]:
            total += weights[index] * whole
            continue
        enough, scraps = 0, 0
        for gpu in free:
            if gpu >= pod[MILLI]:
                enough += 1
            else:
                scraps += gpu
        total += weights[index] * (scraps if enough >= pod[GPUS] else whole)
    return total


@compiled
def _fgd_score(nodes: Nodes, node: int, pod: Ints, typical: Ints, weights: Floats) -> tuple[int, int]:
    """Return the score of a node for a pod, and the GPU; -1 are the first that are free."""
    cpu, free, model = nodes.cpu_milli[node], nodes.free[node], nodes.model[node]
    before = fragmentation(cpu, free, model, typical, weights)
    after = free.copy()
    best, chosen = _NOTHING, -1
    if pod[GPUS] == 1 and pod[MILLI] < WHOLE:
        for gpu in range(len(free)):
            if free[gpu] < pod[MILLI]:
                continue
            after[gpu] -= pod[MILLI]
            less = before - fragmentation(cpu - pod[CPU], after, model, typical, weights)
            after[gpu] += pod[MILLI]
            score = int(100 / (1 + math.exp(-less / 1000)))
            if score > best:
                best, chosen = score, gpu
        return best, chosen
    left = pod[GPUS]
    for gpu in range(len(free)):
        if left > 0 and free[gpu] == WHOLE:
            after[gpu] = 0
            left -= 1
    less = before - fragmentation(cpu - pod[CPU], after, model, typical, weights)
    return int(100 / (1 + math.exp(-less / 1000))), -1


@compiled
def _run_fgd(nodes: Nodes, kinds: Ints, arrivals: Ints, typical: Ints, weights: Floats) -> Ints:
    """Place pod after pod; scores are kept until their node changes. Returns their nodes, -1 for dropped."""
    count = len(nodes.gpus)
    where = np.full(len(arrivals), -1)
    changes = np.zeros(count, dtype=np.int64)
    seen = np.full((len(kinds), count), -1, dtype=np.int64)
    scores = np.zeros((len(kinds), count), dtype=np.int64)
    gpus = np.zeros((len(kinds), count), dtype=np.int64)
    for step in range(len(arrivals)):
        kind = arrivals[step]
        pod = kinds[kind]
        best, chosen = _NOTHING, -1
        for node in range(count):
            if seen[kind, node] != changes[node]:
                seen[kind, node] = changes[node]
                scores[kind, node] = _NOTHING
                if fits(nodes, node, pod):
                    found = _fgd_score(nodes, node, pod, typical, weights)
                    scores[kind, node], gpus[kind, node] = found
            if scores[kind, node] > best:
                best, chosen = scores[kind, node], node
        if chosen >= 0:
            put(nodes, chosen, pod, gpus[kind, chosen])
            changes[chosen] += 1
            where[step] = chosen
    return where


@compiled
def _tightest(free: Ints, pod: Ints) -> int:
    """Return the fullest GPU that a share of one fits on; -1 for a pod of another kind."""
    chosen = -1
    if pod[GPUS] == 1 and pod[MILLI] < WHOLE:
        for gpu in range(len(free)):
            if free[gpu] >= pod[MILLI] and (chosen < 0 or free[gpu] < free[chosen]):
                chosen = gpu
    return chosen


@compiled
def _run_best_fit(nodes: Nodes, kinds: Ints, arrivals: Ints) -> None:
    """Place pod after pod where least stays free, CPU and GPUs counted alike, scores scaled to 0 to 100."""
    count = len(nodes.gpus)
    scores = np.zeros(count, dtype=np.int64)
    for kind in arrivals:
        pod = kinds[kind]
        lowest, highest = 101, -1
        for node in range(count):
            scores[node] = _NOTHING
            if fits(nodes, node, pod):
                rest = (nodes.cpu_milli[node] - pod[CPU]) / _MOST_CPU * 0.5
                rest += (nodes.free[node].sum() - pod[GPUS] * pod[MILLI]) / _MOST_GPU * 0.5
                scores[node] = int((1.0 - rest) * 100)
                lowest, highest = min(lowest, scores[node]), max(highest, scores[node])
        best, chosen = _NOTHING, -1
        for node in range(count):
            if scores[node] == _NOTHING:
                continue
            scaled = 0 if highest == lowest else (scores[node] - lowest) * 100 // (highest - lowest)
            if scaled > best:
                best, chosen = scaled, node
        if chosen >= 0:
            put(nodes, chosen, pod, _tightest(nodes.free[chosen], pod))


@compiled
def _run_random(nodes: Nodes, kinds: Ints, arrivals: Ints, draws: Floats) -> None:
    """Place pod after pod on any node that takes it, and there on any GPU."""
    for step in range(len(arrivals)):
        pod = kinds[arrivals[step]]
        found = np.zeros(len(nodes.gpus), dtype=np.int64)
        count = 0
        for node in range(len(found)):
            if fits(nodes, node, pod):
                found[count] = node
                count += 1
        if count == 0:
            continue
        node, gpu = found[int(draws[step, 0] * count)], -1
        if pod[GPUS] == 1 and pod[MILLI] < WHOLE:
            places = np.flatnonzero(nodes.free[node] >= pod[MILLI])
            gpu = places[int(draws[step, 1] * len(places))]
        put(nodes, node, pod, gpu)


def place_by_fgd(run: Run) -> Ints:
    """Fragmentation gradient descent: where the expected fragmentation grows least; returns pods' nodes."""
    return _run_fgd(run.nodes, run.kinds, run.arrivals, run.typical, run.weights)


def place_by_best_fit(run: Run) -> None:
    """Best fit, as the published one."""
    _run_best_fit(run.nodes, run.kinds, run.arrivals)


def place_at_random(run: Run) -> None:
    """Random nodes, random GPUs."""
    draws = np.random.default_rng([run.seed, 1]).random((len(run.arrivals), 2))
    _run_random(run.nodes, run.kinds, run.arrivals, draws)


PEERS: dict[str, Callable[[Run], object]] = {
    "random": place_at_random,
    "best-fit": place_by_best_fit,
    "fgd": place_by_fgd,
}
