"""A real Triton on simulated GPUs with an agent beside it, and models that take what they are told."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.desired import DesiredDevice, DesiredModel, FixedCost, placement_chunks
from planner.rehearsal.build import NativeParts
from planner.rehearsal.gpus import SimulatedGpu, environment, write_state
from planner.rehearsal.mount import mount_files
from planner.rehearsal.triton import TritonOptions, TritonProcess, start_triton
from planner.rehearsal.triton_files import TritonHome
from tests.support.agent_models import model_folder, wanted
from tests.support.agent_process import AgentProcess

MIB = 1 << 20
POOL_BYTES = 2 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuShard:
    """One shard of a machine.

    Parameters
    ----------
    folder
        Holds the models' store, the GPUs and the agent's files.
    native
        The simulated hardware's libraries.
    server, agent
        The agent is not started.
    """

    folder: Path
    native: NativeParts
    server: TritonProcess
    agent: AgentProcess

    @property
    def gpus(self) -> Path:
        return self.folder / "gpus"

    def has(self, *gpus: SimulatedGpu) -> None:
        """Change the machine's GPUs."""
        write_state(self.gpus, gpus)

    def mount(self, *models: DesiredModel, fixed: Iterable[FixedCost] = ()) -> None:
        """Ask for models, and say what the plan reckons beside them."""
        chunks = placement_chunks(
            shard="s", runtime="triton", models=models, max_bytes=900_000, fixed=tuple(fixed)
        )
        mount_files(self.agent.configs, {f"placement-{n}.json": text for n, text in enumerate(chunks)})

    def model(
        self,
        name: str,
        gpu: str,
        *,
        size: int,
        peak: int | None = None,
        version: str = "",
        **parameters: str,
    ) -> DesiredModel:
        """Return a model on a GPU, made where it is not there yet.

        Parameters
        ----------
        name, version
            The model; other versions have files of their own.
        gpu
            UUID of where it goes.
        size, peak
            Steady bytes and load peak of one instance, as planned and as taken.
        parameters
            Further ones of the sim backend.
        """
        given = {"gpu_bytes": str(size), "peak_bytes": str(peak or size), **parameters}
        place = self.folder / "store" / f"{name}{version}"
        uri = place.as_uri() if place.is_dir() else model_folder(place, parameters=given)
        return wanted(
            name,
            storage_uri=uri,
            devices=(DesiredDevice(kind="gpu", uuid=gpu),),
            load_peak_bytes=peak or size,
            steady_bytes=size,
        )

    def pin(self, name: str) -> str:
        """Return the config that the server reads."""
        return (self.agent.models / name / "config.pbtxt").read_text()

    def devices(self, key: str) -> dict[str, int | None]:
        """Return one figure of the status of each device."""
        return {device["uuid"]: device[key] for device in self.agent.status()["devices"]}


@contextmanager
def a_gpu_shard(
    folder: Path, *gpus: SimulatedGpu, native: NativeParts, home: TritonHome, nvml: bool = True
) -> Iterator[GpuShard]:
    """Start a server that sees all the GPUs, in their order, with an agent beside it that is not started.

    Without ``nvml`` the agent knows which GPUs the server sees and nothing of their memory, as in a pod.
    """
    write_state(folder / "gpus", gpus)
    seen = environment(native, folder / "gpus", visible=[gpu.uuid for gpu in gpus])
    told = seen if nvml else {"CUDA_VISIBLE_DEVICES": seen["CUDA_VISIBLE_DEVICES"]}
    with _shard(folder, seen, told, native=native, home=home) as shard:
        yield shard


@contextmanager
def a_real_gpu_shard(
    folder: Path, uuids: Iterable[str], *, native: NativeParts, home: TritonHome
) -> Iterator[GpuShard]:
    """Start a server on GPUs of this machine, as `a_gpu_shard` does on simulated ones."""
    seen = {"CUDA_VISIBLE_DEVICES": ",".join(uuids)}
    metrics = ("--allow-gpu-metrics=true",)
    with _shard(folder, seen, seen, native=native, home=home, arguments=metrics) as shard:
        yield shard


@contextmanager
def _shard(
    folder: Path,
    seen: dict[str, str],
    told: dict[str, str],
    *,
    native: NativeParts,
    home: TritonHome,
    arguments: tuple[str, ...] = (),
) -> Iterator[GpuShard]:
    (folder / "models").mkdir()
    options = TritonOptions(pool_bytes=POOL_BYTES, arguments=arguments)
    server = start_triton(folder.name, folder / "models", home=home, gpus=seen, options=options)
    agent = AgentProcess(folder=folder, server_url=server.http_url, environment={**os.environ, **told})
    try:
        yield GpuShard(folder=folder, native=native, server=server, agent=agent)
    finally:
        agent.kill()
        server.kill()
