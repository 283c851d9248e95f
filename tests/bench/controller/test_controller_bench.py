"""Seconds of one decision, and of all writes, where 100,000 TrainedModels are there at the start.

The same engine as in a cluster, on objects in memory: what HTTP costs is not in it. Run by ``make bench``;
``SHARDPACK_BENCH_OUT`` names a folder for the records, else they are printed.
"""

from __future__ import annotations

import platform
import random
import resource
import time
from collections import Counter

import numpy as np
import pytest

from planner.controller.objects import Mode, Style
from planner.controller.pace import Pace
from tests.bench.records import commit, keep
from tests.support.memory_cluster import (
    MemoryCluster,
    Run,
    a_fleet_text,
    a_trained_model,
    fleet_map,
    loaded_agents,
    placement_of,
)

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]

PER_SHARD = 200


@pytest.mark.parametrize("count", [10_000, 100_000])
@pytest.mark.parametrize("mode", ["kserve"])
def test_all_at_once(count: int, mode: Mode) -> None:
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(a_fleet_text(max_models=PER_SHARD)))
    rng = random.Random(0)
    for index in range(count):
        cluster.put("TrainedModel", a_trained_model(f"m-{index:06}", memory=f"{rng.randint(10, 60)}Mi"))
    seconds: list[float] = []
    begin = time.perf_counter()
    run = Run(cluster, style=Style(mode=mode), pace=Pace(at_once=5_000), timed=seconds.append)
    run.settle(agents=loaded_agents())
    assigned = time.perf_counter() - begin
    assert len(placement_of(cluster)) == count
    begin, worked = time.perf_counter(), time.process_time()
    again = Run(cluster, style=Style(mode=mode), pace=Pace(at_once=5_000))
    before = cluster.writes.total()
    again.settle(agents=loaded_agents())
    restarted, worked = time.perf_counter() - begin, time.process_time() - worked
    assert cluster.writes.total() == before
    cut = np.percentile(np.array(seconds) * 1e3, [50, 99, 99.9, 100])
    keep(
        {
            "suite": "controller",
            "mode": mode,
            "models": count,
            "shards": len(cluster.of("InferenceService")),
            "commit": commit(),
            "python": platform.python_version(),
            "decision_milliseconds": dict(
                zip(("p50", "p99", "p99.9", "max"), cut.round(3).tolist(), strict=True)
            ),
            "all_seconds": round(assigned, 1),
            "restart_seconds": round(restarted, 1),
            "restart_core_seconds": round(worked, 1),
            "writes": {
                f"{kind} {verb}": total for (kind, verb), total in sorted(_totals(cluster.writes).items())
            },
            "process_peak_memory_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        },
        f"controller-{mode}-{count}",
    )


def _totals(writes: Counter[tuple[str, str, str]]) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for (kind, _, verb), count in writes.items():
        found[kind, verb] += count
    return found
