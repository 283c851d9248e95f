"""A transformer that stands for a group: one Deployment and Service for all models that name it.

The gateway sends requests of those models to the Service. The transformer sends them on, changed, to the same
path at ``PREDICTOR_URL``: a second port of the gateway, which leads straight to the shards.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.domain.fleet import Node, Transformer
from planner.domain.services import PREDICTOR_HOST, PREDICTOR_URL, Service
from planner.manifests.gateway import DIRECT_PORT
from planner.manifests.inferenceservice import HOSTNAME
from planner.manifests.names import LABEL_GROUP, LABEL_MANAGED_BY, MANAGED_BY, Labels
from planner.manifests.pod import LEAVING
from planner.manifests.routes import SERVICE_PORT, gateway_name
from planner.units import quantity_bytes, quantity_milli

LABEL_TRANSFORMER = "shardpack.dev/transformer"
PORT = 8080
READY_PATH = "/v2/health/ready"

_END_S = 30


def predictor_url(group: str, namespace: str) -> str:
    """Return where a transformer finds the models of its group, without the path."""
    return f"http://{gateway_name(group)}.{namespace}.svc:{DIRECT_PORT}"


def hosts_of(service: Service, nodes: Mapping[str, Node]) -> tuple[str, ...]:
    """Return the hostname of the node of each of a service's pods, as the nodes' labels say it."""
    return tuple(dict(nodes[name].labels).get(HOSTNAME, name) for name in service.nodes)


def transformer_objects(
    service: Service,
    transformer: Transformer,
    *,
    namespace: str,
    labels: Labels,
    hosts: tuple[str, ...] = (),
) -> tuple[dict[str, Any], ...]:
    """Return Deployment and Service of a transformer, and a PodDisruptionBudget where it has several pods.

    Parameters
    ----------
    service, transformer
        Where it stands, and what it is.
    namespace, labels
        Of the objects.
    hosts
        The hostnames of its nodes, as their labels say them; empty is anywhere.
    """
    own = {**labels, LABEL_GROUP: service.group, LABEL_TRANSFORMER: transformer.name}
    metadata = {"name": service.name, "namespace": namespace, "labels": own}
    selector = {
        LABEL_MANAGED_BY: MANAGED_BY,
        LABEL_GROUP: service.group,
        LABEL_TRANSFORMER: transformer.name,
    }
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata,
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector}},
    }
    return (
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": transformer.replicas,
                "selector": {"matchLabels": selector},
                "strategy": _strategy(hosts),
                "template": {
                    "metadata": {"labels": own},
                    "spec": _pod(service, transformer, namespace=namespace, selector=selector, hosts=hosts),
                },
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {
                "selector": selector,
                "ports": [{"name": "http", "port": SERVICE_PORT, "targetPort": PORT, "protocol": "TCP"}],
            },
        },
        *([budget] if transformer.replicas > 1 else []),
    )


def _strategy(hosts: tuple[str, ...]) -> dict[str, Any]:
    """Return how pods are replaced: without one more where the plan has counted the room on nodes."""
    surge, unavailable = (0, 1) if hosts else (1, 0)
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}


def _pod(
    service: Service, transformer: Transformer, *, namespace: str, selector: Labels, hosts: tuple[str, ...]
) -> dict[str, Any]:
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "affinity": _affinity(hosts, selector),
        # its node may be one that is kept for GPUs
        **(
            {"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]}
            if hosts
            else {}
        ),
        "terminationGracePeriodSeconds": _END_S,
        "containers": [_container(service, transformer, namespace=namespace)],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }


def _affinity(hosts: tuple[str, ...], selector: Labels) -> dict[str, Any]:
    """Return on which nodes its pods stand, if the plan knows, and that they rather stand apart."""
    apart = {"labelSelector": {"matchLabels": selector}, "topologyKey": HOSTNAME}
    found: dict[str, Any] = {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": apart}]
        }
    }
    if hosts:
        here = {"key": HOSTNAME, "operator": "In", "values": sorted(set(hosts))}
        found["nodeAffinity"] = {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [here]}]
            }
        }
    return found


def _container(service: Service, transformer: Transformer, *, namespace: str) -> dict[str, Any]:
    memory = quantity_bytes(transformer.memory_bytes)
    url = predictor_url(service.group, namespace)
    where = {PREDICTOR_URL: url, PREDICTOR_HOST: url.removeprefix("http://")}
    return {
        "name": "transformer",
        "image": transformer.image,
        **({"args": list(transformer.args)} if transformer.args else {}),
        "env": [{"name": name, "value": value} for name, value in (*where.items(), *transformer.env)],
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": {"path": READY_PATH, "port": PORT}, "periodSeconds": 5},
        "lifecycle": LEAVING,
        "resources": {
            "requests": {"cpu": quantity_milli(transformer.cpu_milli), "memory": memory},
            "limits": {"memory": memory},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - a volume of its own
    }
