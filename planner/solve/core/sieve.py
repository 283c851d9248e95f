"""Which candidates are small enough for what is left, dozens at a time: a bit each, in order of worth.

For each dimension and level there is a set of the candidates that take no more than the level. The sets of
all dimensions, one a dimension, have in common all that fit and few others: these are looked at one by one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from planner.solve.compiled import compiled
from planner.solve.core.tables import Floats
from planner.solve.problem import Ints

BITS = 62
"""Candidates in a word; what is above stays zero, so that words are numbers that are not negative."""

LEVELS = 128
"""Equal steps up to what the largest two residents and what is left take together; the last has no end."""

_PRIME = 67
_PLACES = np.full(_PRIME, -1, dtype=np.int64)
_PLACES[[2**place % _PRIME for place in range(BITS)]] = np.arange(BITS)


SLACK = 1e-6
"""Of a level, for the rounding of numbers: what lets too many through does no harm."""


class Sieve(NamedTuple):
    """Candidates by what they take.

    Parameters
    ----------
    sets
        ``(dimensions, LEVELS, words)``: bit b of word w is the candidate of rank ``w * BITS + b``.
    sizes
        ``(candidates, dimensions)``: what each takes, in levels, by rank.
    scale
        ``(dimensions,)``: levels for what is taken.
    room, level
        ``(dimensions,)``: what is left now, in levels, and the whole ones of it.
    other
        ``(dimensions,)``: the same beside one of the candidates.
    """

    sets: Ints
    sizes: Floats
    scale: Floats
    room: Floats
    level: Ints
    other: Ints


def make_sieve(dimensions: int, candidates: int) -> Sieve:
    """Return an empty sieve."""
    return Sieve(
        sets=np.zeros((dimensions, LEVELS, candidates // BITS + 1), dtype=np.int64),
        sizes=np.zeros((candidates, dimensions)),
        scale=np.zeros(dimensions),
        room=np.zeros(dimensions),
        level=np.zeros(dimensions, dtype=np.int64),
        other=np.zeros(dimensions, dtype=np.int64),
    )


@compiled
def sift(sieve: Sieve, data: Ints, order: Ints, count: int, reach: Ints) -> None:
    """Put candidates in, by rank; ``reach`` is about the most that can be left of each dimension."""
    sets, sizes, scale = sieve.sets, sieve.sizes, sieve.scale
    words = count // BITS + 1
    for dimension in range(len(scale)):
        scale[dimension] = (LEVELS - 1) / max(1.0, float(reach[dimension]))
        sets[dimension, :, :words] = 0
        for rank in range(count):
            size = data[order[rank], dimension] * scale[dimension]
            sizes[rank, dimension] = size
            sets[dimension, int(min(LEVELS - 1.0, size)), rank // BITS] |= 1 << (rank % BITS)
        for level in range(1, LEVELS):
            for word in range(words):
                sets[dimension, level, word] |= sets[dimension, level - 1, word]


@compiled
def let_through(sieve: Sieve, dimension: int, left: int) -> None:
    """Note what is left of a dimension: whoever takes no more is in the set of its level."""
    sieve.room[dimension] = left * sieve.scale[dimension] + SLACK
    sieve.level[dimension] = int(min(LEVELS - 1.0, max(0.0, sieve.room[dimension])))


@compiled
def levels_beside(room: Floats, sizes: Floats, rank: int, level: Ints) -> bool:
    """Note the levels of what is left beside a candidate; returns whether there is any."""
    for dimension in range(len(room)):
        left = room[dimension] - sizes[rank, dimension]
        if left < 0.0:
            return False
        level[dimension] = int(min(LEVELS - 1.0, left))
    return True


@compiled
def common(sets: Ints, level: Ints, word: int) -> int:
    """Return which of the candidates of a word are in the sets of a level of each dimension."""
    found = sets[0, level[0], word]
    for dimension in range(1, len(level)):
        found &= sets[dimension, level[dimension], word]
    return int(found)


@compiled
def first_of(bits: int) -> int:
    """Return the place of the lowest bit of a word that is not zero."""
    return int(_PLACES[(bits & -bits) % _PRIME])
