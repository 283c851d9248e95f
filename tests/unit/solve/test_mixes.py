"""Mixes of shards: which the relaxation refutes, and packing everything into one."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from planner.domain.scenario import Scenario
from planner.domain.verify import verify_placement
from planner.solve.construct import construct
from planner.solve.exact.mix import Condition, MixProgram
from planner.solve.guide import Advice, make_advice
from planner.solve.mixes.cuts import MOST_TIME, Mixes
from planner.solve.mixes.repack import Repacker
from planner.solve.mixes.search import search
from planner.solve.mixes.walk import NEARLY, Neighbours
from planner.solve.options import Effort
from planner.solve.packing import Packing
from planner.solve.problem import make_problem
from planner.solve.result import placement_of
from planner.solve.watch import Watch
from tests.support.builders import GIB, a_scenario, a_shard_type, an_option, models
from tests.support.fleets import a_fleet

EFFORT = Effort(deterministic_time=1.0, workers=1, seed=0)
WATCH = Watch(time.monotonic)


def constructed(scenario: Scenario) -> tuple[Packing, Advice]:
    problem = make_problem(scenario)
    advice = make_advice(problem)
    return construct(problem, advice, seed=0, watch=WATCH)[0], advice


def mixes_of(packing: Packing, advice: Advice, watch: Watch = WATCH) -> Mixes:
    problem = packing.problem
    return Mixes(problem, advice.relaxation, most_cost=packing.cost, effort=EFFORT, watch=watch)


def mix_of(packing: Packing) -> tuple[int, ...]:
    return tuple(map(int, packing.openings.counts))


def test_the_cheapest_mix_meets_all_conditions() -> None:
    program = MixProgram([5, 3], [0, 0], [9, 9], EFFORT)
    program.add(Condition(worth=(2, 1), asked=5))
    assert program.least_cost() == (13, (2, 1))
    program.add(Condition(worth=(0, 1), asked=2))
    assert program.least_cost() == (14, (1, 3))


def test_the_roomiest_mix_is_one_of_those_that_may_be_tried() -> None:
    program = MixProgram([1, 1], [0, 0], [9, 9], EFFORT)
    program.add(Condition(worth=(2, 1), asked=2))
    assert program.roomiest(2) == (2, 0)
    program.leave_out((2, 0))
    assert program.roomiest(2) == (1, 1)
    assert program.roomiest(0) is None
    program.forget_left_out()
    assert program.roomiest(2) == (2, 0)


@pytest.mark.parametrize("seed", [100, 101])
def test_known_plans_meet_every_condition_whatever_the_prices(seed: int) -> None:
    packing, advice = constructed(a_fleet(40, seed=seed))
    mixes, rng = mixes_of(packing, advice), np.random.default_rng(seed)
    for _ in range(20):
        prices = advice.prices.dimensions * rng.uniform(0, 3, advice.prices.dimensions.shape)
        links = tuple(row * rng.uniform(0, 2) for row in advice.prices.links)
        condition = mixes.add(type(advice.prices)(dimensions=prices, links=links), 1.0)
        assert condition.holds(mix_of(packing))
    assert mixes.bound() <= packing.cost


def test_no_mix_is_looked_at_once_the_time_is_up() -> None:
    packing, advice = constructed(a_fleet(40, seed=100))
    mixes = mixes_of(packing, advice, Watch(itertools.count().__next__, 1_500))
    asked = mixes.bound()
    assert len(mixes.program.conditions) <= 1
    assert asked <= packing.cost
    assert mixes.is_over()
    assert mixes.roomiest(packing.cost) is None


def test_no_mix_is_looked_at_once_the_engine_has_spent_its_time() -> None:
    packing, advice = constructed(a_fleet(40, seed=100))
    mixes = mixes_of(packing, advice)
    mixes.program.spent = MOST_TIME
    assert mixes.bound() <= packing.cost
    assert mixes.program.conditions == []


def test_whole_shards_bound_better_than_parts_of_them() -> None:
    """Three models of 8 GiB on devices of 16 are a shard and a half: two whole ones."""
    packing, advice = constructed(a_scenario(*models(3, an_option(gpu=7 * GIB)), types=(a_shard_type(),)))
    assert mixes_of(packing, advice).bound() == packing.cost == 2 * packing.problem.prices[0]


def test_everything_is_put_into_a_cheaper_mix_and_the_plan_is_legal() -> None:
    scenario = a_fleet(40, seed=102)
    packing, advice = constructed(scenario)
    found = search(packing, advice, at_least=0, work=3_000_000, effort=EFFORT, watch=WATCH)
    assert found.packing.cost < packing.cost
    assert found.bound_microusd_per_h <= found.packing.cost
    assert None not in found.packing.row_of_unit
    assert verify_placement(scenario, placement_of(found.packing)) == ()


def test_mixes_are_annealed_where_there_are_many_units_and_the_plan_is_legal_and_repeatable() -> None:
    scenario = a_fleet(320, seed=105)
    packing, advice = constructed(scenario)
    found, again = (
        search(packing, advice, at_least=0, work=2_000_000, effort=EFFORT, watch=WATCH) for _ in range(2)
    )
    assert found.walked
    assert found.packing.cost < packing.cost
    assert found.bound_microusd_per_h <= found.packing.cost
    assert verify_placement(scenario, placement_of(found.packing)) == ()
    assert placement_of(again.packing) == placement_of(found.packing)
    assert again.spent == found.spent


def test_mixes_that_may_do_are_near_meet_the_conditions_and_leave_more_room_the_dearer() -> None:
    packing, advice = constructed(a_fleet(60, seed=103))
    mixes, mix = mixes_of(packing, advice), np.array(mix_of(packing))
    mixes.add(advice.prices, 1.0)
    tables = Repacker(packing.problem, advice, seed=0, watch=WATCH).tables
    near = Neighbours(tables, mixes.program.conditions, mixes.program.limits, np.arange(5))
    found = near.best_near(mix, mixes.bound(), packing.cost)
    assert found
    assert len({choice.mix for choice in found}) == len(found)
    for choice in found:
        assert np.abs(np.array(choice.mix) - mix).sum() <= 4
        assert mixes.bound() <= choice.cost == np.array(choice.mix) @ packing.problem.prices < packing.cost
        assert all(item.holds(choice.mix) for item in mixes.program.conditions)
        assert all(other.room <= choice.room + NEARLY for other in found if other.cost <= choice.cost)
    assert [choice.cost for choice in found] == sorted(choice.cost for choice in found)
    assert near.best_near(mix, 0, 0) == []


def test_more_work_goes_on_where_less_ends() -> None:
    packing, advice = constructed(a_fleet(60, seed=103))
    costs = [
        search(packing, advice, at_least=0, work=work, effort=EFFORT, watch=WATCH).packing.cost
        for work in (20_000, 200_000, 2_000_000)
    ]
    assert costs == sorted(costs, reverse=True)


def test_a_mix_that_is_too_small_is_given_up_when_its_work_is_spent() -> None:
    packing, advice = constructed(a_fleet(40, seed=101))
    repacker = Repacker(packing.problem, advice, seed=0, watch=WATCH)
    before = placement_of(packing)
    assert repacker.repack(packing, (0, 0, 0, 0, 0), 50_000) is None
    assert repacker.repack(packing, (1, 0, 0, 0, 0), 50_000) is None
    assert repacker.spent >= 50_000
    assert placement_of(packing) == before


def test_a_search_ends_where_no_mix_may_be_tried() -> None:
    """Models that take nothing are not refuted without any shard, which holds none of them."""
    packing, advice = constructed(a_scenario(*models(2, an_option())))
    found = search(packing, advice, at_least=0, work=100_000, effort=EFFORT, watch=WATCH)
    assert found.packing.cost == packing.cost
    assert found.spent == 0


def test_no_mix_is_tried_that_a_limit_forbids() -> None:
    scenario = a_scenario(*models(4, an_option(gpu=7 * GIB)), max_shards=2)
    packing, advice = constructed(scenario)
    repacker = Repacker(packing.problem, advice, seed=0, watch=WATCH)
    assert repacker.repack(packing, (3,), 50_000) is None
    assert repacker.spent == 0
