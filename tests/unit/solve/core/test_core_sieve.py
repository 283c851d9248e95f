"""The sieve lets through whoever fits, and whoever does not by a step or more stays behind."""

from __future__ import annotations

import numpy as np
import pytest

from planner.solve.core.sieve import (
    BITS,
    LEVELS,
    Sieve,
    common,
    first_of,
    let_through,
    levels_beside,
    make_sieve,
    sift,
)
from planner.solve.problem import AMPLE, Ints

REACH = 10_000


def a_sieve(data: Ints) -> Sieve:
    """A sieve of all rows of some demand, the last row first."""
    sieve = make_sieve(data.shape[1], len(data))
    sift(sieve, data, np.arange(len(data))[::-1].copy(), len(data), np.full(data.shape[1], REACH))
    return sieve


def ranks(sieve: Sieve, level: Ints) -> set[int]:
    """The ranks that a level of each dimension lets through."""
    found = set()
    for word in range(sieve.sets.shape[2]):
        bits = common(sieve.sets, level, word)
        while bits:
            found.add(word * BITS + first_of(bits))
            bits &= bits - 1
    return found


@pytest.mark.parametrize("seed", range(5))
def test_whoever_takes_no_more_than_is_left_is_let_through_and_nobody_who_takes_a_step_more(
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    data = rng.integers(0, REACH, size=(200, 3))
    sieve, turned = a_sieve(data), data[::-1]
    left = rng.integers(0, REACH, size=3)
    for dimension in range(3):
        let_through(sieve, dimension, int(left[dimension]))
    through = ranks(sieve, sieve.level)
    assert set(np.flatnonzero((turned <= left).all(axis=1)).tolist()) <= through
    assert through <= set(np.flatnonzero((turned <= left + REACH / (LEVELS - 2)).all(axis=1)).tolist())


@pytest.mark.parametrize("seed", range(5))
def test_beside_a_candidate_only_those_are_left_that_fit_with_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = rng.integers(0, REACH // 2, size=(130, 2))
    sieve, turned = a_sieve(data), data[::-1]
    left, level = rng.integers(REACH // 2, REACH, size=2), np.zeros(2, dtype=np.int64)
    for dimension in range(2):
        let_through(sieve, dimension, int(left[dimension]))
    assert levels_beside(sieve.room, sieve.sizes, 7, level)
    fit = set(np.flatnonzero((turned + turned[7] <= left).all(axis=1)).tolist())
    assert fit <= ranks(sieve, level)
    let_through(sieve, 0, int(turned[7, 0]) - 100)
    assert not levels_beside(sieve.room, sieve.sizes, 7, level)


def test_whoever_takes_more_than_can_be_left_does_no_harm() -> None:
    sieve = a_sieve(np.array([[AMPLE], [REACH], [0]]))
    let_through(sieve, 0, REACH // 2)
    assert ranks(sieve, sieve.level) == {0}
    let_through(sieve, 0, AMPLE)
    assert ranks(sieve, sieve.level) == {0, 1, 2}
