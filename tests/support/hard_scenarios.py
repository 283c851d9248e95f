"""Scenarios at the edges: the largest numbers and the smallest, empty ones, giants, many dimensions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from planner.domain.fleet import Backend, Cluster, NodeDevice, Runtime
from planner.domain.model import Model
from planner.domain.policy import Headroom
from planner.domain.scenario import Scenario
from tests.support.builders import (
    GIB,
    GPU,
    MIB,
    a_model,
    a_node,
    a_scenario,
    a_shard_type,
    an_option,
    models,
)

LARGEST = 2**60 - 1
"""The largest amount that a scenario may hold."""

_LARGE_TYPE = a_shard_type(
    device_memory_bytes=LARGEST,
    memory_bytes=LARGEST,
    disk_bytes=LARGEST,
    cpu_milli=LARGEST,
    device_milli=LARGEST,
)


def _near_the_largest() -> Scenario:
    options = (
        an_option(gpu=2**59 - i, peak=2**59 + i, host=2**59 - i, disk=2**58, milli=300) for i in range(40)
    )
    small = a_shard_type(
        "small", device_memory_bytes=2**59 + 2**57, memory_bytes=2**60 - 2**50, price=700_000
    )
    return a_scenario(
        *(a_model(f"m-{index:02}", option) for index, option in enumerate(options)),
        types=(_LARGE_TYPE, small),
    )


def _largest_beside_one() -> Scenario:
    options = [an_option(gpu=LARGEST if index % 2 else 1, host=1 + index) for index in range(20)]
    return a_scenario(
        *(a_model(f"m-{index:02}", option) for index, option in enumerate(options)),
        types=(_LARGE_TYPE, a_shard_type("plain", price=1)),
    )


def _large_bases() -> Scenario:
    return a_scenario(
        *models(20, an_option(gpu=2**57, host=2**57, instances=64)),
        *models(3, an_option(gpu=1), prefix="p", backend="python"),
        types=(_LARGE_TYPE,),
        backends=(
            Backend(name="onnxruntime", device_base_bytes=2**59, host_base_bytes=2**59),
            Backend(name="python", context_per_instance=True),
        ),
        runtimes=(Runtime(name="triton", context_bytes=2**55),),
    )


def _large_nodes() -> Scenario:
    device = NodeDevice(device_class=GPU, memory_bytes=LARGEST, foreign_bytes=2**58)
    node = {"memory_bytes": LARGEST, "cpu_milli": LARGEST, "devices": (device,) * 3}
    return a_scenario(
        *models(20, an_option(gpu=2**59, host=2**57)),
        types=(a_shard_type(provision="existing", memory_bytes=2**58, cpu_milli=2**57),),
        nodes=tuple(a_node(f"n-{index}", **node) for index in range(4)),
    )


def _prices() -> Scenario:
    cheap = a_shard_type("cheap", price=1, max_count=3)
    dear = a_shard_type("dear", price=10**12, device_memory_bytes=40 * GIB)
    return a_scenario(*models(30, an_option(gpu=5 * GIB, milli=100)), types=(cheap, dear))


def _every_price() -> Scenario:
    types = tuple(a_shard_type(f"p-{power}", price=10**power, max_count=2) for power in range(16))
    return a_scenario(*models(90, an_option(gpu=5 * GIB, milli=100)), types=types)


def _zero_capacities() -> Scenario:
    types = (
        a_shard_type("no-host", cpu_milli=0, memory_bytes=0),
        a_shard_type("no-memory", device_memory_bytes=0),
        a_shard_type("none", max_count=0),
        a_shard_type("no-time", device_milli=0),
        a_shard_type("no-models", max_models=0),
    )
    return a_scenario(
        *models(5, an_option(gpu=GIB, milli=1, cpu=1)), a_model("nothing", an_option()), types=types
    )


def _no_room_at_all() -> Scenario:
    empty = a_shard_type(
        cpu_milli=0, memory_bytes=0, device_memory_bytes=0, device_milli=0, disk_bytes=0, price=0
    )
    return a_scenario(*models(30, an_option()), a_model("some", an_option(host=1)), types=(empty,))


def _all_headroom() -> Scenario:
    everything = Headroom(device_memory_ppm=1, device_time_ppm=999_999, cpu_ppm=1_000_000, memory_ppm=1)
    return a_scenario(*models(20, an_option(gpu=2**50, host=1)), types=(_LARGE_TYPE,), headroom=everything)


def many_dimensions(count: int, *, dimensions: int = 20, seed: int = 0) -> Scenario:
    """Models with independent demands of so many named resources, on three shard types."""
    rng = np.random.default_rng(seed)
    names = [f"r-{index:02}" for index in range(dimensions)]

    def named(least: int, most: int) -> tuple[tuple[str, int], ...]:
        return tuple((name, int(rng.integers(least, most))) for name in names)

    def model(index: int) -> Model:
        gpu, milli = int(rng.integers(1, 8)) * GIB, int(rng.integers(1, 300))
        return a_model(f"m-{index:06}", an_option(gpu=gpu, milli=milli, extra=named(0, 400)))

    types = tuple(
        a_shard_type(
            f"t-{size}",
            price=size * 1_000_000,
            device_memory_bytes=size * 16 * GIB,
            extra=named(size * 600, size * 1500),
        )
        for size in (1, 2, 3)
    )
    return a_scenario(*(model(index) for index in range(count)), types=types)


def identical(count: int) -> Scenario:
    """So many models that are alike but for their names."""
    option = an_option(gpu=700 * MIB, milli=20, cpu=100, host=300 * MIB)
    return a_scenario(*(a_model(f"m-{index:06}", option) for index in range(count)))


def too_large_everywhere(count: int) -> Scenario:
    """Models of different sizes that are larger than any device."""
    return a_scenario(*(a_model(f"m-{index:06}", an_option(gpu=17 * GIB + index)) for index in range(count)))


def many_replicas(count: int) -> Scenario:
    """One model that wants so many shards."""
    return a_scenario(a_model("m", an_option(gpu=GIB), replicas=count))


def _giant(others: int) -> Scenario:
    whole = a_shard_type("whole", device_count=8, device_memory_bytes=80 * GIB, price=30_000_000)
    giant = a_model("giant", an_option(gpu=79 * GIB), devices_per_replica=8)
    return a_scenario(giant, *models(others, an_option(gpu=GIB)), types=(whole, a_shard_type("small")))


HARD: Mapping[str, Callable[[], Scenario]] = {
    "near the largest number": _near_the_largest,
    "the largest number beside one": _largest_beside_one,
    "large bases and contexts": _large_bases,
    "large nodes": _large_nodes,
    "a millionth beside a million USD": _prices,
    "every price": _every_price,
    "nothing costs anything": lambda: a_scenario(
        *models(60, an_option(gpu=5 * GIB)), types=(a_shard_type("a", price=0), a_shard_type("b", price=0))
    ),
    "zero capacities": _zero_capacities,
    "no room at all": _no_room_at_all,
    "all of a shard is headroom": _all_headroom,
    "twenty dimensions": lambda: many_dimensions(60),
    "a single giant": lambda: _giant(0),
    "a giant among dwarfs": lambda: _giant(200),
    "identical models": lambda: identical(500),
    "no models": a_scenario,
    "no models and shards that are asked for": lambda: a_scenario(types=(a_shard_type(min_count=3),)),
    "no shard types": lambda: a_scenario(*models(19), a_model("other", an_option(gpu=2 * GIB)), types=()),
    "nothing at all": lambda: a_scenario(types=()),
    "models that fit nowhere": lambda: too_large_everywhere(200),
    "one model with many replicas": lambda: many_replicas(300),
    "no money": lambda: a_scenario(*models(20), max_usd_per_h_microusd=0),
    "no shards": lambda: a_scenario(*models(20), max_shards=0),
    "no addresses": lambda: a_scenario(*models(20), cluster=Cluster(max_ips=0)),
}
"""By what is hard about them; each is solved in about a second."""
