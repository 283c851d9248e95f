"""What keeps shards from harm: who may call them, and how many of their pods may go at once."""

from __future__ import annotations

from typing import Any

from planner.manifests.contents import ShardContents
from planner.manifests.gateway import DIRECT_PORT, LABEL_GATEWAY, PORT, STATUS_PORT
from planner.manifests.names import LABEL_SCENARIO, LABEL_SHARD, Labels
from planner.manifests.pod import GRPC_PORT, HTTP_PORT, METRICS_PORT
from planner.manifests.transformer import LABEL_TRANSFORMER
from planner.manifests.transformer import PORT as TRANSFORMER_PORT


def disruption_budget(contents: ShardContents, *, namespace: str, labels: Labels) -> dict[str, Any] | None:
    """Return the budget of a shard of several pods: one may go at a time; None for a shard of one pod.

    A budget for one pod would let no node be drained.
    """
    pods = contents.shard_type.replicas
    if pods == 1:
        return None
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": contents.shard.name, "namespace": namespace, "labels": labels},
        "spec": {
            "minAvailable": pods - 1,
            "selector": {"matchLabels": {LABEL_SHARD: contents.shard.name}},
        },
    }


def network_policies(
    *, namespace: str, labels: Labels, transformers: bool = False
) -> tuple[dict[str, Any], ...]:
    """Return who may connect to shards and to gateways; where these connect to is not restricted.

    Whoever reaches a server's ports can load and unload its models, so these are open inside of the namespace
    only. The agent's port tells and takes nothing, and gateways are there to be called: both are open to all.

    Parameters
    ----------
    namespace
        Of the objects.
    labels
        Of the objects, and of all pods that they are about.
    transformers
        Whether there are any: they alone reach the gateway's port that leads past them, and they are reached
        from inside of the namespace only.
    """
    shards = [
        {"from": [{"podSelector": {}}], "ports": _ports(HTTP_PORT, GRPC_PORT)},
        {"ports": _ports(METRICS_PORT, STATUS_PORT)},
    ]
    gateways: list[dict[str, Any]] = [{"ports": _ports(PORT, STATUS_PORT)}]
    kinds = [("shards", LABEL_SHARD, shards), ("gateways", LABEL_GATEWAY, gateways)]
    if transformers:
        pods = {"podSelector": {"matchExpressions": [{"key": LABEL_TRANSFORMER, "operator": "Exists"}]}}
        gateways.append({"from": [pods], "ports": _ports(DIRECT_PORT)})
        inside = [{"from": [{"podSelector": {}}], "ports": _ports(TRANSFORMER_PORT)}]
        kinds.append(("transformers", LABEL_TRANSFORMER, inside))
    return tuple(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {
                "name": f"{labels[LABEL_SCENARIO]}-{what}",
                "namespace": namespace,
                "labels": labels,
            },
            "spec": {
                "podSelector": {
                    "matchLabels": labels,
                    "matchExpressions": [{"key": label, "operator": "Exists"}],
                },
                "policyTypes": ["Ingress"],
                "ingress": ingress,
            },
        }
        for what, label, ingress in kinds
    )


def _ports(*ports: int) -> list[dict[str, Any]]:
    return [{"port": port, "protocol": "TCP"} for port in ports]
