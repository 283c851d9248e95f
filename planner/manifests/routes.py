"""Which shards answer for each model: what the gateways of a plan route by.

A gateway's ConfigMaps hold documents of ``agent.routes``. The one way to the pods of a shard is a Service of
our own, ``<shard>-shard``: KServe's depends on a setting of its installation for its port (headless or not),
and ours leads to ready pods only, which are those whose agents have attempted every model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from agent.routes import Routes, routes_chunks, routes_of
from planner.domain.plan import Plan
from planner.domain.scenario import Scenario, names
from planner.domain.services import service_name
from planner.manifests.contents import shards_of_models
from planner.manifests.names import LABEL_SHARD, Labels
from planner.manifests.pod import HTTP_PORT

SERVICE_PORT = 80
_SUFFIX = "-shard"


def shard_service_name(shard: str) -> str:
    """Return the name of the Service that leads to a shard's ready pods."""
    return f"{shard}{_SUFFIX}"


def shard_service(shard: str, *, namespace: str, labels: Labels) -> dict[str, Any]:
    """Return the Service of a shard; its pods are those that bear the shard's label."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": shard_service_name(shard), "namespace": namespace, "labels": labels},
        "spec": {
            "selector": {LABEL_SHARD: shard},
            "ports": [{"name": "http", "port": SERVICE_PORT, "targetPort": HTTP_PORT, "protocol": "TCP"}],
        },
    }


def shard_address(shard: str, namespace: str) -> str:
    """Return the address ``host:port`` of a shard in its cluster."""
    return f"{shard_service_name(shard)}.{namespace}.svc:{SERVICE_PORT}"


def service_address(service: str, namespace: str) -> str:
    """Return the address ``host:port`` of a transformer in its cluster."""
    return f"{service}.{namespace}.svc:{SERVICE_PORT}"


def gateway_name(group: str) -> str:
    """Return the name of a group's stable address, a Service."""
    return f"{group}-gateway"


def gateway_url(group: str, namespace: str, model: str) -> str:
    """Return the address under which a model of a group is asked, wherever it lives."""
    return f"http://{gateway_name(group)}.{namespace}.svc/v2/models/{model}/infer"


def routes_name(group: str, chunk: int) -> str:
    """Return the name of the ConfigMap with one of a gateway's documents."""
    return f"{gateway_name(group)}-{chunk}"


def group_routes(
    group: str,
    *,
    namespace: str,
    models: Mapping[str, Iterable[str]],
    transformers: Mapping[str, str] | None = None,
) -> Routes:
    """Return the routes of a group.

    Parameters
    ----------
    group, namespace
        Which group, and where its shards are.
    models
        The shards that answer for each model: all its replicas, while one moves the old and the new; none for
        a model that is loaded nowhere yet.
    transformers
        What the requests of a model pass through; a model that is not there goes straight to its shards.
    """
    placed = {name: tuple(shards) for name, shards in models.items()}
    through = {name: service_name(group, item) for name, item in (transformers or {}).items()}
    shards = {shard for found in placed.values() for shard in found}
    return routes_of(
        group=group,
        shards={shard: shard_address(shard, namespace) for shard in shards},
        models=placed,
        services={name: service_address(name, namespace) for name in through.values()},
        through=through,
    )


def plan_routes(plan: Plan, scenario: Scenario) -> dict[str, Routes]:
    """Return the routes of every group of a plan, by group.

    A model with replicas in several groups is routed in each of them, to its shards there.
    """
    types = names(scenario).shard_types
    group_of = {shard.name: types[shard.shard_type].group for shard in plan.placement.shards}
    models: dict[str, dict[str, list[str]]] = {group: {} for group in set(group_of.values())}
    for model, shards in shards_of_models(plan).items():
        for shard in shards:
            models[group_of[shard]].setdefault(model, []).append(shard)
    through = {model.name: model.transformer for model in scenario.models if model.transformer is not None}
    return {
        group: group_routes(
            group,
            namespace=plan.namespace,
            models=models[group],
            transformers={name: through[name] for name in models[group] if name in through},
        )
        for group in sorted(models)
    }


def routes_config_maps(
    routes: Routes, *, namespace: str, labels: Labels, max_bytes: int
) -> tuple[dict[str, Any], ...]:
    """Return the ConfigMaps that a group's gateway reads, at least one, each at most ``max_bytes`` of data.

    Raises
    ------
    ValueError
        The addresses of the group's shards leave no room for a model.
    """
    return tuple(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": routes_name(routes.group, chunk), "namespace": namespace, "labels": labels},
            "data": {f"routes-{chunk}.json": text},
        }
        for chunk, text in enumerate(routes_chunks(routes, max_bytes=max_bytes))
    )
