"""A plan as files of a kustomization."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from planner.domain.plan import Plan
from planner.domain.policy import Spread
from planner.domain.scenario import Scenario, names
from planner.errors import Fault, InputError
from planner.manifests.contents import ShardContents, shard_contents, shards_of_models
from planner.manifests.gateway import gateway_objects
from planner.manifests.inferenceservice import SERVERS, inference_service
from planner.manifests.model_config import ShardDocuments, config_maps, shard_documents
from planner.manifests.names import name_faults, plan_labels, shard_labels
from planner.manifests.options import ManifestOptions
from planner.manifests.protection import disruption_budget, network_policies
from planner.manifests.routes import (
    gateway_name,
    plan_routes,
    routes_config_maps,
    shard_service,
    shard_service_name,
)
from planner.manifests.routes_http import http_routes
from planner.manifests.text import yaml_text
from planner.manifests.trainedmodel import trained_model
from planner.manifests.transformer import hosts_of, transformer_objects

KUSTOMIZATION = "kustomization.yaml"
HEADER = "# Written by shardpack; edit the scenario instead, or build an overlay on this folder."
"""The first line of the kustomization: by it a folder is known to be ours."""

_APPLY = """\
# Apply:  kubectl apply --server-side --force-conflicts -k .
# Server-side, because a ConfigMap may be longer than the annotation that a plain apply writes. Prune what is
# no longer here: a placement ConfigMap that stays behind contradicts its successors, and a TrainedModel that
# stays behind is served on.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFile:
    """A file to write: its path below the folder, with ``/``, and its whole text."""

    path: str
    text: str


def render_plan(
    plan: Plan, scenario: Scenario, *, options: ManifestOptions | None = None
) -> tuple[ManifestFile, ...]:
    """Return the files that put a plan into a cluster with KServe, sorted by path.

    Parameters
    ----------
    plan, scenario
        A plan that ``domain.verify`` accepts for its scenario.
    options
        What else the objects say; None takes the defaults.

    Raises
    ------
    InputError
        A name that Kubernetes refuses, a server that KServe has no multi-model InferenceService for, or a
        shard whose models do not fit into a ConfigMap; every such fault.
    """
    options = options or ManifestOptions()
    shards = shard_contents(plan, scenario)
    faults = [*name_faults(plan, scenario), *_server_faults(shards), *_gateway_faults(shards, options)]
    faults += _transformer_faults(plan, options)
    documents = _documents(shards, scenario.cluster.max_config_map_bytes, faults)
    gateways = list(_gateway_files(plan, scenario, options, faults))
    if faults:
        raise InputError(faults)
    files = [*_common_files(plan, options)]
    parents = shards_of_models(plan)
    for contents, texts in zip(shards, documents, strict=True):
        files.extend(_shard_files(contents, texts, plan, spread=scenario.policy.spread, options=options))
        files.extend(_models_files(contents, plan, parents))
    files.extend(gateways)
    files.extend(_transformer_files(plan, scenario))
    files.append(_kustomization(file.path for file in files))
    return tuple(sorted(files, key=lambda file: file.path))


def _server_faults(shards: Iterable[ShardContents]) -> Iterator[Fault]:
    types = {contents.shard_type.name: contents.shard_type.runtime for contents in shards}
    for name, runtime in sorted(types.items()):
        if runtime not in SERVERS:
            known = ", ".join(SERVERS)
            message = f"KServe has no multi-model InferenceService for {runtime!r}; it has {known}"
            yield Fault(path=f"shardTypes.{name}.runtime", message=message)


def _gateway_faults(shards: Iterable[ShardContents], options: ManifestOptions) -> Iterator[Fault]:
    """Yield the names of Services that would be both a gateway's or a shard's and somebody else's."""
    if options.gateway == "none":
        return
    services = {contents.shard.name for contents in shards}  # KServe makes a Service of each
    groups = sorted({contents.shard_type.group for contents in shards})
    ours = [*(gateway_name(group) for group in groups), *map(shard_service_name, sorted(services))]
    for name in ours:
        if name in services:
            message = (
                f"shard {name!r} and a Service of the gateway's would share a name: choose another group"
            )
            yield Fault(path=f"shards.{name}", message=message)
    if options.gateway == "httproute" and options.gateway_parent is None:
        yield Fault(
            path="gateway", message="HTTPRoutes need the name of the Gateway that they are attached to"
        )


def _gateway_files(
    plan: Plan, scenario: Scenario, options: ManifestOptions, faults: list[Fault]
) -> Iterator[ManifestFile]:
    """Yield what gives every group one address; add a fault for every group that gets none."""
    if options.gateway == "none":
        return
    labels = plan_labels(plan)
    for shard in plan.placement.shards:
        service = shard_service(shard.name, namespace=plan.namespace, labels=labels)
        yield _file(f"shards/{shard.name}/service.yaml", service)
    for group, routes in plan_routes(plan, scenario).items():
        folder = f"gateways/{group}"
        try:
            if options.gateway == "httproute":
                parent = options.gateway_parent or ""
                found = http_routes(routes, parent=parent, namespace=plan.namespace, labels=labels)
                if found:
                    yield _file(f"{folder}/httproutes.yaml", *found)
                continue
            limit = scenario.cluster.max_config_map_bytes
            maps = routes_config_maps(routes, namespace=plan.namespace, labels=labels, max_bytes=limit)
        except ValueError as error:
            faults.append(Fault(path=f"groups.{group}", message=str(error)))
            continue
        yield _file(f"{folder}/configmaps.yaml", *maps)
        gateway = gateway_objects(
            group,
            namespace=plan.namespace,
            labels=labels,
            documents=len(maps),
            options=options,
            direct=bool(routes.services),
        )
        yield _file(f"{folder}/gateway.yaml", *gateway)


def _transformer_faults(plan: Plan, options: ManifestOptions) -> Iterator[Fault]:
    """Yield a fault where transformers would stand beside nothing that sends requests through them."""
    if plan.services and options.gateway != "nginx":
        message = (
            "requests pass through transformers at a gateway of ours, which leads them to the shards as well:"
            " choose nginx"
        )
        yield Fault(path="gateway", message=message)


def _transformer_files(plan: Plan, scenario: Scenario) -> Iterator[ManifestFile]:
    parts, labels = names(scenario), plan_labels(plan)
    for service in plan.services:
        objects = transformer_objects(
            service,
            parts.transformers[service.transformer],
            namespace=plan.namespace,
            labels=labels,
            hosts=hosts_of(service, parts.nodes),
        )
        yield _file(f"transformers/{service.name}.yaml", *objects)


def _documents(
    shards: Iterable[ShardContents], limit_bytes: int, faults: list[Fault]
) -> list[ShardDocuments]:
    """Return the documents of all shards that fit into ConfigMaps; add a fault for every other shard."""
    found = []
    for contents in shards:
        path = f"shards.{contents.shard.name}"
        try:
            documents = shard_documents(contents, max_bytes=limit_bytes)
        except ValueError as error:
            faults.append(Fault(path=path, message=str(error)))
            continue
        size = len(documents.models_json)
        if size > limit_bytes:
            models = sum(resident.is_parent for resident in contents.residents)
            message = f"models.json of {models} models takes {size} bytes of a ConfigMap's {limit_bytes}"
            faults.append(Fault(path=path, message=message))
        found.append(documents)
    return found


def _common_files(plan: Plan, options: ManifestOptions) -> Iterator[ManifestFile]:
    labels = plan_labels(plan)
    # Without labels of ours: whoever prunes by them must not take the namespace and all that is in it.
    yield _file(
        "namespace.yaml",
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": plan.namespace}},
    )
    yield _file(
        "serviceaccount.yaml",
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": options.service_account, "namespace": plan.namespace, "labels": labels},
            "automountServiceAccountToken": False,
            **({"secrets": [{"name": name} for name in options.attached]} if options.attached else {}),
        },
    )
    if options.network_policies:
        yield _file(
            "networkpolicies.yaml",
            *network_policies(namespace=plan.namespace, labels=labels, transformers=bool(plan.services)),
        )


def _shard_files(
    contents: ShardContents,
    documents: ShardDocuments,
    plan: Plan,
    *,
    spread: Spread,
    options: ManifestOptions,
) -> Iterator[ManifestFile]:
    """Yield a shard's ConfigMaps, its InferenceService and, for several pods, their budget."""
    folder = f"shards/{contents.shard.name}"
    labels = shard_labels(plan, contents)
    yield _file(
        f"{folder}/configmaps.yaml",
        *config_maps(contents, documents, namespace=plan.namespace, labels=labels),
    )
    yield _file(
        f"{folder}/inferenceservice.yaml",
        inference_service(contents, plan, spread=spread, documents=len(documents.placement), options=options),
    )
    budget = disruption_budget(contents, namespace=plan.namespace, labels=labels)
    if budget is not None:
        yield _file(f"{folder}/disruption.yaml", budget)


def _models_files(
    contents: ShardContents, plan: Plan, parents: dict[str, tuple[str, ...]]
) -> Iterator[ManifestFile]:
    """Yield the TrainedModels of a shard; nothing for one that is the parent of none."""
    labels = shard_labels(plan, contents)
    models = [
        trained_model(resident, shards=parents[resident.model.name], namespace=plan.namespace, labels=labels)
        for resident in contents.residents
        if resident.is_parent
    ]
    if models:
        yield _file(f"shards/{contents.shard.name}/trainedmodels.yaml", *models)


def _kustomization(paths: Iterable[str]) -> ManifestFile:
    """Return the kustomization: TrainedModels last, as KServe deletes those that have no InferenceService.

    Kustomize's own order would put them first, so it is told to keep ours.
    """
    resources = sorted(paths, key=lambda path: ("/" in path, path.endswith("/trainedmodels.yaml"), path))
    content = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "sortOptions": {"order": "fifo"},
        "resources": resources,
    }
    return ManifestFile(path=KUSTOMIZATION, text=f"{HEADER}\n{_APPLY}{yaml_text([content])}")


def _file(path: str, *objects: dict[str, Any]) -> ManifestFile:
    return ManifestFile(path=path, text=yaml_text(objects))
