"""Bins, bound, seconds and memory of vector bin packing instances, beside three peers, as JSON.

Run by ``make bench`` with the data in the folder that ``--vbp`` or ``SHARDPACK_VBP`` names; ``--vbp-all``
takes all 1,440 instances, of which the 96 of the regression are given to the peers as well.
``--vbp-every N`` takes every Nth of those that CP-SAT is asked, with all peers. ``SHARDPACK_BENCH_OUT`` names
a folder for the records, else they are printed.
Plans are asked of ``make_plan`` with nothing said but a seed: what is measured is the product.
"""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from planner.domain.plan import gap_ratio
from planner.domain.scenario import Scenario
from planner.solve.options import SolveOptions
from planner.solve.portfolio import make_plan
from tests.bench.records import commit, keep
from tests.bench.solve.peers import best_fit_decreasing, first_fit_decreasing
from tests.bench.vbp.instances import Known, published, regression, scenario_of, texts
from tests.bench.vbp.plain_cp_sat import plain_cp_sat
from tests.support.fleets import a_fleet

BESIDE = Path(__file__).parents[4] / "shared" / "bench" / "vbp"
LIMIT_S = 10.0
"""Seconds of CPU that the plain CP-SAT model has: the most that a plan may take."""

PEER_ITEMS = 120
"""Items up to which CP-SAT is asked; its model of more is built for longer than it is solved."""

pytestmark = [pytest.mark.bench, pytest.mark.timeout(36_000)]


@pytest.fixture
def vbp(request: pytest.FixtureRequest) -> Path:
    """The folder of the instances; without one the test is skipped, with a wrong one it fails."""
    given = request.config.getoption("--vbp")
    folder = Path(given) if given else BESIDE
    if not folder.is_dir():
        stop = pytest.fail if given else pytest.skip
        stop(f"no vector bin packing instances: {folder} is no folder; give one with --vbp")
    return folder


def test_vbp(vbp: Path, request: pytest.FixtureRequest) -> None:
    known = published(vbp)
    compared = regression(known)
    chosen = known if request.config.getoption("--vbp-all") else compared
    every = request.config.getoption("--vbp-every")
    if every is not None:
        chosen = compared = [item for item in known if item.items <= PEER_ITEMS][::every]
    by_suite = {suite: texts(vbp, suite) for suite in {item.suite for item in chosen}}
    _compile()
    broken = []
    for item in chosen:
        scenario = scenario_of(item.name, by_suite[item.suite][item.name])
        record = _record(scenario, item, seed=0)
        record["peers"] = _peers(scenario) if item in compared else None
        keep(record, f"vbp-{item.suite}-{item.name}")
        broken += _broken(record, item)
    assert not broken


def _compile() -> None:
    """Make small plans that go through the whole search, so that no instance waits for machine code."""
    make_plan(scenario_of("rings", _two_rings()))
    make_plan(a_fleet(100, seed=100), SolveOptions(work=2))


def _two_rings() -> str:
    """Return ten items of which only neighbours in a ring of five fit together: a gap to be closed."""
    near = {frozenset((ring + i, ring + (i + 1) % 5)) for ring in (0, 5) for i in range(5)}
    apart = [pair for pair in combinations(range(10), 2) if frozenset(pair) not in near]
    rows = [" ".join(str(6 * (item in pair)) for pair in apart) + " 1" for item in range(10)]
    return "\n".join((str(len(apart)), " ".join("10" for _ in apart), "10", *rows))


def _record(scenario: Scenario, known: Known, *, seed: int) -> dict[str, Any]:
    plan, seconds, cpu_seconds = _timed(lambda: make_plan(scenario, SolveOptions(seed=seed)))
    return {
        "suite": known.suite,
        "instance": known.name,
        "seed": seed,
        "limit": {"work": plan.budget.work},
        "versions": dict(plan.versions),
        "commit": commit(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "items": len(scenario.models),
        "cost": plan.cost_microusd_per_h,
        "bound": plan.bound.microusd_per_h if plan.bound else None,
        "bound_method": plan.bound.method if plan.bound else None,
        "gap_ratio": gap_ratio(plan),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "process_peak_memory_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "published": {"bound": known.bound, "optimum": known.optimum, "best_of_275": known.best_of_275},
    }


def _peers(scenario: Scenario) -> dict[str, Any]:
    first, first_seconds, _ = _timed(lambda: first_fit_decreasing(scenario))
    best, best_seconds, _ = _timed(lambda: best_fit_decreasing(scenario))
    return {
        "first-fit-decreasing": {"cost": first, "seconds": first_seconds},
        "best-fit-decreasing": {"cost": best, "seconds": best_seconds},
        "plain-cp-sat": _plain(scenario, best),
    }


def _plain(scenario: Scenario, bins: int) -> dict[str, Any] | None:
    if len(scenario.models) > PEER_ITEMS:
        return None
    capacities = dict(scenario.shard_types[0].extra)
    sizes = [[dict(model.footprints[0].extra)[name] for name in capacities] for model in scenario.models]
    found, seconds, cpu_seconds = _timed(
        lambda: plain_cp_sat(sizes, list(capacities.values()), bins=bins, limit_s=LIMIT_S)
    )
    return {"cost": found, "seconds": seconds, "cpu_seconds": cpu_seconds, "limit_s": LIMIT_S}


def _timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return a result, and its seconds by the clock and of this process."""
    start, used = time.perf_counter(), time.process_time()
    return work(), round(time.perf_counter() - start, 2), round(time.process_time() - used, 2)


def _broken(record: dict[str, Any], known: Known) -> list[str]:
    """Return what is worse than the best published heuristic or the table's bound, or impossible."""
    where = f"{known.suite}/{known.name}"
    cost, bound = record["cost"], record["bound"]
    found = []
    if cost > known.best_of_275:
        found.append(f"{where}: {cost} bins, published {known.best_of_275}")
    if bound < known.bound:
        found.append(f"{where}: bound {bound}, published {known.bound}")
    if known.optimum is not None and not bound <= known.optimum <= cost:
        found.append(f"{where}: bound {bound} and {cost} bins around an optimum of {known.optimum}")
    return found
