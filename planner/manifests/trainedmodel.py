"""A model as KServe's TrainedModel."""

from __future__ import annotations

from typing import Any

from planner.domain.model import framework_of
from planner.manifests.contents import Resident
from planner.manifests.names import ANNOTATION_REPLICA_SHARDS, Labels
from planner.scenario.model_annotation import ANNOTATION_MODEL, model_annotation
from planner.units import quantity_bytes


def trained_model(
    resident: Resident, *, shards: tuple[str, ...], namespace: str, labels: Labels
) -> dict[str, Any]:
    """Return the TrainedModel of a model; what it has no field for stands in an annotation.

    KServe lets ``memory`` never be changed: a model whose planned memory changed has to be deleted and
    created again. What its webhook says of the storageUri is ``storage.untaken_uris``'s; nothing is refused
    here.

    Parameters
    ----------
    resident
        The model's lowest placed replica; its shard is the parent.
    shards
        The shards of all its placed replicas, the parent first. KServe knows the parent only, so the others
        stand in an annotation.
    namespace, labels
        Of the object.
    """
    annotations = {ANNOTATION_MODEL: model_annotation(resident.model)}
    if len(shards) > 1:
        annotations[ANNOTATION_REPLICA_SHARDS] = ",".join(shards[1:])
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "TrainedModel",
        "metadata": {
            "name": resident.model.name,
            "namespace": namespace,
            "labels": labels,
            "annotations": annotations,
        },
        "spec": {
            "inferenceService": resident.placed.shard,
            "model": {
                "storageUri": resident.model.storage_uri,
                "framework": framework_of(resident.model),
                "memory": quantity_bytes(resident.need.memory_bytes),
            },
        },
    }
