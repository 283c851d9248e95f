"""Loads between a least and a most by few moves: against brute force."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.solve.repair.prices import PRICE, priced_bound
from planner.solve.repair.windows import Window, even_out

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


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
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
        members = np.zeros((SERVERS, len(home)), dtype=np.int64)
        for server in range(SERVERS):
            mine = np.flatnonzero(home == server)
            members[server, : len(mine)] = mine
        limits = np.array([window.least, window.most, window.aim], dtype=np.int64)
        count = np.bincount(home, minlength=SERVERS)
        assert priced_bound(window.loads, members, count, limits, len(home), PRICE // 2) <= least
        if found.fulfilled:
            assert found.moves >= least
