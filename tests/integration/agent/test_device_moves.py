"""Models on four simulated GPUs of a real Triton: pinned, moved under load, refused without room."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from planner.rehearsal.build import NativeParts
from planner.rehearsal.gpus import SimulatedGpu, peak_bytes
from planner.rehearsal.triton_files import TritonHome
from tests.support.agent_process import eventually
from tests.support.gpu_shard import MIB, POOL_BYTES, GpuShard, a_gpu_shard
from tests.support.model_traffic import Traffic
from tests.support.triton_server import post, ready, times_loaded

pytestmark = pytest.mark.triton

GPUS = tuple(
    SimulatedGpu(uuid=f"GPU-{letter}", product="Tesla T4", memory_bytes=104 * MIB, reserved_bytes=2 * MIB)
    for letter in "abcd"
)


@pytest.fixture
def shard(tmp_path: Path, native: NativeParts, triton_home: TritonHome) -> Iterator[GpuShard]:
    with a_gpu_shard(tmp_path, *GPUS, native=native, home=triton_home) as made:
        yield made


def used_mib(shard: GpuShard) -> dict[str, int]:
    """Return what models use of each GPU, the server's pool left out."""
    return {
        uuid: (used - POOL_BYTES) // MIB
        for uuid, used in shard.devices("usedBytes").items()
        if used is not None and used > POOL_BYTES
    }


def entry(shard: GpuShard, name: str) -> dict[str, Any]:
    found: dict[str, Any] = shard.agent.status()["models"][name]
    return found


def is_refused(shard: GpuShard, name: str, told: str) -> bool:
    """Return whether a model waits for room between two tries."""
    found = entry(shard, name)
    return (found["state"], found["reason"]) == ("FailedToLoad", "NoRoom") and told in found["message"]


def test_a_model_moves_between_gpus_under_load_without_one_failed_request(shard: GpuShard) -> None:
    lock = shard.folder / "no-second-load"
    stays = shard.model("stays", "GPU-a", size=5 * MIB)

    def place(gpu: str) -> None:
        shard.mount(stays, shard.model("m", gpu, size=40 * MIB, peak_ms="50", fail_file=str(lock)))

    place("GPU-a")
    shard.agent.start()
    shard.agent.wait_ready()
    lock.touch()  # from now on the model's own load would fail: a move must not repeat it
    with Traffic(f"{shard.server.http_url}/v2/models/m/infer", threads=4) as traffic:
        for turn, gpu in enumerate(("GPU-b", "GPU-c", "GPU-d", "GPU-a", "GPU-d", "GPU-b", "GPU-a")):
            asked = traffic.answers
            place(gpu)
            there = {"GPU-a": 5, gpu: 40} if gpu != "GPU-a" else {"GPU-a": 45}
            eventually(lambda there=there: used_mib(shard) == there, f"move {turn} to {gpu}")  # type: ignore[misc]  # bound now
            eventually(lambda: entry(shard, "m")["state"] == "Loaded", "loaded")
            assert f"gpus: [ {'abcd'.index(gpu[-1])} ]" in shard.pin("m")
            eventually(lambda asked=asked: traffic.answers > asked + 100, "it was asked all the time")  # type: ignore[misc]  # bound now
    assert traffic.failures == []
    eventually(lambda: shard.agent.done("load") == 2 + 7, "one load a move is counted")
    assert (shard.agent.done("unload"), shard.agent.done("download")) == (0, 2)
    assert 'outcome="failed"' not in shard.agent.get("/metrics")[1]
    lock.unlink()
    shard.server.kill()
    shard.server.start()
    eventually(lambda: used_mib(shard) == {"GPU-a": 45}, "the last pin holds after a restart")


def test_pins_are_honoured_and_what_is_too_much_is_refused_without_a_call(shard: GpuShard) -> None:
    fitting = [shard.model(f"on-{gpu[-1]}", gpu, size=60 * MIB, peak=80 * MIB) for gpu in map(str, uuids())]
    too_much = shard.model("too-much", "GPU-c", size=41 * MIB)
    peaky = shard.model("peaky", "GPU-d", size=10 * MIB, peak=41 * MIB)
    shard.mount(*fitting)  # first: what is fetched sooner would take the room
    shard.agent.start()
    shard.agent.wait_ready()
    eventually(lambda: used_mib(shard) == dict.fromkeys(uuids(), 60), "one on each")
    shard.mount(*fitting, too_much, peaky)
    eventually(lambda: len(shard.agent.states()) == 6, "the agent knows of both")
    assert {name: entry(shard, name)["device"] for name in ("on-a", "on-b", "on-c", "on-d")} == {
        f"on-{letter}": f"gpu:{ordinal}" for ordinal, letter in enumerate("abcd")
    }
    for name, peak in (("too-much", 41), ("peaky", 41)):
        told = f"has 40 MiB free; the load may take {peak} MiB"
        eventually(lambda name=name, told=told: is_refused(shard, name, told), told)  # type: ignore[misc]  # bound now
    # A model that the server was never asked for has a name in its index and nothing else.
    rows = {row["name"]: row for row in json.loads(post(shard.server, "/v2/repository/index"))}
    assert rows["too-much"] == {"name": "too-much"}
    assert rows["peaky"] == {"name": "peaky"}
    assert set(times_loaded(shard.server)) == {f"on-{letter}" for letter in "abcd"}


def test_a_move_to_a_full_gpu_is_refused_and_the_model_serves_on_where_it_is(shard: GpuShard) -> None:
    full = shard.model("full", "GPU-b", size=80 * MIB)
    shard.mount(full, shard.model("m", "GPU-a", size=30 * MIB))
    shard.agent.start()
    shard.agent.wait_ready()
    shard.mount(full, shard.model("m", "GPU-b", size=30 * MIB))
    eventually(lambda: entry(shard, "m")["reason"] == "UpdateFailed", "refused")
    assert entry(shard, "m")["message"].startswith("NoRoom: ")
    assert used_mib(shard) == {"GPU-a": 30, "GPU-b": 80}
    assert ready(shard.server) == {"full", "m"}
    shard.mount(shard.model("m", "GPU-b", size=30 * MIB))
    eventually(lambda: used_mib(shard) == {"GPU-b": 30}, "moved once there was room")


def test_more_instances_need_room_for_those_that_come_and_the_model_is_weighed_whole(shard: GpuShard) -> None:
    one = shard.model("m", "GPU-a", size=45 * MIB)
    two = replace(one, instances=2, load_peak_bytes=90 * MIB, steady_bytes=90 * MIB)
    shard.mount(one)
    shard.agent.start()
    shard.agent.wait_ready()
    for model, mib in ((two, 90), (one, 45)):
        shard.mount(model)
        eventually(lambda mib=mib: used_mib(shard) == {"GPU-a": mib}, f"{mib} MiB")  # type: ignore[misc]  # bound now
        eventually(lambda mib=mib: entry(shard, "m")["measuredBytes"] == mib * MIB, "weighed")  # type: ignore[misc]  # bound now
    assert peak_bytes(shard.gpus, shard.server.pid, gpu=0) == POOL_BYTES + 90 * MIB
    assert 'outcome="failed"' not in shard.agent.get("/metrics")[1]


@pytest.mark.parametrize(("before", "now", "peak"), [(30, 40, 70), (60, 70, 70)])
def test_new_files_of_a_model_stand_beside_the_old_ones_only_where_both_fit(
    shard: GpuShard, before: int, now: int, peak: int
) -> None:
    shard.mount(shard.model("m", "GPU-c", size=before * MIB))
    shard.agent.start()
    shard.agent.wait_ready()
    shard.mount(shard.model("m", "GPU-c", size=now * MIB, version="-new"))
    eventually(lambda: used_mib(shard) == {"GPU-c": now}, "the new files serve")
    assert peak_bytes(shard.gpus, shard.server.pid, gpu=2) == POOL_BYTES + peak * MIB
    unloads = 0 if peak > now else 1
    eventually(lambda: (shard.agent.done("load"), shard.agent.done("unload")) == (2, unloads), "counted")


def uuids() -> tuple[str, ...]:
    return tuple(gpu.uuid for gpu in GPUS)
