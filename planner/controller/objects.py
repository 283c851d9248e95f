"""What the cluster should hold of a shard: its server, its documents."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from planner.controller.fleet import Fleet
from planner.controller.views import (
    ANNOTATION_OPENED_BY,
    ANNOTATION_SEAT,
    CONTROLLER,
    LABEL_TEMPLATE,
    ConfigMapView,
    seat_text,
)
from planner.controller.writes import Kind, Write, create, delete, patch
from planner.domain.placement import Shard
from planner.manifests.contents import ShardContents
from planner.manifests.deployment import deployment, predictor_name, service
from planner.manifests.inferenceservice import inference_service
from planner.manifests.model_config import ShardDocuments, config_maps, shard_documents
from planner.manifests.names import LABEL_SHARD, shard_labels
from planner.manifests.options import ManifestOptions
from planner.manifests.protection import disruption_budget

Mode = Literal["kserve", "standalone"]
"""Whether KServe's controllers run: then shards are InferenceServices, and ``models.json`` is theirs."""

Renew = Literal["never", "rolling", "all"]
"""Which servers are replaced that a new document, or option, would open otherwise: none; those whose next pod
can stand beside the former one; or those on nodes as well, whose models are away meanwhile."""

MODELS_JSON_PREFIX = "modelconfig-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How objects are written.

    Parameters
    ----------
    mode
        Who else is there.
    options
        What pods say that no plan does.
    renew
        Which servers are replaced once they are outdated.
    """

    mode: Mode = "kserve"
    options: ManifestOptions = ManifestOptions()
    renew: Renew = "never"


def server_objects(
    contents: ShardContents, fleet: Fleet, style: Style, *, documents: int
) -> tuple[tuple[Kind, dict[str, Any]], ...]:
    """Return the objects that make a shard run, in the order in which they are created."""
    item = _marked(
        _server(contents, fleet, style, documents=documents), style.mode, template_of(contents, fleet, style)
    )
    server = _seated(_annotated(item, {ANNOTATION_OPENED_BY: CONTROLLER}), contents.shard)
    budget = shard_budget(contents, fleet)
    budgets: tuple[tuple[Kind, dict[str, Any]], ...] = (
        () if budget is None else (("PodDisruptionBudget", budget),)
    )
    if style.mode == "kserve":
        return (("InferenceService", server), *budgets)
    return ("Service", service(contents, fleet.scenario)), ("Deployment", server), *budgets


def template_of(contents: ShardContents, fleet: Fleet, style: Style) -> str:
    """Return what tells apart with which template a shard was opened, whatever it is called and holds."""
    alike = dataclasses.replace(contents.shard, name="any")
    bare = dataclasses.replace(contents, shard=alike, residents=())
    spec = _server(bare, fleet, style, documents=1)["spec"]
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]


def _server(contents: ShardContents, fleet: Fleet, style: Style, *, documents: int) -> dict[str, Any]:
    write = inference_service if style.mode == "kserve" else deployment
    spread = fleet.scenario.policy.spread
    return write(contents, fleet.scenario, spread=spread, documents=documents, options=style.options)


def _marked(item: dict[str, Any], mode: Mode, template: str) -> dict[str, Any]:
    """Return a server that says, as its pods do, with which template it was opened."""
    mark, spec = {LABEL_TEMPLATE: template}, item["spec"]
    if mode == "kserve":
        predictor = {**spec["predictor"], "labels": {**spec["predictor"]["labels"], **mark}}
        spec = {**spec, "predictor": predictor}
    else:
        about = spec["template"]["metadata"]
        about = {**about, "labels": {**about["labels"], **mark}}
        spec = {**spec, "template": {**spec["template"], "metadata": about}}
    metadata = {**item["metadata"], "labels": {**item["metadata"]["labels"], **mark}}
    return {**item, "metadata": metadata, "spec": spec}


def shard_budget(contents: ShardContents, fleet: Fleet) -> dict[str, Any] | None:
    """Return what lets only one of a shard's pods go at a time; None for a shard of one pod."""
    labels = shard_labels(fleet.scenario, contents)
    return disruption_budget(contents, namespace=fleet.scenario.namespace, labels=labels)


def server_name(shard: str, mode: Mode) -> str:
    """Return the name of the object that runs a shard."""
    return shard if mode == "kserve" else predictor_name(shard)


def server_kind(mode: Mode) -> Kind:
    """Return the kind of the object that runs a shard."""
    return "InferenceService" if mode == "kserve" else "Deployment"


def documents_of(contents: ShardContents, fleet: Fleet) -> ShardDocuments:
    """Return a shard's documents.

    Raises
    ------
    ValueError
        The entry of one model alone is longer than a ConfigMap.
    """
    return shard_documents(contents, max_bytes=fleet.scenario.cluster.max_config_map_bytes)


def wanted_config_maps(
    contents: ShardContents, fleet: Fleet, style: Style, documents: ShardDocuments
) -> tuple[dict[str, Any], ...]:
    """Return a shard's ConfigMaps, those that KServe writes itself left out."""
    labels = shard_labels(fleet.scenario, contents)
    found = config_maps(contents, documents, namespace=fleet.scenario.namespace, labels=labels)
    return tuple(_seated(item, contents.shard) for item in found[1 if style.mode == "kserve" else 0 :])


def config_map_writes(
    wanted: tuple[dict[str, Any], ...],
    known: Mapping[str, ConfigMapView],
    *,
    stale: Iterable[ConfigMapView],
) -> Iterator[Write]:
    """Yield what makes a set of ConfigMaps those that are wanted; nothing where they are.

    Parameters
    ----------
    wanted
        All that there should be of the set.
    known
        The namespace's ConfigMaps.
    stale
        Those of the set, or of one that was: they are deleted where they are not wanted.
    """
    names = {item["metadata"]["name"] for item in wanted}
    for item in wanted:
        view = known.get(item["metadata"]["name"])
        if view is None:
            yield create("ConfigMap", item)
        elif not _says(view, item):
            # A merge patch takes the keys away that are null.
            data = {**dict.fromkeys(view.data.keys() - item["data"].keys()), **item["data"]}
            metadata = {
                key: item["metadata"][key] for key in ("labels", "annotations") if key in item["metadata"]
            }
            body = {"metadata": metadata, "data": data}
            yield patch("ConfigMap", view.name, body, resource_version=view.resource_version)
    for view in stale:
        if view.name not in names:
            yield delete("ConfigMap", view.name, uid=view.uid, resource_version=view.resource_version)


def is_document_of(view: ConfigMapView, shard: str) -> bool:
    """Return whether a ConfigMap is a placement document of a shard."""
    return view.labels.get(LABEL_SHARD) == shard and not view.name.startswith(MODELS_JSON_PREFIX)


def _says(view: ConfigMapView, item: dict[str, Any]) -> bool:
    """Return whether a ConfigMap says all that is wanted, whatever labels others have put on it."""
    metadata = item["metadata"]
    pairs = ((metadata.get("labels", {}), view.labels), (metadata.get("annotations", {}), view.annotations))
    kept = all(known.get(key) == value for said, known in pairs for key, value in said.items())
    return kept and dict(view.data) == item["data"]


def _seated(item: dict[str, Any], shard: Shard) -> dict[str, Any]:
    """Return an object that says which devices of a node are the shard's."""
    if shard.node is None:
        return item
    return _annotated(item, {ANNOTATION_SEAT: seat_text(shard.node, shard.node_devices)})


def _annotated(item: dict[str, Any], more: dict[str, str]) -> dict[str, Any]:
    annotations = {**item["metadata"].get("annotations", {}), **more}
    return {**item, "metadata": {**item["metadata"], "annotations": annotations}}
