"""What the controller keeps of fleet documents that it has taken, so that who starts anew goes by the same.

One ConfigMap beside each: which document has a group, and what a group is whose document has let it go, is
nowhere else once a document was changed or deleted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from planner.controller.fleet import Fleet
from planner.controller.views import (
    ANNOTATION_FLEET,
    LABEL_ROLE,
    ROLE_IN_FORCE,
    ConfigMapView,
)
from planner.controller.world import World
from planner.manifests.names import LABEL_MANAGED_BY, MANAGED_BY

SUFFIX = ".in-force"
"""Of the names of these ConfigMaps: no ConfigMap of a shard has a dot, and no document such a name."""

LONGEST_NAME = 253 - len(SUFFIX)
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


def in_force_name(source: str) -> str:
    """Return the name of the ConfigMap beside a fleet document."""
    return f"{source}{SUFFIX}"


def in_force_map(fleet: Fleet) -> dict[str, Any]:
    """Return the ConfigMap that keeps what is in force."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": in_force_name(fleet.source),
            "namespace": fleet.scenario.namespace,
            "labels": {LABEL_MANAGED_BY: MANAGED_BY, LABEL_ROLE: ROLE_IN_FORCE},
            "annotations": {ANNOTATION_FLEET: fleet.source},
        },
        "data": dict(fleet.data),
    }
