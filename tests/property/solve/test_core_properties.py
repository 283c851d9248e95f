"""The compiled search on small random scenarios in which every rule may bind."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.domain.scenario import Scenario
from planner.domain.verify import verify_placement
from planner.solve.core.exchange import GAIN, LEAST_GAIN, find_exchange, polish
from planner.solve.core.fill import Taste, empty_row, fill_row
from planner.solve.core.items import (
    UNIT_OF,
    Items,
    fits_one,
    fits_two,
    gather_candidates,
    gather_residents,
    leave,
    look,
    make_items,
    peaks_without,
)
from planner.solve.core.pool import SIZE, Pool, make_pool, put
from planner.solve.core.state import (
    CLOSED,
    EXCLUSIVE,
    NO_TENANT,
    NOWHERE,
    ROW,
    TYPE,
    State,
    close_row,
    may_open,
    open_row,
    place,
    remove,
    takes,
)
from planner.solve.core.tables import DEVICES, DIMENSIONS, KIND, LOADS, OWNER, PRICE, Tables, put_in_order
from planner.solve.packing import Packing, Resident
from planner.solve.result import placement_of
from tests.support.core_states import (
    a_search,
    a_state,
    assert_consistent,
    bought_scenarios,
    open_rows,
    residents_of,
)

_QUICK = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
_RANDOM = st.integers(0, 2**32 - 1).map(np.random.default_rng)
"""A random source of its own: far quicker than drawing every step of a round."""

_TASTE = Taste(alignment=1.0, reluctance=2.0, noise=0.2, loss=np.inf, depth=3, rounds=4)
_FEW = 4
"""Candidates on the desk, so that they are a sample."""


def shuffled(rng: np.random.Generator, tables: Tables, state: State, packing: Packing) -> None:
    """Make some random changes that ``may_open`` and ``takes`` allow."""
    for _ in range(40):
        row, kind = int(rng.integers(len(state.rows))), int(rng.integers(len(tables.types)))
        unit, rank = int(rng.integers(len(state.units))), int(rng.integers(len(packing.problem.modes)))
        if state.rows[row, TYPE] == CLOSED:
            if may_open(tables, state, kind):
                open_row(tables, state, row, kind)
        elif state.units[unit, ROW] == NOWHERE and tables.units[unit, KIND] >= 0:
            device = int(rng.integers(tables.types[state.rows[row, TYPE], DEVICES]))
            if takes(tables, state, row, device, unit, rank):
                place(tables, state, row, device, unit, rank)
        elif tables.units[unit, KIND] >= 0 and rng.random() < 0.5:
            remove(tables, state, unit)
        elif not list(residents_of(state, row)) and rng.random() < 0.2:
            close_row(tables, state, row)


def waiting(rng: np.random.Generator, tables: Tables, state: State) -> Pool:
    """All that is not placed and may be, in a pool."""
    units = len(state.units)
    last = np.full(units, units - 1)  # all are kin
    pool = make_pool(rng.permutation(units), last, int(rng.integers(1000)))
    for unit in np.flatnonzero((state.units[:, ROW] == NOWHERE) & (tables.units[:, KIND] >= 0)):
        put(pool, int(unit))
    return pool


@_QUICK
@given(bought_scenarios(), _RANDOM)
def test_after_any_changes_the_arrays_are_those_of_a_packing_built_anew(
    scenario: Scenario, rng: np.random.Generator
) -> None:
    packing, tables, state = a_state(scenario)
    shuffled(rng, tables, state, packing)
    assert_consistent(state, tables, packing)


@_QUICK
@given(bought_scenarios(), _RANDOM)
def test_a_device_takes_a_unit_exactly_where_a_packing_does(
    scenario: Scenario, rng: np.random.Generator
) -> None:
    before, tables, state = a_state(scenario)
    shuffled(rng, tables, state, before)
    packing = assert_consistent(state, tables, before)
    for unit in np.flatnonzero((state.units[:, ROW] == NOWHERE) & (tables.units[:, KIND] >= 0)).tolist():
        model = packing.problem.units[unit].members[0]
        for there, row in enumerate(open_rows(state)):
            for device in range(int(tables.types[state.rows[row, TYPE], DEVICES])):
                for rank in range(len(packing.problem.modes)):
                    resident = Resident(unit=unit, model=model, rank=rank, devices=(device,))
                    allowed = packing.restore(unit, there, [resident])
                    assert takes(tables, state, row, device, unit, rank) == allowed
                    if allowed:
                        packing.remove(unit)


@_QUICK
@given(bought_scenarios(), _RANDOM)
def test_filling_and_exchanging_leave_arrays_as_of_a_packing_built_anew(
    scenario: Scenario, rng: np.random.Generator
) -> None:
    packing, tables, state = a_state(scenario)
    shuffled(rng, tables, state, packing)
    pool, items = waiting(rng, tables, state), make_items(tables, _FEW)
    for row in rng.permutation(open_rows(state)).tolist():
        if not pool.book[SIZE]:
            break
        if rng.random() < 0.3:
            empty_row(tables, state, pool, row)
        seed = int(pool.units[0])
        if rng.random() < 0.5:
            fill_row(tables, state, pool, items, row, _TASTE, seed)
        else:
            polish(tables, state, pool, items, row, 3, 4, np.inf)
        assert_consistent(state, tables, packing)
    out = np.flatnonzero((state.units[:, ROW] == NOWHERE) & (tables.units[:, KIND] >= 0))
    assert sorted(pool.units[: pool.book[SIZE]].tolist()) == out.tolist()


@settings(_QUICK, max_examples=300)
@given(bought_scenarios(), _RANDOM)
def test_the_desk_says_of_one_or_two_what_the_state_says_after_the_exchange(
    scenario: Scenario, rng: np.random.Generator
) -> None:
    packing, tables, state = a_state(scenario)
    shuffled(rng, tables, state, packing)
    pool, items = waiting(rng, tables, state), make_items(tables, 16)
    column = int(tables.rule[DIMENSIONS]) + UNIT_OF
    for row in open_rows(state) if pool.book[SIZE] else []:
        device = int(rng.integers(tables.types[state.rows[row, TYPE], DEVICES]))
        if state.cells[row, device, EXCLUSIVE]:
            continue
        loads = int(tables.types[state.rows[row, TYPE], LOADS])
        here = gather_residents(tables, state, items, row, device)
        end = gather_candidates(tables, state, pool, items, (row, here), int(pool.units[0]), np.inf)
        one, two = (int(rng.integers(-1, here)) for _ in range(2))
        gone = sorted({one, two} - {-1})
        look(tables, state, items, row, device)
        for index in gone:
            leave(tables.rule, items.data, items.now, index, 1)
        peaks_without(tables.rule, items, loads, here, *[*gone, -1, -1][:2])
        after = State(*(part.copy() for part in state))
        for index in gone:
            remove(tables, after, int(items.data[index, column]))
        for first in range(here, end):
            unit = int(items.data[first, column])
            alone = fits_one(tables.rule, items.data, items.now, first)
            assert alone == takes(tables, after, row, device, unit, 0)
            if not alone:
                continue
            place(tables, after, row, device, unit, 0)
            for second in set(range(here, end)) - {first}:
                other = int(items.data[second, column])
                both = fits_two(tables.rule, items.data, items.now, first, second)
                assert both == takes(tables, after, row, device, other, 0)
            remove(tables, after, unit)


@settings(_QUICK, max_examples=100)
@given(bought_scenarios(), _RANDOM)
def test_the_exchange_that_is_found_gains_as_much_as_any_of_two_for_two(
    scenario: Scenario, rng: np.random.Generator
) -> None:
    packing, tables, state = a_state(scenario)
    tables.units[:, OWNER] = NO_TENANT  # else it depends on the seed who may come
    shuffled(rng, tables, state, packing)
    tables.value[:] = rng.uniform(1.0, 9.0, len(tables.value))
    put_in_order(tables)
    pool, items = waiting(rng, tables, state), make_items(tables, 64)
    best, least = np.zeros(5), LEAST_GAIN * tables.types[:, PRICE]
    for row in open_rows(state) if pool.book[SIZE] else []:
        for device in range(int(tables.types[state.rows[row, TYPE], DEVICES])):
            if not state.cells[row, device, EXCLUSIVE]:
                find_exchange(tables, state, pool, items, row, device, 1e9, 3, best, np.inf)
                most = _most_gain(tables, state, pool, items, (row, device))
                assert best[GAIN] == pytest.approx(max(most, least[state.rows[row, TYPE]]))


def _most_gain(tables: Tables, state: State, pool: Pool, items: Items, where: tuple[int, int]) -> float:
    """What is gained at most where one leaves or nobody; only if that is nothing, where two do."""
    row, device = where
    loads, rule = int(tables.types[state.rows[row, TYPE], LOADS]), tables.rule
    here = gather_residents(tables, state, items, row, device)
    end = gather_candidates(tables, state, pool, items, (row, here), int(pool.units[0]), np.inf)
    look(tables, state, items, row, device)
    for sets in ([(), *((one,) for one in range(here))], combinations(range(here), 2)):
        most = 0.0
        for gone in sets:
            lost = sum(items.value[index] for index in gone)
            for index in gone:
                leave(rule, items.data, items.now, index, 1)
            peaks_without(rule, items, loads, here, *[*gone, -1, -1][:2])
            fit = [one for one in range(here, end) if fits_one(rule, items.data, items.now, one)]
            both = [pair for pair in combinations(fit, 2) if fits_two(rule, items.data, items.now, *pair)]
            come = [items.value[one] for one in fit] + [items.value[list(pair)].sum() for pair in both]
            most = max(most, max(come, default=0.0) - lost)
            for index in gone:
                leave(rule, items.data, items.now, index, -1)
        if most > LEAST_GAIN * tables.types[state.rows[row, TYPE], PRICE]:
            return most
    return 0.0


@settings(_QUICK, max_examples=30)
@given(bought_scenarios(), st.integers(0, 3))
def test_every_packing_of_a_fleet_is_legal_and_never_dearer_than_the_one_before(
    scenario: Scenario, seed: int
) -> None:
    fleet = a_search(scenario, seed)
    fleet.items = make_items(fleet.tables, _FEW)
    cost, placed = fleet.cost, None
    for _ in range(4):
        assert_consistent(fleet.state, fleet.tables, fleet.before)
        packing = fleet.packing()
        placement = placement_of(packing)
        assert verify_placement(scenario, placement) == ()
        assert packing.cost == fleet.cost <= cost
        assert placed in (None, len(placement.placed))
        cost, placed = fleet.cost, len(placement.placed)
        fleet.improve()


@settings(_QUICK, max_examples=10)
@given(bought_scenarios(), st.integers(0, 3))
def test_the_same_seed_gives_the_same_packing(scenario: Scenario, seed: int) -> None:
    found = []
    for _ in range(2):
        fleet = a_search(scenario, seed)
        found.append([(placement_of(fleet.packing()), fleet.improve(), fleet.spent) for _ in range(3)])
    assert found[0] == found[1]
