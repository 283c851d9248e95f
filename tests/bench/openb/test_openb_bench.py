"""The online track: FGD, best fit and random beside ours, mean of ten seeds, as JSON.

Run by ``make bench``; ``SHARDPACK_BENCH_OUT`` names a folder for the records, else they are printed. The
seeds that are reported, 0 to 9, are not those that anything was tuned on.
"""

from __future__ import annotations

import os
import platform
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.bench.openb.ours import Field, place_online
from tests.bench.openb.peers import PEERS
from tests.bench.openb.trace import PUBLISHED, TRACES, read_run
from tests.bench.records import commit, keep

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

SEEDS = range(10)
TOLERANCE = 0.3
"""Percentage points between the published means and ours of the same policy: the random numbers differ."""


@pytest.mark.parametrize("trace", TRACES)
def test_online(openb: Path, trace: str) -> None:
    reached: dict[str, list[float]] = {policy: [] for policy in PEERS} | {"ours": []}
    seconds = []
    for seed in SEEDS:
        for policy, place in PEERS.items():
            run = read_run(openb, trace, seed)
            place(run)
            reached[policy].append(run.allocated_percent)
        run = read_run(openb, trace, seed)
        field = Field(run)
        seconds.append(place_online(field, run.arrivals))
        reached["ours"].append(field.allocated_percent)
    means = {policy: float(np.mean(values)) for policy, values in reached.items()}
    keep(_record(trace, reached, means, np.concatenate(seconds)), f"openb-online-{trace}")
    for policy in PEERS:
        assert means[policy] == pytest.approx(PUBLISHED[policy][trace], abs=TOLERANCE)
    assert all(ours >= fgd for ours, fgd in zip(reached["ours"], reached["fgd"], strict=True))


def _record(
    trace: str, reached: dict[str, list[float]], means: dict[str, float], seconds: np.ndarray[Any, Any]
) -> dict[str, Any]:
    return {
        "suite": "openb",
        "track": "online",
        "instance": trace,
        "seeds": list(SEEDS),
        "commit": commit(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "allocated_percent": {
            policy: [round(value, 3) for value in values] for policy, values in reached.items()
        },
        "mean_percent": {policy: round(value, 3) for policy, value in means.items()},
        "published_percent": {policy: PUBLISHED[policy][trace] for policy in PEERS},
        "pods": len(seconds),
        "cpu_microseconds_a_pod": _percentiles(seconds[:, 0]),
        "wall_microseconds_a_pod": _percentiles(seconds[:, 1]),
        "process_peak_memory_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def _percentiles(seconds: np.ndarray[Any, Any]) -> dict[str, float]:
    names, values = ("p50", "p99", "max"), np.percentile(seconds, [50, 99, 100])
    return {name: round(float(value) * 1e6, 1) for name, value in zip(names, values, strict=True)}
