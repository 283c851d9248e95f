"""Compiled states, what they say checked against packings that are built one resident at a time."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

import numpy as np
from hypothesis import strategies as st

from planner.domain.canonical import canonical_json
from planner.domain.scenario import Scenario
from planner.solve.core.bridge import packing_of, state_of
from planner.solve.core.fleet import Fleet
from planner.solve.core.state import (
    AFTER,
    CLOSED,
    DEVICE,
    DOMAIN,
    FIRST,
    NOWHERE,
    OWN_DOMAINS,
    RANK,
    ROW,
    TYPE,
    State,
)
from planner.solve.core.tables import KIND, Tables, make_tables
from planner.solve.guide import make_advice
from planner.solve.heuristics import open_required
from planner.solve.packing import Packing
from planner.solve.problem import Problem, make_problem
from planner.solve.result import placement_of
from planner.solve.watch import Watch
from tests.support.fleets import a_fleet
from tests.support.small_scenarios import scenarios

ROW_ARRAYS = ("type_of", "host_left", "host_users", "tenant", "domain", "first_cell")
CELL_ARRAYS = (
    "row_of",
    "cell_type",
    "memory_left",
    "milli_left",
    "peak_sum",
    "peak_least",
    "device_users",
    "crowd",
    "exclusive",
)


def without_nodes(scenario: Scenario) -> Scenario:
    """The same models, where all shards are bought: what the compiled search is for."""
    types = tuple(item for item in scenario.shard_types if item.provision == "new")
    return dataclasses.replace(scenario, shard_types=types, nodes=())


def bought_scenarios() -> st.SearchStrategy[Scenario]:
    """Small scenarios in which every rule may bind, with at least one replica and without nodes."""
    return scenarios().map(without_nodes).filter(lambda item: bool(make_problem(item).units))


def plain_tables(problem: Problem) -> Tables:
    """Tables in which a replica is worth what it takes of the cheapest shard's price, about."""
    kinds, types = len(problem.modes[0].allowed), len(problem.prices)
    steady = np.where(problem.modes[0].allowed, problem.modes[0].steady, 0).max(axis=1, initial=0)
    value = (1 + steady / max(1, int(problem.device_memory.max(initial=1)))) * 1e5
    home = np.full(len(problem.units), -1, dtype=np.int64)
    return make_tables(problem, value, np.zeros((types, kinds)), home)


def a_state(scenario: Scenario, rows: int = 6) -> tuple[Packing, Tables, State]:
    """An empty packing, and its compiled state with some free rows."""
    packing = Packing(make_problem(scenario))
    tables = plain_tables(packing.problem)
    return packing, tables, state_of(packing, tables, rows)


def a_search(scenario: Scenario, seed: int = 0) -> Fleet:
    """A fleet with every simple unit placed that finds room, in the shards that have to be there."""
    problem = make_problem(scenario)
    packing = Packing(problem)
    open_required(packing)
    fleet = Fleet(packing, make_advice(problem), seed=seed, watch=Watch(time.monotonic))
    fleet.construct([unit for unit, one in enumerate(problem.units) if one.simple])
    return fleet


def searched_fleet(replicas: int, rounds: int) -> str:
    """The placement of a generated fleet after some rounds of search, as canonical JSON."""
    fleet = a_search(a_fleet(replicas, seed=100), seed=3)
    for _ in range(rounds):
        fleet.improve()
    return canonical_json(placement_of(fleet.packing()))


def open_rows(state: State) -> list[int]:
    """The rows of the open shards."""
    return [int(row) for row in np.flatnonzero(state.rows[:, TYPE] != CLOSED)]


def residents_of(state: State, row: int) -> Iterator[int]:
    """The units in the list of a row."""
    unit = int(state.rows[row, FIRST])
    while unit != NOWHERE:
        yield unit
        unit = int(state.units[unit, AFTER])


def rebuilt(packing: Packing) -> Packing:
    """The same shards and residents, put in one by one; fails where a rule forbids one."""
    new = Packing(packing.problem)
    for row in packing.open_rows():
        there = new.open(packing.opened[row], name=packing.names[row])
        for unit in packing.units_in(row):
            mine = [one for one in packing.residents[row] if one.unit == unit]
            assert new.restore(unit, there, mine), f"unit {unit} may not be in row {row}"
    return new


def assert_same_packing(one: Packing, other: Packing) -> None:
    """Two packings without closed rows agree in all that they count."""
    assert one.alive[: one.rows].all()
    assert (one.rows, one.cells, one.cost) == (other.rows, other.cells, other.cost)
    for names, size in ((ROW_ARRAYS, one.rows), (CELL_ARRAYS, one.cells)):
        for name in names:
            np.testing.assert_array_equal(getattr(one, name)[:size], getattr(other, name)[:size], name)
    assert one.row_of_unit == other.row_of_unit
    for model in range(len(one.problem.scenario.models)):
        assert sorted(one.domains_of_model(model)) == sorted(other.domains_of_model(model))


def assert_consistent(state: State, tables: Tables, before: Packing) -> Packing:
    """A state says the same as a packing, and as a state, that is built from nothing; returns the packing."""
    packing = packing_of(state, tables, before)
    fresh = rebuilt(packing)
    assert_same_packing(packing, fresh)
    assert_same_state(state, state_of(fresh, tables, 0), tables)
    return fresh


def assert_same_state(state: State, other: State, tables: Tables) -> None:
    """A state says what another one does whose rows are the open ones of the first."""
    rows = np.flatnonzero(state.rows[:, TYPE] != CLOSED)
    counted = [column for column in range(state.rows.shape[1]) if column not in (FIRST, DOMAIN)]
    np.testing.assert_array_equal(state.rows[rows][:, counted], other.rows[: len(rows)][:, counted])
    np.testing.assert_array_equal(state.cells[rows], other.cells[: len(rows)])
    np.testing.assert_array_equal(state.totals, other.totals)
    shared = state.rows[rows, DOMAIN] < OWN_DOMAINS
    np.testing.assert_array_equal(state.rows[rows, DOMAIN][shared], other.rows[: len(rows), DOMAIN][shared])
    for place, row in enumerate(rows.tolist()):
        assert sorted(residents_of(state, row)) == sorted(residents_of(other, place))
    moved = (state.units[:, ROW] != NOWHERE) & (tables.units[:, KIND] >= 0)
    np.testing.assert_array_equal(state.units[:, ROW] != NOWHERE, other.units[:, ROW] != NOWHERE)
    for column in (DEVICE, RANK):
        np.testing.assert_array_equal(state.units[moved, column], other.units[moved, column])
