"""What the controller keeps of fleet documents that it has taken, so that who starts anew goes by the same.

One ConfigMap beside each: which document has a group, and what a group is whose document has let it go, is
nowhere else once a document was changed or deleted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from planner.controller.fleet import Fleet
from planner.controller.living import LivingPlan
from planner.controller.objects import config_map_writes
from planner.controller.views import (
    ANNOTATION_FLEET,
    LABEL_ROLE,
    ROLE_IN_FORCE,
    ConfigMapView,
)
from planner.controller.world import World
from planner.controller.writes import Write
from planner.manifests.names import LABEL_MANAGED_BY, MANAGED_BY

_SUFFIX = ".in-force"  # no ConfigMap of a shard has a dot

LONGEST_NAME = 253 - len(_SUFFIX)
"""Characters of a document's name: Kubernetes takes 253 of a ConfigMap's."""


def is_in_force(view: ConfigMapView) -> bool:
    """Return whether a ConfigMap is what is kept of a fleet document."""
    return view.labels.get(LABEL_ROLE) == ROLE_IN_FORCE and ANNOTATION_FLEET in view.annotations


def in_force(world: World) -> Iterator[ConfigMapView]:
    """Yield what is kept of fleet documents, under their names."""
    for view in world.config_maps.values():
        if is_in_force(view):
            source = view.annotations[ANNOTATION_FLEET]
            document = world.config_maps.get(source)
            uid = document.uid if document is not None else ""
            yield dataclasses.replace(view, name=source, uid=uid)


def in_force_writes(plans: Iterable[LivingPlan], gone: Collection[str], world: World) -> Iterator[Write]:
    """Yield what makes the cluster keep what is in force.

    Parameters
    ----------
    plans, world
        What is in force, and what is there.
    gone
        Documents of which nothing is in force any more. Of others nothing is deleted: they may only have
        been unreadable.
    """
    wanted = tuple(_config_map(plan.fleet) for plan in plans)
    ended = [view for view in world.config_maps.values() if _is_of(view, gone)] if gone else []
    yield from config_map_writes(wanted, world.config_maps, stale=ended)


def _is_of(view: ConfigMapView, documents: Collection[str]) -> bool:
    return is_in_force(view) and view.annotations[ANNOTATION_FLEET] in documents


def _config_map(fleet: Fleet) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"{fleet.source}{_SUFFIX}",
            "namespace": fleet.scenario.namespace,
            "labels": {LABEL_MANAGED_BY: MANAGED_BY, LABEL_ROLE: ROLE_IN_FORCE},
            "annotations": {ANNOTATION_FLEET: fleet.source},
        },
        "data": dict(fleet.data),
    }
