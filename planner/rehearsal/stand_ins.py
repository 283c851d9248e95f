"""Models of the tiny backend in the place of a plan's: the same names and planned memory, no weights. PURE.

A stand-in is told the figures that the plan reckons with (``domain.memory.need``), so that what NVML then
says can be compared with the plan to the byte. Its backend is the tiny one under a name of its own for each
real one, because every backend takes its base for itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from agent.desired import placement_chunks, read_placement
from planner.domain.fleet import Backend
from planner.domain.footprint import FootprintOption, Quantile
from planner.rehearsal.manifest_reader import PodSpec
from planner.report.usage import DeviceUse, Occupant, ShardUse

_PLACEMENT = "placement-"


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    """What stands on one shard for a replica.

    Parameters
    ----------
    model
        Its name.
    folder
        Of its files: another for another ``storageUri`` or other figures, so that a change of either is one.
    config
        Its ``config.pbtxt``.
    """

    model: str
    folder: str
    config: str


def stand_in_backend(backend: str) -> str:
    """Return the name that the tiny backend goes under in the place of another."""
    return f"sim_{backend}"


def stand_ins(shard: ShardUse, *, backends: Mapping[str, Backend], quantile: Quantile) -> tuple[StandIn, ...]:
    """Return what stands on a shard for its replicas, sorted by model."""
    on_gpu = any(device.is_gpu for device in shard.devices)
    found = []
    for occupant in shard.occupants:
        backend = backends[occupant.model.backend]
        memory = _memory(occupant, backend, quantile=quantile) if on_gpu and occupant.need.on_device else {}
        config = _config(occupant.model.name, stand_in_backend(backend.name), memory)
        digest = hashlib.sha256(f"{occupant.model.storage_uri}\n{config}".encode()).hexdigest()[:12]
        name = occupant.model.name
        found.append(StandIn(model=name, folder=f"{name}/{digest}", config=config))
    return tuple(sorted(found, key=lambda item: item.model))


def _memory(occupant: Occupant, backend: Backend, *, quantile: Quantile) -> dict[str, int]:
    """Return the backend's parameters. It loads instances one by one, so only the last one's peak counts."""
    need, instances = occupant.need, occupant.option.instances
    steady_bytes = need.steady_bytes // instances
    return {
        "gpu_bytes": steady_bytes,
        "peak_bytes": steady_bytes + need.load_peak_bytes - need.steady_bytes,
        "residual_bytes": residual_bytes(occupant, quantile=quantile) // instances,
        "base_bytes": backend.device_base_bytes,
    }


def residual_bytes(occupant: Occupant, *, quantile: Quantile) -> int:
    """Return what a stand-in leaves on each of its devices when it is unloaded."""
    instances = occupant.option.instances
    wanted = min(occupant.option.residual_bytes.at(quantile), occupant.need.steady_bytes)
    return wanted // instances * instances


def _config(name: str, backend: str, memory: Mapping[str, int]) -> str:
    return (
        f'name: "{name}"\nbackend: "{backend}"\nmax_batch_size: 0\n'
        'input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ -1, -1 ] } ]\n'
        'output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ -1, -1 ] } ]\n'
        + "".join(
            f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'
            for key, value in memory.items()
        )
    )


# ------------------------------------------------------------------------------------------- what is expected


def expected_bytes(device: DeviceUse) -> int:
    """Return what NVML should say is used of a device, the driver's reservation left out.

    It is the plan's account; a figure that several instances cannot share evenly is a few bytes less.
    """
    uneven = sum(
        item.need.steady_bytes % item.option.instances for item in device.occupants if item.need.on_device
    )
    return device.used_bytes - device.reserved_bytes - uneven


def kept_bytes(before: DeviceUse, after: DeviceUse, *, quantile: Quantile) -> int:
    """Return what a running server keeps of a device though the plan does not count it any more.

    The base of a backend whose last model has left, and the residual memory of replicas that have left.
    """
    kept_bases = dict(before.bases).keys() - dict(after.bases).keys()
    stays = {_same(item) for item in after.occupants}
    left = [item for item in before.occupants if item.need.on_device and _same(item) not in stays]
    return sum(size for name, size in before.bases if name in kept_bases) + sum(
        residual_bytes(item, quantile=quantile) for item in left
    )


def _same(occupant: Occupant) -> tuple[str, str, FootprintOption]:
    """Return what must be equal for a replica not to be loaded anew."""
    return occupant.model.name, occupant.model.storage_uri, occupant.option


# -------------------------------------------------------------------------------------------------- documents


def with_addresses(spec: PodSpec, uris: Mapping[str, str], *, max_bytes: int) -> PodSpec:
    """Return a pod whose placement documents name other files, and are in all else as they were.

    Parameters
    ----------
    uris
        For each model where its files are.
    max_bytes
        The limit of one document.
    """
    files = {
        volume: _readdressed(texts, uris, max_bytes=max_bytes) if _is_placement(texts) else texts
        for volume, texts in spec.files.items()
    }
    return replace(spec, files=files)


def _is_placement(names: Iterable[str]) -> bool:
    return any(name.startswith(_PLACEMENT) for name in names)


def _readdressed(texts: Mapping[str, str], uris: Mapping[str, str], *, max_bytes: int) -> dict[str, str]:
    documents = {name: text for name, text in texts.items() if name.startswith(_PLACEMENT)}
    desired = read_placement(documents)
    chunks = placement_chunks(
        shard=str(desired.shard),
        runtime=str(desired.runtime),
        models=[replace(model, storage_uri=uris[model.name]) for model in desired.models],
        max_bytes=max_bytes,
        fixed=desired.fixed,
    )
    others: dict[str, Any] = {name: text for name, text in texts.items() if name not in documents}
    return others | {f"{_PLACEMENT}{chunk}.json": text for chunk, text in enumerate(chunks)}
