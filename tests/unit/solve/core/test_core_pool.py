"""Units that wait, and the random numbers of the search."""

from __future__ import annotations

import numpy as np

from planner.solve.core.pool import (
    FEW_WAITING,
    RANDOM,
    SIZE,
    Pool,
    chance,
    choose,
    draw,
    first_of_kin,
    make_pool,
    put,
    put_all,
    shuffle,
    take,
)


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


def test_half_of_the_chosen_are_kin_mostly_the_next_ones() -> None:
    pool = make_pool(np.arange(100), np.repeat([59, 99], [60, 40]), seed=3)
    for unit in range(100):
        if unit != 31:
            put(pool, unit)
    chosen = np.full(20, -1)
    found = chosen[: choose(pool, chosen, 20, 30)].tolist()
    assert len(set(found)) == len(found)
    assert found[:9] == [30, 32, 33, 34, 35, 36, 40, 45, 51]
    assert all(unit < 30 or unit >= 60 for unit in found[9:])
    assert 3 <= len(found[9:]) <= 10


def test_where_many_wait_most_of_the_chosen_are_kin_evenly_spread() -> None:
    units = FEW_WAITING + 1_000
    pool = make_pool(np.arange(units), np.repeat([units - 101, units - 1], [units - 100, 100]), seed=3)
    put_all(pool, np.arange(units))
    chosen = np.full(20, -1)
    found = chosen[: choose(pool, chosen, 20, 900)].tolist()
    kin = [unit for unit in found if 900 <= unit < units - 100]
    assert len(kin) == 18
    assert set(np.diff(kin)) <= {222, 223}


def test_the_first_of_kin_is_the_first_that_waits() -> None:
    pool = make_pool(np.arange(100), np.repeat([59, 99], [60, 40]), seed=3)
    put_all(pool, np.array([7, 30, 61, 80]))
    assert [first_of_kin(pool, unit) for unit in (30, 7, 80)] == [7, 7, 61]
