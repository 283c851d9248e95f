"""What a TrainedModel itself should say: its parent, the shards of its other copies, its address."""

from __future__ import annotations

from typing import Any

from planner.controller.living import LivingPlan
from planner.controller.objects import Style
from planner.controller.views import ANNOTATION_LEAVING, ANNOTATION_URL, FINALIZER, ModelView
from planner.controller.writes import Write, patch
from planner.manifests.names import ANNOTATION_REPLICA_SHARDS
from planner.manifests.routes import gateway_url


def naming(view: ModelView, plan: LivingPlan, group: str, *, style: Style, stays: bool) -> Write | None:
    """Return what makes a TrainedModel say where its model is; None where it does.

    During a move its parent stays the old shard until the new copies are loaded, and the old copy is marked
    until it is gone: a controller that starts between the change of the parent and that of the routes would
    else take the old copy, to which requests still go, out of the documents at once.

    Parameters
    ----------
    view, plan, group
        The TrainedModel, and where its model is.
    style
        Without KServe's controllers it gets a finalizer; its address where a gateway answers there.
    stays
        Whether it keeps its parent for now: that answers for it until the copies that stay do.
    """
    copies = plan.copies(view.name)
    staying = [copy.placed.shard for copy in copies if not copy.leaving]
    leaving = sorted(copy.placed.shard for copy in copies if copy.leaving)
    if not staying:
        return None
    parent = view.parent if stays else staying[0]
    others = sorted(shard for shard in staying if shard != parent)  # as who starts anew numbers them
    answers = style.options.gateway != "none"
    annotations = {
        ANNOTATION_URL: gateway_url(group, plan.fleet.scenario.namespace, view.name) if answers else None,
        ANNOTATION_REPLICA_SHARDS: ",".join(others) or None,
        ANNOTATION_LEAVING: ",".join(leaving) or None,
    }
    body: dict[str, Any] = {}
    changed = {key: value for key, value in annotations.items() if view.annotations.get(key) != value}
    if changed:
        body["metadata"] = {"annotations": changed}
    if style.mode == "standalone" and FINALIZER not in view.finalizers:
        body.setdefault("metadata", {})["finalizers"] = [*view.finalizers, FINALIZER]
    if view.parent != parent:
        body["spec"] = {"inferenceService": parent}
    return patch("TrainedModel", view.name, body, resource_version=view.resource_version) if body else None


def letting_go(view: ModelView) -> Write | None:
    """Return what lets a TrainedModel that is being deleted be gone, once nothing serves it any more."""
    if FINALIZER not in view.finalizers:
        return None
    rest = [name for name in view.finalizers if name != FINALIZER]
    body = {"metadata": {"finalizers": rest}}
    return patch("TrainedModel", view.name, body, resource_version=view.resource_version)
