"""What has nothing to do with each other is planned apart, and the bounds add up."""

from __future__ import annotations

from planner.domain.fleet import Backend, NodeDevice, Runtime
from planner.domain.scenario import Scenario
from planner.solve.keeping import packing_like
from planner.solve.options import SolveOptions
from planner.solve.parts import parts_of, united
from planner.solve.portfolio import make_plan
from planner.solve.problem import make_problem
from tests.support.builders import GIB, a_model, a_node, a_scenario, a_shard_type, an_option, models

THREE = an_option(gpu=3 * GIB)


def parts(scenario: Scenario) -> list[tuple[list[str], list[str]]]:
    """Return the models and the types of each part."""
    found = parts_of(make_problem(scenario))
    return [([m.name for m in part.models], [t.name for t in part.shard_types]) for part in found]


def of_tenants(*types, **more) -> Scenario:  # type: ignore[no-untyped-def]
    tenants = (None, "a", "b", "a")
    return a_scenario(
        *(a_model(f"m{i}", THREE, tenant=tenant, **more) for i, tenant in enumerate(tenants)),
        types=types,
        isolate_tenants=True,
        nodes=(a_node(),),
    )


def test_tenants_are_apart_where_shards_are_bought_without_limit() -> None:
    new, own = a_shard_type("new"), a_shard_type("own", provision="existing")
    limited, asked = a_shard_type("limited", max_count=9), a_shard_type("asked", min_count=1)
    assert [names for names, _ in parts(of_tenants(new))] == [["m0"], ["m1", "m3"], ["m2"]]
    for other in (own, limited, asked):
        assert len(parts(of_tenants(new, other))) == 1
    assert len(parts(of_tenants(new, together="g"))) == 1
    assert len(parts(of_tenants(new, pin="new-1"))) == 1


def test_runtimes_that_serve_other_backends_are_apart_unless_a_limit_ties_them() -> None:
    servers = (
        Runtime(name="triton", backends=("onnxruntime",)),
        Runtime(name="mlserver", backends=("sklearn",)),
    )
    types = tuple(a_shard_type(item.name, runtime=item.name) for item in servers)
    unused = a_shard_type("unused", runtime="triton", device_class="gpu-24", min_count=1)
    everyone = (
        *models(3, THREE, prefix="o"),
        *models(2, THREE, prefix="s", backend="sklearn"),
        a_model("x", an_option("none", gpu=GIB)),
        a_model("y", an_option("none", gpu=THREE.steady_bytes.p95)),
    )

    def scenario(**more) -> Scenario:  # type: ignore[no-untyped-def]
        backends = (Backend(name="onnxruntime"), Backend(name="sklearn"))
        return a_scenario(*everyone, types=(*types, unused), runtimes=servers, backends=backends, **more)

    first, second, nowhere = parts(scenario())
    assert (len(first[0]), first[1]) == (3, ["triton", "unused"])
    assert (len(second[0]), second[1]) == (2, ["mlserver"])
    assert nowhere == (["x", "y"], [])
    assert len(parts(scenario(max_shards=9))) == 1


def test_parts_are_proved_apart_and_their_bounds_add_up() -> None:
    tenants = [a_model(f"m{i:02}", an_option(gpu=(3 + i % 5) * GIB), tenant=f"t{i % 4}") for i in range(36)]
    plan = make_plan(a_scenario(*tenants, isolate_tenants=True), SolveOptions(work=100))
    alone = [
        make_plan(a_scenario(*(m for m in tenants if m.tenant == f"t{i}")), SolveOptions(work=100))
        for i in range(4)
    ]
    assert plan.status == "optimal"
    assert plan.cost_microusd_per_h == sum(one.cost_microusd_per_h for one in alone)
    assert len({shard.name for shard in plan.placement.shards}) == len(plan.placement.shards)


def test_a_name_that_a_part_pins_may_be_taken_in_another_that_knows_nothing_of_it() -> None:
    tenants = [a_model(f"m{i}", an_option(gpu=9 * GIB), tenant="ab"[i % 2]) for i in range(7)]
    pinned = a_model("p", THREE, tenant="b", pin="t-1")
    problem = make_problem(a_scenario(*tenants, pinned, isolate_tenants=True))
    found = parts_of(problem)
    together = united(found, [make_plan(part, SolveOptions(work=5)).placement for part in found])
    assert len({shard.name for shard in together.shards}) == len(together.shards) == 7
    assert None not in packing_like(problem, together, {}).row_of_unit


SERVERS = (
    Runtime(name="triton", backends=("onnxruntime",)),
    Runtime(name="mlserver", backends=("sklearn",)),
)


def on_nodes(*everyone, nodes, types=(), own=(), **more) -> Scenario:  # type: ignore[no-untyped-def]
    """A scenario of two parts: some models on nodes, and one of another server on what is bought."""
    kinds = (
        a_shard_type("own", runtime="triton", provision="existing", price=10, **dict(own)),
        a_shard_type("bought", runtime="mlserver"),
        *types,
    )
    return a_scenario(
        a_model("apart", THREE, backend="sklearn"),
        *everyone,
        types=kinds,
        nodes=nodes,
        runtimes=SERVERS,
        **more,
    )


def test_what_stands_on_nodes_stays_there() -> None:
    zones = on_nodes(
        *models(2, an_option(gpu=9 * GIB), replicas=2),
        nodes=tuple(a_node(f"n-{zone}", zone=zone, gpus=2) for zone in "ab"),
        spread="zone",
    )
    used = NodeDevice(device_class="gpu-16", foreign_bytes=12 * GIB)
    devices = on_nodes(
        a_model("large", an_option(gpu=12 * GIB)),
        *models(2, THREE),
        nodes=(a_node("n0", devices=(used,)), a_node("n1")),
    )
    for scenario in (zones, devices):
        problem = make_problem(scenario)
        found = parts_of(problem)
        assert len(found) == 2
        plans = [make_plan(part, SolveOptions(work=5)) for part in found]
        packing = packing_like(problem, united(found, [plan.placement for plan in plans]), {})
        assert None not in packing.row_of_unit


def test_shards_that_nothing_is_allowed_on_are_opened_beside_the_others_on_nodes() -> None:
    asked = a_shard_type(
        "asked", runtime="triton", device_class="gpu-24", provision="existing", min_count=1, cpu_milli=200_000
    )
    devices = tuple(NodeDevice(device_class=name) for name in ("gpu-16", "gpu-16", "gpu-24"))
    scenario = on_nodes(
        *models(2, an_option("gpu-16", gpu=9 * GIB)),
        types=(asked,),
        nodes=(a_node("n0", devices=devices, cpu_milli=200_000), a_node("n1", devices=devices)),
        own={"cpu_milli": 28_000},
    )
    assert parts(scenario)[1][1] == ["own", "asked"]
    plan = make_plan(scenario, SolveOptions(work=5))
    assert not plan.refusals
