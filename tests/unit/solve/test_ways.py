"""Models with several footprints for a device class: the one that is cheapest in the fleet comes first."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from planner.domain.footprint import Amount, FootprintOption
from planner.domain.scenario import Scenario
from planner.solve.guide import bound_for, make_advice
from planner.solve.options import SolveOptions
from planner.solve.portfolio import make_plan
from planner.solve.problem import Problem, make_problem
from planner.solve.relaxation import make_relaxation
from tests.support.builders import CPU, GIB, MIB, a_model, a_scenario, an_option
from tests.support.fleets import a_fleet

SLOW, FAST = an_option(gpu=GIB, milli=450), an_option(gpu=2 * GIB, milli=125, batch=8)


def with_way(scenario: Scenario, memory: float, time: float) -> Scenario:
    """Give every model, for every GPU, a second footprint of other device memory and time."""

    def scaled(amount: Amount, by: float) -> Amount:
        return Amount(p50=int(amount.p50 * by), p95=int(amount.p95 * by))

    def other(option: FootprintOption) -> FootprintOption:
        return dataclasses.replace(
            option,
            batch=2,
            steady_bytes=scaled(option.steady_bytes, memory),
            load_peak_bytes=scaled(option.load_peak_bytes, memory),
            device_milli=scaled(option.device_milli, time),
        )

    return dataclasses.replace(
        scenario,
        models=tuple(
            dataclasses.replace(
                model,
                footprints=(
                    *model.footprints,
                    *(other(option) for option in model.footprints if option.device_class != CPU),
                ),
            )
            for model in scenario.models
        ),
    )


@pytest.mark.parametrize("ways", [(SLOW, FAST), (FAST, SLOW)])
def test_the_way_of_which_most_fit_is_taken(ways: tuple[FootprintOption, ...]) -> None:
    plan = make_plan(a_scenario(*(a_model(f"m-{i:03}", *ways) for i in range(400))), SolveOptions(work=10))
    assert plan.cost_microusd_per_h == 50_000_000
    assert plan.status == "optimal"
    assert {item.option for item in plan.placement.placed} == {ways.index(FAST)}


def test_models_go_different_ways_where_one_way_for_all_leaves_a_resource_over() -> None:
    # By device time alone 5 fit, by memory 4; two ways side by side put 7 on a device, of any models.
    ways = [
        (an_option(gpu=GIB + i * MIB // 10, milli=200), an_option(gpu=4 * GIB + i * MIB // 10, milli=40))
        for i in range(300)
    ]
    plan = make_plan(a_scenario(*(a_model(f"m-{i:03}", *ways[i]) for i in range(300))), SolveOptions(work=10))
    assert not plan.refusals
    assert len({item.option for item in plan.placement.placed}) == 2
    assert plan.cost_microusd_per_h < 60_000_000


@pytest.mark.parametrize("seed", [100, 101, 102])
@pytest.mark.parametrize(("memory", "time"), [(0.75, 3.0), (1.3, 0.4)])
def test_a_fleet_is_not_dearer_for_a_second_way(seed: int, memory: float, time: float) -> None:
    fleet = a_fleet(150, seed=seed)
    plain, more = (make_plan(scenario) for scenario in (fleet, with_way(fleet, memory, time)))
    assert not more.refusals
    assert more.cost_microusd_per_h <= plain.cost_microusd_per_h


def test_order_of_ways_leaves_the_bound_and_what_each_way_is() -> None:
    problem = make_problem(with_way(a_fleet(120, seed=103), 1.3, 0.4))
    advice = make_advice(problem)
    assert any(
        not np.array_equal(before.option, after.option)
        for before, after in zip(problem.modes, advice.problem.modes, strict=True)
    )
    as_given = dataclasses.replace(advice, relaxation=make_relaxation(problem))
    assert bound_for(problem, advice, (120,)) == bound_for(problem, as_given, (120,))
    assert _ways_of(problem) == _ways_of(advice.problem)


def _ways_of(problem: Problem) -> list[set[tuple[int, ...]]]:
    """Return what each way of each kind on each type is, in no order."""
    kinds, types = problem.modes[0].allowed.shape
    return [
        {
            (
                int(mode.option[kind, index]),
                int(mode.on_device[kind, index]),
                int(mode.steady[kind, index]),
                int(mode.surplus[kind, index]),
                int(mode.milli[kind, index]),
                *map(int, mode.host[kind, index]),
            )
            for mode in problem.modes
            if mode.allowed[kind, index]
        }
        for kind in range(kinds)
        for index in range(types)
    ]


def test_one_way_each_is_the_problem_as_it_is() -> None:
    problem = make_problem(a_fleet(60, seed=104))
    assert make_advice(problem).problem is problem
