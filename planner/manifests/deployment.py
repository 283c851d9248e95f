"""A shard without KServe: a Deployment of the same pod, and the Service that leads to it."""

from __future__ import annotations

from typing import Any

from planner.domain.policy import Spread
from planner.manifests.contents import ShardContents
from planner.manifests.inferenceservice import before, scheduling
from planner.manifests.names import LABEL_SHARD, Titled, plan_labels, shard_labels
from planner.manifests.options import ManifestOptions
from planner.manifests.pod import (
    GRPC_PORT,
    HTTP_PORT,
    METRICS_PORT,
    agent_container,
    pod_security,
    server_container,
    volumes,
)
from planner.manifests.sources import sources_of

STANDALONE_SERVERS = ("triton",)
"""Runtimes whose pod is known here; KServe knows those of the others."""

# What KServe's runtime kserve-tritonserver says, and its webhook adds to it for multi-model services.
_TRITON_ARGS = [
    "--model-store=/mnt/models",
    f"--grpc-port={GRPC_PORT}",
    f"--http-port={HTTP_PORT}",
    "--allow-grpc=true",
    "--allow-http=true",
    "--model-control-mode=explicit",
]


def predictor_name(shard: str) -> str:
    """Return the name of a shard's Deployment and Service, as KServe gives it."""
    return f"{shard}-predictor"


def predictor_url(shard: str, namespace: str, model: str) -> str:
    """Return the address under which a model is asked on one shard, by the shard's ``service``."""
    return f"http://{predictor_name(shard)}.{namespace}.svc/v2/models/{model}/infer"


def deployment(
    contents: ShardContents, plan: Titled, *, spread: Spread, documents: int, options: ManifestOptions
) -> dict[str, Any]:
    """Return the Deployment of a shard.

    Parameters
    ----------
    contents, plan, spread, documents, options
        As for the InferenceService.
    """
    labels = shard_labels(plan, contents)
    sources = sources_of(contents, options)
    where = scheduling(contents, spread=spread, peers=plan_labels(plan))
    strategy = where.pop("deploymentStrategy")
    pod = {
        "serviceAccountName": options.service_account,
        "automountServiceAccountToken": False,
        "securityContext": pod_security(),
        **before(contents, options, sources),
        "containers": [
            _server(contents, options),
            agent_container(contents, options=options, sources=sources),
        ],
        "volumes": volumes(contents, documents=documents, sources=sources),
        **where,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": predictor_name(contents.shard.name),
            "namespace": plan.namespace,
            "labels": labels,
        },
        "spec": {
            "replicas": contents.shard_type.replicas,
            "selector": {"matchLabels": {LABEL_SHARD: contents.shard.name}},
            "strategy": strategy,
            "template": {"metadata": {"labels": labels, "annotations": _SCRAPED}, "spec": pod},
        },
    }


_SCRAPED = {"prometheus.io/scrape": "true", "prometheus.io/port": str(METRICS_PORT)}


def service(contents: ShardContents, plan: Titled) -> dict[str, Any]:
    """Return the Service of a shard; its ports lead to the model server."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": predictor_name(contents.shard.name),
            "namespace": plan.namespace,
            "labels": shard_labels(plan, contents),
        },
        "spec": {
            "selector": {LABEL_SHARD: contents.shard.name},
            "ports": [
                {"name": "http", "port": 80, "targetPort": HTTP_PORT, "protocol": "TCP"},
                {"name": "grpc", "port": GRPC_PORT, "targetPort": GRPC_PORT, "protocol": "TCP"},
            ],
        },
    }


def _server(contents: ShardContents, options: ManifestOptions) -> dict[str, Any]:
    container = server_container(contents)
    ports = {"http": HTTP_PORT, "grpc": GRPC_PORT, "metrics": METRICS_PORT}
    return {
        **container,
        "name": "server",
        "image": options.triton_image,
        "command": ["tritonserver"],
        "args": [*_TRITON_ARGS, *container.get("args", [])],
        "ports": [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in ports.items()],
        "readinessProbe": {"httpGet": {"path": "/v2/health/ready", "port": HTTP_PORT}, "periodSeconds": 5},
    }
