"""Routes as HTTPRoutes of the Gateway API, for groups whose cluster has a Gateway already.

https://gateway-api.sigs.k8s.io/reference/spec/ (v1): an HTTPRoute has at most 16 rules, a rule at most 64
matches and 16 backends, and all rules of a route together at most 128 matches. A model is a match of its own,
so a route holds 128 models; a rule is a set of shards.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from agent.routes import Routes
from planner.manifests.names import LABEL_GROUP, Labels
from planner.manifests.routes import SERVICE_PORT, gateway_name, shard_service_name

MOST_RULES, MOST_MATCHES, MOST_MATCHES_OF_ALL, MOST_BACKENDS = 16, 64, 128, 16


def http_routes(routes: Routes, *, parent: str, namespace: str, labels: Labels) -> tuple[dict[str, Any], ...]:
    """Return the HTTPRoutes of a group, as few as the limits allow.

    A model that no shard holds yet has no route: the Gateway answers 404 for it.

    Parameters
    ----------
    routes
        The group's.
    parent
        The Gateway that they are attached to, ``NAME`` or ``NAMESPACE/NAME``.
    namespace, labels
        Of the objects.

    Raises
    ------
    ValueError
        A model has more shards than a rule has backends.
    """
    return tuple(
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {
                "name": f"{gateway_name(routes.group)}-{number}",
                "namespace": namespace,
                "labels": {**labels, LABEL_GROUP: routes.group},
            },
            "spec": {"parentRefs": [_parent(parent)], "rules": rules},
        }
        for number, rules in enumerate(_in_routes(routes))
    )


def _parent(parent: str) -> dict[str, str]:
    namespace, _, name = parent.rpartition("/")
    return {"name": name, **({"namespace": namespace} if namespace else {})}


def _in_routes(routes: Routes) -> Iterator[list[dict[str, Any]]]:
    """Yield the rules of one route after the other."""
    rules: list[dict[str, Any]] = []
    matches = 0
    for rule in _rules(routes):
        size = len(rule["matches"])
        if len(rules) == MOST_RULES or matches + size > MOST_MATCHES_OF_ALL:
            yield rules
            rules, matches = [], 0
        rules.append(rule)
        matches += size
    if rules:
        yield rules


def _rules(routes: Routes) -> Iterator[dict[str, Any]]:
    """Yield a rule for every set of shards, or several where it has too many models for one."""
    models: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for model, shards in routes.models:
        if len(shards) > MOST_BACKENDS:
            raise ValueError(
                f"model {model!r} has {len(shards)} shards; a rule of an HTTPRoute has {MOST_BACKENDS}"
            )
        if shards:
            models[tuple(sorted(set(shards)))].append(model)
    for shards, found in sorted(models.items()):
        backends = [{"name": shard_service_name(shard), "port": SERVICE_PORT} for shard in shards]
        for begin in range(0, len(found), MOST_MATCHES):
            yield {
                "matches": [_match(model) for model in found[begin : begin + MOST_MATCHES]],
                "backendRefs": backends,
            }


def _match(model: str) -> dict[str, Any]:
    """Return what a model's requests begin with; a prefix is compared by whole parts of a path."""
    return {"path": {"type": "PathPrefix", "value": f"/v2/models/{model}"}}
