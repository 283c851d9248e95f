"""Seeded fleets of the size and shape that the quality goals speak of: 1,000 to 1,000,000 replicas.

What a model needs is heavy-tailed (lognormal) in device memory, device time, CPU and host memory. In a
*correlated* fleet host memory follows the model's size and CPU follows its rate, as device time does, each
with noise of its own; in an *independent* one all four are drawn apart. The medians are such that a replica
takes about as much of a small shard in each of the four, so several of them bind, another one on each shard
type, and which types to buy is part of the question. Prices and sizes of the shard types are those of common
cloud machines (USD an hour, on demand), device memory as NVML reports it.

The generators are frozen: seeds below 100 are reported and never tuned on.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from planner.domain.fleet import Backend, DeviceClass, Runtime, ShardType
from planner.domain.footprint import Amount, FootprintOption
from planner.domain.model import Model
from planner.domain.policy import Headroom
from planner.domain.scenario import Scenario
from tests.support.builders import CPU, GIB, MIB, a_scenario

SMALLEST, LARGEST = 100 * MIB, 6 * GIB
_CLASSES = (
    DeviceClass(name="nvidia-t4", kind="gpu", memory_bytes=15360 * MIB, reserved_bytes=450 * MIB),
    DeviceClass(name="nvidia-a10g", kind="gpu", memory_bytes=23028 * MIB, reserved_bytes=500 * MIB),
    DeviceClass(name="nvidia-a100", kind="gpu", memory_bytes=40960 * MIB, reserved_bytes=600 * MIB),
)
_BACKENDS = (
    Backend(name="onnxruntime", device_base_bytes=350 * MIB, host_base_bytes=300 * MIB),
    Backend(name="python", device_base_bytes=0, host_base_bytes=120 * MIB, context_per_instance=True),
    Backend(name="pytorch", device_base_bytes=600 * MIB, host_base_bytes=900 * MIB),
    Backend(name="tensorrt", device_base_bytes=250 * MIB, host_base_bytes=400 * MIB),
)
_BACKEND_SHARES = (0.4, 0.15, 0.25, 0.2)
_REPLICA_SHARES = (0.4, 0.45, 0.15)
_RUNTIME = Runtime(name="triton", context_bytes=300 * MIB, pool_bytes=64 * MIB, host_base_bytes=400 * MIB)
_FASTER = (("nvidia-t4", 1.0, 1.0), ("nvidia-a10g", 0.25, 0.6), ("nvidia-a100", 0.06, 0.2))
"""Device time of a model on each class over that on the smallest one: least and most."""
_ON_CPU_SHARE = 0.3


def shard_types(**more: object) -> tuple[ShardType, ...]:
    """Five types to buy: g4dn.xlarge, g5.xlarge, g5.2xlarge, an eighth of a p4d, m5.2xlarge."""
    rows = (
        ("t4", "nvidia-t4", 4, 16, 526_000),
        ("a10g", "nvidia-a10g", 4, 16, 1_006_000),
        ("a10g-large", "nvidia-a10g", 8, 32, 1_212_000),
        ("a100", "nvidia-a100", 12, 144, 4_097_000),
        ("cpu", CPU, 8, 32, 384_000),
    )
    return tuple(
        ShardType(
            name=name,
            runtime="triton",
            device_class=device_class,
            cpu_milli=cores * 1000,
            memory_bytes=memory * GIB,
            overhead_cpu_milli=500,
            overhead_memory_bytes=500 * MIB,
            price_microusd_per_h=price,
            group=f"pool-{name}",
            **more,  # type: ignore[arg-type]
        )
        for name, device_class, cores, memory, price in rows
    )


def a_fleet(replicas: int, *, seed: int = 0, correlated: bool = True, **policy: object) -> Scenario:
    """A scenario of so many replicas, of models with 1 to 3 each, on the five shard types."""
    rng = np.random.default_rng([seed, replicas, int(correlated)])
    return a_scenario(
        *_models(rng, replicas, correlated=correlated),
        types=shard_types(),
        classes=_CLASSES,
        runtimes=(_RUNTIME,),
        backends=_BACKENDS,
        headroom=Headroom(device_memory_ppm=30_000, device_time_ppm=100_000, memory_ppm=50_000),
        name=f"fleet-{replicas}-{seed}",
        **policy,
    )


def _models(rng: np.random.Generator, replicas: int, *, correlated: bool) -> Iterator[Model]:
    copies = _copies(rng, replicas)
    count = len(copies)
    backend = rng.choice(len(_BACKENDS), size=count, p=_BACKEND_SHARES).tolist()
    on_cpu = (rng.random(count) < _ON_CPU_SHARE).tolist()
    demands = [column.tolist() for column in _demands(rng, count, correlated=correlated)]
    for index, (copy, *demand) in enumerate(zip(copies, *demands, strict=True)):
        name = f"model-{index:06}"
        yield Model(
            name=name,
            backend=_BACKENDS[backend[index]].name,
            storage_uri=f"s3://models/{name}",
            replicas=copy,
            footprints=_options(demand, on_cpu=on_cpu[index]),
        )


def _copies(rng: np.random.Generator, replicas: int) -> list[int]:
    """Replicas of each model, so many in all."""
    drawn = rng.choice([1, 2, 3], size=replicas, p=_REPLICA_SHARES)
    ends = np.cumsum(drawn)
    count = int(np.searchsorted(ends, replicas)) + 1
    drawn[count - 1] -= ends[count - 1] - replicas
    return [int(copies) for copies in drawn[:count]]


def _demands(rng: np.random.Generator, count: int, *, correlated: bool) -> list[NDArray[np.int64]]:
    """Steady and peak device memory, device time on each class, CPU and host memory of each model."""
    steady = rng.lognormal(np.log(600 * MIB), 0.9, count).clip(SMALLEST, LARGEST)
    peak = steady * rng.uniform(1.0, 1.3, count)
    milli = rng.lognormal(np.log(40), 1.0, count).clip(1, 400)
    cpu = rng.lognormal(np.log(130), 0.7, count)
    host = rng.lognormal(np.log(600 * MIB), 0.6, count)
    if correlated:
        cpu = milli * rng.uniform(2, 5, count)
        host = 250 * MIB + steady * rng.uniform(0.3, 0.8, count)
    times = [milli * rng.uniform(least, most, count) for _, least, most in _FASTER]
    columns = (steady, peak, *times, cpu.clip(10, 2000), host.clip(60 * MIB, 6 * GIB))
    return [np.maximum(1, column.astype(np.int64)) for column in columns]


def _options(demand: list[int], *, on_cpu: bool) -> tuple[FootprintOption, ...]:
    """Options on every GPU class, slower on the smaller ones, and for some models one on CPUs."""
    steady, peak, *times, cpu, host = demand
    at_rest, loading, cores, memory = (_certain(value) for value in (steady, peak, cpu, host))
    options = [
        FootprintOption(
            device_class=device_class,
            steady_bytes=at_rest,
            load_peak_bytes=loading,
            device_milli=_certain(milli),
            cpu_milli=cores,
            memory_bytes=memory,
        )
        for (device_class, _, _), milli in zip(_FASTER, times, strict=True)
    ]
    if on_cpu:
        options.append(
            FootprintOption(
                device_class=CPU,
                cpu_milli=_certain(cpu + 12 * times[0]),
                memory_bytes=_certain(host + steady // 2),
            )
        )
    return tuple(options)


def _certain(value: int) -> Amount:
    return Amount(p50=value, p95=value)
