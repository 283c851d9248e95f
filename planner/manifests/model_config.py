"""What a shard's agent is told: ``models.json`` as KServe writes it and our placement documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.desired import MODELS_JSON, DesiredDevice, DesiredModel, models_json, placement_chunks
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
    documents = placement_documents(contents, max_bytes=limit_bytes)
    return ConfigMapUsage(
        shard=contents.shard.name,
        models_json_bytes=len(models_json_of(contents)),
        placement_bytes=sum(len(text) for text in documents),
        placement_documents=len(documents),
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
    )


def bound_uuids(contents: ShardContents) -> dict[int, str]:
    """Return the UUIDs of a shard's devices by ordinal where its pod is certain to get exactly those.

    NVIDIA's device plugin chooses among the free devices of a node; a pod can ask for a number, never for a
    UUID, and ``NVIDIA_VISIBLE_DEVICES`` set by hand goes around the plugin's bookkeeping. So the plan's
    choice is certain only where the shard takes every device that the node offers under the resource's name.
    Elsewhere the ordinals stand: devices of one class are alike, but for what foreign processes hold.
    """
    if contents.node is None or not contents.on_gpu:
        return {}
    offered = [
        device for device in contents.node.devices if device.device_class == contents.device_class.name
    ]
    held = node_devices(contents.shard, {contents.node.name: contents.node})
    if len(held) != len(offered):
        return {}
    return {index: device.uuid for index, device in enumerate(held) if device.uuid is not None}


def models_json_of(contents: ShardContents) -> str:
    """Return a shard's ``models.json``: the models whose first replica it holds, as KServe would write it."""
    first = {resident.model.name for resident in contents.residents if resident.first}
    return models_json(model for model in desired_models(contents) if model.name in first)


def placement_documents(contents: ShardContents, *, max_bytes: int) -> tuple[str, ...]:
    """Return a shard's placement documents: every replica on it, pinned.

    Raises
    ------
    ValueError
        One model's entry alone is longer than ``max_bytes``.
    """
    return placement_chunks(
        shard=contents.shard.name,
        runtime=contents.shard_type.runtime,
        models=desired_models(contents),
        max_bytes=max_bytes,
    )


def model_config_map(contents: ShardContents, *, namespace: str, labels: Labels) -> dict[str, Any]:
    """Return the ConfigMap that KServe's world reads; KServe finds it filled and leaves it alone."""
    name = model_config_name(contents.shard.name)
    return _config_map(name, {MODELS_JSON: models_json_of(contents)}, namespace=namespace, labels=labels)


def placement_config_maps(
    contents: ShardContents, documents: tuple[str, ...], *, namespace: str, labels: Labels
) -> tuple[dict[str, Any], ...]:
    """Return one ConfigMap a placement document; their keys differ, so one volume can project them all."""
    return tuple(
        _config_map(
            placement_name(contents.shard.name, chunk),
            {f"placement-{chunk}.json": text},
            namespace=namespace,
            labels=labels,
        )
        for chunk, text in enumerate(documents)
    )


def _config_map(name: str, data: dict[str, str], *, namespace: str, labels: Labels) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "data": data,
    }
