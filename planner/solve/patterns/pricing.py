"""Pricing: the set of units that is worth most among those that fit on one shard.

A knapsack with a capacity in every dimension, searched depth first. Every dimension's size, weighed and
summed, makes one plain knapsack (the surrogate); its exact table and its linear relaxation over the units
that still fit bound what a partial pattern may become (Martello and Toth 1990, chapter 2, for both). Units
come in the order of worth over surrogate weight. All amounts are integers, so a bound is exact.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from planner.solve.compiled import compiled
from planner.solve.problem import Ints

FINE = 2**24
"""Room of the surrogate where it is weighed finely."""

DEEPEST = 64
"""Units that a pattern holds at most here; a longer one ends, and its bound says so."""


PUSH_WORK = 8
"""Work that trying one more unit counts for; asking whether a place fits counts for one."""


class Knapsack(NamedTuple):
    """A site with what its classes are worth, places in the order of search.

    Attributes
    ----------
    room, base, loads
        As of the site.
    size, most, backends, surplus, label
        As of the site, ``(places, ...)``.
    value
        ``(places,)``, above 0.
    fine
        ``(places,)``: surrogate weights of ``FINE``, rounded down.
    coarse
        ``(places,)``: surrogate weights of the table's room, rounded down.
    table
        ``(places + 1, room + 1)``: the best value of places from one on in a surrogate room.
    """

    room: Ints
    size: Ints
    most: Ints
    backends: Ints
    base: Ints
    surplus: Ints
    loads: int
    label: Ints
    value: Ints
    fine: Ints
    coarse: Ints
    table: Ints


class Frames(NamedTuple):
    """The stack of a search: of each depth what is left, what is worth trying and where the trying stands."""

    left: Ints
    slack: Ints
    rest: Ints
    worth: Ints
    users: Ints
    peaks: Ints
    candidates: Ints
    many: Ints
    place: Ints
    chosen: Ints
    taken: Ints
    best: Ints


@compiled
def suffix_table(weight: Ints, value: Ints, most: Ints, room: int) -> Ints:
    """Return ``(places + 1, room + 1)``: the best value of places from one on in a plain knapsack."""
    places = len(weight)
    table = np.zeros((places + 1, room + 1), dtype=np.int64)
    for j in range(places - 1, -1, -1):
        here, w, v = table[j], weight[j], value[j]
        here[:] = table[j + 1]
        if w == 0:
            here += v * most[j]
            continue
        for _ in range(min(most[j], room // w)):
            for r in range(room, w - 1, -1):
                here[r] = max(here[r], here[r - w] + v)
    return table


@compiled
def make_frames(knapsack: Knapsack) -> Frames:
    """Return an empty stack for searches of a knapsack."""
    places, dims = knapsack.size.shape
    return Frames(
        left=np.zeros((DEEPEST + 1, dims), dtype=np.int64),
        slack=np.zeros(DEEPEST + 1, dtype=np.int64),
        rest=np.zeros(DEEPEST + 1, dtype=np.int64),
        worth=np.zeros(DEEPEST + 1, dtype=np.int64),
        users=np.zeros(DEEPEST + 1, dtype=np.int64),
        peaks=np.zeros((DEEPEST + 1, max(1, knapsack.loads)), dtype=np.int64),
        candidates=np.zeros((DEEPEST + 1, places + 1), dtype=np.int64),
        many=np.zeros(DEEPEST + 1, dtype=np.int64),
        place=np.zeros(DEEPEST + 1, dtype=np.int64),
        chosen=np.zeros(DEEPEST + 1, dtype=np.int64),
        taken=np.zeros(places, dtype=np.int64),
        best=np.zeros(DEEPEST + 1, dtype=np.int64),
    )


@compiled
def _push(knapsack: Knapsack, frames: Frames, depth: int, j: int) -> bool:
    """Add a place to what is chosen at a depth; returns whether it fits, once paid costs included."""
    left, new = frames.left, depth + 1
    dims = len(knapsack.room)
    for d in range(dims):
        left[new, d] = left[depth, d] - knapsack.size[j, d]
    mask = knapsack.backends[j] & ~frames.users[depth]
    frames.users[new] = frames.users[depth] | mask
    backend = 0
    while mask:
        if mask & 1:
            for d in range(dims):
                left[new, d] -= knapsack.base[backend, d]
        mask >>= 1
        backend += 1
    for d in range(dims):
        if left[new, d] < 0:
            return False
    if knapsack.loads > 0 and _keep_peaks(knapsack, frames, depth, j) > left[new, 0]:
        return False
    frames.slack[new] = frames.slack[depth] - knapsack.coarse[j]
    frames.rest[new] = frames.rest[depth] - knapsack.fine[j]
    frames.worth[new] = frames.worth[depth] + knapsack.value[j]
    frames.chosen[depth] = j
    return True


@compiled
def _keep_peaks(knapsack: Knapsack, frames: Frames, depth: int, j: int) -> int:
    """Sort a surplus into the largest ones of the next depth; returns their sum."""
    surplus, total = knapsack.surplus[j], 0
    for k in range(knapsack.loads):
        known = frames.peaks[depth, k]
        larger = max(known, surplus)
        surplus = min(known, surplus)
        frames.peaks[depth + 1, k] = larger
        total += larger
    return total


@compiled
def _gather(knapsack: Knapsack, frames: Frames, depth: int, start: int, need: int) -> int:
    """Write the places that still fit at a depth, from those of the depth before; returns their number.

    None are returned where their linear relaxation is worth no more than ``need``.
    """
    source, target, left = frames.candidates[depth - 1], frames.candidates[depth], frames.left[depth]
    rest, bound, found, full = frames.rest[depth], 0, 0, False
    for k in range(start, frames.many[depth - 1]):
        j = source[k]
        fits = frames.taken[j] < knapsack.most[j]
        for d in range(len(left)):
            if knapsack.size[j, d] > left[d]:
                fits = False
                break
        if not fits:
            continue
        target[found] = j
        found += 1
        if full:
            continue
        copies, weight = knapsack.most[j] - frames.taken[j], knapsack.fine[j]
        if weight * copies <= rest:
            rest -= weight * copies
            bound += knapsack.value[j] * copies
        else:
            bound += knapsack.value[j] * rest // weight + 2  # the order is by floating point: 2 covers a tie
            full = True
            if bound <= need:
                return 0
    return 0 if bound <= need and not full else found


@compiled
def _enter(knapsack: Knapsack, frames: Frames, first: int) -> bool:
    """Write the empty pattern and add its first place; returns whether that fits."""
    for d in range(len(knapsack.room)):
        frames.left[0, d] = knapsack.room[d]
    frames.slack[0], frames.rest[0] = knapsack.table.shape[1] - 1, FINE
    frames.worth[0] = frames.users[0] = 0
    frames.peaks[0] = 0
    return bool(_push(knapsack, frames, 0, first))


@compiled
def search(
    knapsack: Knapsack, frames: Frames, first: int, floor: int, limit: int
) -> tuple[int, int, int, int]:
    """Find the best pattern that holds a place and otherwise only places that are candidates.

    Parameters
    ----------
    knapsack, frames
        What is searched, and the stack; ``candidates[0]`` and ``many[0]`` say what may be used, in order,
        ``taken`` is all zero. ``best`` and ``chosen`` are written.
    first
        The place that the pattern holds.
    floor
        Nothing worth no more is looked for.
    limit
        Work that may be spent.

    Returns
    -------
    value, bound, size, work
        Of the best pattern, or ``floor`` and size 0; what none exceeds; and what was spent.
    """
    best, size, work, bound = floor, 0, 0, floor
    if not _enter(knapsack, frames, first):
        return floor, floor, 0, 1
    if frames.worth[1] > best:
        best, size = frames.worth[1], 1
        frames.best[0] = first
    frames.taken[first] += 1
    work += frames.many[0]
    frames.many[1] = _gather(knapsack, frames, 1, 0, best - frames.worth[1])
    frames.place[1] = 0
    depth = 1
    while depth >= 1:
        k = frames.place[depth]
        j = frames.candidates[depth, k]
        most = frames.worth[depth] + knapsack.table[j, frames.slack[depth]]
        ends = k >= frames.many[depth] or most <= best
        if ends or work >= limit or depth + 1 >= DEEPEST:
            bound = bound if ends else max(bound, most)
            depth -= 1
            frames.taken[frames.chosen[depth]] -= 1
            continue
        frames.place[depth] = k + 1
        work += PUSH_WORK
        if not _push(knapsack, frames, depth, j):
            continue
        work += frames.many[depth] - k
        depth += 1
        frames.taken[j] += 1
        if frames.worth[depth] > best:
            best, size = frames.worth[depth], depth
            frames.best[:depth] = frames.chosen[:depth]
        frames.many[depth] = _gather(knapsack, frames, depth, k, best - frames.worth[depth])
        frames.place[depth] = 0
    return best, max(best, bound), size, work


@compiled
def _offer(knapsack: Knapsack, frames: Frames, first: int, start: int) -> None:
    """Write the candidates that may join a place: those of its label from a place on."""
    found = 0
    for j in range(start, len(knapsack.value)):
        if knapsack.label[j] == knapsack.label[first]:
            frames.candidates[0, found] = j
            found += 1
    frames.many[0] = found


@compiled
def search_each(
    knapsack: Knapsack, behind: int, floor: int, limit: int, total: int
) -> tuple[Ints, Ints, Ints, int, int]:
    """Find the best pattern for each place.

    Parameters
    ----------
    knapsack
        What is searched.
    behind
        1 if patterns of a place hold no earlier one: then the bound is one of all patterns; else 0.
    floor
        Nothing worth no more is looked for.
    limit, total
        Work that may be spent for one place and for all.

    Returns
    -------
    values, sizes, patterns, bound, work
        ``(places,)``, ``(places,)``, ``(places, DEEPEST)`` of places, what no pattern exceeds, and the work.
    """
    places = len(knapsack.value)
    values = np.zeros(places, dtype=np.int64)
    sizes = np.zeros(places, dtype=np.int64)
    patterns = np.zeros((places, DEEPEST), dtype=np.int64)
    frames = make_frames(knapsack)
    bound, work = floor, 0
    for j in range(places):
        _offer(knapsack, frames, j, j if behind else 0)
        left = max(0, min(limit, total - work))
        values[j], most, sizes[j], looked = search(knapsack, frames, j, floor, left)
        patterns[j, : sizes[j]] = frames.best[: sizes[j]]
        bound = max(bound, most)
        work += looked
    return values, sizes, patterns, bound, work


@compiled
def fill(knapsack: Knapsack, order: Ints, demand: Ints, limit: int) -> tuple[Ints, Ints]:
    """Fill shards one after the other with what is worth most (Gupta and Ho 1999, minimum bin slack).

    Parameters
    ----------
    knapsack
        Values are sizes here.
    order
        Which place each shard starts with: the first that is left.
    demand
        ``(places,)``: how many of each are to be packed; changed.
    limit
        Work that may be spent for one shard.

    Returns
    -------
    sizes, patterns
        ``(shards,)`` and ``(shards, DEEPEST)`` of places.
    """
    shards = int(demand.sum())
    sizes = np.zeros(shards, dtype=np.int64)
    patterns = np.zeros((shards, DEEPEST), dtype=np.int64)
    frames = make_frames(knapsack)
    count = 0
    for first in order:
        while demand[first] > 0:
            found = 0
            for j in range(len(demand)):
                frames.taken[j] = max(0, knapsack.most[j] - demand[j])
                if demand[j] > 0 and knapsack.label[j] == knapsack.label[first]:
                    frames.candidates[0, found] = j
                    found += 1
            frames.many[0] = found
            _, _, size, _ = search(knapsack, frames, first, 0, limit)
            patterns[count, :size] = frames.best[:size]
            sizes[count] = size
            if size == 0:  # it does not even fit alone
                demand[first] = 0
                break
            for k in range(size):
                demand[frames.best[k]] -= 1
            count += 1
    return sizes[:count], patterns[:count]


@compiled
def _is_full(knapsack: Knapsack, frames: Frames, depth: int) -> bool:
    """Return whether no place can be added to what is chosen at a depth."""
    label = knapsack.label[frames.chosen[0]]
    for j in range(len(knapsack.value)):
        more = frames.taken[j] < knapsack.most[j] and knapsack.label[j] == label
        if more and _push(knapsack, frames, depth, j):
            return False
    return True


@compiled
def _advance(knapsack: Knapsack, frames: Frames, depth: int, floor: int) -> tuple[int, int]:
    """Go to the next pattern that may become worth more than a floor.

    Returns its depth, 0 at the end; and the places that were tried.
    """
    tried = 0
    while depth >= 1:
        k = frames.place[depth]
        j = frames.candidates[depth, k]
        most = frames.worth[depth] + knapsack.table[j, frames.slack[depth]]
        if k >= frames.many[depth] or most <= floor:
            depth -= 1
            frames.taken[frames.chosen[depth]] -= 1
            continue
        frames.place[depth] = k + 1
        tried += 1
        if _push(knapsack, frames, depth, j):
            depth += 1
            frames.taken[j] += 1
            frames.many[depth] = _gather(knapsack, frames, depth, k, floor - frames.worth[depth])
            frames.place[depth] = 0
            break
    return depth, tried


@compiled
def list_full(knapsack: Knapsack, floor: int, most: int, limit: int) -> tuple[Ints, Ints, bool, int]:
    """List every pattern that is worth more than a floor and to which nothing can be added.

    Parameters
    ----------
    knapsack
        What is searched.
    floor
        Patterns worth no more are left out.
    most, limit
        Patterns that are listed at most, and work that may be spent.

    Returns
    -------
    sizes, patterns, complete, work
        ``(patterns,)`` and ``(patterns, DEEPEST)`` of places, whether these are all, and the work.
    """
    sizes = np.zeros(most, dtype=np.int64)
    patterns = np.zeros((most, DEEPEST), dtype=np.int64)
    frames = make_frames(knapsack)
    count = work = 0
    for first in range(len(knapsack.value)):
        _offer(knapsack, frames, first, first)
        if not _enter(knapsack, frames, first):
            continue
        frames.taken[first] += 1
        frames.many[1] = _gather(knapsack, frames, 1, 0, floor - frames.worth[1])
        frames.place[1] = 0
        depth = 1
        while depth >= 1:
            listed = frames.worth[depth] > floor
            work += frames.many[depth] + (PUSH_WORK * len(knapsack.value) if listed else 0)
            listed = listed and _is_full(knapsack, frames, depth)
            if work >= limit or depth + 1 >= DEEPEST or (listed and count == most):
                return sizes[:count], patterns[:count], False, work
            if listed:
                sizes[count] = depth
                patterns[count, :depth] = frames.chosen[:depth]
                count += 1
            depth, tried = _advance(knapsack, frames, depth, floor)
            work += PUSH_WORK * tried
    return sizes[:count], patterns[:count], True, work
