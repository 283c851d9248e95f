"""The stable address of a group: an nginx gateway in front of its shards."""

from __future__ import annotations

from typing import Any

from planner.manifests.names import LABEL_GROUP, LABEL_MANAGED_BY, MANAGED_BY, Labels
from planner.manifests.options import ManifestOptions
from planner.manifests.routes import SERVICE_PORT, gateway_name, routes_name

LABEL_GATEWAY = "shardpack.dev/gateway"

PORT = 8080
DIRECT_PORT = 8081
"""Where transformers call the shards of their models."""
STATUS_PORT = 9082
REPLICAS = 2

# As with a shard's documents: another volume source is another pod template, which would restart the gateway
# only because one more document was needed.
_SLOTS = 8
_LEAVE_S, _DRAIN_S = 5, 25
_USER = 1000

ROUTES = "routes"
"""The volume of a gateway's pod that projects its routes."""
_ROUTES = {"name": ROUTES, "mountPath": "/mnt/routes", "readOnly": True}
_WORK = {"name": "work", "mountPath": "/run/shardpack"}


def gateway_selector(group: str) -> Labels:
    """Return the labels that tell a gateway's pods from all others."""
    return {LABEL_MANAGED_BY: MANAGED_BY, LABEL_GATEWAY: group}


def gateway_objects(  # noqa: PLR0913 - each is one thing that the objects say
    group: str,
    *,
    namespace: str,
    labels: Labels,
    documents: int,
    options: ManifestOptions,
    direct: bool = False,
) -> tuple[dict[str, Any], ...]:
    """Return Deployment, Service and PodDisruptionBudget of a group's gateway.

    Parameters
    ----------
    group, namespace
        Which group, and where.
    labels
        Of the objects.
    documents
        How many ConfigMaps its routes take (``routes.routes_config_maps``).
    options
        The image: the gateway is a program of the agent's.
    direct
        Whether it listens on ``DIRECT_PORT`` too: where requests pass through transformers.
    """
    own = {**labels, LABEL_GROUP: group, LABEL_GATEWAY: group}
    metadata = {"name": gateway_name(group), "namespace": namespace, "labels": own}
    selector = gateway_selector(group)
    ports = [{"name": "http", "port": SERVICE_PORT, "targetPort": PORT, "protocol": "TCP"}]
    if direct:
        ports.append({"name": "direct", "port": DIRECT_PORT, "targetPort": DIRECT_PORT, "protocol": "TCP"})
    return (
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": REPLICAS,
                "selector": {"matchLabels": selector},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
                "template": {
                    "metadata": {"labels": {**own, **selector}},
                    "spec": _pod(group, documents=documents, options=options, direct=direct),
                },
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": selector, "ports": ports},
        },
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": metadata,
            "spec": {"minAvailable": 1, "selector": {"matchLabels": selector}},
        },
    )


def slots_for(documents: int) -> int:
    """Return how many ConfigMaps of routes are mounted for so many that there are."""
    return _SLOTS * -(-documents // _SLOTS)


def _pod(group: str, *, documents: int, options: ManifestOptions, direct: bool) -> dict[str, Any]:
    """Return the pod: two of them stand on different nodes where there are two."""
    slots = range(slots_for(documents))
    sources = [{"configMap": {"name": routes_name(group, slot), "optional": True}} for slot in slots]
    spread = {
        "labelSelector": {"matchLabels": gateway_selector(group)},
        "topologyKey": "kubernetes.io/hostname",
    }
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "affinity": {
            "podAntiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 100, "podAffinityTerm": spread}
                ]
            }
        },
        "terminationGracePeriodSeconds": _LEAVE_S + 2 * _DRAIN_S + 5,
        "containers": [_container(options, direct=direct)],
        "volumes": [
            {"name": ROUTES, "projected": {"sources": sources}},
            {"name": "work", "emptyDir": {"sizeLimit": "1Gi"}},
        ],
    }


def _container(options: ManifestOptions, *, direct: bool) -> dict[str, Any]:
    ports = [("http", PORT), *([("direct", DIRECT_PORT)] if direct else []), ("status", STATUS_PORT)]
    return {
        "name": "gateway",
        "image": options.agent_image,
        "command": ["shardpack-gateway"],
        "args": [
            "--config-dir=/mnt/routes",
            "--work-dir=/run/shardpack",
            f"--port={PORT}",
            *([f"--direct-port={DIRECT_PORT}"] if direct else []),
            "--status-address=0.0.0.0",
            f"--status-port={STATUS_PORT}",
            f"--leave={_LEAVE_S}",
            f"--drain={_DRAIN_S}",
        ],
        "ports": [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in ports],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": STATUS_PORT}, "periodSeconds": 2},
        "livenessProbe": {
            "httpGet": {"path": "/livez", "port": STATUS_PORT},
            "periodSeconds": 10,
            "failureThreshold": 6,
        },
        "resources": {
            "requests": {"cpu": "200m", "memory": "128Mi"},
            "limits": {"memory": "512Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [_ROUTES, _WORK],
    }
