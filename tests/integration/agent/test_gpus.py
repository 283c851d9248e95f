"""What holds on real GPUs, and on simulated ones by the same tests: that is how faithful those are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.desired import DesiredDevice, DesiredModel
from agent.server_metrics import ServerMetrics
from planner.errors import ShardpackError
from planner.inventory import read_nvml
from planner.rehearsal.build import NativeParts
from planner.rehearsal.gpus import SimulatedGpu
from planner.rehearsal.triton_files import TritonHome
from tests.bench.records import keep
from tests.support.agent_models import wanted
from tests.support.agent_process import eventually
from tests.support.gpu_shard import MIB, GpuShard, a_gpu_shard, a_real_gpu_shard

pytestmark = pytest.mark.triton

CONTEXT_BYTES = 300 * MIB
GPUS = tuple(
    SimulatedGpu(
        uuid=f"GPU-{letter}",
        product="NVIDIA H100 80GB HBM3",
        memory_bytes=4096 * MIB,
        reserved_bytes=64 * MIB,
        context_bytes=CONTEXT_BYTES,
    )
    for letter in "ab"
)
SIZE_BYTES = 256 * MIB
MOST_CONTEXT_BYTES = 1536 * MIB
"""Of one more process on a GPU, its libraries' kernels loaded at once, and more than has been read of any."""

NVML = """
import json, pynvml
pynvml.nvmlInit()
handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
told = {}
for handle in handles:
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    told[pynvml.nvmlDeviceGetUUID(handle)] = [memory.total, memory.used]
print(json.dumps(told))
"""
CONFIG = (
    'backend: "python"\n'
    'input { name: "X" data_type: TYPE_FP16 dims: [ 1 ] }\n'
    'output { name: "Y" data_type: TYPE_FP16 dims: [ 1 ] }\n'
)
CODE = """
import ctypes

class TritonPythonModel:
    def initialize(self, args):
        device, size = int(args["model_instance_device_id"]), SIZE
        try:
            import torch
        except ImportError:
            cuda, self.held = ctypes.CDLL(None), ctypes.c_void_p()
            assert cuda.cudaSetDevice(device) == 0
            assert cuda.cudaMalloc(ctypes.byref(self.held), ctypes.c_size_t(size)) == 0
        else:
            self.held = torch.empty(size, dtype=torch.uint8, device=f"cuda:{device}")
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A shard, the GPUs that it has, and how exactly their figures are known."""

    shard: GpuShard
    uuids: tuple[str, ...]
    slack_bytes: int
    products: tuple[str, ...]

    @property
    def is_real(self) -> bool:
        return self.slack_bytes > 0

    def nvml(self) -> dict[str, tuple[int, int]]:
        """Return total and used bytes by UUID, told by NVML itself to a process of its own."""
        done = subprocess.run(
            [sys.executable, "-c", NVML],
            env={**os.environ, **(self.shard.agent.environment or {})},
            capture_output=True,
            text=True,
            check=True,
        )
        return {uuid: (total, used) for uuid, (total, used) in json.loads(done.stdout).items()}

    def used(self, uuid: str) -> int:
        return self.nvml()[uuid][1]

    def is_about(self, found: int, expected: int) -> bool:
        return abs(found - expected) <= self.slack_bytes


@pytest.fixture
def simulated(tmp_path: Path, native: NativeParts, triton_home: TritonHome) -> Iterator[Machine]:
    with a_gpu_shard(tmp_path, *GPUS, native=native, home=triton_home) as shard:
        uuids, products = tuple(gpu.uuid for gpu in GPUS), tuple(gpu.product for gpu in GPUS)
        yield Machine(shard=shard, uuids=uuids, slack_bytes=0, products=products)


@pytest.fixture
def real(tmp_path: Path, native: NativeParts, triton_home: TritonHome) -> Iterator[Machine]:
    uuids, products = real_gpus()
    with a_real_gpu_shard(tmp_path, uuids, native=native, home=triton_home) as shard:
        yield Machine(shard=shard, uuids=uuids, slack_bytes=32 * MIB, products=products)


@pytest.fixture(params=["simulated", pytest.param("real", marks=pytest.mark.gpu)])
def machine(request: pytest.FixtureRequest) -> Machine:
    made: Machine = request.getfixturevalue(request.param)
    return made


def real_gpus() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return UUIDs and classes of this machine's whole GPUs; without one the test skips."""
    try:
        (node,) = read_nvml("here").nodes
    except ShardpackError as error:
        pytest.skip(f"no NVIDIA device: {error}")
    whole = [device for device in node.devices if device.uuid and device.parent is None]
    if not whole:
        pytest.skip("every GPU is cut into MIG instances")
    return tuple(device.uuid or "" for device in whole), tuple(device.device_class for device in whole)


def python_model(shard: GpuShard, uuid: str) -> DesiredModel:
    """Return a python model that takes memory of its GPU, by torch where this Python has it."""
    folder = shard.folder / "store" / "torch"
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(CONFIG)
    (folder / "1" / "model.py").write_text(CODE.replace("SIZE", str(SIZE_BYTES)))
    planned = SIZE_BYTES + CONTEXT_BYTES
    return wanted(
        "torch",
        storage_uri=folder.as_uri(),
        devices=(DesiredDevice(kind="gpu", uuid=uuid),),
        load_peak_bytes=planned,
        steady_bytes=planned,
    )


def measured(shard: GpuShard, name: str) -> int:
    found = shard.agent.status()["models"][name]["measuredBytes"]
    assert isinstance(found, int)
    return found


def test_the_agent_tells_what_nvml_tells(machine: Machine) -> None:
    shard = machine.shard
    shard.mount()
    shard.agent.start()
    shard.agent.wait_ready()
    told = machine.nvml()
    assert shard.devices("totalBytes") == {uuid: told[uuid][0] for uuid in machine.uuids}
    for uuid, used in shard.devices("usedBytes").items():
        assert used is not None
        assert machine.is_about(used, told[uuid][1])


def test_a_model_takes_what_was_planned_and_gives_it_back(machine: Machine) -> None:
    shard, uuid = machine.shard, machine.uuids[0]
    before = machine.used(uuid)
    shard.mount(shard.model("m", uuid, size=SIZE_BYTES))
    shard.agent.start()
    shard.agent.wait_ready()
    assert machine.is_about(measured(shard, "m"), SIZE_BYTES)
    assert machine.is_about(machine.used(uuid), before + SIZE_BYTES)
    shard.mount()
    eventually(lambda: machine.is_about(machine.used(uuid), before), "given back")


def test_a_model_moves_to_another_gpu(machine: Machine) -> None:
    if len(machine.uuids) < 2:
        pytest.skip("a move takes two GPUs")
    shard, (first, second) = machine.shard, machine.uuids[:2]
    before = {uuid: machine.used(uuid) for uuid in (first, second)}
    shard.mount(shard.model("m", first, size=SIZE_BYTES))
    shard.agent.start()
    shard.agent.wait_ready()
    shard.mount(shard.model("m", second, size=SIZE_BYTES))
    eventually(lambda: machine.is_about(machine.used(second), before[second] + SIZE_BYTES), "there")
    eventually(lambda: machine.is_about(machine.used(first), before[first]), "and gone from here")
    assert shard.agent.done("unload") == 0


def test_a_python_model_takes_its_memory_and_a_context(machine: Machine) -> None:
    shard, uuid = machine.shard, machine.uuids[0]
    shard.agent.arguments = ("--python-gpus", "shown")
    shard.mount(python_model(shard, uuid))
    shard.agent.start()
    shard.agent.wait_ready()
    found = measured(shard, "torch")
    figures = {"product": machine.products[0], "tensor_bytes": SIZE_BYTES, "measured_bytes": found}
    if machine.is_real:
        keep({"suite": "gpu", "track": "python-model", **figures}, "gpu-python-model")
    assert SIZE_BYTES < found <= SIZE_BYTES + (MOST_CONTEXT_BYTES if machine.is_real else CONTEXT_BYTES)


@pytest.mark.gpu
def test_tritons_own_metrics_tell_the_same(real: Machine) -> None:
    """Triton takes them from DCGM, which is not simulated."""
    ordinals = {uuid: ordinal for ordinal, uuid in enumerate(real.uuids)}
    metrics = ServerMetrics(real.shard.server.metrics_url, lambda: ordinals)
    told = real.nvml()
    devices = metrics.memory()
    assert {device.uuid for device in devices} == set(real.uuids)
    for device in devices:
        assert real.is_about(device.used_bytes, told[device.uuid][1])
