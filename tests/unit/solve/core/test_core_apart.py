"""A large fleet in parts: each model in one part, and together a legal fleet."""

from __future__ import annotations

import time

import numpy as np
import pytest

from planner.domain.canonical import canonical_json
from planner.domain.scenario import Scenario
from planner.domain.verify import verify_placement
from planner.solve.core.apart import deal_out, join, part_of_rows, parts_of, shares_domains
from planner.solve.core.fleet import Fleet
from planner.solve.core.search import promised_cost
from planner.solve.core.state import CLOSED, HOST_LEFT, OPEN_COST, ROW, TYPE, make_state
from planner.solve.core.tables import DIMENSIONS, FROM, HOST, MODEL, TO
from planner.solve.guide import make_advice
from planner.solve.packing import Packing
from planner.solve.problem import make_problem
from planner.solve.result import placement_of
from planner.solve.watch import Watch
from tests.support.builders import a_model, a_scenario, a_shard_type
from tests.support.core_states import assert_consistent
from tests.support.fleets import a_fleet
from tests.support.hard_scenarios import many_replicas, too_large_everywhere


def an_empty_fleet(scenario: Scenario) -> Fleet:
    """A fleet with nothing open."""
    packing = Packing(make_problem(scenario))
    return Fleet(packing, make_advice(packing.problem), seed=5, watch=Watch(time.monotonic))


def cut_up(fleet: Fleet) -> list[np.ndarray]:
    """All of a fleet in parts of about 150 units."""
    units = np.arange(len(fleet.tables.units))
    return parts_of(fleet.tables, units, np.random.default_rng(0), least=100, size=150)


def test_every_unit_is_in_one_part_with_all_of_its_model() -> None:
    fleet = an_empty_fleet(a_fleet(600, seed=110))
    parts = cut_up(fleet)
    assert len(parts) == 4
    assert sorted(np.concatenate(parts).tolist()) == list(range(600))
    for units in parts:
        known = fleet.tables.units[units]
        together = np.concatenate([np.arange(a, b) for a, b in np.unique(known[:, [FROM, TO]], axis=0)])
        assert together.tolist() == units.tolist()
    models = [set(fleet.tables.units[units, MODEL].tolist()) for units in parts]
    assert sum(map(len, models)) == len(set.union(*models))


@pytest.mark.parametrize("work", [0, 8])
def test_parts_are_searched_apart_and_together_are_a_legal_fleet(work: int) -> None:
    scenario, found = a_fleet(600, seed=110), []
    for _ in range(2):
        fleet = an_empty_fleet(scenario)
        fleet.construct_apart(cut_up(fleet), work)
        for packing in (assert_consistent(fleet.state, fleet.tables, fleet.before), fleet.packing()):
            assert verify_placement(scenario, placement_of(packing)) == ()
            assert None not in packing.row_of_unit
            assert fleet.cost <= packing.cost
        assert fleet.cost == fleet.packing().cost
        assert fleet.spent >= work
        found.append(canonical_json(placement_of(fleet.packing())))
        fleet.improve()  # as one fleet from here on
        assert_consistent(fleet.state, fleet.tables, fleet.before)
    assert found[0] == found[1]


@pytest.mark.parametrize("scenario", [many_replicas(300), too_large_everywhere(300)], ids=["one", "none"])
def test_parts_may_be_empty(scenario: Scenario) -> None:
    fleet = an_empty_fleet(scenario)
    fleet.construct_apart(cut_up(fleet), 4)
    packing = assert_consistent(fleet.state, fleet.tables, fleet.before)
    assert verify_placement(scenario, placement_of(packing)) == ()
    assert len({*packing.row_of_unit}) == len(packing.open_rows()) + (None in packing.row_of_unit)


def test_shards_that_are_dealt_out_and_put_together_again_are_the_same_fleet() -> None:
    fleet = an_empty_fleet(a_fleet(600, seed=111))
    fleet.construct(range(600))
    opened = np.flatnonzero(fleet.state.rows[:, TYPE] != CLOSED)
    parts = [part_of_rows(fleet.tables, fleet.state, opened[first::3], 4) for first in range(3)]
    joined = join(make_state(fleet.tables, 0), parts)
    assert joined.totals.tolist() == fleet.state.totals.tolist()
    assert_consistent(joined, fleet.tables, fleet.before)
    before, after = fleet.state.units[:, ROW], joined.units[:, ROW]
    assert len(np.unique(np.stack((before, after)), axis=1).T) == len(opened) == len(np.unique(after))


def test_shards_of_a_backend_are_dealt_out_together() -> None:
    fleet = an_empty_fleet(a_fleet(600, seed=111))
    fleet.construct(range(600))
    rng, rows = np.random.default_rng(3), fleet.state.rows
    for _ in range(5):
        parts = deal_out(fleet.tables, fleet.state, 2, rng)
        assert sorted(np.concatenate(parts).tolist()) == np.flatnonzero(rows[:, TYPE] != CLOSED).tolist()
        assert abs(len(parts[0]) - len(parts[1])) <= 1
        users = HOST_LEFT + fleet.tables.rule[DIMENSIONS] - HOST
        backends = [set(rows[part, users:].argmax(axis=1).tolist()) for part in parts]
        assert len(backends[0] & backends[1]) <= 1


def test_where_replicas_are_spread_over_zones_shards_are_not_dealt_out() -> None:
    models = [a_model(f"m{i:03}", replicas=2) for i in range(40)]
    types = (a_shard_type("east", zone="east"), a_shard_type("west", zone="west"))
    assert shares_domains(an_empty_fleet(a_scenario(*models, types=types, spread="zone")).tables)
    assert not shares_domains(an_empty_fleet(a_scenario(*models, types=types)).tables)


def test_emptier_shards_promise_to_be_spared_and_full_ones_cost_their_price() -> None:
    fleet = an_empty_fleet(a_fleet(200, seed=112))
    fleet.construct(range(200))
    state, value = fleet.state, fleet.tables.value
    cost = int(state.totals[OPEN_COST])
    assert promised_cost(fleet.tables, state, value, 0.0) == cost
    assert value.min() > 0
    assert promised_cost(fleet.tables, state, 0 * value, 0.9) == pytest.approx(0.1 * cost)
    assert 0.1 * cost < promised_cost(fleet.tables, state, value, 0.9) <= cost


@pytest.mark.parametrize("limit", [{"max_shards": 500}, {"max_usd_per_h_microusd": 10**9}])
def test_what_shares_a_limit_is_not_cut(limit: dict[str, int]) -> None:
    fleet = an_empty_fleet(a_fleet(600, seed=110, **limit))
    assert len(cut_up(fleet)) == 1


def test_a_type_that_is_limited_or_required_is_shared_too() -> None:
    models = [a_model(f"m{i:03}") for i in range(300)]
    for bounds in ({"max_count": 400}, {"min_count": 1}):
        fleet = an_empty_fleet(a_scenario(*models, types=(a_shard_type(**bounds),)))
        assert len(cut_up(fleet)) == 1


def test_a_small_fleet_stays_whole() -> None:
    fleet = an_empty_fleet(a_fleet(90, seed=110))
    assert len(cut_up(fleet)) == 1
