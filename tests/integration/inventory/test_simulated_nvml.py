"""The inventory through the real pynvml, in a process of its own that finds a simulated NVML."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from planner.rehearsal.build import NativeParts, build_native
from planner.rehearsal.gpus import SimulatedGpu, SimulatedMig, environment, write_state
from tests.support.builders import GIB, MIB

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc builds the simulated NVML")

_READ = """\
import json, sys
from planner.errors import ShardpackError
from planner.inventory import inventory_document, read_nvml
try:
    found = read_nvml("node-0")
except ShardpackError as error:
    sys.exit(f"refused: {error}")
print(json.dumps([inventory_document(found), found.without_instances]))
"""

T4 = SimulatedGpu(
    uuid="GPU-0",
    product="Tesla T4",
    memory_bytes=15_360 * MIB,
    reserved_bytes=450 * MIB,
    foreign_bytes=512 * MIB,
    compute_capability=(7, 5),
)
CUT = SimulatedGpu(
    uuid="GPU-1",
    product="NVIDIA A100-SXM4-40GB",
    memory_bytes=40 * GIB,
    mig=(
        SimulatedMig(uuid="MIG-0", profile="3g.20gb", memory_bytes=19_968 * MIB),
        SimulatedMig(uuid="MIG-1", profile="1g.5gb", memory_bytes=4_864 * MIB),
    ),
)


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> NativeParts:
    return build_native(tmp_path_factory.mktemp("native"))


def ask(variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _READ],
        env={**os.environ, **variables},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def answer(native: NativeParts, folder: Path, *gpus: SimulatedGpu, **more: Any) -> Any:
    write_state(folder, gpus, **more)
    done = ask(environment(native, folder))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refusal(native: NativeParts, folder: Path, *gpus: SimulatedGpu, **more: Any) -> str:
    write_state(folder, gpus, **more)
    done = ask(environment(native, folder))
    assert done.returncode == 1
    return done.stderr


def test_gpus_and_slices_through_the_real_pynvml(native, tmp_path):
    document, without = answer(native, tmp_path, T4, CUT)
    (node,) = document["spec"]["nodes"]
    assert node["devices"] == [
        {"class": "nvidia-tesla-t4", "uuid": "GPU-0", "foreign": "512Mi"},
        {
            "uuid": "GPU-1",
            "mig": [
                {"class": "nvidia-a100-sxm4-40gb-3g.20gb", "uuid": "MIG-0"},
                {"class": "nvidia-a100-sxm4-40gb-1g.5gb", "uuid": "MIG-1"},
            ],
        },
    ]
    figures = {
        item["name"]: (item["memory"], item["reserved"])
        for item in document["spec"]["catalog"]["deviceClasses"]
    }
    assert figures["nvidia-tesla-t4"] == ("15Gi", "450Mi")
    assert figures["nvidia-a100-sxm4-40gb-1g.5gb"] == ("4864Mi", "0")
    assert without == []


def test_a_driver_that_is_not_loaded(native, tmp_path):
    assert "refused: NVML: the NVIDIA driver is installed but not loaded" in refusal(
        native, tmp_path, T4, init_error=9
    )


def test_a_lost_gpu(native, tmp_path):
    lost = SimulatedGpu(uuid="GPU-9", product="Tesla T4", memory_bytes=GIB, nvml_error=15)
    assert "refused: GPU 1: the GPU is lost" in refusal(native, tmp_path, T4, lost)


@pytest.mark.skipif(
    bool(list(Path("/dev").glob("nvidia[0-9]*"))), reason="this machine has a driver, so nothing is missing"
)
def test_a_machine_without_a_driver():
    done = ask({})
    assert done.returncode == 1
    assert "refused: NVML: this machine has no NVIDIA driver" in done.stderr


@pytest.mark.gpu
@pytest.mark.skipif(not list(Path("/dev").glob("nvidia[0-9]*")), reason="no NVIDIA device")
def test_a_real_gpu():
    done = ask({})
    assert done.returncode == 0, done.stderr
    document, _ = json.loads(done.stdout)
    (node,) = document["spec"]["nodes"]
    assert node["devices"]
