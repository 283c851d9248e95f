"""Whose the memory of simulated GPUs is, told by the agent beside a real Triton, to the byte."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from agent.desired import FixedCost
from planner.rehearsal.build import NativeParts
from planner.rehearsal.gpus import SimulatedGpu, environment
from planner.rehearsal.triton_files import TritonHome
from tests.support.agent_process import eventually
from tests.support.gpu_shard import MIB, POOL_BYTES, GpuShard, a_gpu_shard

pytestmark = pytest.mark.triton

CONTEXT_BYTES = 3 * MIB + 17
BASE_BYTES = 5 * MIB + 3
GPUS = tuple(
    SimulatedGpu(
        uuid=f"GPU-{letter}",
        product="Tesla T4",
        memory_bytes=200 * MIB,
        reserved_bytes=4 * MIB,
        context_bytes=CONTEXT_BYTES,
    )
    for letter in "ab"
)
IDLE_BYTES = CONTEXT_BYTES + POOL_BYTES
FIXED = (
    FixedCost(index=0, uuid="GPU-a", fixed_bytes=IDLE_BYTES + BASE_BYTES),
    FixedCost(index=1, uuid="GPU-b", fixed_bytes=IDLE_BYTES),
)
SOMEBODY = """
import ctypes, sys
cuda, address = ctypes.CDLL(None), ctypes.c_void_p()
assert cuda.cudaSetDevice(1) == 0
assert cuda.cudaMalloc(ctypes.byref(address), ctypes.c_size_t(int(sys.argv[1]))) == 0
print("holds", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def shard(tmp_path: Path, native: NativeParts, triton_home: TritonHome) -> Iterator[GpuShard]:
    with a_gpu_shard(tmp_path, *GPUS, native=native, home=triton_home) as made:
        yield made


@contextmanager
def somebody_holds(shard: GpuShard, size: int) -> Iterator[None]:
    """Another process that uses the second GPU."""
    process = subprocess.Popen(
        [sys.executable, "-c", SOMEBODY, str(size)],
        env={**os.environ, **environment(shard.native, shard.gpus)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "holds\n"
        yield
        process.communicate(timeout=60)


def test_measured_is_planned_to_the_byte_and_nothing_is_left_over(shard: GpuShard) -> None:
    sizes = {"first": 10_000_001, "second": 20_000_003, "third": 30_000_007}
    first = shard.model("first", "GPU-a", size=sizes["first"], base_bytes=str(BASE_BYTES))
    others = [shard.model(name, "GPU-a", size=sizes[name]) for name in ("second", "third")]
    shard.mount(replace(first, order=-1), *others, fixed=FIXED)
    shard.agent.start()
    shard.agent.wait_ready()
    entries = shard.agent.status()["models"]
    assert {name: entry["plannedBytes"] for name, entry in entries.items()} == sizes
    # The base of their backend came with the first one.
    measured = {**sizes, "first": sizes["first"] + BASE_BYTES}
    assert {name: entry["measuredBytes"] for name, entry in entries.items()} == measured
    assert shard.devices("plannedBytes") == {"GPU-a": sum(sizes.values()), "GPU-b": 0}
    used = {"GPU-a": IDLE_BYTES + BASE_BYTES + sum(sizes.values()), "GPU-b": IDLE_BYTES}
    eventually(lambda: shard.devices("usedBytes") == used, "all are counted")
    assert shard.devices("fixedBytes") == {cost.uuid: cost.fixed_bytes for cost in FIXED}
    assert shard.devices("foreignBytes") == shard.devices("residualBytes") == {"GPU-a": 0, "GPU-b": 0}
    text = shard.agent.get("/metrics")[1]
    assert 'shardpack_gpu_memory_unattributed_bytes{gpu_uuid="GPU-a"} 0.0' in text
    assert 'shardpack_model_memory_measured_bytes{model="third"} 3.0000007e+07' in text
    assert 'shardpack_model_memory_planned_bytes{model="third"} 3.0000007e+07' in text


def test_what_others_hold_shows_up_as_theirs_listed_or_not(shard: GpuShard) -> None:
    shard.mount(shard.model("m", "GPU-b", size=MIB), fixed=FIXED[1:])
    shard.agent.start()
    shard.agent.wait_ready()
    with somebody_holds(shard, 11 * MIB):
        theirs = {"GPU-a": 0, "GPU-b": CONTEXT_BYTES + 11 * MIB}
        eventually(lambda: shard.devices("foreignBytes") == theirs, "a second process")
        # Memory of a process that NVML does not list, as one in another container.
        shard.has(replace(GPUS[0], foreign_bytes=7), GPUS[1])
        eventually(lambda: shard.devices("foreignBytes") == {**theirs, "GPU-a": 7}, "a hidden one")
        assert shard.devices("residualBytes")["GPU-b"] == 0
        text = shard.agent.get("/metrics")[1]
        assert 'shardpack_gpu_memory_foreign_bytes{gpu_uuid="GPU-a"} 7.0' in text
    shard.has(*GPUS)
    eventually(lambda: set(shard.devices("foreignBytes").values()) == {0}, "they are gone")


def test_what_the_server_keeps_of_a_model_that_has_left_is_residual(shard: GpuShard) -> None:
    stays = shard.model("stays", "GPU-b", size=MIB)
    leaves = shard.model("leaves", "GPU-b", size=9 * MIB, residual_bytes=str(4 * MIB))
    shard.mount(stays, leaves, fixed=FIXED)
    shard.agent.start()
    shard.agent.wait_ready()
    assert shard.devices("residualBytes")["GPU-b"] == 0
    shard.mount(stays, fixed=FIXED)
    eventually(lambda: shard.agent.states() == {"stays": "Loaded"}, "unloaded")
    eventually(lambda: shard.devices("residualBytes")["GPU-b"] == 4 * MIB, "it is told")
    shard.server.kill()
    shard.server.start()
    eventually(lambda: shard.agent.states() == {"stays": "Loaded"}, "loaded again")
    eventually(lambda: shard.devices("residualBytes")["GPU-b"] == 0, "a restart gives it back")


def test_without_a_word_on_fixed_costs_nothing_is_called_residual(shard: GpuShard) -> None:
    shard.mount(shard.model("m", "GPU-a", size=MIB))
    shard.agent.start()
    shard.agent.wait_ready()
    assert shard.devices("fixedBytes") == shard.devices("residualBytes") == {"GPU-a": None, "GPU-b": None}
    assert shard.devices("foreignBytes") == {"GPU-a": 0, "GPU-b": 0}


def test_the_servers_host_memory_is_told_as_the_kernel_tells_it(shard: GpuShard) -> None:
    big = shard.model("m", "GPU-a", size=MIB, alloc_kb=str(64 << 10))
    shard.mount()
    shard.agent.start()
    shard.agent.wait_ready()
    before = shard.agent.status()["server"]["residentBytes"]
    assert before > 10 * MIB
    shard.mount(big)
    eventually(lambda: shard.agent.states() == {"m": "Loaded"}, "loaded")
    eventually(
        lambda: shard.agent.status()["server"]["residentBytes"] >= before + 64 * MIB, "the model's own memory"
    )
    assert "shardpack_server_resident_memory_bytes" in shard.agent.get("/metrics")[1]
