"""Column generation on instances whose answers can be read off."""

from __future__ import annotations

import dataclasses
import time

import numpy as np

from planner.domain.scenario import Scenario
from planner.solve.exact.cover import cover
from planner.solve.heuristics import insert_all, largest_first, price_shares
from planner.solve.options import Effort
from planner.solve.packing import Packing
from planner.solve.patterns.bound import SCALE, configuration_bound
from planner.solve.patterns.close import Closed, close
from planner.solve.patterns.columns import Column, Columns, Pricing, Purse
from planner.solve.patterns.knapsack import make_knapsack, shares_of
from planner.solve.patterns.pricing import search_each
from planner.solve.patterns.search import Found, realise, search
from planner.solve.patterns.sites import Classes, make_classes
from planner.solve.portfolio import make_plan
from planner.solve.problem import make_problem
from planner.solve.watch import Watch
from tests.support.builders import CPU, GIB, a_model, a_scenario, a_shard_type, an_option
from tests.support.sites import a_site

FOOLS_BEST_FIT = (5, 4, 4, 3, 2, 2)
"""Best fit decreasing makes 5 4, 4 3 2 and 2 of bins of 10; 5 3 2 and 4 4 2 are two."""


def bins(*sizes: int, room: int = 10, copies: int = 1) -> Scenario:
    models = (a_model(f"m-{i}", an_option(cpu=size), replicas=copies) for i, size in enumerate(sizes))
    bin_type = a_shard_type("bin", price=7, device_class=CPU, cpu_milli=room)
    return a_scenario(*models, types=(bin_type,))


def best_fit(scenario: Scenario) -> Packing:
    problem = make_problem(scenario)
    packing, shares = Packing(problem), price_shares(problem)
    insert_all(packing, largest_first(shares), shares)
    return packing


def found_in(packing: Packing, *, seed: int = 0, work: float = 1.0) -> Found:
    found = search(packing, work=work, seed=seed, watch=Watch(time.monotonic))
    assert found is not None
    return found


def test_two_bins_where_best_fit_needs_three() -> None:
    known = best_fit(bins(*FOOLS_BEST_FIT))
    found = found_in(known)
    assert known.cost == 21
    assert found.packing is not None
    assert found.packing.cost == found.bound_microusd_per_h == 14


def test_a_plan_says_which_bound_it_has() -> None:
    plan = make_plan(bins(6, 6, 6, 6, 6))  # three tenths of each bin stay free: the fluid bound is lower
    assert plan.cost_microusd_per_h == 35
    assert plan.bound is not None
    assert plan.bound.microusd_per_h == 35
    assert plan.status == "optimal"


def test_the_bound_counts_what_conflicts() -> None:
    assert found_in(best_fit(bins(6, 6, 6, 6, 6))).bound_microusd_per_h == 35


def test_replicas_are_apart_in_the_bound_as_well() -> None:
    known = best_fit(bins(1, copies=4))
    assert known.cost == found_in(known).bound_microusd_per_h == 28


def test_the_same_seed_finds_the_same() -> None:
    rng = np.random.default_rng(5)
    scenario = bins(*(int(size) for size in rng.integers(20, 70, 40)), room=100)
    one, other = (found_in(best_fit(scenario), seed=3) for _ in range(2))
    assert one.bound_microusd_per_h == other.bound_microusd_per_h
    assert one.spent == other.spent > 0
    assert _content(one) == _content(other)


def _content(found: Found) -> object:
    return None if found.packing is None else found.packing.row_of_unit


def test_what_is_not_placed_rules_patterns_out() -> None:
    scenario = dataclasses.replace(bins(6, 6), policy=dataclasses.replace(bins().policy, max_shards=1))
    assert search(best_fit(scenario), work=1.0, seed=0, watch=Watch(time.monotonic)) is None


def test_a_backends_base_is_paid_once() -> None:
    site = a_site(
        (10,),
        (3,),
        (3,),
        (3,),
        backends=np.array([1, 1, 2], dtype=np.int64),
        base=np.array([[3], [4]], dtype=np.int64),
    )
    values = np.array([5, 5, 9], dtype=np.int64)
    _, knapsack = make_knapsack(site, values, shares_of(site), site.most)
    worth, *_ = search_each(knapsack, 1, 0, 1000, 1000)
    assert max(worth) == 10  # 3 + 3 + 3 of the first backend; with the second 3 + 3 + 3 + 4 is too much


def test_room_for_loading_is_kept_for_the_largest_surplus() -> None:
    site = a_site((10,), (4,), (4,), (2,), surplus=np.array([2, 2, 5], dtype=np.int64), loads=1)
    values = np.array([5, 5, 6], dtype=np.int64)
    _, knapsack = make_knapsack(site, values, shares_of(site), site.most)
    worth, *_ = search_each(knapsack, 1, 0, 1000, 1000)
    assert max(worth) == 10  # 4 + 4 + 2; with the third 4 + 2 + 5 is too much


def a_single_class(*, price: int, units: int, least: int = 0, most: int | None = None) -> Classes:
    return Classes(
        units=(tuple(range(units)),),
        sites=(a_site((10,), (4,), most=2),),
        prices=(price,),
        least=(least,),
        most=(most,),
    )


def test_values_above_the_price_shrink_where_shards_are_unlimited() -> None:
    values = np.array([SCALE], dtype=np.int64)  # a pattern of two is worth two shards
    assert configuration_bound(a_single_class(price=3, units=8), values, [2 * SCALE]) == 12


def test_shards_that_are_required_are_paid_whatever_they_hold() -> None:
    values = np.array([SCALE // 2], dtype=np.int64)
    assert configuration_bound(a_single_class(price=3, units=2, least=5), values, [SCALE]) == 3
    assert configuration_bound(a_single_class(price=3, units=2, least=5), values // 2, [SCALE // 2]) == 9


def test_models_that_are_alike_are_one_class() -> None:
    models = [a_model(f"m-{index}", an_option(gpu=GIB * (1 + index % 2))) for index in range(6)]
    classes = make_classes(make_problem(a_scenario(*models)))
    assert classes.demand.tolist() == [3, 3]
    assert classes.sites[0].most.tolist() == [3, 3]


def two_rings() -> Classes:
    """Two rings of five units, in which only neighbours fit together."""
    apart = [(i, j) for i in range(5) for j in range(i + 2, 5) if (i, j) != (0, 4)]
    sizes = [[6 * (unit in pair) for pair in apart] for unit in range(5)]
    label = np.repeat(np.arange(2, dtype=np.int64), 5)
    return Classes(
        units=tuple((unit,) for unit in range(10)),
        sites=(a_site((10,) * len(apart), *sizes, *sizes, label=label),),
        prices=(7,),
        least=(0,),
        most=(None,),
    )


def closed(classes: Classes, shards: int) -> Closed:
    columns = Columns(classes, Pricing(), Purse(1.0, Watch(time.monotonic)))
    for ring in (0, 5):
        for i in range(5):
            pair = sorted((ring + i, ring + (i + 1) % 5))
            columns.add(Column(shard_type=0, pattern=tuple((unit, 1) for unit in pair)))
    shares = columns.solve()
    assert shares is not None
    assert round(shares.cost, 6) == 5  # half of every pair
    return close(columns, shares, shards=shards, seed=0)


def test_no_pairs_cover_two_odd_rings_as_cheaply_as_their_halves_do() -> None:
    assert closed(two_rings(), 5) == Closed(plan=None, impossible=True)


def test_all_that_a_plan_may_use_is_enough_to_find_one() -> None:
    found = closed(two_rings(), 6)
    assert not found.impossible
    assert found.plan is not None
    assert len(found.plan) == 6
    assert {unit for column in found.plan for unit, _ in column.pattern} == set(range(10))


def test_a_demand_is_covered_by_no_more_patterns_than_said() -> None:
    patterns = [((0, 1),), ((0, 1), (1, 1))]
    effort = Effort(deterministic_time=1.0, workers=1, seed=0)
    demand = np.array([3, 1], dtype=np.int64)
    found = cover(demand, patterns, 3, effort)
    assert found.chosen is not None
    assert sum(dict(patterns[number]).get(1, 0) for number in found.chosen) >= 1
    assert len(found.chosen) == 3
    assert cover(demand, patterns, 2, effort).impossible


def test_shards_that_are_asked_for_stay_open_where_a_pattern_finds_no_room_in_them() -> None:
    asked, named = a_shard_type("asked", min_count=2), a_shard_type("named")
    problem = make_problem(a_scenario(a_model("m", pin="named"), types=(asked, named)))
    pattern = Column(shard_type=0, pattern=((0, 1),))
    packing = realise(problem, make_classes(problem), [pattern], watch=Watch(time.monotonic))
    assert packing.openings.counts == [2, 1]
