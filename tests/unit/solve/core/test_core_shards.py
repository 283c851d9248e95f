"""One shard: what fills it, what exchanges make it worth, which type is opened, which shards are closed."""

from __future__ import annotations

import numpy as np
import pytest

from planner.domain.fleet import Cluster
from planner.domain.scenario import Scenario
from planner.solve.core.exchange import earned, first_below, polish
from planner.solve.core.fill import Rows, Taste, empty_row, fill_row, open_best
from planner.solve.core.items import (
    RESIDENTS,
    SUM,
    Items,
    gather_candidates,
    gather_residents,
    look,
    make_items,
    peaks_without,
)
from planner.solve.core.pool import SIZE, Pool, make_pool, put
from planner.solve.core.search import build, dissolve, sweep
from planner.solve.core.state import (
    CLOSED,
    COUNTS,
    FIXED,
    PEAK_SUM,
    TYPE,
    State,
    open_row,
    place,
    takes,
)
from planner.solve.core.tables import CONFIG_ENTRY, DIMENSIONS, KIND, LEAST, PRICE, Tables
from planner.solve.packing import Packing
from tests.support.builders import CPU, GIB, a_model, a_scenario, a_shard_type, an_option, models
from tests.support.core_states import a_state, assert_consistent, open_rows, residents_of

GREEDY = Taste(alignment=1.0, reluctance=8.0, noise=0.0, loss=np.inf, depth=1, rounds=0)
POLISHED = Taste(alignment=1.0, reluctance=8.0, noise=0.0, loss=np.inf, depth=3, rounds=8)


def a_pool(units: int) -> Pool:
    """An empty pool of units that are all kin."""
    return make_pool(np.arange(units), np.full(units, units - 1), 0)


class Bench:
    """A problem with nothing open, everything waiting, and a worth of each model by its memory."""

    def __init__(self, scenario: Scenario, rows: int = 6, candidates: int = 32) -> None:
        self.packing: Packing
        self.tables: Tables
        self.state: State
        self.packing, self.tables, self.state = a_state(scenario, rows)
        price = float(self.tables.types[:, PRICE].max())
        memory = self.tables.demand[0, :, 0] / (16 * GIB)
        self.tables.value[:] = memory * price
        self.pool: Pool = a_pool(len(self.state.units))
        self.items: Items = make_items(self.tables, candidates)
        for unit in range(len(self.state.units)):
            put(self.pool, unit)

    @property
    def desk(self) -> tuple[Tables, State, Pool, Items]:
        return self.tables, self.state, self.pool, self.items

    def free(self) -> Rows:
        rows = np.flatnonzero(self.state.rows[:, TYPE] == CLOSED)[::-1].copy()
        return Rows(
            free=np.concatenate((rows, np.zeros(len(self.state.rows) - len(rows), np.int64))),
            size=np.array([len(rows)]),
        )


def sized(*gibs: int) -> Scenario:
    """Models of so many GiB each, on shards of 16."""
    return a_scenario(*(a_model(f"m-{n:02}", an_option(gpu=gib * GIB)) for n, gib in enumerate(gibs)))


def test_a_shard_is_filled_and_the_rest_waits() -> None:
    bench = Bench(sized(9, 6, 5, 4))
    open_row(bench.tables, bench.state, 0, 0)
    fill_row(*bench.desk, 0, GREEDY, 0)
    inside = set(residents_of(bench.state, 0))
    assert inside
    assert sorted(bench.pool.units[: bench.pool.book[SIZE]]) == sorted(set(range(4)) - inside)
    for unit in set(range(4)) - inside:
        assert not takes(bench.tables, bench.state, 0, 0, unit, 0)
    assert_consistent(bench.state, bench.tables, bench.packing)


@pytest.mark.parametrize(
    ("inside", "gibs", "best"),
    [
        ((0,), (9, 14), {1}),  # one for one
        ((0,), (9, 10, 6), {1, 2}),  # one for two
        ((0, 1), (7, 7, 16), {2}),  # two for one
        ((0, 1), (7, 8, 10, 6), {2, 3}),  # two for two
        ((0,), (9, 7), {0, 1}),  # nobody leaves
    ],
)
def test_exchanges_find_the_set_that_fills_a_device(
    inside: tuple[int, ...], gibs: tuple[int, ...], best: set[int]
) -> None:
    bench = Bench(sized(*gibs))
    open_row(bench.tables, bench.state, 0, 0)
    bench.pool = a_pool(len(gibs))
    for unit in range(len(gibs)):
        if unit in inside:
            place(bench.tables, bench.state, 0, 0, unit, 0)
        else:
            put(bench.pool, unit)
    worth = polish(*bench.desk, 0, 3, 8, np.inf)
    assert set(residents_of(bench.state, 0)) == best
    assert worth == pytest.approx(earned(bench.tables, bench.state, 0))
    assert_consistent(bench.state, bench.tables, bench.packing)


def test_a_shard_that_earns_its_price_is_left_alone() -> None:
    bench = Bench(sized(16, 8, 8))
    open_row(bench.tables, bench.state, 0, 0)
    bench.pool = a_pool(3)
    place(bench.tables, bench.state, 0, 0, 0, 0)
    for unit in (1, 2):
        put(bench.pool, unit)
    polish(*bench.desk, 0, 3, 8, np.inf)
    assert list(residents_of(bench.state, 0)) == [0]


def test_worths_are_searched_by_halves() -> None:
    ranked = np.array([9.0, 7.0, 7.0, 2.0])
    assert [first_below(ranked, 4, value) for value in (10, 9, 7, 5, 2, 1)] == [0, 1, 3, 3, 4, 4]


def test_the_type_that_earns_most_of_its_price_is_opened() -> None:
    types = (a_shard_type("dear", price=2_000_000), a_shard_type("fair", price=1_000_000))
    bench = Bench(a_scenario(*models(3, an_option(gpu=5 * GIB)), types=types))
    share = open_best(*bench.desk, bench.free(), np.arange(2), POLISHED, 0)
    assert share > 0
    assert [int(bench.state.rows[row, TYPE]) for row in open_rows(bench.state)] == [1]
    assert bench.pool.book[SIZE] == 0
    assert_consistent(bench.state, bench.tables, bench.packing)


def test_nothing_is_opened_where_nothing_fits() -> None:
    scenario = a_scenario(a_model("m", an_option(gpu=GIB)), types=(a_shard_type(device_class=CPU),))
    bench = Bench(scenario)
    assert open_best(*bench.desk, bench.free(), np.arange(1), POLISHED, 0) == -1.0
    assert open_rows(bench.state) == []
    assert bench.state.totals[COUNTS] == 0


def test_building_stops_at_a_limit_with_everyone_else_still_waiting() -> None:
    types = (a_shard_type(max_count=2),)
    bench = Bench(a_scenario(*models(5, an_option(gpu=9 * GIB)), types=types))
    one = np.arange(1)
    assert not build(*bench.desk, bench.free(), (one, one), POLISHED, 9)
    assert len(open_rows(bench.state)) == 2
    assert bench.pool.book[SIZE] == 3


def test_the_shards_that_earn_least_are_dissolved_but_for_those_that_have_to_stay() -> None:
    bench = Bench(sized(2, 12, 4, 8, 6))
    for row in range(5):
        open_row(bench.tables, bench.state, row, 0)
        place(bench.tables, bench.state, row, 0, row, 0)
    bench.state.rows[0, FIXED] = 1
    bench.pool = a_pool(5)
    free, listed = bench.free(), np.arange(5)
    closed = dissolve(bench.tables, bench.state, bench.pool, free, listed, 2, 0.0)
    assert closed == 2
    assert open_rows(bench.state) == [0, 1, 3]
    assert sorted(bench.pool.units[: bench.pool.book[SIZE]].tolist()) == [2, 4]
    bench.tables.types[0, LEAST] = 3
    assert dissolve(bench.tables, bench.state, bench.pool, free, np.array([0, 1, 3]), 2, 0.0) == 0


def test_a_sweep_gains_what_shards_are_then_worth_more() -> None:
    bench = Bench(sized(9, 9, 7, 7))
    for row in range(2):
        open_row(bench.tables, bench.state, row, 0)
        place(bench.tables, bench.state, row, 0, row, 0)
    bench.pool = a_pool(4)
    for unit in (2, 3):
        put(bench.pool, unit)
    before = sum(earned(bench.tables, bench.state, row) for row in range(2))
    gained = sweep(*bench.desk, np.arange(2), POLISHED)
    assert sum(earned(bench.tables, bench.state, row) for row in range(2)) == pytest.approx(before + gained)
    assert bench.pool.book[SIZE] == 0


def test_a_shard_that_is_emptied_lets_everyone_wait() -> None:
    bench = Bench(sized(3, 3, 3))
    open_row(bench.tables, bench.state, 0, 0)
    fill_row(*bench.desk, 0, GREEDY, 0)
    assert bench.pool.book[SIZE] == 0
    empty_row(bench.tables, bench.state, bench.pool, 0)
    assert bench.pool.book[SIZE] == 3
    assert list(residents_of(bench.state, 0)) == []


def test_residents_beyond_those_that_are_looked_at_keep_their_room_for_loading() -> None:
    options = (an_option(gpu=1, peak=1 + n) for n in range(RESIDENTS + 6))
    bench = Bench(a_scenario(*(a_model(f"m-{n:03}", option) for n, option in enumerate(options))))
    open_row(bench.tables, bench.state, 0, 0)
    for unit in reversed(range(RESIDENTS + 6)):  # the list starts with the last, the smallest here
        place(bench.tables, bench.state, 0, 0, unit, 0)
    assert gather_residents(bench.tables, bench.state, bench.items, 0, 0) == RESIDENTS
    look(bench.tables, bench.state, bench.items, 0, 0)
    peaks_without(bench.tables.rule, bench.items, 1, RESIDENTS, RESIDENTS - 1, RESIDENTS - 2)
    kept = int(bench.items.now[bench.tables.rule[DIMENSIONS] + SUM])
    assert kept == bench.state.cells[0, 0, PEAK_SUM] == RESIDENTS + 5


def test_of_many_that_wait_a_sample_is_on_the_desk_once_each() -> None:
    bench = Bench(a_scenario(*models(200)), candidates=20)
    open_row(bench.tables, bench.state, 0, 0)
    end = gather_candidates(*bench.desk, (0, 0), 100, np.inf)
    column = int(bench.tables.rule[DIMENSIONS]) + 3
    units = bench.items.data[:end, column].tolist()
    assert 10 <= end <= 20
    assert len(set(units)) == end
    assert set(range(100, 104)) <= set(units)  # the next of kin, with as much room for loading or less


def test_kinds_that_lose_too_much_on_a_type_are_left_out() -> None:
    bench = Bench(sized(1, 2))
    bench.tables.loss[0, bench.tables.units[1, KIND]] = 0.5
    open_row(bench.tables, bench.state, 0, 0)
    assert gather_candidates(*bench.desk, (0, 0), 0, 0.4) == 1
    assert gather_candidates(*bench.desk, (0, 0), 0, 0.6) == 2


@pytest.mark.parametrize(("count", "counted"), [(3, False), (300, True)])
def test_the_list_of_models_is_counted_only_where_it_may_be_full_first(count: int, counted: bool) -> None:
    scenario = a_scenario(
        *models(count, an_option(gpu=GIB // 64)), cluster=Cluster(max_config_map_bytes=10_000)
    )
    assert (Bench(scenario).tables.rule[CONFIG_ENTRY] > 0) == counted
