"""A shard as KServe's InferenceService: multi-model, with our agent in it, on the right machine."""

from __future__ import annotations

from typing import Any

from planner.domain.policy import Spread
from planner.manifests.contents import ShardContents
from planner.manifests.names import Labels, Titled, plan_labels, shard_labels
from planner.manifests.options import ManifestOptions
from planner.manifests.pod import agent_container, init_containers, pod_security, server_container, volumes
from planner.manifests.sources import Sources, sources_of

SERVERS = ("lightgbm", "mlserver", "sklearn", "triton", "xgboost")
"""Runtimes that KServe has a multi-model server for."""

# KServe knows MLServer as a runtime of formats and not as a server of its own. Which of them is named here
# decides only how a model is read that does not say so itself, in its model-settings.json.
_MLSERVER = {"modelFormat": {"name": "sklearn"}, "protocolVersion": "v2", "runtime": "kserve-mlserver"}

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
GPU_PRODUCT = "nvidia.com/gpu.product"

_ANNOTATIONS = {
    "serving.kserve.io/deploymentMode": "Standard",
    "serving.kserve.io/enable-prometheus-scraping": "true",
}


def inference_service(
    contents: ShardContents, plan: Titled, *, spread: Spread, documents: int, options: ManifestOptions
) -> dict[str, Any]:
    """Return the InferenceService of a shard.

    Parameters
    ----------
    contents, plan
        The shard, and the plan, or the scenario, that it is of.
    spread
        The policy's; ``node`` keeps the pods of bought shards on machines of their own.
    documents
        How many placement documents the shard has.
    options
        What else the object says.
    """
    labels = shard_labels(plan, contents)
    sources = sources_of(contents, options)
    predictor: dict[str, Any] = {
        "minReplicas": contents.shard_type.replicas,
        "maxReplicas": contents.shard_type.replicas,
        "labels": labels,
        "serviceAccountName": options.service_account,
        "automountServiceAccountToken": False,
        "securityContext": pod_security(),
        **_server(contents),
        **before(contents, options, sources),
        "containers": [agent_container(contents, options=options, sources=sources)],
        "volumes": volumes(contents, documents=documents, sources=sources),
    }
    predictor.update(scheduling(contents, spread=spread, peers=plan_labels(plan)))
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": contents.shard.name,
            "namespace": plan.namespace,
            "labels": labels,
            "annotations": _ANNOTATIONS,
        },
        "spec": {"predictor": predictor},
    }


def _server(contents: ShardContents) -> dict[str, Any]:
    """Return the predictor's field that names the model server; no storageUri makes it multi-model."""
    container = server_container(contents)
    if contents.shard_type.runtime == "mlserver":
        return {"model": {**_MLSERVER, **container}}
    return {contents.shard_type.runtime: container}


def before(contents: ShardContents, options: ManifestOptions, sources: Sources) -> dict[str, Any]:
    """Return what runs before the server, as a field of the pod; nothing where nothing does."""
    found = init_containers(contents, image=options.agent_image, sources=sources)
    return {"initContainers": found} if found else {}


def scheduling(contents: ShardContents, *, spread: Spread, peers: Labels) -> dict[str, Any]:
    """Return where the shard's pods may stand; keys without content are left out."""
    found: dict[str, Any] = {}
    selector = node_selector(contents)
    if selector:
        found["nodeSelector"] = selector
    if contents.on_gpu:
        found["tolerations"] = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    if contents.node is not None:
        # The node's room is counted for one pod: a second one beside it during a roll-out would never start.
        found["deploymentStrategy"] = {"type": "Recreate"}
        return found
    # A pod is replaced by one that has loaded its models: there is never less than was there. KServe's
    # default, a quarter, takes one of four away first. Where there is no room for one more, all stay.
    found["deploymentStrategy"] = {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }
    if spread == "node":
        term = {"labelSelector": {"matchLabels": peers}, "topologyKey": HOSTNAME}
        found["affinity"] = {
            "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]},
        }
    return found


def node_selector(contents: ShardContents) -> dict[str, str]:
    """Return the node labels that a shard asks for.

    Those of its type; for a shard that is bought its zone and, where the type says nothing itself, the
    product of its GPUs, so that it never lands on another one; for a shard on a node that node.
    """
    selector = dict(contents.shard_type.node_selector)
    if contents.node is not None:
        selector[HOSTNAME] = dict(contents.node.labels).get(HOSTNAME, contents.node.name)
        return selector
    product = contents.device_class.product
    if not selector and product is not None:
        selector[GPU_PRODUCT] = product
    if contents.shard_type.zone is not None:
        selector.setdefault(ZONE, contents.shard_type.zone)
    return selector
