"""Rendered manifests, read back as a kubelet would: what a shard's pod mounts and how its agent starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from planner.errors import ShardpackError


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSpec:
    """What a shard's pod needs from its manifests.

    Parameters
    ----------
    shard
        The InferenceService's name.
    agent_args
        The agent container's arguments; paths in them are the container's.
    fetch_args
        The arguments of the agent that runs before the server; None where the server starts without.
    server_args
        The model server's arguments.
    mounts
        For each path in the agent's container the name of its volume.
    files
        For each volume that shows ConfigMaps the files in it, by name.
    """

    shard: str
    agent_args: tuple[str, ...]
    fetch_args: tuple[str, ...] | None
    server_args: tuple[str, ...]
    mounts: Mapping[PurePosixPath, str]
    files: Mapping[str, Mapping[str, str]]


def read_objects(folder: Path) -> tuple[dict[str, Any], ...]:
    """Return every object of every YAML file below a folder."""
    documents = (
        document
        for path in sorted(folder.rglob("*.yaml"))
        for document in yaml.load_all(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
    )
    return tuple(document for document in documents if document)


def pod_specs(objects: Iterable[dict[str, Any]]) -> dict[str, PodSpec]:
    """Return the pods of all InferenceServices, by shard.

    Raises
    ------
    ShardpackError
        A ConfigMap that a volume needs is not among the objects.
    """
    found = tuple(objects)
    config_maps = {item["metadata"]["name"]: item["data"] for item in found if item["kind"] == "ConfigMap"}
    services = (item for item in found if item["kind"] == "InferenceService")
    return {item["metadata"]["name"]: _pod_spec(item, config_maps) for item in services}


def trained_models(objects: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the TrainedModels by name."""
    return {item["metadata"]["name"]: item for item in objects if item["kind"] == "TrainedModel"}


def _pod_spec(service: dict[str, Any], config_maps: Mapping[str, Mapping[str, str]]) -> PodSpec:
    predictor = service["spec"]["predictor"]
    agent = next(container for container in predictor["containers"] if container["name"] == "agent")
    before = [item for item in predictor.get("initContainers", ()) if item["name"] == "fetch"]
    return PodSpec(
        shard=service["metadata"]["name"],
        agent_args=tuple(agent["args"]),
        fetch_args=tuple(before[0]["args"]) if before else None,
        server_args=tuple(predictor.get("triton", {}).get("args", ())),
        mounts={PurePosixPath(mount["mountPath"]): mount["name"] for mount in agent["volumeMounts"]},
        files={
            volume["name"]: _files(volume, config_maps)
            for volume in predictor["volumes"]
            if "projected" in volume
        },
    )


def _files(volume: dict[str, Any], config_maps: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    files: dict[str, str] = {}
    for source in volume["projected"]["sources"]:
        wanted = source["configMap"]
        if wanted["name"] in config_maps:
            files.update(config_maps[wanted["name"]])
        elif not wanted.get("optional", False):
            raise ShardpackError(f"no ConfigMap {wanted['name']!r} among the manifests")
    return files
