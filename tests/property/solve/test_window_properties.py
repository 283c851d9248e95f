"""Loads between a least and a most by few moves: against brute force."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.solve.exact.moves import pick_choices
from planner.solve.options import Effort
from planner.solve.repair.choices import near_choices
from planner.solve.repair.fewest import even_out
from planner.solve.repair.market import PRICE, make_offers, open_market
from planner.solve.repair.tabu import search_moves
from planner.solve.repair.windows import Window

SERVERS = 3


@st.composite
def windows(draw: st.DrawFn) -> tuple[Window, np.ndarray]:
    loads = np.array(draw(st.lists(st.integers(100, 1_000), min_size=2, max_size=6)), dtype=np.int64)
    mean = int(loads.sum()) // SERVERS
    slack = draw(st.integers(10, 80))
    window = Window(
        loads=loads,
        least=mean * (100 - slack) // 100,
        most=mean * (100 + slack) // 100,
        aim=mean,
        objects=draw(st.integers(3, 6)),
    )
    home = draw(st.lists(st.integers(0, SERVERS - 1), min_size=len(loads), max_size=len(loads)))
    return window, np.array(home, dtype=np.int64)


def is_right(window: Window, home: np.ndarray) -> bool:
    load = np.bincount(home, window.loads, SERVERS)
    count = np.bincount(home, minlength=SERVERS)
    return bool(
        (load >= window.least).all() and (load <= window.most).all() and (count <= window.objects).all()
    )


def fewest(window: Window, home: np.ndarray) -> int | None:
    """The fewest moves by trying every placement; None where none is right."""
    every = (np.array(one) for one in itertools.product(range(SERVERS), repeat=len(home)))
    return min((int((one != home).sum()) for one in every if is_right(window, one)), default=None)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(windows())
def test_the_bound_is_not_above_the_fewest_moves_and_what_is_called_right_is(
    drawn: tuple[Window, np.ndarray],
) -> None:
    window, home = drawn
    least, found = fewest(window, home), even_out(window, home, SERVERS)
    assert found.fulfilled == is_right(window, found.home)
    assert found.moves == int((found.home != home).sum())
    if least is not None:
        assert found.at_least <= least
        assert not found.fulfilled or found.moves >= least


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(windows(), st.integers(0, 2**32 - 1))
def test_whatever_the_prices_the_bound_holds_and_no_best_placement_is_excluded(
    drawn: tuple[Window, np.ndarray], seed: int
) -> None:
    window, home = drawn
    least = fewest(window, home)
    limits = (window.least, window.most, window.objects, window.objects)
    market = open_market(window.loads, home, SERVERS, limits)
    assert market is not None
    if least is None:
        return
    prices = np.random.default_rng(seed).integers(-PRICE // 2, PRICE * 3 // 2, len(home))
    pays = int(make_offers(market, prices).pays.sum())
    assert pays <= least * PRICE
    choices = near_choices(market, prices, least * PRICE - pays)
    assert choices is not None
    listed = [
        (server, [item for item in given if item >= 0], [item for item in taken if item >= 0])
        for server, given, taken in zip(*(array.tolist() for array in choices[:3]), strict=True)
    ]
    effort = Effort(deterministic_time=10.0, workers=1, seed=0)
    picked = pick_choices(listed, SERVERS, most_moves=least, effort=effort)
    assert picked
    after = home.copy()
    for server, _, taken in (listed[at] for at in picked):
        after[taken] = server
    assert is_right(window, after)
    assert int((after != home).sum()) == least
    assert pick_choices(listed, SERVERS, most_moves=least - 1, effort=effort) == [] or least == 0


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(windows(), st.integers(0, 6))
def test_a_search_for_so_many_moves_finds_no_more_and_what_it_calls_right_is(
    drawn: tuple[Window, np.ndarray], most: int
) -> None:
    window, home = drawn
    found, right = search_moves(window, home, SERVERS, most, 20_000, 0)
    if right:
        assert is_right(window, found)
        assert int((found != home).sum()) <= most
    else:
        assert (found == home).all()


def test_one_server_takes_from_several_that_give_one_each() -> None:
    home = np.repeat([0, 1, 2, 3, 4], [1, 6, 6, 6, 5])
    window = Window(loads=np.full(24, 100, dtype=np.int64), least=320, most=520, aim=480, objects=6)
    found = even_out(window, home, 5)
    assert (found.moves, found.at_least, found.fulfilled) == (3, 3, True)


def test_where_nothing_is_right_everything_stays() -> None:
    window = Window(loads=np.array([100, 100]), least=90, most=110, aim=100, objects=2)
    found = even_out(window, np.array([0, 0]), SERVERS)
    assert (found.moves, found.fulfilled, found.wrong, found.home.tolist()) == (0, False, 3, [0, 0])
