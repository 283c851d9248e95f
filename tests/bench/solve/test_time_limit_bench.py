"""Whether a time limit is kept on large and odd scenarios, in seconds of CPU, whatever else runs.

Run by ``make bench``; ``SHARDPACK_BENCH_OUT`` names a folder for the records, else they are printed as JSON.
Nothing fails by the time it took: an ``over_ratio`` above 1.1 in a record is a limit that was not kept.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable

import pytest

from planner.domain.scenario import Scenario
from planner.solve.options import SolveOptions
from planner.solve.portfolio import make_plan
from tests.bench.records import keep
from tests.support.fleets import a_fleet
from tests.support.hard_scenarios import (
    HARD,
    identical,
    many_dimensions,
    many_replicas,
    too_large_everywhere,
)

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

_LARGE: dict[str, Callable[[], Scenario]] = {
    "identical-100k": lambda: identical(100_000),
    "nowhere-100k": lambda: too_large_everywhere(100_000),
    "replicas-20k": lambda: many_replicas(20_000),
    "dimensions-10k": lambda: many_dimensions(10_000),
    "fleet-1k": lambda: a_fleet(1_000, seed=100),
    "fleet-20k": lambda: a_fleet(20_000, seed=100),
    "fleet-100k": lambda: a_fleet(100_000, seed=100),
    "fleet-20k-refused": lambda: a_fleet(20_000, seed=100, max_shards=5),
}


def _record(name: str, scenario: Scenario, limit_s: int) -> None:
    start, wall = time.process_time(), time.monotonic()
    plan = make_plan(scenario, SolveOptions(time_limit_ms=1000 * limit_s), clock=time.process_time)
    cpu = time.process_time() - start
    replicas = sum(model.replicas for model in scenario.models)
    refused = sum(item.replicas for item in plan.refusals)
    record = {
        "instance": name,
        "limit_s": limit_s,
        "cpu_s": round(cpu, 2),
        "wall_s": round(time.monotonic() - wall, 2),
        "over_ratio": round(cpu / limit_s, 3),
        "replicas": replicas,
        "refused": refused,
        "cost_microusd_per_h": plan.cost_microusd_per_h,
        "bound_microusd_per_h": plan.bound.microusd_per_h if plan.bound else None,
        "process_peak_memory_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }
    keep(record, f"time-limit-{name.replace(' ', '-')}-{limit_s}s")
    assert len(plan.placement.placed) + refused == replicas


@pytest.mark.parametrize("limit_s", [1, 5, 15, 60])
@pytest.mark.parametrize("name", _LARGE)
def test_large(name: str, limit_s: int) -> None:
    _record(name, _LARGE[name](), limit_s)


@pytest.mark.parametrize("name", HARD)
def test_hard(name: str) -> None:
    _record(name, HARD[name](), 1)
