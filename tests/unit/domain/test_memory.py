"""The memory model against accounts worked out by hand."""

from agent.desired import DesiredModel, models_json
from planner.domain.fleet import Backend, Cluster, DeviceClass, NodeDevice, Runtime
from planner.domain.footprint import Amount
from planner.domain.memory import models_json_entry_bytes, need, shard_room, share_up, start_peak_bytes
from planner.domain.policy import Headroom
from planner.domain.scenario import names
from tests.support.builders import GIB, MIB, a_model, a_scenario, a_shard_type, an_option

T4 = DeviceClass(name="gpu-16", kind="gpu", memory_bytes=15_360 * MIB, reserved_bytes=450 * MIB)
TRITON = Runtime(name="triton", context_bytes=300 * MIB, pool_bytes=64 * MIB, host_base_bytes=256 * MIB)


def test_a_device_and_a_shard_by_hand() -> None:
    scenario = a_scenario(
        types=(
            a_shard_type(
                cpu_milli=4000,
                memory_bytes=16 * GIB,
                overhead_cpu_milli=500,
                overhead_memory_bytes=512 * MIB,
                device_count=2,
            ),
        ),
        classes=(T4,),
        runtimes=(TRITON,),
        headroom=Headroom(
            device_memory_ppm=30_000, device_time_ppm=200_000, cpu_ppm=100_000, memory_ppm=50_000
        ),
        cluster=Cluster(max_config_map_bytes=1000),
    )
    devices = (
        NodeDevice(device_class="gpu-16", uuid="GPU-a", foreign_bytes=512 * MIB),
        NodeDevice(device_class="gpu-16"),
    )
    room = shard_room(
        scenario.shard_types[0],
        names(scenario),
        policy=scenario.policy,
        max_config_map_bytes=scenario.cluster.max_config_map_bytes,
        devices=devices,
    )
    first, second = room.devices
    # headroom: 3 % of what the driver leaves, 14,910 MiB, is 447.3 MiB
    assert first.capacity_bytes == 15_360 * MIB - (14_910 * MIB * 3 + 99) // 100
    assert (first.uuid, second.uuid) == ("GPU-a", None)
    assert first.fixed_bytes == (450 + 300 + 64 + 512) * MIB
    assert second.fixed_bytes == (450 + 300 + 64) * MIB
    assert first.capacity_milli == 800
    assert room.cpu_milli == 3500 - 350
    # 15.5 GiB is 15,872 MiB; 5 % of it is 793.6 MiB
    assert room.memory_bytes == 15_872 * MIB - (15_872 * MIB * 5 + 99) // 100 - 256 * MIB
    assert room.models_json_bytes == 998


def test_rounding_is_against_ourselves() -> None:
    assert share_up(1, 1) == 1
    assert share_up(10**6, 1) == 1
    assert share_up(10**6 + 1, 1) == 2
    assert share_up(0, 30_000) == 0


def test_an_instance_process_pays_its_context_on_top_of_steady_and_peak() -> None:
    option = an_option(gpu=GIB, peak=2 * GIB, instances=3)
    wants = need(
        option, backend=Backend(name="python", context_per_instance=True), runtime=TRITON, quantile="p95"
    )
    assert wants.steady_bytes == GIB + 900 * MIB
    assert wants.load_peak_bytes == 2 * GIB + 900 * MIB
    plain = need(option, backend=Backend(name="onnxruntime"), runtime=TRITON, quantile="p95")
    assert (plain.steady_bytes, plain.load_peak_bytes) == (GIB, 2 * GIB)


def test_what_runs_on_the_host_pays_no_context() -> None:
    option = an_option(host=GIB)
    wants = need(
        option, backend=Backend(name="python", context_per_instance=True), runtime=TRITON, quantile="p95"
    )
    assert (wants.on_device, wants.steady_bytes) == (False, 0)


def test_the_quantile_is_of_every_figure_and_a_peak_is_never_below_the_steady_state() -> None:
    uncertain = an_option(gpu=Amount(p50=5, p95=9), peak=Amount(p50=4, p95=8))
    backend = Backend(name="onnxruntime")
    at_p50 = need(uncertain, backend=backend, runtime=TRITON, quantile="p50")
    at_p95 = need(uncertain, backend=backend, runtime=TRITON, quantile="p95")
    assert (at_p50.steady_bytes, at_p50.load_peak_bytes) == (5, 5)
    assert (at_p95.steady_bytes, at_p95.load_peak_bytes) == (9, 9)


def test_the_largest_peaks_count_as_many_as_load_together() -> None:
    backend = Backend(name="onnxruntime")
    wants = [
        need(an_option(gpu=10, peak=10 + extra), backend=backend, runtime=TRITON, quantile="p95")
        for extra in (1, 5, 3)
    ]
    assert [start_peak_bytes(wants, parallel_loads=k) for k in (1, 2, 3, 9)] == [5, 8, 9, 9]
    assert start_peak_bytes([], parallel_loads=1) == 0


def test_an_entry_of_models_json_is_never_longer_than_planned() -> None:
    model = a_model("resume", an_option(host=123_456_789), storage_uri='s3://b/"ü"')
    written = DesiredModel(
        name=model.name, storage_uri=model.storage_uri, framework="onnx", memory_bytes=123_456_789
    )
    assert len(models_json([written])) == models_json_entry_bytes(model) + 1
    assert len(models_json([written, written])) == 2 * models_json_entry_bytes(model) + 1
