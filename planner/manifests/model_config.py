"""What a shard's agent is told: ``models.json`` as KServe writes it and our placement documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.desired import (
    MODELS_JSON,
    DesiredDevice,
    DesiredModel,
    FixedCost,
    models_json,
    placement_chunks,
)
from planner.domain.memory import node_devices
from planner.domain.model import framework_of
from planner.domain.plan import Plan
from planner.domain.scenario import Scenario
from planner.manifests.contents import Resident, ShardContents, shard_contents
from planner.manifests.names import Labels, model_config_name, placement_name


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigMapUsage:
    """How near a shard's ConfigMaps are to the limit.

    Parameters
    ----------
    shard
        Which.
    models_json_bytes
        Length of its ``models.json``, which has to fit into one ConfigMap.
    placement_bytes
        Length of all its placement documents together.
    placement_documents
        How many ConfigMaps those take.
    limit_bytes
        What one ConfigMap may hold.
    """

    shard: str
    models_json_bytes: int
    placement_bytes: int
    placement_documents: int
    limit_bytes: int


def config_map_usage(plan: Plan, scenario: Scenario) -> tuple[ConfigMapUsage, ...]:
    """Return how near each shard's ConfigMaps are to the limit, sorted by shard; nothing is refused."""
    limit = scenario.cluster.max_config_map_bytes
    return tuple(_usage(contents, limit) for contents in shard_contents(plan, scenario))


def _usage(contents: ShardContents, limit_bytes: int) -> ConfigMapUsage:
    documents = shard_documents(contents, max_bytes=limit_bytes)
    return ConfigMapUsage(
        shard=contents.shard.name,
        models_json_bytes=len(documents.models_json),
        placement_bytes=sum(len(text) for text in documents.placement),
        placement_documents=len(documents.placement),
        limit_bytes=limit_bytes,
    )


def desired_models(contents: ShardContents) -> tuple[DesiredModel, ...]:
    """Return what a shard's agent is asked to hold: every replica on it, largest load peak first in order.

    The largest goes first because the room above the steady state is widest while the device is empty.
    """
    uuids = bound_uuids(contents)
    ordered = sorted(contents.residents, key=_load_order)
    return tuple(_desired(resident, contents, uuids, order=order) for order, resident in enumerate(ordered))


def _load_order(resident: Resident) -> tuple[int, int, str]:
    return (-resident.need.load_peak_bytes, -resident.need.memory_bytes, resident.model.name)


def _desired(
    resident: Resident, contents: ShardContents, uuids: Mapping[int, str], *, order: int
) -> DesiredModel:
    on_gpu = contents.on_gpu and resident.need.on_device
    devices = tuple(
        DesiredDevice(kind="gpu", index=index, uuid=uuids.get(index)) for index in resident.placed.devices
    )
    return DesiredModel(
        name=resident.model.name,
        storage_uri=resident.model.storage_uri,
        framework=framework_of(resident.model),
        memory_bytes=resident.need.memory_bytes,
        devices=devices if on_gpu else (DesiredDevice(kind="cpu"),),
        instances=resident.instances,
        load_peak_bytes=resident.need.load_peak_bytes if on_gpu else 0,
        steady_bytes=resident.need.steady_bytes if on_gpu else 0,
        order=order,
        probe=resident.model.probe,
    )


def fixed_costs(contents: ShardContents) -> tuple[FixedCost, ...]:
    """Return what the plan reckons on each GPU beside the models, by ordinal; nothing for a CPU shard.

    The agent tells by it what nobody accounts for. The driver's reservation and foreign memory are left out:
    these NVML tells when the agent asks.
    """
    if not contents.on_gpu:
        return ()
    uuids, runtime = bound_uuids(contents), contents.runtime
    bases: dict[int, dict[str, int]] = {index: {} for index in range(contents.shard_type.device_count)}
    for resident in contents.residents:
        for index in resident.placed.devices if resident.need.on_device else ():
            bases[index][resident.backend.name] = resident.backend.device_base_bytes
    server_bytes = runtime.context_bytes + runtime.pool_bytes
    return tuple(
        FixedCost(index=index, uuid=uuids.get(index), fixed_bytes=server_bytes + sum(found.values()))
        for index, found in bases.items()
    )


def bound_uuids(contents: ShardContents) -> dict[int, str]:
    """Return the UUIDs of a shard's devices by ordinal where its pod is certain to get exactly those.

    NVIDIA's device plugin chooses among the free devices of a node; a pod can ask for a number, never for a
    UUID, and ``NVIDIA_VISIBLE_DEVICES`` set by hand goes around the plugin's bookkeeping. So the plan's
    choice is certain only where the shard takes every device that the node offers under the resource's name,
    which is one for all whole GPUs and one for each MIG profile. Elsewhere the ordinals stand: devices of one
    class are alike, but for what foreign processes hold.
    """
    if contents.node is None or not contents.on_gpu:
        return {}
    offered = [
        device
        for device in contents.node.devices
        if device.device_class == contents.device_class.name
        or (device.parent is None and contents.device_class.mig_profile is None)
    ]
    held = node_devices(contents.shard, {contents.node.name: contents.node})
    if len(held) != len(offered):
        return {}
    return {index: device.uuid for index, device in enumerate(held) if device.uuid is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardDocuments:
    """What a shard's agent reads: one ``models.json`` and one or more placement documents."""

    models_json: str
    placement: tuple[str, ...]


def shard_documents(contents: ShardContents, *, max_bytes: int) -> ShardDocuments:
    """Return a shard's documents.

    The placement documents, none longer than ``max_bytes``, hold every replica on the shard, pinned;
    ``models.json``, of whatever length, the models whose first replica it has, as KServe would write it.

    Raises
    ------
    ValueError
        One model's entry alone is longer than ``max_bytes``.
    """
    desired = desired_models(contents)
    first = {resident.model.name for resident in contents.residents if resident.is_parent}
    return ShardDocuments(
        models_json=models_json(model for model in desired if model.name in first),
        placement=placement_chunks(
            shard=contents.shard.name,
            runtime=contents.shard_type.runtime,
            models=desired,
            max_bytes=max_bytes,
            fixed=fixed_costs(contents),
        ),
    )


def config_maps(
    contents: ShardContents, documents: ShardDocuments, *, namespace: str, labels: Labels
) -> tuple[dict[str, Any], ...]:
    """Return a shard's ConfigMaps: first the one that KServe's world reads, then one a placement document.

    KServe finds the first filled and leaves it alone; the keys of all differ, so one volume projects them.
    """
    shard = contents.shard.name
    data = {model_config_name(shard): {MODELS_JSON: documents.models_json}}
    for chunk, text in enumerate(documents.placement):
        data[placement_name(shard, chunk)] = {f"placement-{chunk}.json": text}
    return tuple(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "data": content,
        }
        for name, content in data.items()
    )
