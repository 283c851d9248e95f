"""Hypothesis strategies of small scenarios in which every rule may bind, and their optima by brute force."""

from __future__ import annotations

import itertools

from hypothesis import strategies as st

from planner.domain.fleet import Backend, Cluster, NodeDevice, Runtime
from planner.domain.model import Model
from planner.domain.placement import Placed, Placement, Shard
from planner.domain.policy import Headroom
from planner.domain.scenario import Scenario
from planner.domain.verify import cost_microusd_per_h, verify_placement
from tests.support.builders import CPU, GIB, a_model, a_node, a_scenario, a_shard_type, an_option

_GIBS = st.integers(0, 18).map(lambda value: value * GIB)
_BACKENDS = (
    Backend(name="onnxruntime", device_base_bytes=GIB, host_base_bytes=GIB),
    Backend(name="python", context_per_instance=True),
)
_RUNTIME = Runtime(name="triton", context_bytes=GIB // 2, host_base_bytes=GIB)


@st.composite
def options(draw: st.DrawFn, device_class: str) -> object:
    gpu = draw(_GIBS)
    return an_option(
        device_class,
        gpu=gpu,
        peak=gpu + draw(st.sampled_from((0, GIB, 3 * GIB))),
        milli=draw(st.sampled_from((0, 100, 400))),
        cpu=draw(st.sampled_from((0, 1000, 3000))),
        host=draw(st.sampled_from((0, GIB, 6 * GIB))),
        disk=draw(st.sampled_from((0, GIB))),
    )


@st.composite
def small_models(draw: st.DrawFn, index: int) -> Model:
    return a_model(
        f"m-{index}",
        *draw(st.lists(options(draw(st.sampled_from(("*", "gpu-16", "gpu-24")))), min_size=1, max_size=2)),
        backend=draw(st.sampled_from(("onnxruntime", "python"))),
        replicas=draw(st.integers(1, 3)),
        priority=draw(st.integers(0, 1)),
        tenant=draw(st.sampled_from((None, "a"))),
        together=draw(st.sampled_from((None, None, None, "pair"))),
        devices_per_replica=draw(st.sampled_from((1, 1, 1, 2))),
        pin=draw(st.sampled_from((None, None, None, "small", "large-3"))),
    )


@st.composite
def shard_types(draw: st.DrawFn, name: str, device_class: str, price: int) -> object:
    plain = {"cpu_milli": 8000, "memory_bytes": 16 * GIB, "price": price, "device_class": device_class}
    return a_shard_type(
        name,
        device_count=draw(st.sampled_from((1, 1, 2))),
        max_count=draw(st.sampled_from((None, None, 0, 2))),
        min_count=0,
        max_models=draw(st.sampled_from((None, 3))),
        disk_bytes=draw(st.sampled_from((None, 2 * GIB))),
        zone=draw(st.sampled_from((None, "a", "b"))),
        parallel_loads=draw(st.integers(1, 2)),
        replicas=draw(st.sampled_from((1, 2))),
        **plain,
    )


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """A scenario of up to six models on up to four shard types, one of them on nodes."""
    own = a_shard_type(
        "own",
        provision="existing",
        price=draw(st.sampled_from((0, 300_000))),
        cpu_milli=8000,
        memory_bytes=16 * GIB,
        device_count=draw(st.sampled_from((1, 2))),
    )
    types = [
        draw(shard_types("small", "gpu-16", 500_000)),
        draw(shard_types("large", "gpu-24", 900_000)),
        draw(shard_types("cpus", CPU, 200_000)),
        own,
    ]
    nodes = tuple(
        a_node(
            f"node-{index}",
            zone=draw(st.sampled_from((None, "a", "b"))),
            cpu_milli=draw(st.sampled_from((8000, 64_000))),
            devices=tuple(
                NodeDevice(device_class="gpu-16", foreign_bytes=draw(st.sampled_from((0, 4 * GIB))))
                for _ in range(draw(st.integers(0, 3)))
            ),
        )
        for index in range(draw(st.integers(0, 2)))
    )
    return a_scenario(
        *(draw(small_models(index)) for index in range(draw(st.integers(0, 6)))),
        types=tuple(types[: draw(st.integers(1, 4))]),
        nodes=nodes,
        backends=_BACKENDS,
        runtimes=(_RUNTIME,),
        cluster=Cluster(
            max_ips=draw(st.sampled_from((None, 4))),
            max_config_map_bytes=draw(st.sampled_from((1_000_000, 300))),
        ),
        headroom=Headroom(device_memory_ppm=draw(st.sampled_from((0, 30_000)))),
        spread=draw(st.sampled_from(("shard", "node", "zone", "none"))),
        isolate_tenants=draw(st.booleans()),
        objective=draw(
            st.sampled_from((("placed", "cost", "moves", "balance"), ("placed", "moves", "cost")))
        ),
        max_usd_per_h_microusd=draw(st.sampled_from((None, None, 1_500_000))),
        max_shards=draw(st.sampled_from((None, 3))),
    )


@st.composite
def tiny_scenarios(draw: st.DrawFn) -> Scenario:
    """At most four models of one replica on two types to buy: small enough for brute force."""
    models = tuple(
        a_model(
            f"m-{index}",
            an_option(gpu=draw(_GIBS), milli=draw(st.sampled_from((0, 300, 600)))),
            backend=draw(st.sampled_from(("onnxruntime", "python"))),
        )
        for index in range(draw(st.integers(1, 4)))
    )
    types = (
        a_shard_type("small", price=draw(st.sampled_from((400_000, 500_000)))),
        a_shard_type("large", price=900_000, device_class="gpu-24", device_memory_bytes=24 * GIB),
    )
    return a_scenario(*models, types=types, backends=_BACKENDS, runtimes=(_RUNTIME,))


def least_cost(scenario: Scenario) -> tuple[int, int]:
    """Return how many models of a tiny scenario can be placed and the least cost of that, by trying all."""
    count, best = len(scenario.models), (0, 0)
    types = [item.name for item in scenario.shard_types]
    for groups in itertools.product(range(-1, count), repeat=count):
        used = sorted({group for group in groups if group >= 0})
        for chosen in itertools.product(types, repeat=len(used)):
            placement = _placement(scenario, groups, dict(zip(used, chosen, strict=True)))
            if placement is not None and not verify_placement(scenario, placement):
                cost = cost_microusd_per_h(scenario, placement)
                best = min(best, (-len(placement.placed), cost))
    return -best[0], best[1]


def _placement(scenario: Scenario, groups: tuple[int, ...], types: dict[int, str]) -> Placement | None:
    if any(group > max(groups[:index], default=-1) + 1 for index, group in enumerate(groups)):
        return None  # the same partition under other numbers
    names = {group: f"{kind}-{group + 1}" for group, kind in types.items()}
    return Placement(
        shards=tuple(Shard(name=names[group], shard_type=kind) for group, kind in types.items()),
        placed=tuple(
            Placed(model=model.name, replica=0, shard=names[group], devices=(0,))
            for model, group in zip(scenario.models, groups, strict=True)
            if group >= 0
        ),
    )
