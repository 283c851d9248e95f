"""The cluster's objects as far as the controller looks at them: frozen, without what it does not need."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from planner.manifests.gateway import LABEL_GATEWAY
from planner.manifests.names import LABEL_GROUP, LABEL_MANAGED_BY, LABEL_SHARD, LABEL_SHARD_TYPE, MANAGED_BY
from planner.manifests.transformer import LABEL_TRANSFORMER

Object = Mapping[str, Any]
"""An object as the API server gives it."""

Texts = Mapping[str, str]

ANNOTATION_URL = "shardpack.dev/url"
"""On a TrainedModel: its gateway's address, which does not change; none without a gateway."""

ANNOTATION_LEAVING = "shardpack.dev/leaving"
"""On a TrainedModel: the shards, with commas between, whose copies go as soon as the others are loaded."""

ANNOTATION_SEAT = "shardpack.dev/seat"
"""On the objects of a shard that is on a node: JSON of the node and of the positions of its devices there."""

ANNOTATION_OPENED_BY = "shardpack.dev/opened-by"
CONTROLLER = "controller"
"""On the server of a shard: whoever opened it may close it. A plan's shards have none."""

ANNOTATION_NODES = "shardpack.dev/nodes"
"""On the Deployment of a transformer: the node of each of its pods, with commas between."""

ANNOTATION_SPEC = "shardpack.dev/spec"
"""On the Deployment of a transformer: SHA-256 of the spec that it was written with."""

LABEL_ROLE = "shardpack.dev/role"
ROLE_FLEET = "fleet"
ROLE_IN_FORCE = "fleet-in-force"
"""What the controller keeps of a fleet document that it has taken."""

FLEET_KEY = "scenario.yaml"
RELEASED_KEY = "released.yaml"
"""What is kept of an earlier document, for groups that it has dropped while shards of theirs are open."""

ANNOTATION_FLEET = "shardpack.dev/fleet"
"""On what is kept of a fleet document: its name."""

FINALIZER = "shardpack.dev/placement"
"""On a TrainedModel where KServe's controllers do not run: its copies are unloaded before it is gone."""

LABEL_TEMPLATE = "shardpack.dev/template"
"""On servers that the controller opens, and their pods: what tells their template from others."""

NO_TEXTS: Texts = MappingProxyType({})

_ENDED = ("Failed", "Succeeded")
"""Phases of a pod that runs no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelView:
    """A TrainedModel.

    Parameters
    ----------
    name, uid, resource_version, generation
        Of its metadata.
    deleting
        Whether it is on its way out.
    labels, annotations, finalizers
        Of its metadata.
    parent
        ``spec.inferenceService``.
    storage_uri, framework, memory
        Of ``spec.model``.
    conditions
        Of its status, every one as it stands, whoever wrote it.
    url, address
        ``status.url`` and ``status.address.url``; None where there is none.
    """

    name: str
    uid: str
    resource_version: str
    generation: int
    deleting: bool
    labels: Texts
    annotations: Texts
    finalizers: tuple[str, ...]
    parent: str
    storage_uri: str
    framework: str
    memory: str
    conditions: tuple[Object, ...]
    url: str | None
    address: str | None

    @property
    def leaving(self) -> frozenset[str]:
        """Shards whose copies are on their way out."""
        text = self.annotations.get(ANNOTATION_LEAVING, "")
        return frozenset(part for part in text.split(",") if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigMapView:
    """A ConfigMap; ``created`` is when, as its metadata say it, and sorts by time."""

    name: str
    uid: str
    resource_version: str
    labels: Texts
    annotations: Texts
    data: Texts
    created: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardView:
    """The InferenceService or the Deployment of a shard, or a Service.

    Parameters
    ----------
    name, uid, resource_version, labels, annotations
        Of its metadata.
    deleting
        Whether it is on its way out.
    volumes
        Those of a Deployment's pods.
    ports
        ``ports_of`` it.
    replicas
        The pods that it asks for; 1 where it does not say.
    """

    name: str
    uid: str
    resource_version: str
    labels: Texts
    annotations: Texts
    deleting: bool
    volumes: tuple[Object, ...] = ()
    ports: frozenset[int] = frozenset()
    replicas: int = 1

    def mounted(self, volume: str) -> frozenset[str]:
        """Return the ConfigMaps that a volume of its pods projects, whether they exist or not."""
        sources = (source for item in self.volumes if item["name"] == volume for source in _projected(item))
        return frozenset(source["configMap"]["name"] for source in sources if "configMap" in source)


def _projected(volume: Object) -> Sequence[Object]:
    return (volume.get("projected") or {}).get("sources") or ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PodView:
    """A pod of a shard, of a gateway or of a transformer.

    Parameters
    ----------
    name
        Its own.
    shard, gateway
        What it is of: a shard (empty for none), or the gateway of a group (None for none).
    address
        None while it has none, and once it has ended: an evicted pod stays in the list for long.
    deleting
        Whether it is on its way out.
    ready
        Whether Services lead to it, as far as it says; true for one that says nothing.
    transformer
        The group and the name of the transformer that it is of; None for none.
    template
        What its server was opened with, as its label says; None where it has none.
    """

    name: str
    shard: str
    gateway: str | None
    address: str | None
    deleting: bool
    ready: bool = True
    template: str | None = None
    transformer: tuple[str, str] | None = None

    @property
    def serves(self) -> bool:
        """Whether Services lead to it."""
        return self.ready and self.address is not None and not self.deleting


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """A node, and whether new pods may go there."""

    name: str
    open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """Where a shard's pod is on the nodes that exist: the node and the positions of its devices there."""

    node: str
    positions: tuple[int, ...]


# ------------------------------------------------------------------------------------------------- readers


def read_model(item: Object) -> ModelView:
    """Return a TrainedModel; fields that are missing are empty, as without KServe's schema they may be."""
    metadata, spec = item["metadata"], item.get("spec") or {}
    model, status = spec.get("model") or {}, item.get("status") or {}
    return ModelView(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        resource_version=metadata.get("resourceVersion", ""),
        generation=metadata.get("generation", 0),
        deleting=metadata.get("deletionTimestamp") is not None,
        labels=metadata.get("labels") or NO_TEXTS,
        annotations=metadata.get("annotations") or NO_TEXTS,
        finalizers=tuple(metadata.get("finalizers") or ()),
        parent=spec.get("inferenceService") or "",
        storage_uri=model.get("storageUri") or "",
        framework=model.get("framework") or "",
        memory=str(model.get("memory", "0")),
        conditions=tuple(status.get("conditions") or ()),
        url=status.get("url"),
        address=(status.get("address") or {}).get("url"),
    )


def read_config_map(item: Object) -> ConfigMapView:
    """Return a ConfigMap."""
    metadata = item["metadata"]
    return ConfigMapView(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        resource_version=metadata.get("resourceVersion", ""),
        labels=metadata.get("labels") or NO_TEXTS,
        annotations=metadata.get("annotations") or NO_TEXTS,
        data=item.get("data") or NO_TEXTS,
        created=metadata.get("creationTimestamp") or "",
    )


def read_shard(item: Object) -> ShardView:
    """Return an InferenceService, a Deployment or a Service."""
    metadata, spec = item["metadata"], item.get("spec") or {}
    template, predictor = spec.get("template") or {}, spec.get("predictor") or {}
    asked = predictor.get("minReplicas", spec.get("replicas"))
    return ShardView(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        resource_version=metadata.get("resourceVersion", ""),
        labels=metadata.get("labels") or NO_TEXTS,
        annotations=metadata.get("annotations") or NO_TEXTS,
        deleting=metadata.get("deletionTimestamp") is not None,
        volumes=tuple((template.get("spec") or {}).get("volumes") or ()),
        ports=ports_of(item),
        replicas=1 if asked is None else asked,
    )


def ports_of(item: Object) -> frozenset[int]:
    """Return the ports of a Service, or those on which the containers of a Deployment listen."""
    spec = item.get("spec") or {}
    pod = (spec.get("template") or {}).get("spec") or {}
    inside = (port for one in pod.get("containers") or () for port in one.get("ports") or ())
    found = [port.get("port") for port in spec.get("ports") or ()]
    return frozenset(port for port in (*found, *(one.get("containerPort") for one in inside)) if port)


def read_pod(item: Object) -> PodView:
    """Return a pod."""
    metadata, status = item["metadata"], item.get("status") or {}
    labels = metadata.get("labels") or NO_TEXTS
    through = labels.get(LABEL_TRANSFORMER)
    return PodView(
        name=metadata["name"],
        shard=labels.get(LABEL_SHARD, ""),
        gateway=labels.get(LABEL_GATEWAY),
        address=None if status.get("phase") in _ENDED else status.get("podIP"),
        deleting=metadata.get("deletionTimestamp") is not None,
        ready=_is_ready(status),
        transformer=None if through is None else (labels.get(LABEL_GROUP, ""), through),
        template=labels.get(LABEL_TEMPLATE),
    )


def read_node(item: Object) -> NodeView:
    """Return a node; a cordoned one, or one that is not ready, is not open."""
    cordoned = bool((item.get("spec") or {}).get("unschedulable"))
    return NodeView(name=item["metadata"]["name"], open=_is_ready(item.get("status") or {}) and not cordoned)


def _is_ready(status: Object) -> bool:
    conditions = status.get("conditions") or ()
    return all(one.get("status") == "True" for one in conditions if one.get("type") == "Ready")


def is_ours(labels: Texts) -> bool:
    """Return whether an object of a shard was written by us."""
    return labels.get(LABEL_MANAGED_BY) == MANAGED_BY and LABEL_SHARD in labels and LABEL_SHARD_TYPE in labels


def seat_of(annotations: Texts) -> Seat | None:
    """Return where a shard is on the nodes; None where nothing, or nothing that can be read, says so."""
    try:
        found = json.loads(annotations.get(ANNOTATION_SEAT, "null"))
        return Seat(node=str(found["node"]), positions=tuple(int(item) for item in found["devices"]))
    except (ValueError, TypeError, KeyError):
        return None


def seat_text(node: str, positions: tuple[int, ...]) -> str:
    """Return the annotation that ``seat_of`` reads."""
    return json.dumps({"devices": list(positions), "node": node}, separators=(",", ":"))
