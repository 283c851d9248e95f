"""What stands before shards: Services, gateways, transformers; as it should be, and what it lacks of that."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from planner.controller.living import LivingPlan
from planner.controller.releasing import fronts_of
from planner.controller.views import (
    ANNOTATION_NODES,
    ANNOTATION_OPENED_BY,
    ANNOTATION_SPEC,
    CONTROLLER,
    ShardView,
    ports_of,
)
from planner.controller.world import World
from planner.controller.writes import Kind, Write, delete, patch
from planner.domain.services import Service
from planner.manifests.gateway import LABEL_GATEWAY, ROUTES, gateway_objects, slots_for
from planner.manifests.names import LABEL_GROUP, LABEL_MANAGED_BY, MANAGED_BY, plan_labels
from planner.manifests.options import ManifestOptions
from planner.manifests.routes import routes_name, shard_service
from planner.manifests.transformer import LABEL_TRANSFORMER, hosts_of, transformer_objects

Body = dict[str, Any]


def wanted_fronts(
    plan: LivingPlan, options: ManifestOptions, documents: Mapping[str, int]
) -> Iterator[tuple[Kind, Body]]:
    """Yield all that should stand before the shards of a plan.

    Parameters
    ----------
    plan, options
        What stands, and how it is written.
    documents
        How many ConfigMaps the routes of each group take, as far as that is known.
    """
    scenario = plan.fleet.scenario
    namespace, labels = scenario.namespace, plan_labels(scenario)
    for shard in sorted(plan.shards):
        yield "Service", shard_service(shard, namespace=namespace, labels=labels)
    for group in plan.fleet.groups:
        if plan.is_over(group):
            continue
        gateway = gateway_objects(
            group,
            namespace=namespace,
            labels=labels,
            documents=documents.get(group, 1),
            options=options,
            direct=bool(scenario.transformers),
        )
        for item in gateway:
            yield item["kind"], item
    for service in plan.standing.services:
        for item in _transformer(plan, service):
            yield item["kind"], item


def _transformer(plan: LivingPlan, service: Service) -> Iterator[Body]:
    scenario, parts = plan.fleet.scenario, plan.fleet.parts
    objects = transformer_objects(
        service,
        parts.transformers[service.transformer],
        namespace=scenario.namespace,
        labels=plan_labels(scenario),
        hosts=hosts_of(service, parts.nodes),
    )
    for item in objects:
        said = {ANNOTATION_OPENED_BY: CONTROLLER}
        if item["kind"] == "Deployment":
            text = json.dumps(item["spec"], sort_keys=True)
            said[ANNOTATION_SPEC] = hashlib.sha256(text.encode()).hexdigest()
            said[ANNOTATION_NODES] = ",".join(service.nodes)
        yield {**item, "metadata": {**item["metadata"], "annotations": said}}


def brought_up(view: ShardView, kind: Kind, body: Body) -> Write | None:
    """Return what an object that is there lacks to what it should be; None if nothing that has to be there.

    A transformer that the controller has opened is what the fleet says: another image takes its place. A
    gateway listens where transformers call, once there are any. Nothing else is ever changed.
    """
    if LABEL_TRANSFORMER in body["metadata"]["labels"]:
        annotations = body["metadata"].get("annotations", {})
        ours = view.annotations.get(ANNOTATION_OPENED_BY) == CONTROLLER
        if not ours or view.annotations.get(ANNOTATION_SPEC) == annotations.get(ANNOTATION_SPEC):
            return None
        changed = {"metadata": {"annotations": annotations}, "spec": body["spec"]}
        return patch(kind, view.name, changed, resource_version=view.resource_version)
    if not is_gateway(view) or ports_of(body) <= view.ports:
        return None
    spec = body["spec"]
    if kind == "Deployment":
        listening: Body = {"template": {"spec": {"containers": spec["template"]["spec"]["containers"]}}}
    else:
        listening = {"ports": spec["ports"]}
    return patch(kind, view.name, {"spec": listening}, resource_version=view.resource_version)


def left_over(plan: LivingPlan, world: World) -> Iterator[Write]:
    """Yield the deletion of what is left of transformers that stand no more, and that no copy needs.

    And of the budgets of those that were of several pods: one for one pod would let no node be drained.
    """
    kinds: tuple[tuple[Kind, Mapping[str, ShardView]], ...] = (
        ("Deployment", world.deployments),
        ("Service", world.services),
        ("PodDisruptionBudget", world.budgets),
    )
    for kind, views in kinds:
        for view in views.values():
            if view.deleting or view.annotations.get(ANNOTATION_OPENED_BY) != CONTROLLER:
                continue
            key = view.labels.get(LABEL_GROUP, ""), view.labels.get(LABEL_TRANSFORMER, "")
            stands = key in plan.standing or plan.standing.is_needed(key)
            if kind == "PodDisruptionBudget" and key in plan.standing:
                stands = plan.fleet.parts.transformers[key[1]].replicas > 1
            if key[1] and key[0] in plan.fleet.groups and not stands:
                yield delete(kind, view.name, uid=view.uid, resource_version=view.resource_version)


def ended(plan: LivingPlan, world: World) -> Iterator[Write]:
    """Yield the deletion of what stood before groups that are released and have no shard any more."""
    for group in sorted(plan.fleet.released):
        for kind, view in fronts_of(group, world) if plan.is_over(group) else ():
            if not (isinstance(view, ShardView) and view.deleting):
                yield delete(kind, view.name, uid=view.uid, resource_version=view.resource_version)


def is_gateway(view: ShardView) -> bool:
    """Return whether an object is of a gateway of ours."""
    return view.labels.get(LABEL_MANAGED_BY) == MANAGED_BY and LABEL_GATEWAY in view.labels


def mounting(view: ShardView, group: str, documents: int) -> Write | None:
    """Return what makes a group's gateways mount so many documents of routes; None if they do.

    It is another pod template: the pods are replaced one after the other, as the Deployment's strategy says.
    The documents of a shard never become too many: what its ``models.json`` has room for takes a few of them.
    """
    here = next((item for item in view.volumes if item["name"] == ROUTES), None)
    mounted = view.mounted(ROUTES)
    if here is None or _names(group, documents) <= mounted:
        return None
    lacking: Iterable[str] = sorted(_names(group, slots_for(documents)) - mounted)
    more = [{"configMap": {"name": name, "optional": True}} for name in lacking]
    projected = {**here["projected"], "sources": [*here["projected"]["sources"], *more]}
    volumes = [{**item, "projected": projected} if item is here else dict(item) for item in view.volumes]
    spec = {"template": {"spec": {"volumes": volumes}}}
    return patch("Deployment", view.name, {"spec": spec}, resource_version=view.resource_version)


def _names(group: str, documents: int) -> set[str]:
    return {routes_name(group, chunk) for chunk in range(documents)}
