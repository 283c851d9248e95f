"""The bound of whole shards is one, and a packing in another mix is legal, whatever the scenario."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.domain.scenario import Scenario
from planner.domain.verify import verify_placement
from planner.solve.construct import construct
from planner.solve.core.bridge import packing_of, state_of
from planner.solve.guide import make_advice
from planner.solve.mixes.annealing import anneal
from planner.solve.mixes.crowd import (
    HOME,
    Crowd,
    Setting,
    enter,
    leave,
    make_crowd,
    make_setting,
    may_enter,
    move_in,
    overload,
    strain_of,
)
from planner.solve.mixes.pairs import SLOTS, change, make_tools
from planner.solve.mixes.repack import Repacker
from planner.solve.mixes.search import search
from planner.solve.mixes.trading import make_desk, trade_all
from planner.solve.mixes.walk import Walker
from planner.solve.options import Effort
from planner.solve.problem import Ints, make_problem
from planner.solve.result import placement_of
from planner.solve.watch import Watch
from tests.support.core_states import bought_scenarios, without_nodes
from tests.support.small_scenarios import least_cost, tiny_scenarios

_SLOW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
EFFORT = Effort(deterministic_time=1.0, workers=1, seed=0)


def searched(scenario: Scenario) -> tuple[int, int] | None:
    """Cost and bound of a search that starts from a complete packing; None where there is none."""
    problem = make_problem(scenario)
    advice, watch = make_advice(problem), Watch(time.monotonic)
    packing, _ = construct(problem, advice, seed=0, watch=watch)
    if not packing.row_of_unit or None in packing.row_of_unit:
        return None
    found = search(packing, advice, at_least=0, work=5_000, effort=EFFORT, watch=watch)
    assert verify_placement(scenario, placement_of(found.packing)) == ()
    assert None not in found.packing.row_of_unit
    assert found.packing.cost <= packing.cost
    return found.packing.cost, found.bound_microusd_per_h


class Crowded(NamedTuple):
    """Everything in one shard less than it was packed in."""

    walker: Walker
    setting: Setting
    crowd: Crowd
    types: Ints

    def fits(self) -> bool:
        """Whether every rule allows where everybody is; the plan is verified then."""
        packing, tables = self.walker.packing, self.walker.tables
        state, homes = state_of(packing, tables, 0), self.crowd.units[:, HOME].copy()
        rows, movable = self.walker.rows, self.walker.movable
        fine = move_in(tables, state, movable, rows, len(rows), self.types, homes)
        if fine:
            found = packing_of(state, tables, packing)
            assert None not in found.row_of_unit
            assert verify_placement(packing.problem.scenario, placement_of(found)) == ()
        return fine

    def may_change(self, one: int, two: int, shard: int, other: int) -> bool:
        """Whether both may be in the other shard, neither of them beside another replica of its model."""
        rule, demand, kin = self.setting.rule, self.setting.demand, self.setting.units
        if one >= 0 and two >= 0 and kin[one, 0] == kin[two, 0]:
            return False
        return all(
            unit < 0 or may_enter(rule, demand, kin, self.crowd.shards, self.crowd.units, unit, there, -1)
            for unit, there in ((one, other), (two, shard))
        )

    def swap(self, one: int, two: int, shard: int, other: int) -> None:
        """Let one leave a shard for another one, and one come."""
        rule, demand, (shards, units, members, _) = self.setting.rule, self.setting.demand, self.crowd
        for unit in (one, two):
            if unit >= 0:
                leave(rule, demand, shards, units, members, unit)
        for unit, there in ((one, other), (two, shard)):
            if unit >= 0:
                enter(rule, demand, shards, units, members, unit, there)

    def strain(self, waste: float) -> float:
        """What is too much in all shards, some of what is wasted, and what units cost where they are dear."""
        rule, demand, weights, lost = (
            self.setting.rule,
            self.setting.demand,
            self.setting.weights,
            self.setting.lost,
        )
        shards, homes = self.crowd.shards, self.crowd.units[:, HOME]
        dear = sum(self.setting.excess[self.types[homes[unit]], unit] for unit in self.walker.movable)
        return float(
            sum(
                strain_of(rule, demand, weights, lost, shards, shard, -1, -1, waste)
                for shard in range(len(shards))
            )
            + waste * dear
        )


def crowded(scenario: Scenario) -> Crowded | None:
    """None where nothing can be annealed, or not with a shard less."""
    problem = make_problem(scenario)
    advice, watch = make_advice(problem), Watch(time.monotonic)
    packing, _ = construct(problem, advice, seed=0, watch=watch)
    repacker = Repacker(problem, advice, seed=0, watch=watch)
    walker = Walker(packing, repacker.tables, repacker.worth.prices, watch)
    if None in packing.row_of_unit or not walker.suits():
        return None
    setting = make_setting(repacker.tables, repacker.worth.prices, walker.movable)
    homes, types = np.where(walker.homes == len(walker.types) - 1, -1, walker.homes), walker.types[:-1].copy()
    crowd = make_crowd(setting, types, homes)
    return None if crowd is None else Crowded(walker, setting, crowd, types)


@_SLOW
@given(bought_scenarios())
def test_what_annealing_calls_a_packing_is_one_and_what_it_counts_is_what_the_rules_count(
    scenario: Scenario,
) -> None:
    """With one shard less, after some changes: nothing is too much exactly where every rule allows it."""
    found = crowded(scenario)
    if found is None:
        return
    heats = np.full(3, 0.01 * float(found.walker.packing.problem.prices.max()))
    tools = make_tools(found.setting, 1)
    done = anneal(found.setting, found.crowd, tools, heats, np.full(3, 0.5), 200)
    assert done == (overload(found.setting, found.crowd) <= 0)
    assert done == found.fits()


@_SLOW
@given(bought_scenarios(), st.sampled_from([0.0, 0.2, 3.0]))
def test_a_change_without_heat_is_the_best_of_all_between_two_shards(
    scenario: Scenario, waste: float
) -> None:
    """With one shard less: no change of one for one, or of one alone, that is left gains anything."""
    found = crowded(scenario)
    if found is None or len(found.types) < 2:
        return
    setting, crowd, tools = found.setting, found.crowd, make_tools(found.setting, 1)
    close = 1e-5 * float(found.walker.packing.cost)
    for other in range(1, len(found.types)):
        before = found.strain(waste)
        change(setting, crowd, tools, 0.0, waste, 0, other)
        best = found.strain(waste)
        assert best <= before + close
        ones, twos = (
            [-1, *(unit for unit in found.walker.movable if crowd.units[unit, HOME] == shard)]
            for shard in (0, other)
        )
        if max(len(ones), len(twos)) >= SLOTS:
            continue
        for one in ones:
            for two in twos:
                if found.may_change(one, two, 0, other):
                    found.swap(one, two, 0, other)
                    assert found.strain(waste) >= best - close
                    found.swap(two, one, 0, other)


@_SLOW
@given(bought_scenarios(), st.sampled_from([0.0, 0.2, 1.0]))
def test_trades_of_shards_leave_less_strain_and_what_they_count_is_what_the_rules_count(
    scenario: Scenario, waste: float
) -> None:
    """With one shard less: each trade gains what it says, and in the end no two shards have another one."""
    found = crowded(scenario)
    if found is None:
        return
    desk = make_desk(found.setting)
    before, homes = found.strain(waste), found.crowd.units[:, HOME].copy()
    spent = trade_all(found.setting, found.crowd, desk, waste, 10**9)
    after = found.strain(waste)
    moved = (found.crowd.units[:, HOME] != homes).any()
    assert after < before if moved else after == before
    assert (overload(found.setting, found.crowd) <= 0) == found.fits()
    again = found.crowd.units[:, HOME].copy()
    assert trade_all(found.setting, found.crowd, desk, waste, 10**9) <= spent
    assert (found.crowd.units[:, HOME] == again).all()


@_SLOW
@given(bought_scenarios())
def test_a_packing_in_another_mix_breaks_no_rule(scenario: Scenario) -> None:
    found = searched(scenario)
    if found is not None:
        assert found[1] <= found[0]


@_SLOW
@given(tiny_scenarios())
def test_the_bound_of_whole_shards_is_never_above_the_least_cost(scenario: Scenario) -> None:
    bought = without_nodes(scenario)
    found, (placed, best) = searched(bought), least_cost(bought)
    if found is not None:
        assert placed == len(bought.models)
        assert found[1] <= best <= found[0]
