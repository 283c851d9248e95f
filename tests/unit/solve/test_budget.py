"""Work, the clock, the seed and progress."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from planner.domain.canonical import canonical_json
from planner.domain.verify import verify
from planner.solve.options import SolveOptions, default_work
from planner.solve.portfolio import make_plan
from planner.solve.progress import Progress
from planner.solve.watch import Watch
from tests.support.builders import GIB, a_scenario, an_option, models
from tests.support.fleets import a_fleet


@pytest.mark.parametrize("field", ["work", "time_limit_ms", "workers"])
def test_a_budget_of_nothing_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} is 0; it has to be at least 1"):
        SolveOptions(**{field: 0})


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="seed is -1"):
        SolveOptions(seed=-1)


def test_the_clock_stops_the_search_and_the_plan_says_so() -> None:
    ticks = itertools.count()
    plan = make_plan(a_fleet(40), SolveOptions(time_limit_ms=1), clock=lambda: float(next(ticks)))
    assert plan.stopped_by_clock
    assert not make_plan(a_fleet(40), SolveOptions(work=5)).stopped_by_clock


def test_equal_work_gives_equal_bytes_and_names_the_engine() -> None:
    options = SolveOptions(seed=3, work=40)
    first, second = (make_plan(a_fleet(150), options) for _ in range(2))
    assert canonical_json(first) == canonical_json(second)
    assert [name for name, _ in first.versions] == ["ortools", "shardpack"]
    assert (first.seed, first.budget.work) == (3, 40)


def test_equal_bytes_whatever_python_hashes(tmp_path: Path) -> None:
    """Nothing depends on the order of sets: processes that hash text differently print one plan."""
    path = Path(__file__).parents[3] / "scenarios" / "too-small.yaml"
    command = [sys.executable, "-m", "planner.cli", "-q", "plan", str(path), "--work", "5", "-o", "json"]
    plans = {
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=False
        ).stdout
        for seed in ("1", "2")
    }
    assert len(plans) == 1
    assert len(plans.pop()) > 1000


def test_more_work_never_costs_more() -> None:
    scenario = a_fleet(80)
    costs = [make_plan(scenario, SolveOptions(work=work)).cost_microusd_per_h for work in (5, 15, 40)]
    assert costs == sorted(costs, reverse=True)


def test_progress_tells_phases_costs_and_the_bound() -> None:
    told: list[Progress] = []
    plan = make_plan(a_fleet(40), SolveOptions(work=10), progress=told.append)
    assert [item.phase for item in told][:2] == ["read", "construct"]
    assert told[-1].cost_microusd_per_h == plan.cost_microusd_per_h
    assert plan.bound is not None
    assert told[-1].bound_microusd_per_h == plan.bound.microusd_per_h


def test_progress_counts_what_is_refused() -> None:
    told: list[Progress] = []
    scenario = a_scenario(*models(5, an_option(gpu=8 * GIB)), max_shards=1)
    make_plan(scenario, SolveOptions(work=5), progress=told.append)
    assert told[-1].refused == 3


def test_the_engine_is_imported_only_when_a_plan_is_made() -> None:
    code = "import sys, planner.solve.portfolio; sys.exit('ortools' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class Ticks:
    """A clock that goes on by a fixed time whenever it is read."""

    def __init__(self, step_s: float) -> None:
        self.step_s, self.read, self.now = step_s, 0, 0.0

    def __call__(self) -> float:
        self.read += 1
        self.now += self.step_s
        return self.now


@pytest.mark.parametrize("limit_ms", [10, 500, 2_000])
def test_the_clock_is_asked_inside_construction_and_what_is_left_is_refused(limit_ms: int) -> None:
    clock = Ticks(step_s=0.002)
    scenario = a_fleet(150, seed=101)  # not proved optimal at once
    plan = make_plan(scenario, SolveOptions(time_limit_ms=limit_ms, work=10_000), clock=clock)
    assert plan.stopped_by_clock
    assert verify(scenario, plan) == ()
    assert clock.now <= limit_ms / 1000 + 10 * clock.step_s
    if limit_ms == 10:
        assert plan.placement.placed == ()
        assert sum(item.replicas for item in plan.refusals) == sum(m.replicas for m in scenario.models)
    else:
        assert not plan.refusals


def test_time_stops_in_the_middle_of_a_construction_with_part_of_the_models_placed() -> None:
    clock, scenario = Ticks(step_s=0.02), a_fleet(6_000)
    plan = make_plan(scenario, SolveOptions(time_limit_ms=2_000), clock=clock)
    assert plan.stopped_by_clock
    assert plan.placement.placed
    assert plan.refusals


def test_a_second_for_a_thousand_replicas_is_enough_to_place_them_all() -> None:
    plan = make_plan(a_fleet(1_000), SolveOptions(time_limit_ms=1_000), clock=Ticks(step_s=100e-6))
    assert plan.stopped_by_clock
    assert not plan.refusals


def test_an_earlier_watch_leaves_at_most_half_of_the_time_to_the_next_step_and_tells_that_it_stopped() -> (
    None
):
    now = [0.0]
    watch = Watch(lambda: now[0], 10_000)
    slow, half = watch.before(2.0), watch.before(100.0)
    now[0] = 5.0
    assert [half.is_over(), slow.is_over(), watch.is_over()] == [True, False, False]
    assert watch.stopped
    assert slow.left_s() == pytest.approx(3.0)
    assert Watch(lambda: now[0]).before(1.0).left_s() is None


def test_a_step_that_takes_longer_than_what_is_left_is_not_begun() -> None:
    watch = Watch(lambda: 0.0, 1_000)
    assert not watch.is_over(0.9)
    assert watch.is_over(1.1)
    assert watch.is_over()


def test_a_watch_keeps_time_for_what_comes_after_the_search() -> None:
    clock = Ticks(step_s=1.0)
    watch = Watch(clock, 10_000)  # started at 1 s
    watch.reserve(2.0)  # read at 2 s: two seconds are kept
    assert [watch.is_over() for _ in range(8)] == [False] * 6 + [True] * 2
    assert watch.stopped


@pytest.mark.parametrize(("units", "work"), [(0, 150), (200, 150), (201, 9), (10_000, 150), (10**6, 1_900)])
def test_work_follows_the_size(units: int, work: int) -> None:
    assert default_work(units) == work


def test_the_plan_records_the_work_that_was_chosen() -> None:
    assert make_plan(a_scenario(*models(2, an_option(gpu=GIB)))).budget.work == default_work(2)
