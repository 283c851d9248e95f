"""Seconds of one placement in a living plan of 100,000 models on 5,000 GPUs, and what it does to the room.

The plan is filled model by model; then models go and others come, one for one. One model in a hundred takes
2 or 4 whole GPUs of one shard. First fit on the same state is the peer. Run by ``make bench``;
``SHARDPACK_BENCH_OUT`` names a folder for the records, else they are printed.
"""

from __future__ import annotations

import dataclasses
import platform
import resource
import time
from typing import Any

import numpy as np
import pytest

from planner.domain.model import Model
from planner.domain.placement import Placement, Shard
from planner.domain.scenario import Scenario
from planner.domain.verify import verify_placement
from planner.online.arrays import WORTH
from planner.online.placer import Placer
from planner.online.room import free_room
from tests.bench.records import commit, keep
from tests.support.builders import GIB, a_shard_type, an_option
from tests.support.fleets import a_fleet

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]

MODELS, DEVICES, CHURN = 100_000, 5_000, 4_000
WIDE_SHARE, WIDE_GPUS = 0.01, (2, 4)


@pytest.mark.parametrize("policy", ["ours", "first-fit"])
@pytest.mark.parametrize("seed", [0])
def test_one_model_at_a_time(policy: str, seed: int) -> None:
    scenario, shards = _fleet(seed)
    placer = Placer(scenario, Placement(shards=shards))
    if policy == "first-fit":  # where nothing is worth anything, the first place is as good as any
        placer._scores.typical[:, WORTH] = 0
    rng = np.random.default_rng([seed, 1])
    order = [scenario.models[index] for index in rng.permutation(len(scenario.models))]
    waiting, filling = order[MODELS:], order[:MODELS]
    filled = np.array([_timed(placer, model) for model in filling])
    residents = [model.name for model, (_, _, refused) in zip(filling, filled, strict=True) if not refused]
    churned = []
    for model in waiting[:CHURN]:
        placer.remove(residents.pop(int(rng.integers(len(residents)))))
        cpu, wall, refused = _timed(placer, model)
        churned.append((cpu, wall, refused))
        if not refused:
            residents.append(model.name)
    assert not verify_placement(placer.scenario, placer.placement())
    keep(
        {
            "suite": "online",
            "policy": policy,
            "seed": seed,
            "commit": commit(),
            "python": platform.python_version(),
            "models": len(residents),
            "shards": len(shards),
            "devices": DEVICES,
            "fill": _figures(filled),
            "churn": _figures(np.array(churned)),
            "room": dataclasses.asdict(free_room(placer.scenario, placer.placement())),
            "process_peak_memory_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        },
        f"online-{policy}-{seed}",
    )


def _timed(placer: Placer, model: Model) -> tuple[float, float, bool]:
    wall, cpu = time.perf_counter(), time.thread_time()
    outcome = placer.place(model)
    return time.thread_time() - cpu, time.perf_counter() - wall, bool(outcome.refused)


def _figures(timed: np.ndarray[Any, Any]) -> dict[str, Any]:
    ends = (50, 99, 100)
    names = ("p50", "p99", "max")
    return {
        "models": len(timed),
        "refused": int(timed[:, 2].sum()),
        "placed_cpu_microseconds": _named(names, np.percentile(timed[timed[:, 2] == 0, 0], ends)),
        "refused_cpu_microseconds": _named(names, np.percentile(timed[timed[:, 2] == 1, 0], ends)),
        "cpu_microseconds": _named(names, np.percentile(timed[:, 0], ends)),
        "wall_microseconds": _named(names, np.percentile(timed[:, 1], ends)),
    }


def _named(names: tuple[str, ...], values: np.ndarray[Any, Any]) -> dict[str, float]:
    return {name: round(float(value) * 1e6, 1) for name, value in zip(names, values, strict=True)}


def _fleet(seed: int) -> tuple[Scenario, tuple[Shard, ...]]:
    """Four fifths of the GPUs are alone in their shard, a fifth four by four."""
    plain: dict[str, Any] = {"device_class": "nvidia-a10g", "group": "one"}
    one = a_shard_type("one", **plain, cpu_milli=8_000, memory_bytes=32 * GIB, price=1_212_000)
    four = a_shard_type(
        "four",
        **{**plain, "group": "four"},
        device_count=4,
        cpu_milli=32_000,
        memory_bytes=128 * GIB,
        price=4_848_000,
    )
    base = a_fleet(2 * (MODELS + CHURN), seed=seed)  # of replicas: more models than are needed
    rng = np.random.default_rng([seed, 2])
    models = tuple(_one_replica(model, rng) for model in base.models[: MODELS + CHURN])
    scenario = dataclasses.replace(base, models=models, shard_types=(one, four))
    wide = DEVICES // 5 // 4
    return scenario, tuple(
        sorted(
            [
                *(Shard(name=f"one-{index}", shard_type="one") for index in range(1, DEVICES - 4 * wide + 1)),
                *(Shard(name=f"four-{index}", shard_type="four") for index in range(1, wide + 1)),
            ],
            key=lambda shard: shard.name,
        )
    )


def _one_replica(model: Model, rng: np.random.Generator) -> Model:
    if rng.random() >= WIDE_SHARE:
        return dataclasses.replace(model, replicas=1)
    wide = an_option("nvidia-a10g", gpu=int(rng.integers(8, 20)) * GIB, milli=500, cpu=1500, host=6 * GIB)
    count = int(rng.choice(WIDE_GPUS))
    return dataclasses.replace(model, replicas=1, devices_per_replica=count, footprints=(wide,))
