"""The search over a whole fleet: from a packing and back, the same for a seed, compiled or not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from planner.domain.canonical import canonical_json
from planner.domain.scenario import Scenario
from planner.domain.verify import verify_placement
from planner.solve.core.bridge import packing_of, state_of
from planner.solve.core.fleet import Fleet
from planner.solve.core.state import FIXED, HELD
from planner.solve.guide import make_advice
from planner.solve.heuristics import open_required
from planner.solve.packing import Packing
from planner.solve.problem import make_problem
from planner.solve.result import placement_of
from planner.solve.watch import Watch
from tests.support.builders import GIB, a_model, a_scenario, a_shard_type, an_option, models
from tests.support.core_states import (
    a_search,
    assert_consistent,
    assert_same_packing,
    plain_tables,
    rebuilt,
    searched_fleet,
)
from tests.support.fleets import a_fleet

_ROOT = Path(__file__).parents[4]


def mixed() -> Scenario:
    """A pin, a group, a model on two devices and simple ones."""
    return a_scenario(
        a_model("a-pinned", pin="t-7"),
        a_model("b-group", together="g"),
        a_model("c-group", an_option(gpu=GIB, peak=2 * GIB), together="g"),
        a_model("d-wide", an_option(gpu=GIB), devices_per_replica=2),
        *models(6, an_option(gpu=5 * GIB, peak=6 * GIB), prefix="e", replicas=2),
        types=(a_shard_type(device_count=4, min_count=1), a_shard_type("u", price=400_000)),
    )


def packed(scenario: Scenario) -> Packing:
    """What is not simple in place, and every second of the others."""
    packing = Packing(make_problem(scenario))
    open_required(packing)
    rows = [packing.open(next(iter(packing.openings.candidates(0)))) for _ in range(2)]
    for unit in range(len(packing.row_of_unit)):
        if not packing.problem.units[unit].simple or unit % 2:
            any(packing.place_whole(unit, row) for row in (*packing.open_rows(), *rows))
    return packing


def test_a_packing_comes_back_from_its_compiled_state_as_it_was() -> None:
    packing = packed(mixed())
    tables = plain_tables(packing.problem)
    state = state_of(packing, tables, 3)
    back = packing_of(state, tables, packing)
    assert_same_packing(back, packing)
    assert back.names == packing.names
    assert placement_of(back) == placement_of(packing)


def test_what_is_not_simple_stays_where_it_was() -> None:
    packing = packed(mixed())
    special = {
        unit: packing.remove(unit)
        for unit, one in enumerate(packing.problem.units)
        if not one.simple and packing.row_of_unit[unit] is not None
    }
    assert special
    for unit, (row, residents) in special.items():
        assert packing.restore(unit, row, residents)
    fleet = Fleet(packing, make_advice(packing.problem), seed=0, watch=Watch(time.monotonic))
    waiting = [
        u for u, row in enumerate(packing.row_of_unit) if row is None and packing.problem.units[u].simple
    ]
    fleet.construct(waiting)
    for _ in range(4):
        found = assert_consistent(fleet.state, fleet.tables, packing)
        for unit, (_, residents) in special.items():
            row = found.row_of_unit[unit]
            assert row is not None
            assert tuple(one for one in found.residents[row] if one.unit == unit) == residents
        fleet.improve()


def test_shards_with_a_name_or_held_residents_are_marked() -> None:
    packing = packed(mixed())
    state = state_of(packing, plain_tables(packing.problem), 0)
    named = [name is not None for name in packing.names]
    held = [sum(not packing.problem.units[one.unit].simple for one in some) for some in packing.residents]
    assert state.rows[:, FIXED].astype(bool).tolist() == named
    assert state.rows[:, HELD].tolist() == held
    assert any(held)


def test_required_shards_stay_open() -> None:
    types = (a_shard_type(min_count=3), a_shard_type("cheap", price=10))
    fleet = a_search(a_scenario(*models(2), types=types))
    for _ in range(5):
        fleet.improve()
    assert sum(item.shard_type == "t" for item in placement_of(fleet.packing()).shards) == 3


def test_half_a_fleet_is_replaced_by_fuller_shards() -> None:
    """Eight shards of one model each, where two hold as much: the search closes six."""
    packing = Packing(make_problem(a_scenario(*models(8, an_option(gpu=4 * GIB)))))
    for unit in range(8):
        row = packing.open(next(iter(packing.openings.candidates(0))))
        assert packing.place_whole(unit, row)
    fleet = Fleet(packing, make_advice(packing.problem), seed=0, watch=Watch(time.monotonic))
    assert fleet.can_improve()
    found = [fleet.improve() for _ in range(12)]
    assert any(found)
    assert fleet.cost == 2_000_000
    assert packing.cost == 8_000_000


def test_when_the_time_is_up_nothing_more_is_placed_and_what_is_stays_legal() -> None:
    scenario = a_fleet(500, seed=100)
    problem = make_problem(scenario)
    seconds = iter([0.0] * 2)  # one look at the start, one before the first shards
    watch = Watch(lambda: next(seconds, 9.0), limit_ms=1000)
    fleet = Fleet(Packing(problem), make_advice(problem), seed=0, watch=watch)
    fleet.construct(range(len(problem.units)))
    packing = fleet.packing()
    assert watch.stopped
    assert None in packing.row_of_unit
    assert packing.open_rows()
    assert verify_placement(scenario, placement_of(packing)) == ()
    assert_same_packing(packing, rebuilt(packing))


def test_a_generated_fleet_is_legal_and_its_arrays_are_right_after_every_round() -> None:
    scenario = a_fleet(300, seed=101)
    fleet = a_search(scenario, seed=1)
    for _ in range(5):
        packing = assert_consistent(fleet.state, fleet.tables, fleet.before)
        assert verify_placement(scenario, placement_of(packing)) == ()
        fleet.improve()
    assert fleet.spent >= 0
    assert None not in fleet.packing().row_of_unit


def test_seeds_decide() -> None:
    scenario = a_fleet(120, seed=102)
    one, same, other = (
        canonical_json(placement_of(a_search(scenario, seed).packing())) for seed in (0, 0, 1)
    )
    assert one == same != other


def test_prices_of_a_shard_add_up_to_its_own_whatever_is_learnt() -> None:
    fleet = a_search(a_fleet(120, seed=103))
    prices = fleet.before.problem.prices
    before = fleet.worth.prices.copy()
    changed = False
    for _ in range(8):  # not every round looks at prices anew
        fleet.improve()
        np.testing.assert_allclose(fleet.worth.prices.sum(axis=1), prices)
        changed = changed or bool((fleet.worth.prices != before).any())
    assert changed
    assert (fleet.tables.value > 0).all()


@pytest.mark.parametrize(
    ("replicas", "rounds"), [(24, 2), pytest.param(200, 4, marks=pytest.mark.soak)], ids=["tiny", "small"]
)
def test_uncompiled_the_search_finds_the_same(replicas: int, rounds: int) -> None:
    code = f"from tests.support.core_states import searched_fleet as s; print(s({replicas}, {rounds}))"
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", code],
        cwd=_ROOT,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == searched_fleet(replicas, rounds)
