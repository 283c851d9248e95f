"""Stand-ins: the plan's figures as parameters of the tiny backend, and what NVML should then say."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

import pytest

from agent.desired import DesiredDevice, DesiredModel, placement_chunks, read_placement
from planner.domain.fleet import Backend, Runtime
from planner.domain.scenario import Scenario, names
from planner.rehearsal.changes import change_of
from planner.rehearsal.hardware import hardware_faults, simulated_devices
from planner.rehearsal.manifest_reader import PodSpec
from planner.rehearsal.stand_ins import expected_bytes, kept_bytes, stand_ins, with_addresses
from planner.report.usage import ShardUse, placement_usage
from tests.support.builders import GIB, MIB, a_gpu_class, a_model, a_scenario, a_shard_type, an_option
from tests.support.plans import a_placement, a_shard, on

_BACKENDS = (
    Backend(name="onnxruntime", device_base_bytes=100),
    Backend(name="python", context_per_instance=True, device_base_bytes=7),
)
_RUNTIME = Runtime(name="triton", context_bytes=1000, pool_bytes=64)


def world(*models: Any, **more: Any) -> Scenario:
    return a_scenario(*models, backends=_BACKENDS, runtimes=(_RUNTIME,), **more)


def used(scenario: Scenario, *placed: Any) -> ShardUse:
    (found,) = placement_usage(scenario, a_placement(a_shard(), *placed))
    return found


def figures(scenario: Scenario, *placed: Any) -> dict[str, int]:
    backends = names(scenario).backends
    (one,) = stand_ins(used(scenario, *placed), backends=backends, quantile=scenario.policy.quantile)
    pairs = re.findall(r'key: "(\w+)" value { string_value: "(\d+)"', one.config)
    return {key: int(value) for key, value in pairs}


def test_a_stand_in_takes_what_the_plan_reckons_with() -> None:
    scenario = world(a_model("m", an_option(gpu=500, peak=700)))
    assert figures(scenario, on("m")) == {
        "gpu_bytes": 500,
        "peak_bytes": 700,
        "residual_bytes": 0,
        "base_bytes": 100,
    }


def test_instances_share_the_figure_and_the_last_one_has_the_peak() -> None:
    scenario = world(a_model("m", an_option(gpu=501, peak=700, instances=2)))
    assert figures(scenario, on("m")) == {
        "gpu_bytes": 250,
        "peak_bytes": 449,
        "residual_bytes": 0,
        "base_bytes": 100,
    }
    device = used(scenario, on("m")).devices[0]
    assert expected_bytes(device) == 1000 + 64 + 100 + 2 * 250


def test_processes_pay_their_contexts() -> None:
    scenario = world(a_model("m", an_option(gpu=500, source="declared"), backend="python"))
    assert figures(scenario, on("m"))["gpu_bytes"] == 1500


def test_a_model_that_does_not_use_its_gpu_takes_nothing() -> None:
    assert figures(world(a_model("m", an_option(host=5))), on("m")) == {}


def test_a_server_keeps_the_bases_and_the_residual_memory_of_what_left() -> None:
    left = an_option(gpu=500, residual_bytes=an_option(gpu=40).steady_bytes)
    scenario = world(a_model("gone", left, backend="python"), a_model("here", left))
    before, after = used(scenario, on("gone"), on("here")), used(scenario, on("here"))
    assert kept_bytes(before.devices[0], after.devices[0], quantile="p95") == 7 + 40
    assert kept_bytes(after.devices[0], before.devices[0], quantile="p95") == 0


def test_documents_keep_everything_but_the_addresses() -> None:
    models = [
        DesiredModel(
            name=name,
            storage_uri=f"s3://b/{name}",
            framework="onnx",
            memory_bytes=3,
            devices=(DesiredDevice(kind="gpu", index=1),),
            steady_bytes=9,
            load_peak_bytes=11,
            order=4,
        )
        for name in ("a", "b")
    ]
    texts = placement_chunks(shard="news", runtime="triton", models=models, max_bytes=500)
    assert len(texts) == 2
    spec = PodSpec(
        shard="news",
        agent_args=(),
        fetch_args=None,
        server_args=(),
        mounts={PurePosixPath("/c"): "configs"},
        files={
            "configs": {"models.json": "[]"} | {f"placement-{i}.json": text for i, text in enumerate(texts)}
        },
    )
    found = with_addresses(spec, {"a": "file:///x", "b": "file:///y"}, max_bytes=500).files["configs"]
    assert found.pop("models.json") == "[]"
    desired = read_placement(found)
    assert [(one.name, one.storage_uri) for one in desired.models] == [("a", "file:///x"), ("b", "file:///y")]
    assert {(one.order, one.steady_bytes, one.load_peak_bytes) for one in desired.models} == {(4, 9, 11)}


def test_a_change_is_told_by_seat_device_and_copy() -> None:
    before = a_placement(a_shard("s"), *(on(name, "s") for name in ("stay", "move", "file", "go")))
    after = a_placement(
        a_shard("s"), on("stay", "s"), on("move", "s", 1), on("file", "s"), on("new", "s"), on("go", "t")
    )
    old = {(item.model, item.shard): "x" for item in before.placed}
    new = {(item.model, item.shard): "y" if item.model == "file" else "x" for item in after.placed}
    change = change_of(before, after, copies=(old, new))
    assert change.stay == {("stay", "s")}
    assert change.move == {("move", "s")}
    assert change.reload == {("file", "s")}
    assert change.come == {("new", "s"), ("go", "t")}
    assert change.leave == {("go", "s")}


def test_devices_are_as_the_scenario_says_and_no_two_alike() -> None:
    gpu = a_gpu_class("gpu-16", memory=16 * GIB, reserved_bytes=5)
    scenario = world(a_model("m"), types=(a_shard_type(device_count=2),), classes=(gpu,))
    gpus, uuids = simulated_devices(used(scenario, on("m")), gpu, foreign_bytes=3)
    assert [(one.memory_bytes, one.reserved_bytes, one.foreign_bytes) for one in gpus] == [
        (16 * GIB, 5, 3)
    ] * 2
    assert [one.context_bytes for one in gpus] == [1000, 1000]
    assert tuple(one.uuid for one in gpus) == uuids
    assert len(set(uuids)) == 2


@pytest.mark.parametrize("count", [1, 2])
def test_a_shard_of_two_mig_instances_is_refused_by_its_name(count: int) -> None:
    mig = a_gpu_class("gpu-16", memory=512 * MIB, mig_profile="1g.10gb", product="H100")
    scenario = world(a_model("m"), types=(a_shard_type(device_count=count),), classes=(mig,))
    use = used(scenario, on("m"))
    said = [str(fault) for fault in hardware_faults(use, mig)]
    assert len(said) == count - 1
    assert all(line.startswith("shards.t: holds 2 MIG instances") for line in said)
    gpus, (uuid, *_) = simulated_devices(use, mig)
    assert uuid.startswith("MIG-")
    assert gpus[0].mig[0].memory_bytes == 512 * MIB
