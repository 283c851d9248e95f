"""Which models the placement documents of the cluster name, whether a plan knows of their shards or not."""

from __future__ import annotations

from planner.controller.fleets import Fleets
from planner.controller.objects import is_document_of
from planner.controller.restoring import read_entries
from planner.controller.views import ConfigMapView, is_ours
from planner.controller.world import World
from planner.manifests.names import LABEL_SHARD


class Mentions:
    """Looks models up in placement documents as they are in the cluster.

    Parameters
    ----------
    world, fleets
        What is there, and what is planned.
    """

    def __init__(self, world: World, fleets: Fleets) -> None:
        self._world, self._fleets = world, fleets
        self._read: dict[str, tuple[str, frozenset[str]]] = {}

    def of(self, name: str) -> str | None:
        """Return a shard whose documents name a model; None where none does.

        Documents of a shard that no fleet has are somebody's leavings, unless there is a fleet that could not
        be read: then they are taken for its own, and nobody writes them before it can.
        """
        counts_all = bool(self._fleets.untaken)
        for view in self._world.config_maps.values():
            shard = view.labels.get(LABEL_SHARD)
            if shard is None or not is_ours(view.labels) or not is_document_of(view, shard):
                continue
            counts = counts_all or self._fleets.with_shard(shard) is not None
            if counts and name in self._names(view):
                return shard
        return None

    def _names(self, view: ConfigMapView) -> frozenset[str]:
        version, names = self._read.get(view.name, ("", frozenset()))
        if version != view.resource_version or not version:
            names = frozenset(name for name, _ in read_entries(view))
            self._read[view.name] = view.resource_version, names
        return names
