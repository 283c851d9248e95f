"""The demo's world: simulated GPUs, trained models, tiny models and the documents that describe them.

The documents are written as a user would write them, into one folder, and then read by the same commands that
a user runs.
"""

from __future__ import annotations

import random
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from planner.domain.fleet import Runtime
from planner.rehearsal.gpus import SimulatedGpu
from planner.rehearsal.traffic import Question
from planner.rehearsal.zoo import train_zoo
from planner.units import quantity_bytes

MIB = 2**20
GIB = 2**30

GPU_COUNT = 6
# A Tesla T4 as NVML reports it (15,360 MiB); what the driver keeps is the simulation's assumption.
T4_BYTES = 15_360 * MIB
T4_RESERVED_BYTES = 450 * MIB

SIM_BACKEND = "sim"
SIM_BASE_BYTES = 192 * MIB

_GPU_GROUP = "vision"
_CPU_GROUP = "tabular"
_API_VERSION = "shardpack.dev/v1alpha1"
# What one of the zoo's processes holds with its library imported; seen at 60 to 130 MiB.
_PYTHON_MODEL_BYTES = 160 * MIB
_HTTP_DATA_SET = "iris"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoModel:
    """A model of the demo: its entry in the scenario, and a question whose answer is known."""

    name: str
    entry: dict[str, Any]
    question: Question


def simulated_gpus(context_bytes: int) -> tuple[SimulatedGpu, ...]:
    """Return the demo's GPUs; ``context_bytes`` is what a process pays on each of them."""
    return tuple(
        SimulatedGpu(
            uuid=f"GPU-5a4d0000-0000-4000-8000-{index:012d}",
            product="Tesla T4",
            memory_bytes=T4_BYTES,
            reserved_bytes=T4_RESERVED_BYTES,
            context_bytes=context_bytes,
            compute_capability=(7, 5),
        )
        for index in range(GPU_COUNT)
    )


# ----------------------------------------------------------------------------------------------- models


def real_models(store: Path, http_url: str, names: tuple[str, ...] | None = None) -> tuple[DemoModel, ...]:
    """Train the zoo into ``store``; one data set's models are packed to be fetched from ``http_url``."""
    found = []
    for model in train_zoo(store, names):
        uri = model.folder.as_uri()
        if model.name.startswith(_HTTP_DATA_SET):
            uri = f"{http_url}/{_pack(model.folder).name}"
        footprint = {
            "class": "cpu",
            "cpu": "10m",
            "memory": quantity_bytes(_PYTHON_MODEL_BYTES),
            "source": "declared",
        }
        found.append(
            DemoModel(
                name=model.name,
                entry={"name": model.name, "backend": "python", "storageUri": uri, "footprints": [footprint]},
                question=Question(rows=model.rows, answers=model.answers),
            )
        )
    return tuple(found)


def _pack(folder: Path) -> Path:
    path = folder.with_name(f"{folder.name}.tar.gz")
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, arcname=folder.name)
    return path


def tiny_models(store: Path, count: int, *, first: int = 0) -> tuple[DemoModel, ...]:
    """Write ``count`` models of the tiny backend into ``store``: they take simulated GPU memory and echo."""
    numbers = range(first, first + count)
    return tuple(_tiny_model(store, f"vision-{number:03d}", seed=number) for number in numbers)


def _tiny_model(store: Path, name: str, *, seed: int) -> DemoModel:
    chance = random.Random(seed)  # noqa: S311 - sizes of a demo, not secrets
    steady_bytes = int(chance.lognormvariate(7.0, 0.5)) * MIB  # median about 1.1 GiB
    peak_bytes = steady_bytes + steady_bytes // 5
    folder = store / name
    (folder / "1").mkdir(parents=True)
    parameters = {"gpu_bytes": steady_bytes, "peak_bytes": peak_bytes, "base_bytes": SIM_BASE_BYTES}
    (folder / "config.pbtxt").write_text(
        f'name: "{name}"\nbackend: "{SIM_BACKEND}"\nmax_batch_size: 0\n'
        'input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ -1, -1 ] } ]\n'
        'output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ -1, -1 ] } ]\n'
        + "".join(
            f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'
            for key, value in parameters.items()
        )
    )
    footprint = {
        "class": "nvidia-t4",
        "gpuMemory": {"steady": quantity_bytes(steady_bytes), "loadPeak": quantity_bytes(peak_bytes)},
        "gpuTime": "20m",
        "cpu": "2m",
        "memory": "4Mi",
        "source": "declared",
    }
    row = tuple(float(chance.randrange(1000)) for _ in range(8))
    return DemoModel(
        name=name,
        entry={
            "name": name,
            "backend": SIM_BACKEND,
            "storageUri": folder.as_uri(),
            "footprints": [footprint],
        },
        question=Question(rows=(row,), answers=(row,)),
    )


def giant_entry() -> dict[str, Any]:
    """Return a model that no GPU of the demo can hold, to show what a refusal looks like."""
    footprint = {"class": "nvidia-t4", "gpuMemory": "24Gi", "source": "declared"}
    return {
        "name": "giant",
        "backend": SIM_BACKEND,
        "storageUri": "https://models.example.com/giant.tar.gz",
        "footprints": [footprint],
    }


# -------------------------------------------------------------------------------------------- documents


def write_catalog(path: Path, triton: Runtime) -> None:
    """Write the document that says which server runs here: Triton with two backends, one of them the demo's.

    ``triton`` is the catalogue's; its context and pool are what the simulated GPUs charge as well.
    """
    runtime = {
        "name": triton.name,
        "backends": ["python", SIM_BACKEND],
        "context": quantity_bytes(triton.context_bytes),
        "pool": quantity_bytes(triton.pool_bytes),
        "hostBase": quantity_bytes(triton.host_base_bytes),
        "source": "the catalogue's triton, with the backends that are installed here",
    }
    backend = {
        "name": SIM_BACKEND,
        "deviceBase": quantity_bytes(SIM_BASE_BYTES),
        "source": "the demo's own backend takes exactly this when its first model comes to a device",
    }
    document = {
        "apiVersion": _API_VERSION,
        "kind": "Catalog",
        "metadata": {"name": "demo"},
        "spec": {"runtimes": [runtime], "backends": [backend]},
    }
    _write(path, document, "The server that runs here: what it takes beside its models.")


def write_scenario(path: Path, models: Iterable[dict[str, Any]], *, includes: Sequence[str]) -> None:
    """Write the demo's scenario: what may be opened on the machine's simulated GPUs and on its CPU."""
    shard_types = [
        {
            "name": "t4-2",
            "runtime": "triton",
            "devices": {"class": "nvidia-t4", "count": 2},
            "resources": {"cpu": "200m", "memory": "1Gi"},
            "overhead": {"cpu": "20m", "memory": "64Mi"},
            "pricePerHour": "1.052",
            "group": _GPU_GROUP,
        },
        {
            "name": "cpu",
            "runtime": "triton",
            "devices": {"class": "cpu", "count": 1},
            "resources": {"cpu": "250m", "memory": "3Gi"},
            "overhead": {"cpu": "20m", "memory": "64Mi"},
            "pricePerHour": "0.05",
            "group": _CPU_GROUP,
        },
    ]
    document = {
        "apiVersion": _API_VERSION,
        "kind": "Scenario",
        "metadata": {"name": "demo", "namespace": "models"},
        "spec": {
            "include": list(includes),
            "shardTypes": shard_types,
            "models": sorted(models, key=lambda entry: str(entry["name"])),
            "policy": {
                "headroom": {"gpuMemory": "3%", "memory": "5%"},
                "objective": ["placed", "moves", "cost"],
            },
        },
    }
    _write(
        path,
        document,
        "The demo: real small models on CPU shards, tiny ones on simulated GPUs of this machine.",
    )


def _write(path: Path, document: dict[str, Any], idea: str) -> None:
    path.write_text(f"# {idea}\n{yaml.safe_dump(document, sort_keys=False, width=110)}")
