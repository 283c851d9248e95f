"""Whether ``shardpack plan --time-limit`` keeps its limit, by the clock, on odd and large scenarios.

Each runs in a process of its own, as a user would start it, after one that makes machine code. Reading is
measured apart, as what ``shardpack validate`` takes, because the limit is for the plan and a large file may
take longer than that to read. The plan is verified by another command. Run by ``make bench``;
``SHARDPACK_BENCH_OUT`` names a folder for the records, else they are printed as JSON. Nothing fails by the
time it took: ``kept`` in a record says whether the limit was, with a tenth on top, reading aside. Best run on
a machine that does nothing else.
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
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from planner.domain.scenario import Scenario
from planner.errors import EXIT_DONE, EXIT_REFUSED
from planner.scenario.dump import scenario_text
from tests.bench.records import commit, keep
from tests.support.builders import a_scenario
from tests.support.fleets import a_fleet
from tests.support.hard_scenarios import (
    HARD,
    identical,
    many_dimensions,
    many_replicas,
    too_large_everywhere,
)

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

TOLERANCE = 0.1
SEED = 100
"""Not one of those that are reported elsewhere."""

SCENARIOS: dict[str, Callable[[], Scenario]] = {
    "fleet-1k": partial(a_fleet, 1_000, seed=SEED),
    "fleet-10k": partial(a_fleet, 10_000, seed=SEED),
    "fleet-100k": partial(a_fleet, 100_000, seed=SEED),
    "fleet-100k-refused": partial(a_fleet, 100_000, seed=SEED, max_shards=400),
    "dimensions-500": partial(many_dimensions, 500),
    "dimensions-10k": partial(many_dimensions, 10_000),
    "giant": HARD["a single giant"],
    "giant-among-dwarfs": HARD["a giant among dwarfs"],
    "identical-100k": partial(identical, 100_000),
    "replicas-10k": partial(many_replicas, 10_000),
    "nowhere-100k": partial(too_large_everywhere, 100_000),
    "none": a_scenario,
}

RUNS = [
    *((name, 1, None) for name in SCENARIOS),
    ("fleet-100k", 5, None),
    ("fleet-100k", 15, None),
    ("identical-100k", 5, None),
    ("dimensions-500", 10, None),
    ("fleet-1k", 1, 1),
    ("fleet-10k", 5, 1),
    ("fleet-100k", 15, 1),
]
"""Scenario, limit in seconds, and cores; None is all there are."""


def _run(*arguments: str | Path, cores: int | None = None) -> tuple[int, dict[str, float]]:
    """Run the command; returns its exit code, seconds by the clock and of CPU, and its peak of memory."""
    here = sorted(os.sched_getaffinity(0))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    os.sched_setaffinity(0, here[:cores])  # children inherit it
    try:
        done = subprocess.run(
            [sys.executable, "-m", "planner.cli", *map(str, arguments)],
            check=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    finally:
        os.sched_setaffinity(0, here)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.returncode, {"seconds": round(time.perf_counter() - start, 2), "cpu_seconds": round(cpu, 2)}


@pytest.fixture(scope="module")
def _machine_code(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Plans that use all that is compiled, so that no limit is spent on compiling."""
    folder = tmp_path_factory.mktemp("first")
    for name in ("fleet-1k", "dimensions-500", "replicas-10k"):
        (folder / f"{name}.json").write_text(scenario_text(SCENARIOS[name]()))
        _run("plan", folder / f"{name}.json", "--work", "3", "-q")


@pytest.mark.usefixtures("_machine_code")
@pytest.mark.parametrize(("name", "limit_s", "cores"), RUNS)
def test_time_limit_of_the_command(name: str, limit_s: int, cores: int | None, tmp_path: Path) -> None:
    scenario, file, out = SCENARIOS[name](), tmp_path / "scenario.json", tmp_path / "plan.json"
    file.write_text(scenario_text(scenario), encoding="utf-8")
    _, reading = _run("validate", file, cores=cores)
    load = os.getloadavg()[0]
    code, spent = _run("plan", file, "--time-limit", str(limit_s), "--out", out, "-q", cores=cores)
    assert code in (EXIT_DONE, EXIT_REFUSED)
    assert _run("verify", file, out)[0] == EXIT_DONE
    cores = cores or os.cpu_count()
    suffix = "one-core" if cores == 1 else "all-cores"
    beside = spent["seconds"] - reading["seconds"]
    record = {
        "suite": "command-limit",
        "instance": name,
        "seed": SEED,
        "limit_s": limit_s,
        "cores": cores,
        "load_before": round(load, 1),
        **spent,
        "reading_seconds": reading["seconds"],
        "over_ratio": round(beside / limit_s, 3),
        "kept": beside <= (1 + TOLERANCE) * limit_s,
        "commit": commit(),
        "python": platform.python_version(),
        **_figures(scenario, out),
    }
    keep(record, f"command-limit-{name}-{limit_s}s-{suffix}")


def _figures(scenario: Scenario, out: Path) -> dict[str, Any]:
    plan = json.loads(out.read_text())
    replicas = sum(model.replicas for model in scenario.models)
    refused = sum(item["replicas"] for item in plan["refusals"])
    assert len(plan["placements"]) + refused == replicas
    return {
        "replicas": replicas,
        "refused": refused,
        "status": plan["status"],
        "usd_per_h": plan["cost"]["usdPerHour"],
        "gap_ratio": plan["gapRatio"],
        "stopped_by_clock": plan["metadata"]["stoppedByClock"],
    }
