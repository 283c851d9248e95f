"""Bins, bound, seconds and memory of vector bin packing instances, beside three peers, as JSON.

Run by ``make bench`` with the data in the folder that ``--vbp`` or ``SHARDPACK_VBP`` names; ``--vbp-all``
takes all 1,440 instances. ``SHARDPACK_BENCH_OUT`` names a folder for the records, else they are printed.
Plans are asked of ``make_plan`` with nothing said but a seed: what is measured is the product.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.domain.plan import gap_ratio
from planner.domain.scenario import Scenario
from planner.solve.options import SolveOptions
from planner.solve.portfolio import make_plan
from tests.bench.solve.peers import best_fit_decreasing, first_fit_decreasing
from tests.bench.vbp.instances import Known, published, regression, scenario_of, texts
from tests.bench.vbp.plain_cp_sat import plain_cp_sat

ROOT = Path(__file__).parents[3]
BESIDE = ROOT.parent / "shared" / "bench" / "vbp"
LIMIT_S = 10.0
"""Seconds that the plain CP-SAT model has: the most that a plan may take."""

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
    chosen = known if request.config.getoption("--vbp-all") else regression(known)
    by_suite = {suite: texts(vbp, suite) for suite in {item.suite for item in chosen}}
    broken = []
    for item in chosen:
        scenario = scenario_of(item.name, by_suite[item.suite][item.name])
        record = _record(scenario, item, seed=0)
        _keep(record, f"vbp-{item.suite}-{item.name}")
        broken += _broken(record, item)
    assert not broken


def _record(scenario: Scenario, known: Known, *, seed: int) -> dict[str, Any]:
    plan, seconds, cpu_seconds = _timed(lambda: make_plan(scenario, SolveOptions(seed=seed)))
    first, first_seconds, _ = _timed(lambda: first_fit_decreasing(scenario))
    best, best_seconds, _ = _timed(lambda: best_fit_decreasing(scenario))
    return {
        "suite": known.suite,
        "instance": known.name,
        "seed": seed,
        "limit": {"work": plan.budget.work},
        "versions": dict(plan.versions),
        "commit": _commit(),
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
        "peers": {
            "first-fit-decreasing": {"cost": first, "seconds": first_seconds},
            "best-fit-decreasing": {"cost": best, "seconds": best_seconds},
            "plain-cp-sat": _plain(scenario, best),
        },
    }


def _plain(scenario: Scenario, bins: int) -> dict[str, Any] | None:
    if len(scenario.models) > PEER_ITEMS:
        return None
    capacities = dict(scenario.shard_types[0].extra)
    sizes = [[dict(model.footprints[0].extra)[name] for name in capacities] for model in scenario.models]
    found, seconds, _ = _timed(
        lambda: plain_cp_sat(sizes, list(capacities.values()), bins=bins, limit_s=LIMIT_S)
    )
    return {"cost": found, "seconds": seconds, "limit_s": LIMIT_S}


def _timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return a result, and its seconds by the clock and of this process."""
    start, used = time.perf_counter(), time.process_time()
    return work(), round(time.perf_counter() - start, 2), round(time.process_time() - used, 2)


def _commit() -> str | None:
    command = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def _keep(record: dict[str, Any], name: str) -> None:
    text = json.dumps(record, sort_keys=True)
    folder = os.environ.get("SHARDPACK_BENCH_OUT")
    if folder is None:
        sys.stdout.write(text + "\n")
    else:
        (Path(folder) / f"{name}.json").write_text(text + "\n")


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
