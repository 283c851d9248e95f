"""Simulated GPUs as data: the state file's text, what is refused, a child's environment."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from planner.errors import InputError
from planner.rehearsal.build import NativeParts
from planner.rehearsal.gpus import SimulatedGpu, SimulatedMig, environment, write_state

T4 = SimulatedGpu(
    uuid="GPU-t4",
    product="Tesla T4",
    memory_bytes=16_106_127_360,
    reserved_bytes=268_435_456,
    context_bytes=314_572_800,
    foreign_bytes=7,
    compute_capability=(7, 5),
)
SLICE = SimulatedMig(uuid="MIG-a", profile="3g.40gb", memory_bytes=42_412_802_048, gpu_instance=1)
H100 = SimulatedGpu(
    uuid="GPU-h100", product="NVIDIA H100 80GB HBM3", memory_bytes=85_520_809_984, mig=(SLICE,)
)
NATIVE = NativeParts(
    nvml=Path("/n/nvml/libnvidia-ml.so.1"), cudart=Path("/n/libsimcudart.so"), backend=Path("/n/b.so")
)


def test_state_file_holds_one_record_a_line_with_the_name_last(tmp_path):
    write_state(tmp_path, [T4, H100], driver_version="565.57.01", cuda_version=12070)

    assert (tmp_path / "state").read_text().splitlines() == [
        "driver 565.57.01",
        "cuda 12070",
        (
            "gpu index=0 uuid=GPU-t4 total=16106127360 reserved=268435456 context=314572800 foreign=7"
            " compute=7.5 utilization=0 mig_mode=0 error=0 name=Tesla T4"
        ),
        (
            "gpu index=1 uuid=GPU-h100 total=85520809984 reserved=0 context=0 foreign=0 compute=8.0"
            " utilization=0 mig_mode=1 error=0 name=NVIDIA H100 80GB HBM3"
        ),
        (
            "mig gpu=1 index=0 uuid=MIG-a total=42412802048 reserved=0 context=0 foreign=0 compute=8.0"
            " gi=1 ci=0 compute_slices=3 name=NVIDIA H100 80GB HBM3 MIG 3g.40gb"
        ),
    ]


def test_rewriting_leaves_no_other_file_behind(tmp_path):
    write_state(tmp_path, [T4])
    write_state(tmp_path, [H100], init_error=9)

    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert "init_error 9" in (tmp_path / "state").read_text()


@pytest.mark.parametrize(
    ("gpu", "words"),
    [
        (dataclasses.replace(T4, uuid="GPU a"), "is not a UUID"),
        (dataclasses.replace(T4, uuid="GPU-a,GPU-b"), "is not a UUID"),
        (dataclasses.replace(T4, product="Tesla\nT4"), "is not a name"),
        (dataclasses.replace(T4, product="T" * 96), "is not a name"),
        (dataclasses.replace(T4, reserved_bytes=T4.memory_bytes), "must fit in the memory"),
        (dataclasses.replace(T4, context_bytes=-1), "must fit in the memory"),
        (dataclasses.replace(H100, mig=(SLICE, SLICE)), "occurs twice"),
        (dataclasses.replace(H100, mig=(SLICE,) * 9), "at most 8 MIG instances"),
        (dataclasses.replace(H100, mig=(dataclasses.replace(SLICE, profile="3g"),)), "not a MIG profile"),
    ],
)
def test_gpus_that_cannot_be_are_refused_and_nothing_is_written(tmp_path, gpu, words):
    with pytest.raises(InputError, match=words) as caught:
        write_state(tmp_path / "gpus", [gpu])

    assert caught.value.faults[0].path.startswith("gpus[0]")
    assert not (tmp_path / "gpus").exists()


def test_a_sixty_fifth_gpu_is_refused(tmp_path):
    gpus = [dataclasses.replace(T4, uuid=f"GPU-{index}") for index in range(65)]

    with pytest.raises(InputError, match="at most 64"):
        write_state(tmp_path, gpus)


def test_environment_names_the_directory_the_libraries_and_the_visible_gpus(tmp_path, monkeypatch):
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    monkeypatch.delenv("LD_PRELOAD", raising=False)

    assert environment(NATIVE, tmp_path, visible=["GPU-b", "GPU-a"]) == {
        "SHARDPACK_SIM_GPU_DIR": str(tmp_path),
        "LD_LIBRARY_PATH": "/n/nvml",
        "LD_PRELOAD": "/n/libsimcudart.so",
        "CUDA_VISIBLE_DEVICES": "GPU-b,GPU-a",
    }


def test_environment_keeps_what_is_inherited_and_hides_no_gpu_unasked(tmp_path, monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/lib")
    monkeypatch.setenv("LD_PRELOAD", "/opt/lib/libjemalloc.so")

    variables = environment(NATIVE, tmp_path)

    assert variables["LD_LIBRARY_PATH"] == "/n/nvml:/opt/lib"
    assert variables["LD_PRELOAD"] == "/n/libsimcudart.so:/opt/lib/libjemalloc.so"
    assert "CUDA_VISIBLE_DEVICES" not in variables
