"""What a controller has to be allowed before it begins what it could not end."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from planner.cluster import Kube
from planner.controller.executing import RESOURCES
from planner.controller.fleet import is_fleet
from planner.controller.objects import Style, server_kind
from planner.controller.views import ConfigMapView
from planner.controller.writes import Kind, Told
from planner.errors import ClusterError

_log = logging.getLogger(__name__)


def undeletable(kube: Kube, *, namespace: str, style: Style) -> tuple[str, ...]:
    """Return what of the objects of a shard, or a transformer, may not be deleted: the plurals of kinds.

    A Role of an older release may lack a verb: half of a shard would be gone before that is found. Where the
    server does not tell, none is returned, and whatever is refused then is tried again.
    """
    try:
        return tuple(
            RESOURCES[kind].plural
            for kind in _deleted(style)
            if not kube.may("delete", RESOURCES[kind], namespace=namespace)
        )
    except ClusterError as error:
        _log.warning("the cluster does not tell what may be deleted: %s", error)
        return ()


def _deleted(style: Style) -> tuple[Kind, ...]:
    """Return the kinds of objects that are deleted when something is closed."""
    is_fronted = style.options.gateway == "nginx"
    found: list[Kind] = ["ConfigMap", "PodDisruptionBudget", server_kind(style.mode)]
    found += ["Service"] if is_fronted or style.mode == "standalone" else []
    found += ["Deployment"] if is_fronted and style.mode == "kserve" else []
    return tuple(found)


def nothing_closes(config_maps: Iterable[ConfigMapView], lacking: Iterable[str]) -> Iterator[Told]:
    """Yield the events which tell that nothing is closed, of every fleet document."""
    what = ", ".join(lacking)
    for view in config_maps:
        if is_fleet(view):
            yield Told(
                kind="ConfigMap",
                name=view.name,
                uid=view.uid,
                level="Warning",
                reason="NothingCloses",
                message=f"empty shards and unused transformers stay: the controller may not delete {what}",
            )
