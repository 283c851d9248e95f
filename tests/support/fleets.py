"""Seeded fleets of the size and shape that the quality goals speak of.

Footprints are heavy-tailed (lognormal) in device memory, device time, CPU and host memory. In a *correlated*
fleet CPU follows the rate, as device time does, and host memory follows the model's size, as they do in
practice; in an uncorrelated one all four are independent, which is harder: a shard is full in one dimension
while it is half empty in the others. Prices and sizes of the shard types are those of common cloud machines
(USD an hour, on demand), device memory as NVML reports it.
"""

from __future__ import annotations

import numpy as np

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
_RUNTIME = Runtime(name="triton", context_bytes=300 * MIB, pool_bytes=64 * MIB, host_base_bytes=400 * MIB)
_SPEED = {"nvidia-t4": 1.0, "nvidia-a10g": 0.5, "nvidia-a100": 0.2}


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


def a_fleet(count: int, *, seed: int = 0, correlated: bool = True, **policy: object) -> Scenario:
    """A scenario of ``count`` models with 1 to 3 replicas on the five shard types."""
    rng = np.random.default_rng([seed, count])
    return a_scenario(
        *(_model(f"model-{index:06}", rng, correlated) for index in range(count)),
        types=shard_types(),
        classes=_CLASSES,
        runtimes=(_RUNTIME,),
        backends=_BACKENDS,
        headroom=Headroom(device_memory_ppm=30_000, device_time_ppm=100_000, memory_ppm=50_000),
        name=f"fleet-{count}-{seed}",
        **policy,
    )


def _model(name: str, rng: np.random.Generator, correlated: bool) -> Model:
    backend = str(rng.choice([item.name for item in _BACKENDS], p=[0.4, 0.15, 0.25, 0.2]))
    return Model(
        name=name,
        backend=backend,
        storage_uri=f"s3://models/{name}",
        replicas=int(rng.choice([1, 2, 3], p=[0.4, 0.45, 0.15])),
        footprints=_options(rng, on_cpu=bool(rng.random() < 0.3), correlated=correlated),
    )


def _options(rng: np.random.Generator, *, on_cpu: bool, correlated: bool) -> tuple[FootprintOption, ...]:
    """Options on every GPU class, slower on the smaller ones, and for some models one on CPUs."""
    steady = int(np.clip(rng.lognormal(np.log(600 * MIB), 0.9), SMALLEST, LARGEST))
    peak = int(steady * rng.uniform(1.0, 1.3))
    milli = float(np.clip(rng.lognormal(np.log(15), 1.0), 1, 400))
    cpu = int(np.clip(rng.lognormal(np.log(120), 0.6), 10, 1500))
    host = int(np.clip(rng.lognormal(np.log(500 * MIB), 0.6), 60 * MIB, 5 * GIB))
    if correlated:
        cpu = int(np.clip(milli * rng.uniform(3, 8), 10, 1500))
        host = int(150 * MIB + steady * rng.uniform(0.2, 0.6))
    options = [
        FootprintOption(
            device_class=device_class,
            steady_bytes=_certain(steady),
            load_peak_bytes=_certain(peak),
            device_milli=_certain(max(1, int(milli * speed))),
            cpu_milli=_certain(cpu),
            memory_bytes=_certain(host),
        )
        for device_class, speed in _SPEED.items()
    ]
    if on_cpu:
        options.append(
            FootprintOption(
                device_class=CPU,
                cpu_milli=_certain(int(cpu + 12 * milli)),
                memory_bytes=_certain(host + steady // 2),
            )
        )
    return tuple(options)


def _certain(value: int) -> Amount:
    return Amount(p50=value, p95=value)
