"""The account of a placement: what is used, by what, and what is left."""

from __future__ import annotations

from planner.domain.fleet import Backend, NodeDevice, Runtime
from planner.domain.footprint import Amount
from planner.domain.plan import Plan
from planner.domain.rules import Rule
from planner.domain.scenario import Scenario
from planner.domain.verify import verify
from planner.report.usage import overall_usage, placement_usage
from tests.support.builders import (
    CPU,
    GIB,
    MIB,
    a_gpu_class,
    a_model,
    a_node,
    a_scenario,
    a_shard_type,
    an_option,
)
from tests.support.plans import a_plan, a_shard, on


def a_full_account() -> tuple[Scenario, Plan]:
    """A GPU of a node with a value in every line of the account."""
    scenario = a_scenario(
        a_model(
            "a", an_option(gpu=Amount(p50=1 * GIB, p95=2 * GIB), peak=4 * GIB, milli=250, cpu=500, host=GIB)
        ),
        a_model("b", an_option(gpu=3 * GIB, cpu=250), backend="python"),
        types=(a_shard_type(provision="existing", cpu_milli=4_000, memory_bytes=16 * GIB),),
        nodes=(a_node(devices=(NodeDevice(device_class="gpu-16", foreign_bytes=512 * MIB),)),),
        classes=(a_gpu_class(reserved_bytes=400 * MIB),),
        runtimes=(Runtime(name="triton", context_bytes=300 * MIB, pool_bytes=64 * MIB, host_base_bytes=GIB),),
        backends=(Backend(name="onnxruntime", device_base_bytes=200 * MIB, host_base_bytes=100 * MIB),),
    )
    shard = a_shard(node="n", node_devices=(0,))
    return scenario, a_plan(scenario, shard, on("a"), on("b"))


def test_every_line_of_a_device_is_accounted_for() -> None:
    scenario, plan = a_full_account()
    assert verify(scenario, plan) == ()
    device = placement_usage(scenario, plan.placement)[0].devices[0]
    assert device.reserved_bytes == 400 * MIB
    assert device.context_bytes == 300 * MIB
    assert device.pool_bytes == 64 * MIB
    assert device.foreign_bytes == 512 * MIB
    assert device.bases == (("onnxruntime", 200 * MIB), ("python", 0))
    assert device.models_bytes == 5 * GIB
    assert device.used_bytes == (400 + 300 + 64 + 512 + 200) * MIB + 5 * GIB
    assert device.start_peak_bytes == 2 * GIB
    assert device.used_milli == 250
    assert device.used_bytes + device.left_bytes + device.headroom_bytes == device.room.total_bytes


def test_a_shard_is_bound_by_its_fullest_resource() -> None:
    scenario, plan = a_full_account()
    shard = placement_usage(scenario, plan.placement)[0]
    assert shard.binding is not None
    assert shard.binding.rule is Rule.STARTABLE
    cpu = shard.host_use(Rule.CPU)
    memory = shard.host_use(Rule.HOST_MEMORY)
    assert cpu is not None
    assert (cpu.used, cpu.left) == (750, 3_250)
    assert memory is not None
    assert memory.used == GIB + 100 * MIB
    assert memory.capacity == 15 * GIB
    assert shard.host_use(Rule.DISK) is None


def test_the_account_agrees_with_the_specification_to_the_byte() -> None:
    """One byte less than the account says is used breaks the rule with those very numbers."""
    scenario, plan = a_full_account()
    device = placement_usage(scenario, plan.placement)[0].devices[0]
    tight = a_scenario(
        *scenario.models,
        types=scenario.shard_types,
        nodes=(
            a_node(
                devices=(
                    NodeDevice(
                        device_class="gpu-16", foreign_bytes=512 * MIB, memory_bytes=device.used_bytes - 1
                    ),
                )
            ),
        ),
        classes=scenario.device_classes,
        runtimes=scenario.runtimes,
        backends=scenario.backends,
    )
    shard = a_shard(node="n", node_devices=(0,))
    (violation,) = verify(tight, a_plan(tight, shard, on("a"), on("b")))
    assert violation.rule is Rule.DEVICE_MEMORY
    assert (violation.need, violation.have) == (device.used_bytes, device.used_bytes - 1)


def test_a_cpu_shard_counts_no_device_memory() -> None:
    scenario = a_scenario(
        a_model("a", an_option(CPU, cpu=500, host=GIB)),
        types=(a_shard_type(device_class=CPU, cpu_milli=1_000, memory_bytes=4 * GIB),),
    )
    shard = placement_usage(scenario, a_plan(scenario, on("a")).placement)[0]
    assert shard.devices[0].resources == ()
    assert shard.device_capacity_bytes == 0
    assert shard.binding is not None
    assert (shard.binding.rule, shard.binding.full_ppm) == (Rule.CPU, 500_000)


def test_a_resource_of_nothing_is_either_empty_or_full() -> None:
    scenario = a_scenario(a_model("a", an_option(gpu=GIB)), types=(a_shard_type(disk_bytes=0, max_models=1),))
    shard = placement_usage(scenario, a_plan(scenario, on("a")).placement)[0]
    disk, most = shard.host_use(Rule.DISK), shard.host_use(Rule.MAX_MODELS)
    assert disk is not None
    assert most is not None
    assert disk.full_ppm == 0
    assert most.full_ppm == 1_000_000


def test_all_shards_together() -> None:
    scenario = a_scenario(a_model("a", replicas=2))
    plan = a_plan(scenario, a_shard("t"), a_shard("t-1", "t"), on("a"), on("a", "t-1", replica=1))
    totals = overall_usage(placement_usage(scenario, plan.placement))
    assert totals[Rule.DEVICE_MEMORY] == (2 * GIB, 32 * GIB)
