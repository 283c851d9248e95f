"""Kills by the hundred: whatever dies whenever, the server ends with exactly what its manifests ask for."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from agent.desired import DesiredDevice, DesiredModel, models_json, placement_chunks
from planner.rehearsal.build import build_native
from planner.rehearsal.demo_fleet import SIM_BASE_BYTES, simulated_gpus, tiny_models
from planner.rehearsal.gpus import environment, write_state
from planner.rehearsal.manifest_reader import PodSpec
from planner.rehearsal.pods import Pod, start_pod, wait_loaded
from planner.rehearsal.triton import TritonOptions
from planner.rehearsal.triton_files import prepare_triton
from planner.units import parse_bytes

pytestmark = pytest.mark.usefixtures("server_and_compiler")

MIB = 2**20
CONTEXT_BYTES = 300 * MIB
POOL_BYTES = 64 * MIB


def a_spec(models: tuple[DesiredModel, ...]) -> PodSpec:
    chunks = placement_chunks(shard="s", runtime="triton", models=models, max_bytes=4000)
    files = {f"placement-{number}.json": text for number, text in enumerate(chunks)}
    return PodSpec(
        shard="s",
        agent_args=("--config-dir=/mnt/configs", "--model-dir=/mnt/store/models", "--retry-base=0.5"),
        fetch_args=None,
        server_args=(),
        mounts={PurePosixPath("/mnt/configs"): "configs", PurePosixPath("/mnt/store"): "store"},
        files={"configs": {"models.json": models_json(models), **files}},
    )


def desired(store: Path, count: int) -> tuple[DesiredModel, ...]:
    """Tiny models of the demo, pinned in turn to two GPUs."""
    found = []
    for number, model in enumerate(tiny_models(store, count)):
        memory = model.entry["footprints"][0]["gpuMemory"]
        found.append(
            DesiredModel(
                name=model.name,
                storage_uri=model.entry["storageUri"],
                framework="sim",
                memory_bytes=4 * MIB,
                devices=(DesiredDevice(kind="gpu", index=number % 2),),
                steady_bytes=parse_bytes(memory["steady"]),
                load_peak_bytes=parse_bytes(memory["loadPeak"]),
            )
        )
    return tuple(found)


@contextlib.contextmanager
def a_pod(folder: Path, spec: PodSpec) -> Iterator[Pod]:
    native = build_native(folder / "native")
    home = prepare_triton(folder / "servers", native=native)
    gpus = simulated_gpus(CONTEXT_BYTES)[:2]
    write_state(folder / "gpus", gpus)
    variables = environment(native, folder / "gpus", visible=[gpu.uuid for gpu in gpus])
    options = TritonOptions(pool_bytes=POOL_BYTES)
    pod = start_pod(spec, folder=folder / "pod", home=home, gpus=variables, options=options)
    try:
        yield pod
    finally:
        pod.stop()


def used_bytes(pod: Pod) -> list[int]:
    return [device["usedBytes"] for device in pod.status()["devices"]]


def planned_bytes(models: tuple[DesiredModel, ...]) -> list[int]:
    fixed = CONTEXT_BYTES + POOL_BYTES
    per_device = [
        [item.steady_bytes for item in models if item.devices[0].index == index] for index in (0, 1)
    ]
    return [fixed + (SIM_BASE_BYTES if sizes else 0) + sum(sizes) for sizes in per_device]


def kill_at_random(folder: Path, *, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    everything = desired(folder / "store", 20)
    with a_pod(folder, a_spec(everything)) as pod:
        wanted = everything
        for _ in range(kills):
            time.sleep(chance.uniform(0, 0.6))
            victim = pod.server.pid if chance.random() < 0.4 else pod.agent.pid
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
            if chance.random() < 0.3:  # the plan changes as well: other models, other devices
                offset = chance.randrange(2)
                wanted = tuple(
                    replace(item, devices=(DesiredDevice(kind="gpu", index=(number + offset) % 2),))
                    for number, item in enumerate(chance.sample(everything, chance.randrange(5, 20)))
                )
                pod.mount(a_spec(wanted))
            while not pod.restart_dead():
                time.sleep(0.01)
        wait_loaded({"s": pod}, timeout_s=120)
        assert set(pod.status()["models"]) == {item.name for item in wanted}
        assert used_bytes(pod) == planned_bytes(wanted), pod.status()


@pytest.mark.triton
def test_a_few_kills_leave_exactly_what_is_desired(tmp_path: Path) -> None:
    kill_at_random(tmp_path, kills=8, seed=1)


@pytest.mark.soak
@pytest.mark.triton
@pytest.mark.parametrize("seed", range(4))
def test_hundreds_of_kills_leave_exactly_what_is_desired(tmp_path: Path, seed: int) -> None:
    kill_at_random(tmp_path, kills=100, seed=seed)
