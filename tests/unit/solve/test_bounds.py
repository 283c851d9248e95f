"""Bounds: exact whatever the prices, and as tight as the relaxation."""

from __future__ import annotations

import numpy as np
import pytest

from planner.domain.fleet import Backend
from planner.solve.bounds import DualPrices, bound_of, round_up
from planner.solve.guide import bound_for, make_advice
from planner.solve.problem import make_problem
from planner.solve.relaxation import make_relaxation
from tests.support.builders import GIB, a_model, a_scenario, a_shard_type, an_option, models
from tests.support.fleets import a_fleet

EIGHT = an_option(gpu=8 * GIB)


def bound(scenario) -> int:
    problem = make_problem(scenario)
    total = sum(model.replicas for model in scenario.models)
    return bound_for(problem, make_advice(problem), (total,)).microusd_per_h


def test_the_bound_is_rounded_up_to_a_sum_of_prices() -> None:
    assert bound(a_scenario(*models(3, EIGHT))) == 2_000_000


def test_the_cheapest_share_counts_where_types_differ() -> None:
    types = (a_shard_type("dear", price=3_000_000), a_shard_type("cheap", price=2_000_000))
    assert bound(a_scenario(*models(4, EIGHT), types=types)) == 4_000_000


def test_a_backend_base_is_paid_on_every_device() -> None:
    backends = (Backend(name="onnxruntime", device_base_bytes=8 * GIB),)
    assert bound(a_scenario(*models(4, EIGHT), backends=backends)) == 4_000_000


def test_room_for_loading_is_kept_on_every_device() -> None:
    loading = an_option(gpu=4 * GIB, peak=8 * GIB)
    assert bound(a_scenario(*models(6, loading))) == 2_000_000
    assert bound(a_scenario(*models(7, loading))) == 3_000_000


def test_a_base_is_shared_by_those_for_whom_loading_leaves_room() -> None:
    backends = (Backend(name="onnxruntime", device_base_bytes=4 * GIB),)
    loading = an_option(gpu=2 * GIB, peak=4 * GIB)  # a base and 2 GiB for loading: five fit on 16 GiB
    assert bound(a_scenario(*models(120, loading), backends=backends)) == 24_000_000


def test_rooms_for_loading_between_two_steps_count_as_they_are() -> None:
    loading = [a_model(f"m{i:03}", an_option(gpu=GIB, peak=GIB + i * GIB // 100)) for i in range(300)]
    alone = [GIB / (16 * GIB - i * GIB // 100) for i in range(300)]  # of a device full of its like
    assert bound(a_scenario(*loading)) >= 1_000_000 * sum(alone)


def test_a_limited_cheap_type_makes_the_dear_one_count() -> None:
    types = (a_shard_type("cheap", price=1_000_000, max_count=1), a_shard_type("dear", price=5_000_000))
    assert bound(a_scenario(*models(4, EIGHT), types=types)) == 6_000_000


def test_shards_that_are_required_are_paid() -> None:
    assert bound(a_scenario(a_model(), types=(a_shard_type(min_count=3),))) == 3_000_000


@pytest.mark.parametrize("seed", range(5))
def test_no_prices_however_wrong_lift_the_bound_above_the_best(seed: int) -> None:
    scenario = a_fleet(60, seed=seed)
    problem = make_problem(scenario)
    relaxation = make_relaxation(problem)
    kinds = [[int(problem.kind[unit.members[0]]) for unit in problem.units]]
    best = bound(scenario)
    rng = np.random.default_rng(seed)
    wild = DualPrices(
        dimensions=rng.uniform(-1e6, 1e7, (len(relaxation.types), relaxation.types[0].demand.shape[2])),
        links=tuple(rng.uniform(-1e6, 1e7, (len(t.overheads), t.demand.shape[2])) for t in relaxation.types),
    )
    assert bound_of(relaxation, wild, kinds, [len(kinds[0])]) <= best


def test_what_is_not_placed_is_not_paid_and_the_cheapest_are_counted() -> None:
    scenario = a_scenario(*models(2, EIGHT), a_model("small", an_option(gpu=GIB)))
    problem = make_problem(scenario)
    advice = make_advice(problem)
    costs = [bound_for(problem, advice, (count,)).microusd_per_h for count in range(4)]
    assert costs == [0, 1_000_000, 1_000_000, 2_000_000]


@pytest.mark.parametrize(
    ("bound", "prices", "rounded"),
    [(1, [], 0), (1, [5], 5), (11, [4, 7], 11), (13, [4, 7], 14), (0, [3], 0), (1000, [6, 4], 1000)],
)
def test_rounding_up_to_the_next_sum(bound: int, prices: list[int], rounded: int) -> None:
    assert round_up(bound, prices) == rounded


def test_of_too_many_sums_of_prices_none_is_looked_for() -> None:
    prices = [1_000_000 + 3 * index**5 for index in range(20)]
    assert round_up(39_000_001, prices) == 39_000_001


def test_a_fleet_that_costs_nothing_is_bounded_by_nothing() -> None:
    assert bound(a_scenario(*models(3, EIGHT), types=(a_shard_type(price=0),))) == 0


def test_parts_of_the_fleet_that_share_no_model_are_rounded_each_by_itself() -> None:
    types = (
        a_shard_type("gpu", price=5_000_000),
        a_shard_type("cpu", price=1_000_000, device_class="cpu", memory_bytes=10),
    )
    on_cpu = models(3, an_option("cpu", host=5), prefix="c")
    fleet = a_scenario(*models(3, an_option("gpu-16", gpu=8 * GIB)), *on_cpu, types=types)
    assert bound(fleet) == 12_000_000


def test_every_copy_of_a_model_has_a_shard_of_its_own() -> None:
    small = a_model("m", an_option(gpu=GIB), replicas=3)
    assert bound(a_scenario(small)) == 3_000_000
    types = (a_shard_type("cheap", price=1_000_000, max_count=1), a_shard_type("dear", price=5_000_000))
    assert bound(a_scenario(small, types=types)) == 11_000_000


def test_what_fits_nowhere_does_not_loosen_the_bound() -> None:
    scenario = a_scenario(*models(3, EIGHT), a_model("giant", an_option(gpu=17 * GIB)))
    problem = make_problem(scenario)
    assert bound_for(problem, make_advice(problem), (3,)).microusd_per_h == 2_000_000
