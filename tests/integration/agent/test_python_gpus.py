"""Python models, whose code has the last word on their GPU, on a real Triton with simulated GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.desired import DesiredDevice, DesiredModel, FixedCost
from planner.rehearsal.build import NativeParts
from planner.rehearsal.gpus import SimulatedGpu
from planner.rehearsal.triton_files import TritonHome
from tests.support.agent_models import wanted
from tests.support.agent_process import eventually
from tests.support.gpu_shard import MIB, GpuShard, a_gpu_shard

pytestmark = pytest.mark.triton

GPUS = tuple(
    SimulatedGpu(uuid=f"GPU-{letter}", product="Tesla T4", memory_bytes=104 * MIB, reserved_bytes=2 * MIB)
    for letter in "abc"
)
CONFIG = (
    'backend: "python"\n'
    'input { name: "X" data_type: TYPE_FP16 dims: [ 1 ] }\n'
    'output { name: "Y" data_type: TYPE_FP16 dims: [ 1 ] }\n'
)
CODE = """
import os
from pathlib import Path

class TritonPythonModel:
    def initialize(self, args):
        seen = os.environ["CUDA_VISIBLE_DEVICES"]
        Path("{note}").write_text(seen + " " + args["model_instance_device_id"])
"""


@pytest.fixture
def shard(tmp_path: Path, native: NativeParts, triton_home: TritonHome) -> Iterator[GpuShard]:
    with a_gpu_shard(tmp_path, *GPUS, native=native, home=triton_home) as made:
        yield made


def on(shard: GpuShard, gpu: str) -> DesiredModel:
    """Return a model on a GPU; it notes what its process sees, and which device it is told."""
    folder = shard.folder / "store" / "m"
    if not folder.is_dir():
        (folder / "1").mkdir(parents=True)
        (folder / "config.pbtxt").write_text(CONFIG)
        (folder / "1" / "model.py").write_text(CODE.replace("{note}", str(note(shard))))
    return wanted("m", storage_uri=folder.as_uri(), devices=(DesiredDevice(kind="gpu", uuid=gpu),))


def note(shard: GpuShard) -> Path:
    return shard.folder / "note"


def saw(shard: GpuShard) -> str:
    return note(shard).read_text() if note(shard).is_file() else ""


def told(shard: GpuShard) -> tuple[str, str | None]:
    entry = shard.agent.status()["models"]["m"]
    return entry["state"], entry["reason"]


def test_a_python_model_is_shown_its_gpu_alone_and_moves(shard: GpuShard) -> None:
    shard.agent.arguments = ("--python-gpus", "shown")
    shard.mount(on(shard, "GPU-b"))
    shard.agent.start()
    shard.agent.wait_ready()
    assert saw(shard) == "GPU-b 0"
    assert told(shard) == ("Loaded", None)
    shard.mount(on(shard, "GPU-c"))
    eventually(lambda: saw(shard) == "GPU-c 0", "it has moved")
    eventually(lambda: told(shard) == ("Loaded", None), "and is told so")
    shard.server.kill()
    note(shard).unlink()
    shard.server.start()
    eventually(lambda: saw(shard) == "GPU-c 0", "it is there after a restart, too")


def test_a_python_model_that_is_only_told_its_gpu_says_so(shard: GpuShard) -> None:
    shard.mount(on(shard, "GPU-b"), fixed=(FixedCost(index=0, fixed_bytes=1),))
    shard.agent.start()
    shard.agent.wait_ready()
    assert saw(shard) == "GPU-a,GPU-b,GPU-c 1"
    assert told(shard) == ("Loaded", "PinNotEnforced")
    assert "--python-gpus shown" in shard.agent.status()["models"]["m"]["message"]
    shard.agent.terminate()
    shard.agent.arguments = ("--python-gpus", "shown")
    shard.agent.start()
    shard.agent.wait_ready()
    assert told(shard) == ("Loaded", "PinNotEnforced")  # as it was loaded
    shard.mount(on(shard, "GPU-c"))
    eventually(lambda: saw(shard) == "GPU-c 0", "its next load shows it its own")
    eventually(lambda: told(shard) == ("Loaded", None), "nothing is left to say")
