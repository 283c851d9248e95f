"""Units that wait, and the random numbers of the search."""

from __future__ import annotations

import numpy as np

from planner.solve.core.pool import RANDOM, SIZE, Pool, chance, draw, make_pool, put, shuffle, take, walk


def a_pool(*waiting: int, units: int = 8, seed: int = 0) -> Pool:
    pool = make_pool(np.arange(units)[::-1].copy(), np.full(units, units - 1), seed)
    for unit in waiting:
        put(pool, unit)
    return pool


def who_waits(pool: Pool) -> list[int]:
    found = pool.units[: pool.book[SIZE]].tolist()
    assert [int(pool.position[unit]) for unit in found] == list(range(len(found)))
    assert np.flatnonzero(pool.position >= 0).tolist() == sorted(found)
    return sorted(found)


def test_who_is_put_waits_until_taken() -> None:
    pool = a_pool(5, 1, 3)
    assert who_waits(pool) == [1, 3, 5]
    for unit in (5, 3, 1):
        take(pool, unit)
        assert unit not in who_waits(pool)
    assert who_waits(pool) == []


def test_shuffling_changes_the_order_alone_and_in_the_same_way_for_the_same_seed() -> None:
    one, other, third = a_pool(*range(8)), a_pool(*range(8)), a_pool(*range(8), seed=1)
    for pool in (one, other, third):
        shuffle(pool)
        assert who_waits(pool) == list(range(8))
    assert one.units.tolist() == other.units.tolist() != third.units.tolist()
    assert one.units.tolist() != list(range(8))


def test_random_numbers_are_those_of_lehmer_s_generator() -> None:
    """From 1, the 10,000th number is 399,268,537 with the multiplier 48,271 (C++'s ``minstd_rand``)."""
    pool = a_pool()
    pool.book[RANDOM] = 1
    for _ in range(10_000):
        draw(pool, 7)
    assert pool.book[RANDOM] == 399_268_537


def test_draws_stay_below_their_bound_and_chances_between_0_and_1() -> None:
    pool = a_pool(seed=5)
    assert {draw(pool, 3) for _ in range(200)} == {0, 1, 2}
    assert all(0 < chance(pool) < 1 for _ in range(200))


def test_a_walk_among_kin_ends_at_the_next_who_waits() -> None:
    pool = a_pool(2, 6)  # kin stand from 7 down to 0, so these are at 5 and 1
    assert walk(pool, 2, 1, 8) == 5
    assert walk(pool, 4, -1, 8) == 1
    assert walk(pool, 6, 1, 8) == -1
    assert walk(pool, 2, 1, 3) == -1
