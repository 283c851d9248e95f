"""Cost, bound, gap, seconds and memory of the quality goals' fleets, beside two peers, as JSON.

Run by ``make bench``; ``SHARDPACK_BENCH_OUT`` names a folder for the records, else they are printed.
"""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.domain.plan import gap_ratio
from planner.domain.scenario import Scenario
from planner.scenario.load import load_scenario
from planner.solve.options import SolveOptions
from planner.solve.portfolio import make_plan
from planner.solve.progress import Progress
from tests.bench.records import commit, keep
from tests.bench.solve.peers import best_fit_decreasing, first_fit_decreasing
from tests.support.fleets import a_fleet

SCENARIOS = Path(__file__).parents[3] / "scenarios"

PEERS = {"first-fit-decreasing": first_fit_decreasing, "best-fit-decreasing": best_fit_decreasing}

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]


@pytest.fixture(scope="module", autouse=True)
def _machine_code() -> None:
    """Make machine code before anything is timed: up to 200 replicas are given to CP-SAT, too."""
    for count in (100, 300, 400):
        make_plan(a_fleet(count, seed=99), SolveOptions(work=3))


def _timed(work: Callable[[], object]) -> tuple[object, float]:
    start = time.perf_counter()
    return work(), round(time.perf_counter() - start, 2)


def _record(scenario: Scenario, seed: int, peers: tuple[str, ...] = tuple(PEERS)) -> dict[str, Any]:
    begun, curve = time.perf_counter(), list[tuple[float, int | None, int | None]]()

    def note(told: Progress) -> None:
        at = round(time.perf_counter() - begun, 2)
        curve.append((at, told.cost_microusd_per_h, told.bound_microusd_per_h))

    used = time.process_time()
    plan, seconds = _timed(lambda: make_plan(scenario, SolveOptions(seed=seed), progress=note))
    used = round(time.process_time() - used, 2)
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = {peer: _timed(lambda pack=PEERS[peer]: pack(scenario)) for peer in peers}
    return {
        "instance": scenario.name,
        "seed": seed,
        "work": plan.budget.work,
        "versions": dict(plan.versions),
        "commit": commit(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "models": len(scenario.models),
        "replicas": sum(model.replicas for model in scenario.models),
        "refused": sum(item.replicas for item in plan.refusals),
        "cost_microusd_per_h": plan.cost_microusd_per_h,
        "bound_microusd_per_h": plan.bound.microusd_per_h if plan.bound else None,
        "gap_ratio": gap_ratio(plan),
        "seconds": seconds,
        "cpu_seconds": used,
        "seconds_cost_bound": curve,
        "process_peak_memory_kib": peak_kib,
        "peers": {
            peer: {"cost_microusd_per_h": cost, "seconds": seconds} for peer, (cost, seconds) in found.items()
        },
    }


@pytest.mark.parametrize("correlated", [True, False], ids=["correlated", "independent"])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [80, 150, 250, 400, 1_000, 10_000, 100_000])
def test_fleet(count: int, seed: int, correlated: bool) -> None:
    scenario = a_fleet(count, seed=seed, correlated=correlated)
    record = {**_record(scenario, seed), "correlated": correlated}
    _keep(record, f"solve-{scenario.name}-{'correlated' if correlated else 'independent'}")


def test_a_million_replicas() -> None:
    """Without peers: they look at every open shard for every replica, for hours."""
    record = {**_record(a_fleet(1_000_000, seed=0), 0, peers=()), "correlated": True}
    _keep(record, "solve-fleet-1000000-0-correlated")


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_scenario(path: Path) -> None:
    """Without peers where there are transformers: they would not pay for them."""
    scenario = load_scenario(path)
    record = _record(scenario, 0, peers=()) if scenario.transformers else _record(scenario, 0)
    _keep(record, f"solve-shipped-{scenario.name}")


def _keep(record: dict[str, Any], name: str) -> None:
    keep(record, name)
    for peer in record["peers"].values():
        assert record["refused"] or record["cost_microusd_per_h"] <= peer["cost_microusd_per_h"]
