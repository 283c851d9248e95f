"""What a device takes, rule by rule, and how a shard counts what it holds."""

from __future__ import annotations

import numpy as np
import pytest

from planner.domain.fleet import Backend, Cluster
from planner.domain.footprint import FootprintOption
from planner.domain.scenario import Scenario
from planner.solve.core.state import (
    CLOSED,
    COUNTS,
    LEFT,
    OPEN_COST,
    PEAK_LEAST,
    PEAK_SUM,
    TYPE,
    State,
    close_row,
    insert_peak,
    may_open,
    open_row,
    place,
    remove,
    takes,
)
from planner.solve.core.tables import Tables
from tests.support.builders import GIB, a_model, a_scenario, a_shard_type, an_option, models
from tests.support.core_states import a_state, assert_consistent, residents_of

BASED = Backend(name="onnxruntime", device_base_bytes=6 * GIB, host_base_bytes=3 * GIB)


def one_shard(scenario: Scenario) -> tuple[Tables, State]:
    _, tables, state = a_state(scenario)
    open_row(tables, state, 0, 0)
    return tables, state


@pytest.mark.parametrize(
    ("option", "fits"),
    [
        (an_option(gpu=8 * GIB), 2),
        (an_option(gpu=8 * GIB + 1), 1),
        (an_option(gpu=5 * GIB, peak=6 * GIB), 3),
        (an_option(gpu=5 * GIB, peak=6 * GIB + 1), 2),
        (an_option(milli=334), 2),
        (an_option(cpu=32_001), 1),
        (an_option(host=256 * GIB), 2),
    ],
)
def test_a_shard_takes_as_many_as_each_of_its_resources_allows(option: FootprintOption, fits: int) -> None:
    """Three of 5 GiB leave 1 GiB for loading one of them, and not a byte more."""
    tables, state = one_shard(a_scenario(*models(4, option)))
    taken = 0
    for unit in range(4):
        if takes(tables, state, 0, 0, unit, 0):
            place(tables, state, 0, 0, unit, 0)
            taken += 1
    assert taken == fits


def test_the_first_of_a_backend_pays_its_bases_and_the_last_gives_them_back() -> None:
    scenario = a_scenario(*models(2, an_option(gpu=4 * GIB, host=GIB)), backends=(BASED,))
    tables, state = one_shard(scenario)
    empty = [part.copy() for part in state]
    left = []
    for unit in range(2):
        place(tables, state, 0, 0, unit, 0)
        left.append(int(state.cells[0, 0, LEFT]))
    assert left == [6 * GIB, 2 * GIB]
    for unit in range(2):
        remove(tables, state, unit)
    for before, after in zip(empty[:2], state[:2], strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_base_that_does_not_fit_any_more_keeps_a_backend_out() -> None:
    scenario = a_scenario(
        a_model("a", an_option(gpu=11 * GIB), backend="python"),
        a_model("b", an_option(gpu=GIB), backend="onnxruntime"),
        backends=(BASED,),
    )
    tables, state = one_shard(scenario)
    assert takes(tables, state, 0, 0, 1, 0)
    place(tables, state, 0, 0, 0, 0)
    assert not takes(tables, state, 0, 0, 1, 0)


def test_room_for_loading_is_that_of_the_largest_that_load_in_parallel() -> None:
    surpluses = (1, 3, 2)
    scenario = a_scenario(
        *(a_model(f"m-{n}", an_option(gpu=GIB, peak=GIB + n * GIB)) for n in surpluses),
        types=(a_shard_type(parallel_loads=2),),
    )
    tables, state = one_shard(scenario)
    seen = []
    for unit in range(3):
        place(tables, state, 0, 0, unit, 0)
        seen.append((int(state.cells[0, 0, PEAK_SUM]) // GIB, int(state.cells[0, 0, PEAK_LEAST]) // GIB))
    assert seen == [(1, 0), (3, 1), (5, 2)]
    remove(tables, state, 2)
    assert (state.cells[0, 0, PEAK_SUM], state.cells[0, 0, PEAK_LEAST]) == (3 * GIB, GIB)


def test_replicas_of_a_model_and_tenants_that_are_isolated_stay_apart() -> None:
    scenario = a_scenario(
        a_model("a", replicas=2, tenant="x"), a_model("b", tenant="y"), isolate_tenants=True
    )
    tables, state = one_shard(scenario)
    place(tables, state, 0, 0, 0, 0)
    assert not takes(tables, state, 0, 0, 1, 0)
    assert not takes(tables, state, 0, 0, 2, 0)
    remove(tables, state, 0)
    assert takes(tables, state, 0, 0, 2, 0)


def test_a_zone_holds_one_replica_of_a_model_where_zones_have_to_differ() -> None:
    types = tuple(a_shard_type(name, zone=zone) for name, zone in (("t", "a"), ("u", "a"), ("v", "b")))
    _, tables, state = a_state(a_scenario(a_model("m", replicas=2), types=types, spread="zone"))
    for row in range(3):
        open_row(tables, state, row, row)
    place(tables, state, 0, 0, 0, 0)
    assert [takes(tables, state, row, 0, 1, 0) for row in (1, 2)] == [False, True]


@pytest.mark.parametrize(
    "scenario",
    [
        a_scenario(a_model(), types=(a_shard_type(max_count=2),)),
        a_scenario(a_model(), max_shards=2),
        a_scenario(a_model(), max_usd_per_h_microusd=2_999_999),
        a_scenario(a_model(), cluster=Cluster(max_ips=5), types=(a_shard_type(replicas=2),)),
    ],
    ids=["maxCount", "maxShards", "maxCostPerHour", "maxIPs"],
)
def test_no_more_shards_are_opened_than_a_limit_allows(scenario: Scenario) -> None:
    _, tables, state = a_state(scenario)
    opened = 0
    while may_open(tables, state, 0):
        open_row(tables, state, opened, 0)
        opened += 1
    assert opened == 2
    assert (state.totals[OPEN_COST], state.totals[COUNTS]) == (2_000_000, 2)
    close_row(tables, state, 0)
    assert may_open(tables, state, 0)
    assert state.rows[0, TYPE] == CLOSED


def test_anyone_in_the_list_may_leave() -> None:
    for leaves in range(3):
        packing, tables, state = a_state(a_scenario(*models(3)))
        open_row(tables, state, 0, 0)
        for unit in range(3):
            place(tables, state, 0, 0, unit, 0)
        remove(tables, state, leaves)
        assert sorted(residents_of(state, 0)) == sorted({0, 1, 2} - {leaves})
        assert_consistent(state, tables, packing)


def test_only_the_largest_surpluses_are_kept_falling() -> None:
    top = np.zeros(3, dtype=np.int64)
    for surplus in (5, 1, 9, 7, 2):
        insert_peak(top, 3, surplus)
    assert top.tolist() == [9, 7, 5]
